"""The lists of a subscription: four calls, joined as single reads would have it."""

import copy
from typing import Any

import pytest

from local.arm.app import load_estate
from local.arm.client import ArmClient
from shared.adapters.arm import ArmReader
from shared.adapters.arm_clients import LocalName, arm_client
from shared.domain.ids import key_of
from shared.firewalls.nsg.discovery import ArmInventory, VirtualMachines
from shared.firewalls.nsg.networks import KEPT_SECONDS, KnownNetworks
from shared.ports import Machine, OutsideError

SUBSCRIPTION = "3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
APP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/app-rg/providers"
OPS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ops-rg/providers"
NETWORK = f"{APP}/Microsoft.Network"
WHOLE = (f"/subscriptions/{SUBSCRIPTION}",)
BALANCER = f"{NETWORK}/loadBalancers/sql-lb"


@pytest.fixture
def reader(arm: ArmClient) -> ArmReader:
    """Read ARM as the app does."""
    return ArmReader(arm_client(arm.url, LocalName("network")))


def machines(reader: ArmReader) -> dict[str, Machine]:
    """List the VMs by name."""
    listed = ArmInventory(reader).read(WHOLE)
    return {machine.id.rpartition("/")[2]: machine for machine in listed.machines}


def resource(resource_id: str) -> dict[str, Any]:
    """Return a copy of a resource of the estate."""
    held = (each for each in load_estate()["resources"] if each["id"] == resource_id)
    return copy.deepcopy(next(held))


@pytest.mark.parametrize("page_size", [2, 1000])
def test_lists_and_single_reads_agree(arm: ArmClient, reader: ArmReader, page_size: int) -> None:
    """Every VM of the estate: firewalls, addresses, system, and what cannot be judged."""
    arm.control("settings", {"pageSize": page_size})
    listed = machines(reader)
    single = VirtualMachines(reader)
    assert len(listed) == 16
    for machine in listed.values():
        found = single.find(machine.id)
        assert found is not None
        assert _plain(found) == _plain(machine)


def _plain(machine: Machine) -> tuple[Any, ...]:
    behind = {key_of(each.firewall_id): each.addresses for each in machine.attachments}
    return behind, machine.system, machine.unreadable, machine.bare_addresses


def test_four_calls_however_many_vms(arm: ArmClient, reader: ArmReader) -> None:
    """VMs, interfaces, security groups, load balancers."""
    machines(reader)
    calls = [call["path"].rpartition("/")[2] for call in arm.ask("log")["calls"]]
    assert sorted(calls) == [
        "loadBalancers",
        "networkInterfaces",
        "networkSecurityGroups",
        "virtualMachines",
    ]


def test_groups_are_listed_one_by_one_and_nothing_above_them(
    arm: ArmClient, reader: ArmReader
) -> None:
    """Where the app has rights on resource groups only, and with the same answer."""
    whole = machines(reader)
    refused = {"kind": "linkedAuthorizationFailed", "method": "GET", "times": None}
    above = rf"^/subscriptions/{SUBSCRIPTION}/providers/"
    arm.control("faults", {"faults": [{**refused, "path": above}]})
    places = tuple(f"{WHOLE[0]}/resourceGroups/{name}" for name in ("app-rg", "ops-rg"))
    listed = ArmInventory(reader).read((*places, f"{WHOLE[0]}/resourceGroups/gone"))
    assert {each.id.rpartition("/")[2]: _plain(each) for each in listed.machines} == {
        name: _plain(each) for name, each in whole.items()
    }
    assert set(listed.firewalls) == set(ArmInventory(reader).read(places).firewalls)


