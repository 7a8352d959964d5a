"""A whole app over the ARM simulator: the real adapters, one clock for both, nothing waits."""

import atexit
import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from local.arm.client import ArmClient, Reply
from local.arm.serve import ArmServer
from local.arm.simulator import Settings
from shared.adapters.arm import ArmReader
from shared.adapters.arm_clients import LocalName, arm_client, network_client
from shared.domain.model import AccessRequest, PortRequest, Principal
from shared.domain.policy import Asked, AskedPort
from shared.firewalls.nsg.client import NetworkSecurityGroups
from shared.firewalls.nsg.discovery import ArmInventory, VirtualMachines, read_membership
from shared.firewalls.nsg.model import Access, SecurityRule, Snapshot
from shared.firewalls.nsg.provider import NsgProvider
from shared.firewalls.nsg.rules import Plan
from shared.firewalls.nsg.settling import SettleTimes
from shared.firewalls.nsg.wire import read_rule, write_rule
from shared.store.audit import AuditEvent
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import submit as access
from tests.fakes import NAMES, Clock
from tests.world import (
    ALICE,
    DB,
    GROUP,
    NSG_NIC,
    NSG_SUBNET,
    POLICY,
    SOURCE,
    WEB,
    World,
    vm_id,
)

Json = dict[str, Any]
SETTLE_SECONDS = 1.0  # how long the simulator's writes are on their way
NETWORK = f"{GROUP}/providers/Microsoft.Network"
PROBE = f"{NETWORK}/networkSecurityGroups/jit-probe"
VNET = f"{NETWORK}/virtualNetworks/net"
APPS, BARE = f"{VNET}/subnets/apps", f"{VNET}/subnets/bare"
_US = "network"  # the identity that the app writes with
FOREIGN = (
    SecurityRule("allow-https", Access.ALLOW, "Tcp", ("*",), ("*",), ("443",), "shop", 310),
    SecurityRule("deny-smb", Access.DENY, "*", ("*",), ("*",), ("445",), "", 320),
    SecurityRule(
        "SecurityCenter-JITRule-1170687618-8C18BF8921F041989344B4F1E3A0C370",
        Access.ALLOW, "*", ("198.51.100.1",), ("10.0.0.9",), ("3389",), "Defender's", 101,
    ),
)  # fmt: skip


def nsg_id(name: str) -> str:
    """Return the id of a network security group."""
    return f"{NETWORK}/networkSecurityGroups/{name}"


def nic_id(name: str) -> str:
    """Return the id of a network interface."""
    return f"{NETWORK}/networkInterfaces/{name}"


def nsg(firewall_id: str, *rules: SecurityRule | Json) -> Json:
    """Write a network security group as ARM does."""
    bodies = [write_rule(rule) if isinstance(rule, SecurityRule) else rule for rule in rules]
    return {"id": firewall_id, "location": "westeurope", "properties": {"securityRules": bodies}}


def nic(name: str, *addresses: str, group: str = "", subnet: str = APPS, **config: Any) -> Json:
    """Write a network interface with an address of either family for each configuration."""
    configs = [
        {
            "name": f"ip{number}",
            "id": f"{nic_id(name)}/ipConfigurations/ip{number}",
            "properties": {
                "privateIPAddress": address,
                "privateIPAddressVersion": "IPv6" if ":" in address else "IPv4",
                "subnet": {"id": subnet},
                **config,
            },
        }
        for number, address in enumerate(addresses)
    ]
    guarded = {"networkSecurityGroup": {"id": group}} if group else {}
    properties = {"ipConfigurations": configs, **guarded}
    return {"id": nic_id(name), "location": "westeurope", "properties": properties}


def machine(name: str, *nics: str, power: str = "running") -> Json:
    """Write a virtual machine."""
    return {
        "id": vm_id(name),
        "location": "westeurope",
        "properties": {
            "storageProfile": {"osDisk": {"osType": "Linux"}},
            "networkProfile": {"networkInterfaces": [{"id": nic_id(each)} for each in nics]},
            "instanceView": {"statuses": [{"code": f"PowerState/{power}"}]},
        },
    }


def network(**guards: str) -> Json:
    """Write the virtual network; a subnet named here has that group in front."""
    held = {"apps": "10.0.0.0/24", "bare": "10.0.9.0/24"}
    subnets: list[Json] = [
        {"name": name, "id": f"{VNET}/subnets/{name}", "properties": {"addressPrefix": prefix}}
        for name, prefix in held.items()
    ]
    for subnet in subnets:
        if guards.get(subnet["name"]):
            subnet["properties"]["networkSecurityGroup"] = {"id": guards[subnet["name"]]}
    space = {"addressPrefixes": ["10.0.0.0/16", "fd00::/48"]}
    properties = {"addressSpace": space, "subnets": subnets}
    return {"id": VNET, "location": "westeurope", "properties": properties}


