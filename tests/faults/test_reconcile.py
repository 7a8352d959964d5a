"""Another writer's changes to our rules or tables are found by reading Azure, and repaired."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.domain.model import Status
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.use_cases.reports.machines import Category
from shared.use_cases.reports.machines import report as machines_report
from shared.use_cases.timers.reconcile import reconcile
from tests.fakes import NAMES
from tests.faults.simulated import (
    FOREIGN,
    SimulatedWorld,
    assert_over,
    inventory,
    nsg,
    nsg_id,
)
from tests.world import BOB, DB, NSG_NIC, NSG_SUBNET, POLICY, SOURCE, WEB

ANYWHERE = "198.51.100.66"


def opened(nsg_write: str = "auto") -> tuple[SimulatedWorld, str]:
    """Make a world with strangers' rules, two protected VMs, and db open."""
    world = SimulatedWorld(*FOREIGN, nsg_write=nsg_write)
    world.protect()
    return world, world.ask(DB, minutes=10).id


def deny_of(world: SimulatedWorld, vm: str) -> SecurityRule:
    """Return the deny rule of a VM behind the subnet's group."""
    return next(r for r in world.denies(NSG_SUBNET) if r.name == NAMES.deny(vm, 4))


DENY_EDITS: dict[str, dict[str, Any]] = {
    "a port taken out": {"destinationPortRanges": None, "destinationPortRange": "3389"},
    "another port": {"destinationPortRanges": ["23", "3390"]},
    "another address": {"destinationAddressPrefix": "10.0.0.99"},
    "only one protocol": {"protocol": "Udp"},
    "turned into an allow": {"access": "Allow"},
    "only one source": {"sourceAddressPrefix": "192.0.2.1"},
    "only one source port": {"sourcePortRange": "1024"},
    "the way out": {"direction": "Outbound"},
    "above every allow": {"priority": 150},
    "another text": {"description": "reviewed"},
}


@pytest.mark.parametrize("edit", DENY_EDITS)
def test_a_weakened_deny_is_put_back(edit: str) -> None:
    """Each change of a deny rule is undone, and is one record that names the rule."""
    world, request = opened()
    before, foreign = deny_of(world, DB), world.foreign(NSG_SUBNET)
    world.edit_raw(NSG_SUBNET, before.name, **DENY_EDITS[edit])
    assert reconcile(world.services) == 0
    assert deny_of(world, DB) == before
    assert not world.is_open(DB, source=ANYWHERE)
    assert world.is_open(DB)
    assert [event.reason for event in world.events("repaired")] == [f"{before.name}: edited"]
    assert world.foreign(NSG_SUBNET) == foreign
    assert world.status(request) is Status.INITIATED


def test_a_deleted_deny_is_put_back() -> None:
    """A record says which, where and when; a second look finds nothing more."""
    world, _ = opened()
    before = deny_of(world, DB)
    world.edit(NSG_SUBNET, remove=[before.name])
    reconcile(world.services)
    reconcile(world.services)
    assert deny_of(world, DB) == before
    (event,) = world.events("repaired")
    assert event.reason == f"{before.name}: deleted"
    assert event.firewall_id.casefold() == NSG_SUBNET.casefold()


def test_a_foreign_allow_put_above_a_deny_is_theirs_and_is_told() -> None:
    """We never change a stranger's rule: the VM is Exposed, by that rule's name."""
    world, _ = opened()
    theirs = SecurityRule(
        "open-ssh", Access.ALLOW, "Tcp", ("*",), ("*",), ("22",), priority=120
    )  # fmt: skip
    world.edit(NSG_SUBNET, theirs)
    reconcile(world.services)
    assert world.rules(NSG_SUBNET)["open-ssh"].priority == 120
    assert exposed_by(world, DB) == ["open-ssh"]


@pytest.mark.parametrize("change", ["moved", "deleted"])
def test_a_deny_is_put_back_in_front_of_an_allow_that_came_later(change: str) -> None:
    """Above every foreign allow that came later it closes, and there it stays."""
    world, _ = opened()
    before = deny_of(world, DB)
    world.edit(
        NSG_SUBNET,
        SecurityRule("later-ssh", Access.ALLOW, "Tcp", ("*",), ("*",), ("22",), priority=2000),
    )
    reconcile(world.services)
    assert exposed_by(world, DB) == []
    assert not world.is_open(DB, source=ANYWHERE)
    if change == "moved":
        world.edit_raw(NSG_SUBNET, before.name, priority=3000)
    else:
        world.edit(NSG_SUBNET, remove=[before.name])
    assert "later-ssh" in exposed_by(world, DB)
    world.protect()  # a policy put again, with other ports or not, drops nothing
    reconcile(world.services)
    assert deny_of(world, DB) == before
    assert exposed_by(world, DB) == []
    (event,) = world.events("repaired")
    assert event.reason == f"{before.name}: {'edited' if change == 'moved' else 'deleted'}"