def test_one_group_is_listed_in_four_calls(arm: ArmClient, reader: ArmReader) -> None:
    """And a read of each subnet that none of its security groups stands in front of."""
    listed = ArmInventory(reader).read((f"{WHOLE[0]}/resourceGroups/ops-rg",))
    assert sorted(each.id.rpartition("/")[2] for each in listed.machines) == [
        "jump-1",
        "stopped-1",
        "win-1",
    ]
    paths = [call["path"] for call in arm.ask("log")["calls"]]
    lists = [path for path in paths if "/subnets/" not in path]
    assert len(lists) == 4
    assert all("/resourceGroups/ops-rg/" in path for path in lists)
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize("where", ["interface", "subnet", "out of sight"])
def test_what_stands_in_a_group_that_is_not_listed_leaves_a_vm_unknown(
    arm: ArmClient, reader: ArmReader, where: str
) -> None:
    """Rules that no read has shown are never taken for closed ports, nor for none."""
    other = f"{WHOLE[0]}/resourceGroups/net-rg/providers/Microsoft.Network"
    group = resource(f"{OPS}/Microsoft.Network/networkSecurityGroups/win-nsg")
    group["id"] = f"{other}/networkSecurityGroups/theirs"
    nic = resource(f"{OPS}/Microsoft.Network/networkInterfaces/win-1-nic")
    subnet_id = nic["properties"]["ipConfigurations"][0]["properties"]["subnet"]["id"]
    network = resource(subnet_id.partition("/subnets/")[0])
    (subnet,) = [s for s in network["properties"]["subnets"] if s["id"] == subnet_id]
    if where == "interface":
        nic["properties"]["networkSecurityGroup"] = {"id": group["id"]}
    else:
        nic["properties"].pop("networkSecurityGroup", None)
        subnet["properties"]["networkSecurityGroup"] = {"id": group["id"]}
    arm.control("edit", {"resources": [group, nic, network]})
    if where == "out of sight":
        fault = {"kind": "linkedAuthorizationFailed", "method": "GET", "path": "/subnets/"}
        arm.control("faults", {"faults": [{**fault, "times": None}]})
    listed = ArmInventory(reader).read((f"{WHOLE[0]}/resourceGroups/ops-rg",))
    (win,) = [each for each in listed.machines if each.id.endswith("/win-1")]
    missing = "its subnet" if where == "out of sight" else "its network security group 'theirs'"
    assert win.unreadable.startswith(missing)


def test_the_rules_come_with_the_groups(reader: ArmReader) -> None:
    """So that no group is read by itself."""
    listed = ArmInventory(reader).read(WHOLE)
    group = listed.firewalls[key_of(f"{NETWORK}/networkSecurityGroups/open-nsg")]
    assert [rule.name for rule in group.rules] == ["allow-ssh-for-all"]
    assert group.version


def test_a_floating_ip_makes_a_vm_unreadable(reader: ArmReader) -> None:
    """With the rule's name; its neighbours are not touched."""
    found = machines(reader)
    assert "load balancing rule 'sql' has a floating IP" in found["sql-1"].unreadable
    assert [name for name, machine in found.items() if machine.unreadable] == ["sql-1"]


@pytest.mark.parametrize("way", ["pool", "configuration", "address", "nat"])
def test_a_floating_ip_is_found_whichever_way_it_is_written(
    arm: ArmClient, reader: ArmReader, way: str
) -> None:
    """By the interface's pool, the pool's interface, the pool's address, or a NAT rule."""
    nic = resource(f"{NETWORK}/networkInterfaces/sql-1-nic")
    config = nic["properties"]["ipConfigurations"][0]
    balancer = resource(BALANCER)
    (pool,) = balancer["properties"]["backendAddressPools"]
    if way != "pool":
        del config["properties"]["loadBalancerBackendAddressPools"]
    if way != "configuration":
        pool["properties"]["backendIPConfigurations"] = []
    if way == "address":
        network = config["properties"]["subnet"]["id"].partition("/subnets/")[0]
        member = {"ipAddress": "10.0.5.10", "virtualNetwork": {"id": network.upper()}}
        pool["properties"]["loadBalancerBackendAddresses"] = [{"name": "a", "properties": member}]
    if way == "nat":
        balancer["properties"]["loadBalancingRules"] = []
        rule_id = f"{BALANCER}/inboundNatRules/rdp"
        rule = {"id": rule_id, "name": "rdp", "properties": {"enableFloatingIP": True}}
        balancer["properties"]["inboundNatRules"] = [rule]
        config["properties"]["loadBalancerInboundNatRules"] = [{"id": rule_id}]
    arm.control("edit", {"resources": [nic, balancer]})
    assert "has a floating IP" in machines(reader)["sql-1"].unreadable


def _in_pool(way: str, pool: dict[str, Any], config: dict[str, Any]) -> None:
    """Put the VM into a pool: by interface, by its configuration, or by address."""
    network = config["properties"]["subnet"]["id"].partition("/subnets/")[0]
    member: dict[str, Any] = {"ipAddress": "10.0.5.10"}
    if way == "interface":
        config["properties"]["loadBalancerBackendAddressPools"] = [{"id": pool["id"].upper()}]
    elif way == "configuration":
        pool["properties"]["backendIPConfigurations"] = [{"id": config["id"]}]
    elif way == "address":
        member["virtualNetwork"] = {"id": network.upper()}
    elif way == "address in a subnet":
        member["subnet"] = config["properties"]["subnet"]
    elif way == "address in the pool's network":
        pool["properties"]["virtualNetwork"] = {"id": network}
    elif way == "member's configuration":
        member = {"networkInterfaceIPConfiguration": {"id": config["id"]}}
    if way not in {"interface", "configuration"}:
        pool["properties"]["loadBalancerBackendAddresses"] = [{"name": "a", "properties": member}]


