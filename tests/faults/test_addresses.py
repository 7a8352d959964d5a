"""The firewalls in front of a VM, and its addresses: found anew, and never guessed."""

import pytest

from shared.domain.model import PolicyState, Status
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.use_cases.firewalls.converge import converge
from shared.use_cases.reports.machines import Category
from shared.use_cases.reports.machines import report as machines_report
from shared.use_cases.timers.reconcile import reconcile
from tests.faults.simulated import (
    APPS,
    BARE,
    NETWORK,
    SimulatedWorld,
    assert_over,
    inventory,
    machine,
    network,
    nic,
    nic_id,
    nsg,
    nsg_id,
)
from tests.world import BOB, DB, NSG_NIC, NSG_SUBNET, SOURCE, WEB, vm_id

SIX = "2001:db8::7"
BOX = vm_id("box")
BOX_NSG, SIDE_NSG = nsg_id("box-nsg"), nsg_id("side-nsg")


def destinations(world: SimulatedWorld, firewall_id: str, access: Access) -> set[str]:
    """Return the addresses that our rules of one access on a group are about."""
    return {each for rule in world.ours(firewall_id, access) for each in rule.destinations}


# --- in front of what --------------------------------------------------------------------------


def test_an_address_behind_two_groups_is_opened_on_both() -> None:
    """On the interface and on the subnet: Initiated only when both let it through."""
    world = SimulatedWorld()
    world.protect()
    world.order(kind="serverError", path="subnet-nsg/", times=3)
    request = world.ask()
    assert world.status(request.id) is Status.INITIATED
    assert world.is_open(WEB)
    assert len(world.port(request.id).fronts or ()) == 2
    assert destinations(world, NSG_SUBNET, Access.ALLOW) == {"10.0.0.4"}


def test_several_interfaces_are_each_opened_by_their_own_addresses() -> None:
    """Each group is told of the addresses behind it, and of no others."""
    world = SimulatedWorld()
    world.place(
        nsg(BOX_NSG),
        nsg(SIDE_NSG),
        nic("box-1", "10.0.9.4", "10.0.9.7", group=BOX_NSG, subnet=BARE),
        nic("box-2", "10.0.9.6", group=SIDE_NSG, subnet=BARE),
        machine("box", "box-1", "box-2"),
    )
    world.protect(BOX)
    request = world.ask(BOX)
    assert world.status(request.id) is Status.INITIATED
    for access in Access:
        assert destinations(world, BOX_NSG, access) == {"10.0.9.4", "10.0.9.7"}
        assert destinations(world, SIDE_NSG, access) == {"10.0.9.6"}
    world.pass_time(11)
    assert_over(world, BOX_NSG, SIDE_NSG)


def test_two_interfaces_behind_one_group_share_its_rules() -> None:
    """One rule for each grant and family, whatever the number of addresses."""
    world = SimulatedWorld()
    world.place(nic("db-2", "10.0.0.6"), machine("db", "db-nic", "db-2"))
    world.protect(DB)
    world.ask(DB)
    assert len(world.allows(NSG_SUBNET)) == 1
    assert destinations(world, NSG_SUBNET, Access.ALLOW) == {"10.0.0.5", "10.0.0.6"}


def test_a_vm_without_any_group_is_refused_with_the_reason() -> None:
    """There is nothing to open, and nothing that closes: the policy and the request say so."""
    world = SimulatedWorld()
    world.place(nic("box-1", "10.0.9.4", subnet=BARE), machine("box", "box-1"))
    world.protect(BOX, DB)
    assert world.policy().state is PolicyState.FAILED
    assert "box: no network security group stands in front of it" in world.policy().error
    request = world.ask(BOX)
    assert world.status(request.id) is Status.FAILED
    assert "no network security group stands in front of the VM" in world.why(request.id)
    assert world.status(world.ask(DB).id) is Status.INITIATED


def test_an_address_without_a_group_beside_one_with_is_told() -> None:
    """Half a VM behind a firewall is not closed: the policy names the bare address."""
    world = SimulatedWorld()
    world.place(nic("db-2", "10.0.9.6", subnet=BARE), machine("db", "db-nic", "db-2"))
    world.protect(DB)
    assert "in front of its address 10.0.9.6" in world.policy().error
    assert destinations(world, NSG_SUBNET, Access.DENY) == {"10.0.0.5"}


def test_a_deallocated_vm_is_opened_like_any_other() -> None:
    """Its addresses stay its own, so the rule is there when it starts."""
    world = SimulatedWorld()
    world.place(machine("db", "db-nic", power="deallocated"))
    world.protect(DB)
    assert world.status(world.ask(DB).id) is Status.INITIATED
    assert world.is_open(DB)


