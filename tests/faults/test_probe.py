"""Whole writes rest on If-Match: proven on a group of the app's own, kept with its age, or not used."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.domain.model import Status
from shared.firewalls.nsg.model import Access, SecurityRule, Snapshot
from shared.firewalls.nsg.rules import Plan
from shared.use_cases.timers import health as watch
from shared.use_cases.timers.reconcile import reconcile
from tests.fakes import NAMES, START
from tests.faults.simulated import FOREIGN, PROBE, SimulatedWorld, assert_over
from tests.world import ALICE, BOB, DB, NSG_SUBNET

DAY = timedelta(hours=24)


def probes(world: SimulatedWorld) -> list[int]:
    """Return how each probe was answered."""
    return [call["status"] for call in world.writes(PROBE)]


def proven(world: SimulatedWorld) -> tuple[str, datetime | None]:
    """Return what is stored of the last probe."""
    proof = world.services.firewalls.guard.proof()
    return proof.state, proof.at


def test_the_probe_is_sent_to_a_group_of_our_own() -> None:
    """A PUT with an etag that cannot match, to the probe group and nowhere else; 412 is a yes."""
    world = SimulatedWorld()
    assert world.probe.renew()
    assert probes(world) == [412]
    assert not world.writes()
    assert proven(world) == ("honoured", START)


def test_the_answer_is_kept_with_its_age() -> None:
    """For a day the probe does not run again, however much is written; health tells the answer's time."""
    world = SimulatedWorld()
    world.protect()
    world.ask(DB)
    world.pass_time(20)
    assert probes(world) == [412]
    report = watch.report(world.services)
    assert report.probe == "honoured"
    assert report.probed_at is not None
    assert report.probed_at - START < timedelta(seconds=1)
    assert not report.warnings


def test_the_answer_is_asked_for_anew_after_a_day() -> None:
    """Reconciling asks once the kept answer is older than a day, and believes the new one."""
    world = SimulatedWorld()
    world.probe.renew()
    world.clock.advance(DAY.total_seconds())
    reconcile(world.services)
    assert probes(world) == [412]
    world.clock.advance(1)
    world.order(kind="ignoreIfMatch", times=None)
    reconcile(world.services)
    assert probes(world) == [412, 200]
    assert proven(world) == ("ignored", START + DAY + timedelta(seconds=1))
    assert watch.report(world.services).warnings == ("whole writes are off: If-Match is ignored",)


UNKNOWN: dict[str, dict[str, Any]] = {
    "read fails": {"kind": "serverError", "method": "GET"},
    "write fails": {"kind": "serverError", "method": "PUT"},
    "read is dropped": {"kind": "dropBefore", "method": "GET"},
    "write is dropped": {"kind": "dropAfter", "method": "PUT"},
    "read throttled": {"kind": "throttle", "method": "GET", "retryAfter": 300},
    "write throttled": {"kind": "throttle", "method": "PUT", "retryAfter": 300},
    "locked": {"kind": "locked"},
    "another operation": {"kind": "conflict"},
    "not allowed to write": {"kind": "policyDenied"},
    "not allowed to read": {"kind": "policyDenied", "method": "GET"},
    "a lock": {"kind": "scopeLocked", "method": "PUT"},
}


@pytest.mark.parametrize("failure", UNKNOWN)
def test_a_probe_that_fails_allows_nothing_and_stops_nothing(failure: str) -> None:
    """Only a 412 is a yes.

    Without an answer changes go one by one, health says so, and opening and closing go on; after a
    quarter of an hour it is asked for again.
    """
    world = SimulatedWorld(*FOREIGN)
    world.order({**UNKNOWN[failure], "path": "jit-probe", "times": None})
    world.protect()
    requests = [world.ask(DB, who=who, minutes=5) for who in (ALICE, BOB)]
    assert {world.status(each.id) for each in requests} == {Status.INITIATED}
    assert watch.report(world.services).warnings == ("whole writes are off: If-Match is unknown",)
    world.pass_time(6)
    assert_over(world)
    assert {world.status(each.id) for each in requests} == {Status.REVOKED}
    assert not world.whole_writes()
    world.order()
    world.clock.advance(10 * 60)
    assert world.probe.renew()