POOL_WAYS = (
    *("interface", "configuration", "address", "address in a subnet"),
    *("address in the pool's network", "address in no named network", "member's configuration"),
)


@pytest.mark.parametrize("way", POOL_WAYS)
@pytest.mark.parametrize("rule", ["inboundNatRules", "loadBalancingRules"])
@pytest.mark.parametrize("floating", [True, False])
def test_every_floating_rule_to_a_pool_makes_its_members_unreadable(
    arm: ArmClient, reader: ArmReader, way: str, rule: str, *, floating: bool
) -> None:
    """Row G: whichever rule has the pool as its target, and however the VM is in the pool."""
    nic = resource(f"{NETWORK}/networkInterfaces/sql-1-nic")
    config = nic["properties"]["ipConfigurations"][0]
    config["properties"].pop("loadBalancerBackendAddressPools", None)
    pool: dict[str, Any] = {"id": f"{BALANCER}/backendAddressPools/p", "properties": {}}
    _in_pool(way, pool, config)
    balancer = resource(BALANCER)
    ports = {"frontendPortRangeStart": 500, "frontendPortRangeEnd": 1000, "backendPort": 22}
    held = {**ports, "enableFloatingIP": floating, "backendAddressPool": {"id": pool["id"]}}
    written = {"id": f"{BALANCER}/{rule}/ssh", "name": "ssh", "properties": held}
    balancer["properties"] |= {
        "inboundNatRules": [], "loadBalancingRules": [], rule: [written],
        "backendAddressPools": [pool],
    }  # fmt: skip
    arm.control("edit", {"resources": [nic, balancer]})
    found = VirtualMachines(reader).find(f"{APP}/Microsoft.Compute/virtualMachines/sql-1")
    assert found is not None
    assert ("'ssh' has a floating IP" in found.unreadable) == floating
    assert machines(reader)["sql-1"].unreadable == found.unreadable
    assert machines(reader)["web-1"].unreadable == ""


def test_a_floating_nat_rule_that_names_a_configuration_is_found(
    arm: ArmClient, reader: ArmReader
) -> None:
    """The rule names the interface, whether or not the interface names the rule."""
    nic = resource(f"{NETWORK}/networkInterfaces/sql-1-nic")
    config = nic["properties"]["ipConfigurations"][0]
    del config["properties"]["loadBalancerBackendAddressPools"]
    balancer = resource(BALANCER)
    held = {"enableFloatingIP": True, "backendIPConfiguration": {"id": config["id"]}}
    rule = {"id": f"{BALANCER}/inboundNatRules/ssh", "name": "ssh", "properties": held}
    balancer["properties"] |= {"inboundNatRules": [rule], "loadBalancingRules": []}
    arm.control("edit", {"resources": [nic, balancer]})
    assert "'ssh' has a floating IP" in machines(reader)["sql-1"].unreadable


@pytest.mark.parametrize("address", ["10.20.1.16/28", "web", "10.0.0.256"])
def test_an_address_that_is_none_leaves_its_vm_unknown(
    arm: ArmClient, reader: ArmReader, address: str
) -> None:
    """A rule is never written for a range that was read in the place of an address."""
    nic = resource(f"{NETWORK}/networkInterfaces/web-1-nic")
    nic["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"] = address
    arm.control("edit", {"resources": [nic]})
    found = VirtualMachines(reader).find(f"{APP}/Microsoft.Compute/virtualMachines/web-1")
    for machine in (machines(reader)["web-1"], found):
        assert machine is not None
        assert machine.unreadable == f"its address '{address}' is not an IP address"
        assert machine.attachments == ()


# --- the same address twice behind one group ---------------------------------------------------

WEB_1 = f"{APP}/Microsoft.Compute/virtualMachines/web-1"
TWIN = "web-2"