# --- families ----------------------------------------------------------------------------------


@pytest.fixture
def dual() -> SimulatedWorld:
    """Give a world whose db has an address of each family."""
    world = SimulatedWorld()
    world.place(nic("db-nic", "10.0.0.5", "fd00::5"))
    world.protect(DB)
    return world


def test_each_family_has_a_rule_of_its_own(dual: SimulatedWorld) -> None:
    """Azure takes no rule that mixes families: sources and destinations have one family."""
    request = dual.ask_from(SOURCE, SIX, vm=DB)
    assert dual.status(request.id) is Status.INITIATED
    pairs = {(rule.sources, rule.destinations) for rule in dual.allows(NSG_SUBNET)}
    assert pairs == {((SOURCE,), ("10.0.0.5",)), ((SIX,), ("fd00::5",))}
    assert len(dual.denies(NSG_SUBNET)) == 2
    assert dual.is_open(DB)
    assert dual.is_open(DB, source=SIX)
    dual.pass_time(11)
    assert_over(dual)
    assert not dual.is_open(DB, source=SIX)


def test_an_address_family_without_a_request_stays_closed(dual: SimulatedWorld) -> None:
    """An IPv6 source opens the IPv6 address only."""
    dual.ask_from(SIX, vm=DB)
    assert [rule.destinations for rule in dual.allows(NSG_SUBNET)] == [("fd00::5",)]
    assert not dual.is_open(DB)


def test_a_source_of_a_family_that_the_vm_lacks_is_refused() -> None:
    """No rule could let it in: the request fails and says which addresses there are."""
    world = SimulatedWorld()
    world.protect(DB)
    request = world.ask_from(SIX, vm=DB)
    assert world.status(request.id) is Status.FAILED
    assert "no address of the family of 2001:db8::7 (it has 10.0.0.5)" in world.why(request.id)


def test_prefixes_are_collapsed() -> None:
    """Two halves are one prefix, and what lies within another is left out."""
    world = SimulatedWorld()
    world.protect(DB)
    world.ask_from("203.0.113.128/25", "203.0.113.0/25", "203.0.113.9", vm=DB)
    assert world.allows(NSG_SUBNET)[0].sources == ("203.0.113.0/24",)


@pytest.mark.parametrize("nsg_write", ["auto", "rules"])
def test_what_arm_spells_anew_is_no_drift(nsg_write: str) -> None:
    """However the service writes prefixes and protocols back, the next look writes nothing."""
    world = SimulatedWorld(nsg_write=nsg_write)
    world.set(normalise=True)
    world.place(nic("db-nic", "10.0.0.5", "fd00:0:0:0::5"))
    world.protect(DB)
    request = world.ask_from("198.51.100.0/24", "2001:DB8:0:0::7/128", "203.0.113.7/32", vm=DB)
    assert world.status(request.id) is Status.INITIATED
    sent = len(world.writes())
    reconcile(world.services)
    assert len(world.writes()) == sent


def test_spellings_of_a_colleague_are_no_drift() -> None:
    """The same rule in other words (case, /32, lists of one, IPv6 in full) is left alone."""
    world = SimulatedWorld()
    world.place(nic("db-nic", "10.0.0.5", "fd00::5"))
    world.protect(DB)
    world.ask_from(SOURCE, SIX, vm=DB)
    for rule in world.allows(NSG_SUBNET):
        source, destination = rule.sources[0], rule.destinations[0]
        full = {SIX: "2001:0DB8:0:0:0:0:0:7", SOURCE: f"{SOURCE}/32"}[source]
        world.edit_raw(
            NSG_SUBNET,
            rule.name,
            protocol="TCP",
            sourceAddressPrefix=None,
            sourceAddressPrefixes=[full],
            destinationAddressPrefix=f"{destination}/{32 if '.' in destination else 128}",
            destinationPortRange=None,
            destinationPortRanges=["22"],
        )
    sent = len(world.writes())
    reconcile(world.services)
    assert len(world.writes()) == sent
    assert not world.events("repaired")


# --- what changes ------------------------------------------------------------------------------


def test_an_interface_moved_to_another_group_is_followed() -> None:
    """The group it left holds no rule of ours any more; what it came to is closed at once."""
    world = SimulatedWorld()
    world.protect(WEB)
    request = world.ask(minutes=60)
    world.place(nsg(SIDE_NSG), nic("web-nic", "10.0.0.4", group=SIDE_NSG))
    reconcile(world.services)
    world.work()
    assert not world.ours(NSG_NIC)
    assert destinations(world, SIDE_NSG, Access.DENY) == {"10.0.0.4"}
    assert world.request(request.id).is_final
    assert not world.allows(NSG_SUBNET)
    again = world.ask()
    assert world.status(again.id) is Status.INITIATED
    assert world.is_open()
    assert not world.ours(NSG_NIC)


