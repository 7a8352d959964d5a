"""Reported faults of such tools, played against the simulated Azure from policy to request."""

from typing import Any

import pytest

from shared.domain.model import PolicyState, Status
from shared.use_cases.reports.machines import MachineReport
from shared.use_cases.reports.machines import report as machines_report
from tests.faults.simulated import (
    APPS,
    VNET,
    Json,
    SimulatedWorld,
    inventory,
    machine,
    network,
    nic,
)
from tests.world import DB, GROUP, NSG_SUBNET, SOURCE

NETWORK = f"{GROUP}/providers/Microsoft.Network"
INSIDE = "10.0.7.7"


def raw(name: str, priority: int, access: str = "Allow", **properties: Any) -> Json:
    """Write another writer's rule as ARM does; None takes a property away."""
    given = {
        "protocol": "*", "access": access, "direction": "Inbound", "priority": priority,
        "sourcePortRange": "*", "destinationPortRange": "*",
        "sourceAddressPrefix": "*", "destinationAddressPrefix": "*", **properties,
    }  # fmt: skip
    return {"name": name, "properties": {k: v for k, v in given.items() if v is not None}}


def world_with(*rules: Json) -> SimulatedWorld:
    """Make a world whose subnet's group holds some rules."""
    world = SimulatedWorld()
    world.arm.control("edit", {"nsg": NSG_SUBNET, "put": list(rules), "delete": []})
    return world


def report(world: SimulatedWorld, vm: str = DB) -> MachineReport:
    """Return what the machines report says of a VM."""
    scopes = world.services.scopes
    found = machines_report(world.services, inventory(), scopes).machines
    return next(each for each in found if each.machine.id.casefold() == vm.casefold())


def reached(world: SimulatedWorld, *, vm: str = DB, port: int = 22) -> set[str]:
    """Return from where, and by which protocol, a port of db is reached."""
    return {
        f"{name} {protocol}"
        for name, source in (("inet", SOURCE), ("vnet", INSIDE))
        for protocol in ("Tcp", "Udp")
        if world.arm.ask("access", vm=vm, port=port, source=source, protocol=protocol)["allowed"]
    }


@pytest.mark.parametrize("protocol", ["Icmp", "Icmpv6", "Esp", "Ah"])
def test_a_rule_of_a_protocol_without_ports_keeps_no_port_open(protocol: str) -> None:
    """Row A: at the end of the band it leaves the deny its place, and the port is closed."""
    world = world_with(raw("ping", 4096, protocol=protocol))
    assert world.protect(DB).state is PolicyState.SUCCEEDED
    assert reached(world) == set()
    assert report(world).category == "Configured"
    world.arm.control(
        "edit", {"nsg": NSG_SUBNET, "put": [raw("no", 100, "Deny", protocol=protocol)]}
    )
    request = world.ask(DB)
    assert world.status(request.id) is Status.INITIATED
    assert world.is_open(DB)


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("member", [True, False])
def test_a_deny_of_a_group_refuses_its_members_alone(side: str, *, member: bool) -> None:
    """Row B: db is in the group or not; the public source of the request is in none."""
    asg = {"id": f"{NETWORK}/applicationSecurityGroups/web-asg"}
    world = SimulatedWorld()
    world.place({**asg, "location": "westeurope", "properties": {}})
    own = [asg] if member else []
    world.place(nic("db-nic", "10.0.0.5", applicationSecurityGroups=own), machine("db", "db-nic"))
    named = {f"{side}AddressPrefix": None, f"{side}ApplicationSecurityGroups": [asg]}
    world.arm.control("edit", {"nsg": NSG_SUBNET, "put": [raw("theirs", 100, "Deny", **named)]})
    assert world.protect(DB).state is PolicyState.SUCCEEDED
    request = world.ask(DB)
    refused = member and side == "destination"
    assert world.status(request.id) is (Status.FAILED if refused else Status.INITIATED)
    assert ("'theirs' (priority 100) denies this port" in world.why(request.id)) == refused
    assert world.is_open(DB) != refused


@pytest.mark.parametrize("protocol", ["Tcp", "Udp", "*"])
@pytest.mark.parametrize("governed", ["TCP", "UDP"])
def test_a_governed_port_that_any_protocol_reaches_is_exposed(protocol: str, governed: str) -> None:
    """Row C: whatever protocol the policy names."""
    theirs = raw("theirs", 300, protocol=protocol, sourceAddressPrefix="Internet")
    world = world_with(theirs)
    world.protect(DB)
    assert any(each.startswith("inet") for each in reached(world))
    found = report(world)
    assert (found.category, found.reason) == (
        "Exposed",
        "rule 'theirs' (priority 300) of 'subnet-nsg' leaves port 22 open",
    ), governed


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"sourceAddressPrefix": "Internet"}, {"sourceAddressPrefix": "Internet"}),
        ({"sourceAddressPrefix": "INTERNET"}, {"sourceAddressPrefix": "internet"}),
        ({"sourceAddressPrefix": "0.0.0.0/0"}, {"sourceAddressPrefix": "Internet"}),
        (
            {"sourceAddressPrefix": None, "sourceAddressPrefixes": ["0.0.0.0/1", "128.0.0.0/1"]},
            {},
        ),
        ({"sourcePortRange": "0-65535"}, {}),
        ({"destinationAddressPrefix": "VirtualNetwork"}, {}),
        (
            {"destinationPortRange": None, "destinationPortRanges": ["0-21", "22-65535"]},
            {"destinationPortRange": "20-30"},
        ),
    ],
)
def test_an_allow_behind_a_deny_that_covers_it_is_no_exposure(first: Json, then: Json) -> None:
    """Row E: no caller gets in by it, and the machine is Configured."""
    world = world_with(raw("first", 100, "Deny", **first), raw("then", 200, **then))
    assert world.protect(DB).state is PolicyState.SUCCEEDED
    assert reached(world) == set()
    assert report(world).category == "Configured"