def _other_network(arm: ArmClient) -> dict[str, Any]:
    """Put a second network with the range of the first there; return its subnet."""
    network = resource(f"{NETWORK}/virtualNetworks/app-vnet")
    network["id"] = f"{NETWORK}/virtualNetworks/other-vnet"
    subnet = network["properties"]["subnets"][0]
    subnet["id"] = f"{network['id']}/subnets/web"
    subnet["properties"].pop("networkSecurityGroup", None)
    network["properties"]["subnets"] = [subnet]
    arm.control("edit", {"resources": [network]})
    return network


@pytest.mark.parametrize("scopes", [(), WHOLE, (f"{WHOLE[0]}/resourceGroups/app-rg",)])
@pytest.mark.parametrize("network", ["same", "other", "other, group on the subnet"])
def test_an_address_that_another_vm_has_behind_the_same_group_is_named(
    arm: ArmClient, reader: ArmReader, network: str, scopes: tuple[str, ...]
) -> None:
    """Row H: in one network or two, with the group on the interface or on the subnet."""
    nic = resource(f"{NETWORK}/networkInterfaces/{TWIN}-nic")
    held = nic["properties"]["ipConfigurations"][0]["properties"]
    group = resource(f"{NETWORK}/networkInterfaces/web-1-nic")["properties"]["networkSecurityGroup"]
    held["privateIPAddress"] = "10.0.1.4"
    if network != "same":
        other = _other_network(arm)
        held["subnet"] = {"id": other["properties"]["subnets"][0]["id"]}
        if network.endswith("subnet"):
            nic["properties"].pop("networkSecurityGroup")
            other["properties"]["subnets"][0]["properties"]["networkSecurityGroup"] = group
            arm.control("edit", {"resources": [other]})
    arm.control("edit", {"resources": [nic]})
    single = VirtualMachines(reader, scopes)
    machine = single.find(WEB_1)
    assert machine is not None
    assert single.shared_address(machine) == (
        "the address of 'web-1' also belongs to 'web-2' behind the same network "
        "security group 'web-nsg' (10.0.1.4); opening it would open both"
    )


def test_an_address_is_shared_only_behind_the_same_group(arm: ArmClient, reader: ArmReader) -> None:
    """Another group in front of the other VM keeps rules apart."""
    nic = resource(f"{NETWORK}/networkInterfaces/{TWIN}-nic")
    nic["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"] = "10.0.1.4"
    nic["properties"]["networkSecurityGroup"] = {"id": f"{NETWORK}/networkSecurityGroups/open-nsg"}
    arm.control("edit", {"resources": [nic]})
    single = VirtualMachines(reader)
    machine = single.find(WEB_1)
    assert machine is not None
    assert single.shared_address(machine) == ""


def test_an_interface_without_a_vm_counts_too(arm: ArmClient, reader: ArmReader) -> None:
    """It may be attached to one while the port is open; it is named itself."""
    nic = resource(f"{NETWORK}/networkInterfaces/{TWIN}-nic")
    nic["id"] = nic["id"].replace(TWIN, "spare")
    nic["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"] = "10.0.1.4"
    nic["properties"].pop("virtualMachine", None)
    arm.control("edit", {"resources": [nic]})
    single = VirtualMachines(reader)
    machine = single.find(WEB_1)
    assert machine is not None
    assert "also belongs to 'spare-nic'" in single.shared_address(machine)


def test_a_group_in_front_of_one_vm_needs_no_list(arm: ArmClient, reader: ArmReader) -> None:
    """Its back references name no interface and subnet of others; reads are scarce."""
    single = VirtualMachines(reader)
    machine = single.find(f"{APP}/Microsoft.Compute/virtualMachines/open-1")
    assert machine is not None
    before = len(arm.ask("log")["calls"])
    assert single.shared_address(machine) == ""
    assert len(arm.ask("log")["calls"]) == before + 1


def lists_made(arm: ArmClient, single: VirtualMachines, name: str, *, lists: bool) -> int:
    """Look for neighbours of a VM; return how many lists of interfaces that took."""
    machine = single.find(f"{APP}/Microsoft.Compute/virtualMachines/{name}")
    assert machine is not None
    before = len(arm.ask("log")["calls"])
    assert single.neighbours(machine, lists=lists).shared == ""
    calls = arm.ask("log")["calls"][before:]
    return sum(call["path"].endswith("/networkInterfaces") for call in calls)