def test_a_group_put_in_front_of_an_open_vm_ends_what_it_blocks() -> None:
    """It says Initiated of nothing that cannot be reached, and the next request opens both."""
    world = SimulatedWorld()
    world.protect(DB)
    request = world.ask(DB, minutes=60)
    world.place(nsg(SIDE_NSG), nic("db-nic", "10.0.0.5", group=SIDE_NSG))
    assert reconcile(world.services) == 0
    world.work()
    assert world.status(request.id) is Status.FAILED
    assert "another network security group was put in front" in world.why(request.id)
    assert_over(world)
    again = world.ask(DB)
    assert world.status(again.id) is Status.INITIATED
    assert world.is_open(DB)
    reconcile(world.services)
    assert world.status(again.id) is Status.INITIATED


def test_an_interface_added_to_an_open_vm_ends_nothing() -> None:
    """An open port can still be reached by its address; the new one stays closed."""
    world = SimulatedWorld()
    world.protect(DB)
    request = world.ask(DB, minutes=60)
    world.place(
        nsg(SIDE_NSG),
        nic("db-2", "10.0.9.8", group=SIDE_NSG, subnet=BARE),
        machine("db", "db-nic", "db-2"),
    )
    assert reconcile(world.services) == 0
    world.work()
    assert world.status(request.id) is Status.INITIATED
    assert world.is_open(DB)
    assert destinations(world, SIDE_NSG, Access.DENY) == {"10.0.9.8"}


def test_a_changed_address_closes_what_stood_for_the_old_one() -> None:
    """The deny follows the VM, and the grant ends: the old address may be anybody's tomorrow."""
    world = SimulatedWorld()
    world.protect(DB)
    request = world.ask(DB, minutes=60)
    world.place(nic("db-nic", "10.0.0.77"))
    reconcile(world.services)
    world.work()
    assert destinations(world, NSG_SUBNET, Access.DENY) == {"10.0.0.77"}
    assert not world.allows(NSG_SUBNET)
    assert world.request(request.id).is_final


def test_a_request_right_after_an_address_changed_opens_the_new_one() -> None:
    """No requestor waits for the next reconcile: opening brings the protection up to date."""
    world = SimulatedWorld()
    world.protect(DB)
    world.place(nic("db-nic", "10.0.0.77"))
    request = world.ask(DB)
    assert world.status(request.id) is Status.INITIATED
    assert world.is_open(DB)
    assert destinations(world, NSG_SUBNET, Access.ALLOW) == {"10.0.0.77"}
    assert destinations(world, NSG_SUBNET, Access.DENY) == {"10.0.0.77"}


def test_an_address_that_two_protected_vms_have_is_refused() -> None:
    """Behind one group, opening it for one VM would open the other: the request names it."""
    world = SimulatedWorld()
    world.place(nic("box-1", "10.0.0.5"), machine("box", "box-1"))
    world.protect(DB, BOX)
    request = world.ask(DB)
    assert world.status(request.id) is Status.FAILED
    assert "the address of 'db' also belongs to 'box'" in world.why(request.id)
    assert not world.is_open(BOX)


def test_an_address_reused_while_a_grant_is_live_ends_the_grant() -> None:
    """Db is deleted and box gets its address.

    After one reconcile no caller reaches box with the grant that was given for db.
    """
    world = SimulatedWorld()
    world.place(nic("box-1", "10.0.0.9"), machine("box", "box-1"))
    world.protect(DB, BOX)
    request = world.ask(DB, minutes=60)
    world.remove(DB, nic_id("db-nic"))
    world.place(nic("box-1", "10.0.0.5"))
    assert world.is_open(BOX)
    reconcile(world.services)
    world.work()
    assert not world.is_open(BOX)
    assert world.request(request.id).is_final
    assert destinations(world, NSG_SUBNET, Access.DENY) == {"10.0.0.5"}
    assert world.status(world.ask(BOX).id) is Status.INITIATED


def test_one_address_under_two_groups_is_two_machines() -> None:
    """The same address in another network, behind another group, is no conflict."""
    world = SimulatedWorld()
    world.place(
        nsg(BOX_NSG), nic("box-1", "10.0.0.5", group=BOX_NSG, subnet=BARE), machine("box", "box-1")
    )
    world.protect(DB, BOX)
    assert world.status(world.ask(DB).id) is Status.INITIATED
    assert world.status(world.ask(BOX, who=BOB).id) is Status.INITIATED


