"""The steps with an Azure Firewall: create it before the VM, and open an access through it."""

from jit_access.client.models import RequestStatus
from tools.live import bodies
from tools.live.building import create
from tools.live.living import (
    ask_address,
    open_for,
    protect,
    wait_for_status,
)
from tools.live.outside import NETWORK, Json, wait_until
from tools.live.session import Session, check

_FIREWALL_WITHIN = 1800.0
_SEEN_WITHIN, _LOOK_PAUSE = 300.0, 2.0
_OPEN_WITHIN, _CLOSED_WITHIN = 900.0, 900.0  # a write takes minutes, and Azure gives no bound


def create_firewall(session: Session) -> str:
    """Create a firewall with a policy in the VM's network. It takes ten to fifteen minutes."""
    run = session.run
    network = run.network("virtualNetworks", "vnet-jit-live")
    address = run.network("publicIPAddresses", "pip-jit-firewall")
    firewall = run.network("azureFirewalls", "afw-jit-live")
    create(session, address, NETWORK, bodies.public_address(run))
    create(session, _policy(session), NETWORK, bodies.firewall_policy(run))
    body = bodies.firewall(run, f"{network}/subnets/AzureFirewallSubnet", address, _policy(session))
    create(session, firewall, NETWORK, body, within=_FIREWALL_WITHIN)
    return f"a Standard firewall with an empty policy and {bodies.FIREWALL_PREFIX}"


def try_firewall(session: Session) -> str:
    """Route the VM through the firewall, open its port there, see it closed and the rule gone."""
    route_vm(session)
    wait_until(
        lambda: _is_seen(session),
        "the app sees the firewall before the VM",
        seconds=_SEEN_WITHIN,
        pause=max(session.target.pause, _LOOK_PAUSE),
    )
    protect(session)
    with session.client() as client:
        source = ask_address(session, client)
        opened = open_for(
            session,
            client,
            "Azure Firewall",
            bodies.FIREWALL_PREFIX,
            duration=session.target.firewall_access,
            within=_OPEN_WITHIN,
            allowed_source_address_prefix=source,
        )
        address, mapped = _entry(opened)
        _check_translation(session, source)
        reaches = session.target.port.reaches
        session.wait(lambda: reaches(address, mapped), "the mapped port answers", _OPEN_WITHIN)
        client.revoke_request(opened.id)
    took = session.wait(
        lambda: not reaches(address, mapped), "the mapped port is closed", _CLOSED_WITHIN
    )
    wait_for_status(session, opened.id, "Revoked", _CLOSED_WITHIN)
    check(not session.rules_of_app("Allow"), "an allow rule is left after the revocation")
    check(not _translations(session), "a translation is left after the revocation")
    return f"open on a mapped port, closed {took:.0f} s after the revocation, and its rule is gone"


def route_vm(session: Session) -> None:
    """Lead the VM's default route to the firewall, as behind a hub."""
    run = session.run
    network = run.network("virtualNetworks", "vnet-jit-live")
    table = run.network("routeTables", "rt-jit-live")
    firewall = run.network("azureFirewalls", "afw-jit-live")
    found = session.target.arm.require("GET", firewall, NETWORK).body["properties"]
    hop = found["ipConfigurations"][0]["properties"]["privateIPAddress"]
    create(session, table, NETWORK, bodies.route_table(run, hop))
    create(session, network, NETWORK, bodies.network(run, session.groups[0], table))


def _is_seen(session: Session) -> bool:
    """Tell whether the app lists the firewall before the VM. It keeps a reading for some seconds."""
    with session.client() as client:
        listed = client.list_machines(scope=session.run.machine_group).value
    firewalls = [each for machine in listed for each in machine.firewalls]
    types = ("/azurefirewalls/", "/firewallpolicies/")
    return any(part in each.lower() for each in firewalls for part in types)


def _policy(session: Session) -> str:
    return session.run.network("firewallPolicies", "afwp-jit-live")


def _entry(opened: RequestStatus) -> tuple[str, int]:
    """Return the address and the mapped port to connect to."""
    raw = opened.ports[0][1].raw
    check(raw.get("mappedPort"), f"the open request names no mapped port: {raw}")
    return str(raw["publicIpAddress"]), int(raw["mappedPort"])


def _check_translation(session: Session, source: str) -> None:
    """Check that the policy holds one translation, for the source alone."""
    sources = [rule["sourceAddresses"] for rule in _translations(session)]
    check(
        [[each.removesuffix("/32") for each in held] for held in sources] == [[source]],
        f"the translations are for {sources}",
    )


def _translations(session: Session) -> list[Json]:
    """Return every translation of the firewall's policy. Before the app's there was none."""
    listed = session.target.arm.require(
        "GET", f"{_policy(session)}/ruleCollectionGroups", NETWORK
    ).body["value"]
    collections = [each for group in listed for each in group["properties"]["ruleCollections"]]
    rules = [rule for each in collections for rule in each["rules"]]
    return [rule for rule in rules if rule["ruleType"] == "NatRule"]