def test_a_group_before_one_network_needs_no_list_once_interfaces_were_listed(
    arm: ArmClient, reader: ArmReader
) -> None:
    """The cloud gives an address once in a network, and an interface stays in its network."""
    single = VirtualMachines(reader)
    assert lists_made(arm, single, "db-1", lists=True) == 1
    assert lists_made(arm, single, "db-1", lists=False) == 0
    assert lists_made(arm, single, "web-1", lists=False) == 0
    assert lists_made(arm, VirtualMachines(reader), "web-1", lists=False) == 1


def test_an_address_given_twice_in_a_network_is_listed(arm: ArmClient, reader: ArmReader) -> None:
    """It is listed with its network, and addresses of other networks are not mixed in."""
    single = VirtualMachines(reader)
    assert single.addresses_given_twice(SUBSCRIPTION) == frozenset()
    nic = resource(f"{NETWORK}/networkInterfaces/{TWIN}-nic")
    nic["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"] = "10.0.1.4"
    arm.control("edit", {"resources": [nic]})
    [(network, address)] = single.addresses_given_twice(SUBSCRIPTION)
    assert (network.rpartition("/")[2], address) == ("app-vnet", "10.0.1.4")


def test_a_network_is_known_for_half_an_hour() -> None:
    """After that an interface may have been made anew; one in two networks is not noted."""
    now = [0.0]
    known = KnownNetworks(lambda: now[0])
    config = {"properties": {"subnet": {"id": "/Net/subnets/a"}}}
    known.note([{"id": "/NIC", "properties": {"ipConfigurations": [config]}}])
    other = {"properties": {"subnet": {"id": "/other/subnets/a"}}}
    known.note([{"id": "/two", "properties": {"ipConfigurations": [config, other]}}])
    assert [known.of(each) for each in ("/nic", "/two", "/x/subnets/a")] == ["/net", "", "/x"]
    now[0] = KEPT_SECONDS + 1
    assert known.of("/nic") == ""


def test_interfaces_that_may_not_be_listed_are_a_reason_to_refuse(
    arm: ArmClient, reader: ArmReader
) -> None:
    """Whether the address is another's as well is then not known."""
    single = VirtualMachines(reader)
    machine = single.find(WEB_1)
    assert machine is not None
    fault = {"kind": "linkedAuthorizationFailed", "method": "GET", "path": "networkInterfaces$"}
    arm.control("faults", {"faults": [{**fault, "times": None}]})
    assert "cannot be listed" in single.shared_address(machine)


def test_a_plain_load_balancer_changes_nothing(arm: ArmClient, reader: ArmReader) -> None:
    """Packets carry the VM's address then."""
    balancer = resource(BALANCER)
    balancer["properties"]["loadBalancingRules"][0]["properties"]["enableFloatingIP"] = False
    arm.control("edit", {"resources": [balancer]})
    assert machines(reader)["sql-1"].unreadable == ""
    found = VirtualMachines(reader).find(f"{APP}/Microsoft.Compute/virtualMachines/sql-1")
    assert found is not None
    assert found.unreadable == ""


def test_load_balancers_that_may_not_be_read_leave_all_unknown(
    arm: ArmClient, reader: ArmReader
) -> None:
    """A refusal is no proof that there are none."""
    refusal = {"kind": "linkedAuthorizationFailed", "method": "GET", "path": "loadBalancers"}
    arm.control("faults", {"faults": [{**refusal, "times": None}]})
    assert all("could not be read" in m.unreadable for m in machines(reader).values())
    single = VirtualMachines(reader)
    sql = single.find(f"{APP}/Microsoft.Compute/virtualMachines/sql-1")
    web = single.find(f"{APP}/Microsoft.Compute/virtualMachines/web-1")
    assert sql is not None
    assert web is not None
    assert "cannot be read" in sql.unreadable
    assert web.unreadable == ""  # no load balancer names it


def test_an_interface_missing_from_the_list_leaves_its_vm_unknown(
    arm: ArmClient, reader: ArmReader
) -> None:
    """Half seen is not seen."""
    arm.control("edit", {"remove": [f"{NETWORK}/networkInterfaces/web-1-nic"]})
    assert "'web-1-nic' could not be read" in machines(reader)["web-1"].unreadable


@pytest.mark.parametrize(
    "what", ["virtualMachines", "networkInterfaces", "networkSecurityGroups", "loadBalancers"]
)
def test_a_list_that_fails_is_an_error(arm: ArmClient, reader: ArmReader, what: str) -> None:
    """Never an empty answer."""
    arm.control("faults", {"faults": [{"kind": "serverError", "path": what, "times": None}]})
    with pytest.raises(OutsideError):
        ArmInventory(reader).read(WHOLE)