def test_a_subnet_that_gets_a_group_is_guarded_by_it() -> None:
    """A group that is put in front of a subnet later gets its deny at the next reconcile."""
    world = SimulatedWorld()
    world.place(
        nsg(BOX_NSG),
        nsg(SIDE_NSG),
        nic("box-1", "10.0.9.4", group=BOX_NSG, subnet=BARE),
        machine("box", "box-1"),
    )
    world.protect(BOX)
    world.place(network(apps=NSG_SUBNET, bare=SIDE_NSG))
    reconcile(world.services)
    world.work()
    assert destinations(world, SIDE_NSG, Access.DENY) == {"10.0.9.4"}
    assert world.status(world.ask(BOX).id) is Status.INITIATED
    assert world.is_open(BOX)


# --- what cannot be compared -------------------------------------------------------------------


def test_groups_of_machines_and_service_tags_count_as_meeting() -> None:
    """A foreign allow for an application security group, or from a service tag, keeps its say.

    Our deny stands after it, and the VM is Exposed, by name.
    """
    asg = f"{NETWORK}/applicationSecurityGroups/ops"
    world = SimulatedWorld()
    for_asg = {
        "name": "ops-in",
        "properties": {
            "access": "Allow",
            "direction": "Inbound",
            "priority": 2000,
            "protocol": "Tcp",
            "sourceAddressPrefix": "Internet",
            "sourcePortRange": "*",
            "destinationApplicationSecurityGroups": [{"id": asg}],
            "destinationPortRange": "22",
        },
    }
    world.place(
        nsg(NSG_SUBNET, for_asg),
        {"id": asg, "location": "westeurope", "properties": {}},
        nic("db-nic", "10.0.0.5", applicationSecurityGroups=[{"id": asg}]),
    )
    foreign = world.foreign(NSG_SUBNET)
    world.protect(DB)
    assert [rule.priority for rule in world.denies(NSG_SUBNET)] == [2001]
    report = report_of(world, DB)
    assert report == (Category.EXPOSED, "ops-in")
    assert world.status(world.ask(DB).id) is Status.INITIATED
    world.pass_time(11)
    assert not world.allows(NSG_SUBNET)
    assert world.foreign(NSG_SUBNET) == foreign


def report_of(world: SimulatedWorld, vm: str) -> tuple[Category, str]:
    """Return how a VM is judged, and the first rule that leaves it open."""
    reports = machines_report(world.services, inventory(), world.services.scopes).machines
    report = next(each for each in reports if each.machine.id == vm)
    rule = str(report.openings[0].opening.shown["rule"]) if report.openings else ""
    return report.category, rule


@pytest.mark.parametrize("floating", [True, False])
def test_a_floating_ip_makes_a_vm_unknown(*, floating: bool) -> None:
    """Packets for the front end's address do not carry the VM's.

    Rules on it decide nothing, so opening is refused with the reason. Without a floating IP it is a
    VM like any other.
    """
    balancer, pool = (
        f"{NETWORK}/loadBalancers/lb",
        f"{NETWORK}/loadBalancers/lb/backendAddressPools/p",
    )
    rule = {
        "name": "sql",
        "id": f"{balancer}/loadBalancingRules/sql",
        "properties": {"enableFloatingIP": floating, "backendAddressPool": {"id": pool}},
    }
    world = SimulatedWorld()
    world.place(
        {"id": balancer, "location": "westeurope", "properties": {"loadBalancingRules": [rule]}},
        nic("db-nic", "10.0.0.5", loadBalancerBackendAddressPools=[{"id": pool}]),
    )
    world.protect(DB)
    request = world.ask(DB)
    if not floating:
        assert world.status(request.id) is Status.INITIATED
        return
    assert world.status(request.id) is Status.FAILED
    assert "load balancing rule 'sql' has a floating IP" in world.why(request.id)
    assert world.policy().state is PolicyState.FAILED
    assert report_of(world, DB)[0] is Category.UNKNOWN


def test_a_colleagues_rule_that_names_nobodys_address_is_left_alone() -> None:
    """Foreign rules are read by meaning and never written, whatever they hold."""
    odd = SecurityRule(
        "odd", Access.DENY, "Udp", ("VirtualNetwork",), ("10.0.0.0/25",), ("1-65535",), "x", 900
    )
    world = SimulatedWorld(odd)
    foreign = world.foreign(NSG_SUBNET)
    world.protect(DB)
    world.ask(DB)
    converge(world.services, NSG_SUBNET)
    world.pass_time(11)
    assert world.foreign(NSG_SUBNET) == foreign
    assert APPS in world.arm.call("GET", NSG_SUBNET).content.decode()