def estate(*rules: SecurityRule) -> Json:
    """Return the world of tests/world.py as ARM holds it; the rules stand before the subnet."""
    return {
        "resources": [
            nsg(NSG_NIC),
            nsg(NSG_SUBNET, *rules),
            nsg(PROBE),
            network(apps=NSG_SUBNET),
            nic("web-nic", "10.0.0.4", group=NSG_NIC),
            nic("db-nic", "10.0.0.5"),
            machine("web", "web-nic"),
            machine("db", "db-nic"),
        ]
    }


class _Time:
    """The clock of whichever world is being tested; the simulator goes by it."""

    clock = Clock()


@cache
def _server() -> ArmServer:
    """Serve one simulator to every test of this process."""
    server = ArmServer(
        estate(),
        settings=Settings(settle=SETTLE_SECONDS),
        clock=lambda: _Time.clock().timestamp(),
    )
    atexit.register(server.stop)
    return server


class _OtherWriter(ArmClient):
    """Other writers; a connection that the server closed for being idle is opened anew."""

    def _send(self, method: str, target: str, body: Any, headers: dict[str, str]) -> Reply:
        try:
            return super()._send(method, target, body, headers)
        except OSError:
            return super()._send(method, target, body, headers)


@cache
def _other_writer() -> ArmClient:
    return _OtherWriter(_server().url, "local:writer")


@cache
def _network(subscription: str) -> Any:
    return network_client(_server().url, LocalName(_US), subscription)


@cache
def _reads() -> Any:
    return arm_client(_server().url, LocalName(_US))


def inventory() -> ArmInventory:
    """Return the lists of the whole subscription."""
    return ArmInventory(ArmReader(_reads()))


@dataclass(frozen=True)
class _Interrupted:
    """The firewall, with another writer at work between a read and the write that follows."""

    real: NetworkSecurityGroups
    world: "SimulatedWorld"

    def read(self, firewall_id: str) -> Snapshot:
        return self.real.read(firewall_id)

    def look(self, firewall_id: str) -> tuple[Json, Snapshot | None]:
        return self.real.look(firewall_id)

    def write(self, snapshot: Snapshot, plan: Plan) -> None:
        self.world.before_write(snapshot, plan)
        self.real.write(snapshot, plan)

    def list_with_our_rules(self, scopes: Sequence[str]) -> list[str]:
        return self.real.list_with_our_rules(scopes)

    def writes_whole(self) -> bool:
        return self.real.writes_whole()

    def probe(self) -> str:
        return self.real.probe()


