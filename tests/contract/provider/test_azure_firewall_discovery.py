"""The firewall in front of a VM, numbered by recorded behaviour."""

from typing import Any

import pytest

from shared.domain.ids import key_of
from shared.domain.path import sources_at
from shared.firewalls.azure_rules.discovery import find_paths
from shared.firewalls.azure_rules.estate import Estate
from shared.ports import OutsideError
from tests import firewalls as hub
from tests.contract.provider.azure_firewall import body_of, edit, finder_of
from tests.contract.provider.grounds_azure_firewall import (
    ADDRESS,
    SETTINGS,
)
from tests.contract.provider.subject import ALICE, BOB, Subject

# --- 1 to 3: where a firewall stands, and what is seen behind it


def test_01_opens_and_closes_by_probe(azure_firewall: Subject) -> None:
    """Packets reach the VM at its entry from the grant's source, until the grant ends."""
    key = azure_firewall.allow(1)
    entry = azure_firewall.converge().finding(key).entry
    assert entry is not None
    assert entry.address == hub.PUBLIC_ADDRESS
    client = azure_firewall.ground.hub.client  # type: ignore[attr-defined]
    asked = {"vm": hub.VM, "port": 22, "publicAddress": entry.address, "publicPort": entry.port}
    assert client.ask("access", source=ALICE, **asked)["allowed"]
    assert not client.ask("access", source=BOB, **asked)["allowed"]
    azure_firewall.end(key)
    assert azure_firewall.converge().finding(key).agrees
    assert not client.ask("access", source=ALICE, **asked)["allowed"]


def test_02_a_hub_in_another_subscription_is_found_by_the_route(policy: Subject) -> None:
    """Interface, subnet, route table, next hop: the firewall of a peered hub, from lists alone."""
    (found,) = finder_of(policy).attach_to_policies([hub.VM])[hub.VM]
    assert found.firewall_id == policy.id
    assert found.addresses == (ADDRESS,)
    assert (found.opens, found.closes, found.stage) == (True, True, 0)
    assert found.lane == key_of(hub.POLICY)


def test_03_the_nsg_sees_the_firewalls_subnet_and_never_the_requestor(policy: Subject) -> None:
    """Behind the firewall a public source is the firewall's subnet; a private one stays."""
    ground: Any = policy.ground
    (front,) = finder_of(policy).attach_to_policies([hub.VM])[hub.VM]
    inner = type(front)("nsg", front.addresses)
    assert sources_at(inner, [front, inner], [ALICE]) == (hub.FIREWALL_PREFIX,)
    assert sources_at(inner, [front, inner], ["10.9.0.5"]) == ("10.9.0.5",)
    policy.allow(1)
    policy.converge()
    guarded = hub.nic()
    guarded["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"] = ADDRESS
    for sources, expected in (((ALICE,), False), ((hub.FIREWALL_PREFIX,), True)):
        ground.hub.edit(hub.nsg(*sources), guarded)
        assert policy.reaches() is expected


# --- 14: discovery


def test_14_a_stopped_vm_is_found_too(policy: Subject) -> None:
    """No effective route is asked for."""
    edit(policy, hub.machine("deallocated"))
    assert finder_of(policy).attach_to_policies([hub.VM])[hub.VM]


@pytest.mark.parametrize(
    "held_by", ["load balancer 'nva-lb'", "appliance 'nva'", "no Azure Firewall"]
)
def test_14_another_next_hop_is_unknown_and_named(policy: Subject, held_by: str) -> None:
    """A load balancer or another appliance is never taken for a firewall."""
    edit(policy, hub.table("10.0.0.200"))
    held = {"privateIPAddress": "10.0.0.200"}
    front = {"name": "front", "properties": held}
    if held_by.startswith("load"):
        edit(policy, _resource("loadBalancers/nva-lb", frontendIPConfigurations=[front]))
    if held_by.startswith("appliance"):
        subnet = {"subnet": {"id": hub.HUB_SUBNET}}
        machine = {"id": hub.VM.replace("web-1", "nva")}
        configuration = {"name": "c", "properties": {**held, **subnet}}
        edit(
            policy,
            _resource(
                "networkInterfaces/nva-nic",
                ipConfigurations=[configuration],
                virtualMachine=machine,
            ),
        )
    found = finder_of(policy).paths([hub.VM])[key_of(hub.VM)]
    assert found.stands == ()
    assert held_by in found.problem
    assert finder_of(policy).attach_to_policies([hub.VM]) == {hub.VM: ()}


