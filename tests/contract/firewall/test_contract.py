"""The contract of a firewall, kept by the one in memory and by network security groups.

The real adapter goes through Microsoft's own client to the ARM simulator, faults and all.
"""

from dataclasses import replace

import pytest

from shared.firewalls.nsg.model import Access
from shared.firewalls.nsg.rules import Band, Plan, plan
from shared.ports import FirewallChangedError, FirewallRefusedError
from tests.contract.firewall.grounds import (
    GONE,
    HASH,
    SUBSCRIPTION,
    Ground,
    allow,
    by_name,
    deny,
    foreign,
    held,
    one_of_each,
    snapshot_write,
)
from tests.fakes import NAMES


def test_a_read_shows_every_rule(ground: Ground) -> None:
    """Ours and foreign ones alike, field by field."""
    rules = (foreign(), deny(), allow(1, sources=("198.51.100.0/28", "203.0.113.7")))
    firewall_id = ground.add(*rules)
    snapshot = ground.firewall.read(firewall_id)
    assert snapshot.exists
    assert snapshot.firewall_id == firewall_id
    assert {rule.name: rule for rule in snapshot.rules} == by_name(*rules)


def test_an_id_is_read_in_any_letter_case(ground: Ground) -> None:
    """ARM ids are compared without case."""
    firewall_id = ground.add(foreign())
    assert held(ground, firewall_id.upper().replace("/SUBSCRIPTIONS", "/subscriptions"))


def test_a_firewall_that_is_gone_is_said_to_be_gone(ground: Ground) -> None:
    """Not an error, and not an empty firewall: it does not exist."""
    snapshot = ground.firewall.read(GONE)
    assert (snapshot.exists, snapshot.rules) == (False, ())


def test_a_version_stands_for_the_rules(ground: Ground) -> None:
    """The version stays the same without a write, and differs after any edit."""
    firewall_id = ground.add(foreign())
    first = ground.firewall.read(firewall_id).version
    assert ground.firewall.read(firewall_id).version == first
    ground.edit(firewall_id, foreign("other", 400))
    assert ground.firewall.read(firewall_id).version != first


def test_a_plan_of_several_changes_is_one_write(ground: Ground) -> None:
    """New, changed and removed together; what the plan does not name stays."""
    firewall_id = ground.add(foreign(), allow(1), allow(2), deny())
    later = allow(1, description="JIT access request request-1 until 2026-11-22T16:00:00Z")
    snapshot_write(ground, firewall_id, Plan(put=(later, allow(3)), remove=(allow(2).name,)))
    assert held(ground, firewall_id) == by_name(foreign(), later, allow(3), deny())
    assert ground.writes(firewall_id) == 1


def test_without_whole_writes_a_plan_is_carried_out_change_by_change(ground: Ground) -> None:
    """Each write does one change; planning anew after each reaches the end."""
    ground.write_whole(on=False)
    firewall_id = ground.add(foreign(), allow(1))
    wanted = [deny(), allow(2)]
    writes = 0
    while True:
        snapshot = ground.firewall.read(firewall_id)
        changes = plan(snapshot.rules, wanted, NAMES, Band())
        if changes.is_empty:
            break
        ground.firewall.write(snapshot, changes)
        writes += 1
        assert ground.writes(firewall_id) == writes
    assert writes == 3
    assert held(ground, firewall_id).keys() == by_name(foreign(), *wanted).keys()


def test_closing_comes_first_where_only_a_part_goes_through(ground: Ground) -> None:
    """Of a plan whose first change alone is written, that is the removal."""
    ground.write_whole(on=False)
    firewall_id = ground.add(allow(1))
    snapshot_write(ground, firewall_id, Plan(put=(deny(),), remove=(allow(1).name,)))
    assert held(ground, firewall_id) == {}


def test_a_rule_is_changed_in_place(ground: Ground) -> None:
    """One change of one rule, such as a later end, is one write, and nothing else moves."""
    firewall_id = ground.add(foreign(), allow(1), allow(2))
    later = allow(1, description="JIT access request request-1 until 2026-11-22T16:00:00Z")
    snapshot_write(ground, firewall_id, Plan(put=(later,)))
    assert held(ground, firewall_id) == by_name(foreign(), later, allow(2))
    assert ground.writes(firewall_id) == 1


STALE = {
    "several changes": Plan(put=one_of_each()),
    "a change": Plan(put=(allow(9, description="changed"),)),
    "a removal": Plan(remove=(allow(9).name,)),
}


@pytest.mark.parametrize("changes_name", STALE)
def test_a_stale_snapshot_writes_nothing(ground: Ground, changes_name: str) -> None:
    """Another writer's edit since the read is noticed, and both their rules and ours stay."""
    firewall_id = ground.add(foreign(), allow(9))
    snapshot = ground.firewall.read(firewall_id)
    ground.edit(firewall_id, foreign("quarantine", 150, access=Access.DENY))
    before = held(ground, firewall_id)
    with pytest.raises(FirewallChangedError):
        ground.firewall.write(snapshot, STALE[changes_name])
    assert held(ground, firewall_id) == before


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("changes_name", STALE)
def test_a_firewall_that_went_meanwhile_is_a_change(
    ground: Ground, changes_name: str, whole: bool
) -> None:
    """A write to what was there when it was read says: read again."""
    ground.write_whole(on=whole)
    snapshot = ground.firewall.read(ground.add(foreign(), allow(9)))
    gone = replace(snapshot, firewall_id=GONE, raw=snapshot.raw)
    with pytest.raises(FirewallChangedError):
        ground.firewall.write(gone, STALE[changes_name])


def test_a_refused_rule_is_named(ground: Ground) -> None:
    """A rule turned down for good is told by its name, so that it stalls no other."""
    ground.write_whole(on=False)
    firewall_id = ground.add(foreign())
    ground.refuse(allow(1).name)
    with pytest.raises(FirewallRefusedError) as caught:
        snapshot_write(ground, firewall_id, Plan(put=(allow(1),)))
    assert caught.value.rule_name == allow(1).name
    assert caught.value.code == "RequestDisallowedByPolicy"
    assert held(ground, firewall_id) == by_name(foreign())
    snapshot_write(ground, firewall_id, Plan(put=(allow(2),)))
    assert held(ground, firewall_id) == by_name(foreign(), allow(2))


def test_firewalls_with_rules_of_ours_are_found(ground: Ground) -> None:
    """Those that hold one, and not those with another installation's or Defender's."""
    ours, opened = ground.add(foreign(), deny()), ground.add(allow(1))
    for name in (
        f"SecurityCenter-JITRule-1170687618-{HASH}",
        f"SecurityCenter-JITRule-other1-{HASH}",
        f"SecurityCenter-JITRule_{NAMES.deployment}_short",
    ):
        ground.add(foreign(name))
    found = ground.firewall.list_with_our_rules([f"/subscriptions/{SUBSCRIPTION}"])
    assert sorted(each.casefold() for each in found) == sorted(
        each.casefold() for each in (ours, opened)
    )