def exposed_by(world: SimulatedWorld, vm: str) -> list[str]:
    """Return the rules by which the report of machines calls a VM Exposed."""
    reports = machines_report(world.services, inventory(), world.services.scopes).machines
    report = next(each for each in reports if each.machine.id == vm)
    assert (report.category is Category.EXPOSED) is bool(report.openings)
    return [str(each.opening.shown["rule"]) for each in report.openings]


ALLOW_EDITS: dict[str, dict[str, Any]] = {
    "everybody": {"sourceAddressPrefix": "*"},
    "everywhere": {"destinationAddressPrefix": "*"},
    "every port": {"destinationPortRange": "*"},
    "every protocol": {"protocol": "*"},
    "a later end in the text": {"description": "JIT access request x until 2099-01-01T00:00:00Z"},
    "above everything": {"priority": 100},
    "below our denies": {"priority": 3000},
    "turned into a deny": {"access": "Deny"},
    "one source port": {"sourcePortRange": "1024"},
}


@pytest.mark.parametrize("edit", ALLOW_EDITS)
def test_an_edited_allow_is_put_back(edit: str) -> None:
    """A grant lets in who asked, to where they asked, until when the request says."""
    world, request = opened()
    (before,) = world.allows(NSG_SUBNET)
    world.edit_raw(NSG_SUBNET, before.name, **ALLOW_EDITS[edit])
    reconcile(world.services)
    assert world.allows(NSG_SUBNET) == [before]
    assert world.is_open(DB)
    assert not world.is_open(DB, source=ANYWHERE)
    assert [event.reason for event in world.events("repaired")] == [f"{before.name}: edited"]
    world.pass_time(11)
    assert_over(world)
    assert world.status(request) is Status.REVOKED


def test_a_deleted_allow_is_put_back() -> None:
    """Another writer's PUT of the whole group without our rule does not end the access."""
    world, _ = opened()
    (before,) = world.allows(NSG_SUBNET)
    world.edit(NSG_SUBNET, remove=[before.name])
    reconcile(world.services)
    assert world.allows(NSG_SUBNET) == [before]
    assert [event.reason for event in world.events("repaired")] == [f"{before.name}: deleted"]


@pytest.mark.parametrize("nsg_write", ["auto", "rules"])
def test_several_changes_at_once_are_each_recorded_once(nsg_write: str) -> None:
    """However many writes it takes to mend them."""
    world, _ = opened(nsg_write)
    (allow,) = world.allows(NSG_SUBNET)
    orphan = replace(allow, name=NAMES.allow("lost", DB, 22, 4), priority=500, sources=("*",))
    world.edit(NSG_SUBNET, orphan, remove=[NAMES.deny(DB, 4)])
    world.edit_raw(NSG_SUBNET, allow.name, sourceAddressPrefix="*")
    world.edit_raw(NSG_SUBNET, NAMES.deny(WEB, 4), access="Allow")
    reconcile(world.services)
    told = sorted(event.reason for event in world.events("repaired"))
    assert told == sorted(
        [
            f"{orphan.name}: an orphan",
            f"{NAMES.deny(DB, 4)}: deleted",
            f"{NAMES.deny(WEB, 4)}: edited",
            f"{allow.name}: edited",
        ]
    )
    assert world.allows(NSG_SUBNET) == [allow]


# --- what no row asks for any more --------------------------------------------------------------


@pytest.mark.parametrize("minutes", [6, 25], ids=["within the grace", "after it"])
def test_a_rule_of_a_grant_that_ended_goes_again(minutes: int) -> None:
    """A rule put back by hand makes one record, with its row or long after its purge."""
    world = SimulatedWorld(*FOREIGN)
    world.protect()
    world.ask(DB, minutes=5)
    (rule,) = world.allows(NSG_SUBNET)
    world.pass_time(minutes)
    assert bool(world.services.rows.read(NSG_SUBNET).grants) is (minutes == 6)
    world.edit(NSG_SUBNET, rule)
    assert world.is_open(DB)
    reconcile(world.services)
    assert_over(world)
    (event,) = world.events("repaired")
    assert event.reason.startswith(f"{rule.name}: ")
    assert len(world.events("closed")) == 1


def test_orphans_are_found_by_listing_wherever_they_are() -> None:
    """On a group that no row of ours names: found by its name in the list, page by page."""
    world = SimulatedWorld()
    world.set(pageSize=1)
    orphan = SecurityRule(
        NAMES.allow("gone", WEB, 22, 4), Access.ALLOW, "Tcp", ("*",), ("10.0.0.4",), ("22",),
        priority=200,
    )  # fmt: skip
    stranded = replace(orphan, name=NAMES.deny(WEB, 6), access=Access.DENY, priority=1000)
    other = replace(orphan, name=orphan.name.replace("test1", "other"), priority=201)
    far = nsg_id("far-away")
    world.place(nsg(far, orphan, stranded, other))
    reconcile(world.services)
    assert set(world.rules(far)) == {stranded.name, other.name}
    assert {event.reason for event in world.events("repaired")} == {f"{orphan.name}: an orphan"}