class SimulatedWorld(World):
    """The app of tests/world.py with network security groups and VMs behind a real ARM API.

    Sleeping moves the one clock, so a write settles, a quota refills and an expiry comes without
    anybody waiting.
    """

    def __init__(
        self, *rules: SecurityRule, nsg_write: str = "auto", probe_nsg: str = PROBE
    ) -> None:
        super().__init__()
        del self.firewall, self.machines
        _Time.clock = self.clock
        self.arm = _other_writer()
        self.arm.control("reset", estate(*rules))
        self.before_write: Callable[[Snapshot, Plan], None] = lambda _snapshot, _plan: None
        groups = NetworkSecurityGroups(
            _network,
            NAMES,
            self.clock.advance,
            whole_writes=lambda: nsg_write == "auto" and self.probe.allows(),
            probe_nsg=probe_nsg,
            membership=lambda subscription: read_membership(reader, (), subscription),
        )
        groups.settle_times = SettleTimes(lambda: self.clock().timestamp())
        reader = ArmReader(_reads(), patience=30, sleep=self.clock.advance)
        machines = VirtualMachines(reader, look=NsgProvider(groups, NAMES).look)
        self.rewire(
            firewall=_Interrupted(groups, self),
            machines=machines,
            inventory=ArmInventory(reader),
        )

    # What a test does to the cloud.

    def order(self, *faults: Mapping[str, Any], **fault: Any) -> None:
        """Put faults on our calls, in place of those before; `times` None: until changed."""
        wanted = [*faults, *([fault] if fault else [])]
        self.arm.control("faults", {"faults": [{"caller": _US, **each} for each in wanted]})

    def set(self, **settings: Any) -> None:
        """Change how the simulator behaves."""
        self.arm.control("settings", settings)

    def edit(self, firewall_id: str, *put: SecurityRule, remove: Iterable[str] = ()) -> None:
        """Edit a group as another writer, settled at once."""
        bodies = [write_rule(rule) for rule in put]
        self.arm.control("edit", {"nsg": firewall_id, "put": bodies, "delete": list(remove)})

    def edit_raw(self, firewall_id: str, name: str, **properties: Any) -> None:
        """Change some properties of a rule, in ARM's words; None takes one away."""
        held = next(r for r in self.raw(firewall_id) if r["name"] == name)["properties"]
        changed = {k: v for k, v in {**held, **properties}.items() if v is not None}
        body = {"name": name, "properties": changed}
        self.arm.control("edit", {"nsg": firewall_id, "put": [body], "delete": []})

    def place(self, *resources: Json) -> None:
        """Put resources there, or replace them."""
        self.arm.control("edit", {"resources": list(resources)})

    def remove(self, *ids: str) -> None:
        """Take resources away."""
        self.arm.control("edit", {"remove": list(ids)})

    # What a test sees of it.

    def raw(self, firewall_id: str) -> list[Json]:
        """Return a group's rules as ARM shows them now."""
        found = self.arm.call("GET", firewall_id)
        rules: list[Json] = found.body["properties"]["securityRules"] if found.status == 200 else []
        return rules

    def rules(self, firewall_id: str) -> dict[str, SecurityRule]:
        """Return a group's rules by name."""
        return {rule["name"]: read_rule(rule) for rule in self.raw(firewall_id)}

    def ours(self, firewall_id: str, access: Access | None = None) -> list[SecurityRule]:
        """Return our rules on a group."""
        return [
            rule
            for name, rule in self.rules(firewall_id).items()
            if NAMES.is_ours(name) and access in {None, rule.access}
        ]

    def allows(self, firewall_id: str = NSG_NIC) -> list[SecurityRule]:
        """Return our allow rules on a group."""
        return self.ours(firewall_id, Access.ALLOW)

    def denies(self, firewall_id: str = NSG_NIC) -> list[SecurityRule]:
        """Return our deny rules on a group."""
        return self.ours(firewall_id, Access.DENY)

    def foreign(self, firewall_id: str) -> dict[str, Json]:
        """Return what is not ours on a group, as ARM shows it, without what every write changes."""
        return {
            rule["name"]: {
                key: value
                for key, value in rule["properties"].items()
                if key != "provisioningState"
            }
            for rule in copy.deepcopy(self.raw(firewall_id))
            if not NAMES.is_ours(rule["name"])
        }

    def is_open(self, vm: str = WEB, port: int = 22, source: str = SOURCE) -> bool:
        """Tell whether an address reaches a port now, through every group in front of it."""
        return bool(self.arm.ask("access", vm=vm, port=port, source=source)["allowed"])

    def writes(self, firewall_id: str = "") -> list[Json]:
        """Return the writes we sent, to a group and its rules or to all."""
        return [
            call
            for call in self.arm.ask("log")["calls"]
            if call["method"] != "GET" and call["caller"] == _US
            if call["path"].casefold().startswith(firewall_id.casefold())
            if PROBE not in call["path"] or firewall_id == PROBE
        ]

    def whole_writes(self) -> list[Json]:
        """Return the writes of a whole group that we sent."""
        return [call for call in self.writes() if "/securityRules/" not in call["path"]]

    # What a test asks of the app.

    def ask_from(
        self, *sources: str, vm: str = WEB, who: Principal = ALICE, minutes: float = 10
    ) -> AccessRequest:
        """Ask for port 22 from several prefixes."""
        asked = AskedPort("ports[0]", vm, 22, sources, duration=timedelta(minutes=minutes))
        new = access.PolicyRequest(
            protection.get_policy(self.services, POLICY), Asked((asked,), "because", SOURCE), who
        )
        request = access.request_access(self.services, new)
        self.work()
        return self.request(request.id)

    def port(self, request_id: str) -> PortRequest:
        """Read a request's first port."""
        return self.request(request_id).ports[0]

    def why(self, request_id: str) -> str:
        """Read why a request's first port was closed."""
        closing = self.port(request_id).closing
        return closing.message if closing else ""

    def events(self, operation: str) -> list[AuditEvent]:
        """Read the activity of one type, from the first day to the last."""
        days = sorted({day for day, _ in self.tables.activity.rows if day[0].isdigit()})
        told = [
            event
            for day in days
            for _, event in self.services.activity.on(datetime.fromisoformat(day))
        ]
        return [event for event in told if event.operation == operation]


def assert_over(world: SimulatedWorld, *firewalls: str) -> None:
    """Assert that nothing of ours lets anybody in, in the rules and in effect."""
    for firewall_id in firewalls or (NSG_NIC, NSG_SUBNET):
        assert not world.allows(firewall_id), f"still open on {firewall_id}"
    assert not world.is_open(WEB)
    assert not world.is_open(DB)


def assert_never_wrote_while_updating(world: SimulatedWorld) -> None:
    """Assert from ARM's log that no write of ours met a group whose last write had not settled."""
    under_way: dict[str, datetime] = {}
    for call in world.arm.ask("log")["calls"]:
        if call["method"] == "GET" or "/networkSecurityGroups/" not in call["path"]:
            continue
        group = call["path"].casefold().partition("/securityrules/")[0]
        at = datetime.fromisoformat(call["at"])
        if call["caller"] == _US:
            assert under_way.get(group, at) <= at, f"{call['method']} of {group} while Updating"
        taken = "notTaken" not in call.get("faults", ()) and group != PROBE.casefold()
        if taken and 200 <= (call.get("droppedStatus") or call["status"]) < 300:
            under_way[group] = at + timedelta(seconds=SETTLE_SECONDS)