@pytest.mark.parametrize("source", ["192.0.2.0/24", "0.0.0.0/1"])
def test_an_ipv4_rule_leaves_the_ipv6_deny_its_place(source: str) -> None:
    """Row F: at the end of the band it holds up the deny of its own family alone."""
    world = world_with(raw("theirs", 4096, protocol="Tcp", sourceAddressPrefix=source))
    world.place(nic("db-nic", "10.0.0.5", "fd00::5"), machine("db", "db-nic"))
    assert world.protect(DB).state is PolicyState.FAILED
    assert [rule.destinations for rule in world.denies(NSG_SUBNET)] == [("fd00::5",)]
    assert not world.is_open(DB, source="fd00::77")


@pytest.mark.parametrize("way", ["interface", "address"])
def test_a_floating_nat_rule_to_a_pool_makes_a_vm_unknown(way: str) -> None:
    """Row G: the report says Unknown, and the request fails with the reason."""
    balancer = f"{NETWORK}/loadBalancers/lb"
    pool: Json = {"id": f"{balancer}/backendAddressPools/p", "name": "p", "properties": {}}
    world = SimulatedWorld()
    if way == "interface":
        pools = [{"id": pool["id"]}]
        own = nic("db-nic", "10.0.0.5", loadBalancerBackendAddressPools=pools)
        world.place(own, machine("db", "db-nic"))
    else:
        member = {"properties": {"ipAddress": "10.0.0.5", "virtualNetwork": {"id": VNET}}}
        pool["properties"]["loadBalancerBackendAddresses"] = [member]
    rule = {
        "id": f"{balancer}/inboundNatRules/ssh",
        "name": "ssh",
        "properties": {
            "backendAddressPool": {"id": pool["id"]},
            "frontendPortRangeStart": 500,
            "frontendPortRangeEnd": 1000,
            "backendPort": 22,
            "enableFloatingIP": True,
        },
    }
    properties = {"inboundNatRules": [rule], "backendAddressPools": [pool]}
    world.place({"id": balancer, "location": "westeurope", "properties": properties})
    assert world.protect(DB).state is PolicyState.FAILED
    assert report(world).category == "Unknown"
    request = world.ask(DB)
    assert world.status(request.id) is Status.FAILED
    assert "'ssh' has a floating IP" in world.why(request.id)


@pytest.mark.parametrize("protected", [True, False])
@pytest.mark.parametrize("where", ["another network", "the same network"])
def test_an_address_that_two_vms_have_is_opened_for_neither(where: str, *, protected: bool) -> None:
    """Row H: the request is refused and names the other VM, in a policy or in none."""
    world = SimulatedWorld()
    subnet = APPS
    if where == "another network":
        other = network(apps=NSG_SUBNET)
        other["id"] = f"{NETWORK}/virtualNetworks/other"
        for each in other["properties"]["subnets"]:
            each["id"] = each["id"].replace(VNET, other["id"])
        world.place(other)
        subnet = f"{other['id']}/subnets/apps"
    world.place(nic("twin-nic", "10.0.0.5", subnet=subnet), machine("twin", "twin-nic"))
    twin = DB.replace("/db", "/twin")
    world.protect(*((DB, twin) if protected else (DB,)))
    request = world.ask(DB)
    assert world.status(request.id) is Status.FAILED
    assert "also belongs to 'twin' behind the same network security group" in world.why(request.id)
    assert not world.is_open(DB)
    assert not world.is_open(twin)


@pytest.mark.parametrize(
    "rules",
    [
        (raw("probes", 4095, sourceAddressPrefix="AzureLoadBalancer"), raw("rest", 4096, "Deny")),
        (raw("probes", 4096, sourceAddressPrefix="azureloadbalancer"),),
        (raw("probes", 4096, sourceAddressPrefix="168.63.129.16"),),
        (raw("first", 100, "Deny"), raw("then", 4096)),
    ],
)
def test_the_policy_and_the_report_give_one_answer(rules: tuple[Json, ...]) -> None:
    """Row K: an allow that lets no caller in leaves the deny a place before it."""
    world = world_with(*rules)
    assert world.protect(DB).state is PolicyState.SUCCEEDED
    assert reached(world) == set()
    assert report(world).category == "Configured"


@pytest.mark.parametrize(
    ("tag", "source", "refused"),
    [
        ("Internet", SOURCE, True),
        ("internet", "10.0.7.7", False),
        ("VirtualNetwork", SOURCE, False),
        ("virtualnetwork", "10.0.7.7", True),
        ("Sql", SOURCE, True),
        ("Sql.WestEurope", "10.0.7.7", False),
        ("AzureLoadBalancer", SOURCE, False),
    ],
)
def test_a_deny_from_a_tag_refuses_where_the_tag_may_hold_the_source(
    tag: str, source: str, *, refused: bool
) -> None:
    """Row N: elsewhere the request is opened, and the source gets in."""
    world = world_with(raw("theirs", 100, "Deny", sourceAddressPrefix=tag))
    world.protect(DB)
    request = world.ask(DB, source=source)
    assert world.status(request.id) is (Status.FAILED if refused else Status.INITIATED)
    assert ("rule 'theirs'" in world.why(request.id)) == refused
    if not refused:
        assert world.is_open(DB, source=source)