def test_a_group_that_fails_stops_no_other() -> None:
    """The count of what could not be looked at is told; the next time it is looked at again."""
    world, _ = opened()
    orphan = replace(world.allows(NSG_SUBNET)[0], name=NAMES.allow("lost", DB, 22, 4), priority=500)
    here, there = nsg_id("a-first"), nsg_id("z-last")
    world.place(nsg(here, orphan), nsg(there, orphan))
    world.order(kind="serverError", path="a-first", times=None)
    assert reconcile(world.services) == 1
    assert world.allows(here)
    assert not world.allows(there)
    world.order()
    assert reconcile(world.services) == 0
    assert not world.allows(here)


def test_a_scope_that_cannot_be_listed_stops_no_other() -> None:
    """Rights lost on a group of another subscription are told, and the others are looked at.

    Neither everything there can be listed nor the security groups alone.
    """
    world, _ = opened()
    orphan = replace(world.allows(NSG_SUBNET)[0], name=NAMES.allow("lost", DB, 22, 4), priority=500)
    far = nsg_id("far-away")
    world.place(nsg(far, orphan))
    lost = "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/lost-rg"
    world.services = replace(world.services, scopes=(lost, *world.services.scopes))
    world.order(kind="serverError", path="lost-rg", times=None)
    assert reconcile(world.services) == 2
    assert not world.allows(far)


# --- state loss --------------------------------------------------------------------------------


def lose_everything(world: SimulatedWorld) -> None:
    """Delete every table."""
    for table in world.tables.all():
        table.rows.clear()


def lose_firewalls(world: SimulatedWorld) -> None:
    """Delete the table of what firewalls should hold."""
    world.tables.firewalls.rows.clear()


def lose_requests(world: SimulatedWorld) -> None:
    """Delete the table of requests."""
    world.tables.requests.rows.clear()


def lose_due(world: SimulatedWorld) -> None:
    """Delete the table of what is due."""
    world.tables.due.rows.clear()


def lose_policies(world: SimulatedWorld) -> None:
    """Delete the table of policies."""
    world.tables.policies.rows.clear()


@pytest.mark.parametrize(
    "lose", [lose_everything, lose_firewalls, lose_requests, lose_due, lose_policies]
)
def test_lost_tables_leave_nothing_open(lose: Callable[[SimulatedWorld], None]) -> None:
    """With grants live on two groups and a table gone, or all.

    Nothing is open past its end, no foreign rule is touched, and a policy that is put back works
    as on the first day.
    """
    world, _ = opened()
    foreign = world.foreign(NSG_SUBNET)
    for who, source in ((BOB, SOURCE), (BOB, ANYWHERE)):
        world.ask(WEB, who=who, source=source, minutes=10)
    lose(world)
    reconcile(world.services)
    world.pass_time(2)
    reconcile(world.services)
    world.pass_time(10)
    reconcile(world.services)
    world.pass_time(18)
    for firewall_id in (NSG_NIC, NSG_SUBNET):
        assert not world.allows(firewall_id)
    assert world.foreign(NSG_SUBNET) == foreign
    world.protect()
    assert_over(world)
    again = world.ask(WEB)
    assert world.status(again.id) is Status.INITIATED
    assert world.is_open()
    world.pass_time(11)
    assert_over(world)


def test_with_every_table_lost_one_reconcile_closes_what_was_open() -> None:
    """Every allow of ours is found by its name and goes at once, on record; each deny stays."""
    world, _ = opened()
    world.ask(WEB, who=BOB, minutes=60)
    ours = {(g, r.name) for g in (NSG_NIC, NSG_SUBNET) for r in world.allows(g)}
    denies = [world.denies(g) for g in (NSG_NIC, NSG_SUBNET)]
    lose_everything(world)
    assert reconcile(world.services) == 0
    assert [world.ours(g) for g in (NSG_NIC, NSG_SUBNET)] == denies
    events = {(event.firewall_id.casefold(), event.reason) for event in world.events("repaired")}
    assert events == {(group.casefold(), f"{name}: an orphan") for group, name in ours}


def test_with_the_firewalls_rows_lost_the_policy_alone_restores_the_denies() -> None:
    """The policies' table is enough for the standing denies; grants end early rather than late."""
    world, request = opened()
    lose_firewalls(world)
    reconcile(world.services)
    world.pass_time(2)
    assert {rule.name for rule in world.denies(NSG_SUBNET)} == {
        NAMES.deny(WEB, 4),
        NAMES.deny(DB, 4),
    }
    assert not world.allows(NSG_SUBNET)
    world.pass_time(12)
    assert world.request(request).is_final
    assert world.services.policies.get(POLICY) is not None