def test_a_probe_group_that_is_gone_is_no_proof() -> None:
    """Without the group, or without its name in the settings, nothing is proven."""
    world = SimulatedWorld()
    world.remove(PROBE)
    assert not world.probe.renew()
    unnamed = SimulatedWorld(probe_nsg="")
    assert not unnamed.probe.renew()
    assert proven(unnamed)[0] == "unknown"


def test_the_setting_rules_never_writes_whole() -> None:
    """JIT_NSG_WRITE=rules is obeyed even where If-Match is proven."""
    world = SimulatedWorld(nsg_write="rules")
    world.probe.renew()
    world.protect()
    for who in (ALICE, BOB):
        world.ask(DB, who=who, minutes=5)
    world.pass_time(6)
    assert_over(world)
    assert not world.whole_writes()


def meddle(world: SimulatedWorld) -> list[int]:
    """Have a colleague add, change and remove rules between each read and write of ours.

    Returns the edits, as they are made.
    """
    world.edit(NSG_SUBNET, *(_theirs(f"old-{number}", 3000 + number) for number in range(40)))
    done: list[int] = []

    def edit(snapshot: Snapshot, _plan: Plan) -> None:
        if snapshot.firewall_id.casefold() != NSG_SUBNET.casefold():
            return
        number = len(done)
        added, changed = _theirs(f"new-{number}", 2000 + number), _theirs("seen", 2999)
        changed = replace(changed, description=f"edit {number}")
        world.edit(NSG_SUBNET, added, changed, remove=[f"old-{number}"])
        done.append(number)

    world.before_write = edit
    return done


def _theirs(name: str, priority: int) -> SecurityRule:
    return SecurityRule(
        name, Access.ALLOW, "Tcp", ("*",), ("10.0.0.200",), ("8080",), priority=priority
    )


def lost_changes(world: SimulatedWorld, done: list[int]) -> list[str]:
    """Return what the colleague did and is not there any more."""
    held = world.rules(NSG_SUBNET)
    lost = [f"new-{number}" for number in done if f"new-{number}" not in held]
    lost += [f"old-{number}" for number in done if f"old-{number}" in held]
    seen = held["seen"].description if "seen" in held else ""
    return lost if seen == f"edit {done[-1]}" else [*lost, "seen"]


def test_where_if_match_is_ignored_no_foreign_change_is_lost() -> None:
    """The probe finds out, only child rules are written, and all that a colleague does survives.

    The service takes every write whatever its If-Match says, and the colleague edits the same
    group before each of ours.
    """
    world = SimulatedWorld(*FOREIGN)
    foreign = world.foreign(NSG_SUBNET)
    world.order(kind="ignoreIfMatch", times=None)
    done = meddle(world)
    world.protect()
    requests = [world.ask(DB, who=who, minutes=5) for who in (ALICE, BOB)]
    assert {world.status(each.id) for each in requests} == {Status.INITIATED}
    world.pass_time(6)
    assert_over(world)
    assert not world.whole_writes()
    assert lost_changes(world, done) == []
    assert {name: world.foreign(NSG_SUBNET)[name] for name in foreign} == foreign


def test_the_meddling_colleague_would_be_hurt_by_whole_writes() -> None:
    """The test above can fail: with whole writes believed in, ignored If-Match loses changes."""
    world = SimulatedWorld()
    world.probe.renew()
    world.order(kind="ignoreIfMatch", times=None)
    done = meddle(world)
    world.protect()
    assert world.whole_writes()
    assert lost_changes(world, done) != []


def test_where_if_match_is_honoured_no_foreign_change_is_lost() -> None:
    """The same colleague beside whole writes: each is refused until it knows all of theirs."""
    world = SimulatedWorld(*FOREIGN)
    world.probe.renew()
    done = meddle(world)
    edit, calls = world.before_write, iter(range(3))

    def edit_three_times(snapshot: Snapshot, plan: Plan) -> None:
        if next(calls, None) is not None:
            edit(snapshot, plan)

    world.before_write = edit_three_times
    world.protect()
    requests = [world.ask(DB, who=who, minutes=5) for who in (ALICE, BOB)]
    world.pass_time(6)
    assert_over(world)
    assert {world.status(each.id) for each in requests} == {Status.REVOKED}
    assert world.whole_writes()
    assert lost_changes(world, done) == []
    assert all(not NAMES.is_ours(name) for name in world.foreign(NSG_SUBNET))