def _resource(path: str, **properties: Any) -> dict[str, Any]:
    resource_type, name = path.split("/")
    return {
        "id": f"{hub.HUB}/{path}",
        "name": name,
        "type": f"Microsoft.Network/{resource_type}",
        "location": "westeurope",
        "properties": properties,
    }


def test_14_a_firewall_with_the_same_address_in_another_network_is_not_it(policy: Subject) -> None:
    """The next hop counts within the VM's network and those peered to it."""
    network = body_of(policy, f"{hub.NET}/virtualNetworks/spoke")
    network["properties"]["virtualNetworkPeerings"] = []
    edit(policy, network)
    found = finder_of(policy).paths([hub.VM])[key_of(hub.VM)]
    assert found.stands == ()
    assert "no Azure Firewall" in found.problem


def test_14_an_own_public_address_behind_the_route_is_asymmetric(policy: Subject) -> None:
    """The firewall drops replies to requests that it never saw: told, with the way to go."""
    own = f"{hub.NET}/publicIPAddresses/own"
    nic = hub.nic(publicIPAddress={"id": own}, privateIPAddress=ADDRESS)
    edit(policy, hub.public_address(own, "20.9.9.9"), nic)
    found = finder_of(policy).paths([hub.VM])[key_of(hub.VM)]
    assert found.asymmetric == ("20.9.9.9",)
    assert "connect through the firewall" in found.problem


def test_14_a_translation_counts_where_no_route_names_the_firewall(policy: Subject) -> None:
    """Source translation brings replies back even without a route."""
    subnet = body_of(policy, hub.SUBNET)
    del subnet["properties"]["routeTable"]
    edit(policy, subnet)
    assert finder_of(policy).attach_to_policies([hub.VM]) == {hub.VM: ()}
    policy.ground.open_foreign(policy.id, BOB, 443)
    (found,) = finder_of(policy).attach_to_policies([hub.VM])[hub.VM]
    assert found.firewall_id == policy.id


def test_14_classic_rules_are_written_in_their_scopes_alone(classic: Subject) -> None:
    """Elsewhere a firewall with classic rules is read for exposure only."""
    inside = finder_of(classic, classic_scopes=(f"/subscriptions/{hub.HUB_SUBSCRIPTION}",))
    (found,) = inside.attach_to_firewalls([hub.VM])[hub.VM]
    assert (found.firewall_id, found.opens, found.closes) == (hub.FIREWALL, True, True)
    (found,) = finder_of(classic).attach_to_firewalls([hub.VM])[hub.VM]
    assert (found.opens, found.closes) == (False, False)
    assert inside.attach_to_policies([hub.VM]) == {hub.VM: ()}


def test_14_an_ip_group_is_preferred_where_a_rule_names_it(ip_group: Subject) -> None:
    """The policy before the VM is then read for its blocks alone."""
    finder = finder_of(ip_group)
    (found,) = finder.attach_to_groups([hub.VM])[hub.VM]
    assert (found.firewall_id, found.ports, found.opens) == (ip_group.id, (22,), True)
    (policy,) = finder.attach_to_policies([hub.VM])[hub.VM]
    assert (policy.opens, policy.closes) == (False, True)


def test_14_what_was_not_listed_is_unknown() -> None:
    """A VM whose interface or route table was not read has a named gap, not an empty path."""
    vm = hub.machine()
    paths = find_paths(Estate(vms=(vm,)), SETTINGS)
    assert "web-1-nic" in paths[key_of(hub.VM)].problem
    estate = Estate(vms=(vm,), interfaces=(hub.nic(),))
    assert "subnet 'web'" in find_paths(estate, SETTINGS)[key_of(hub.VM)].problem


def test_14_a_vm_that_was_not_listed_is_never_taken_for_one_without_a_firewall(
    policy: Subject,
) -> None:
    """Outside the scopes nothing is known: it raises. A machine of another cloud is not asked."""
    finder = finder_of(policy)
    with pytest.raises(OutsideError):
        finder.attach_to_policies([f"{hub.VM}-elsewhere"])
    assert finder.attach_to_policies(["arn:aws:ec2:eu-1:1:instance/i-1"]) == {
        "arn:aws:ec2:eu-1:1:instance/i-1": ()
    }
