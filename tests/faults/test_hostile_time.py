"""How late the app closed, by its own measure; and a timer that is silent."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.model import Status
from shared.ports import Row
from shared.store.audit import AuditEvent
from shared.use_cases.requests import decide as approval
from shared.use_cases.timers import health as watch
from shared.use_cases.timers.sweep import sweep_if_late
from tests.fakes import START
from tests.faults.simulated import SETTLE_SECONDS, SimulatedWorld, assert_over
from tests.world import ALICE, BOB, DB, NSG_NIC, NSG_SUBNET, World


def close_late(world: World, seconds: float, minutes: float = 5) -> None:
    """Open db once, and close it that many seconds after its end."""
    world.ask(DB, minutes=minutes)
    world.queues.waiting.clear()
    world.clock.advance(minutes * 60 + seconds)
    world.sweep()


# --- lateness ----------------------------------------------------------------------------------


def test_health_tells_how_late_known_closes_were() -> None:
    """Ten closes, late by 1 to 9 seconds and once by two minutes: count, p50, p99 and max."""
    world = World()
    world.protect()
    assert watch.report(world.services).lateness == watch.Lateness()
    for seconds in (3, 1, 120, 2, 5, 4, 9, 8, 7, 6):
        close_late(world, seconds)
    measured = watch.report(world.services).lateness
    assert measured == watch.Lateness(count=10, p50=5, p99=120, max=120)


@pytest.mark.parametrize(("count", "p99"), [(1, 1), (99, 99), (100, 99), (101, 100), (1000, 990)])
def test_p99_never_flatters(count: int, p99: float) -> None:
    """It is the smallest figure that at least 99 of 100 closes stayed within."""
    world = World()
    for number in range(1, count + 1):
        at = START + timedelta(seconds=number)
        event = AuditEvent(f"close-{number}", at, "closed", lateness_seconds=float(number))
        world.services.activity.record(event)
    assert watch.lateness(world.services).p99 == p99


def test_lateness_counts_each_firewall_of_a_close() -> None:
    """A port behind two groups is closed twice; the later one is no secret."""
    world = World()
    world.protect()
    world.ask(minutes=5)
    world.queues.waiting.clear()
    world.clock.advance(5 * 60 + 30)
    world.sweep()
    assert watch.lateness(world.services) == watch.Lateness(count=2, p50=30, p99=30, max=30)


def test_lateness_counts_from_the_end_that_was_promised() -> None:
    """An extension moves it; a revoke counts from the revoke."""
    world = World()
    world.protect()
    request = world.ask(DB, minutes=5)
    caller = approval.Caller(ALICE)
    approval.extend_access(world.services, request.id, caller, duration=timedelta(minutes=9))
    world.queues.waiting.clear()
    world.clock.advance(9 * 60 + 4)
    world.sweep()
    assert watch.lateness(world.services).max == 4
    second = world.ask(DB, minutes=30)
    world.clock.advance(60)
    approval.revoke(world.services, second.id, caller)
    world.clock.advance(3)
    world.work()
    assert watch.lateness(world.services) == watch.Lateness(count=2, p50=3, p99=4, max=4)


def test_only_the_newest_thousand_closes_are_measured() -> None:
    """A bad day long ago does not colour today's figure."""
    world = World()
    for number in range(1005):
        late = 500.0 if number < 5 else 1.0
        at = START + timedelta(seconds=number)
        world.services.activity.record(
            AuditEvent(f"close-{number}", at, "closed", lateness_seconds=late)
        )
    assert watch.lateness(world.services) == watch.Lateness(count=1000, p50=1, p99=1, max=1)


def test_a_close_is_counted_once_however_often_it_is_recorded() -> None:
    """The same event, told again after a lost answer, is the same event."""
    world = World()
    world.protect()
    close_late(world, 7)
    for _ in range(3):
        world.clock.advance(60)
        world.sweep()
    assert watch.lateness(world.services).count == 1


def test_against_arm_a_close_is_as_late_as_its_write_takes() -> None:
    """With workers at hand what remains is ARM's settling, and a quarter of it to see that."""
    world = SimulatedWorld()
    world.protect()
    for number in range(5):
        world.ask(DB, source=f"203.0.113.{number}", minutes=5 + number)
    world.pass_time(12)
    assert_over(world)
    measured = watch.lateness(world.services)
    assert measured.count == 5
    assert 0 < measured.p50 <= measured.max <= 1.25 * SETTLE_SECONDS
    assert {event.lateness_seconds for event in world.events("closed")} >= {measured.max}


# --- health ------------------------------------------------------------------------------------


def test_a_close_that_is_overdue_is_a_problem_until_it_is_done() -> None:
    """Health counts the firewalls that should have been closed two minutes ago and were not."""
    world = SimulatedWorld()
    world.protect()
    world.ask(minutes=5)
    world.sweep()
    assert not watch.report(world.services).problems
    world.order(kind="serverError", times=None)
    world.pass_time(9)
    report = watch.report(world.services)
    assert report.overdue >= 2
    assert any("overdue" in problem for problem in report.problems)
    world.order()
    world.sweep()
    assert not watch.report(world.services).problems


def test_a_silent_timer_is_a_problem() -> None:
    """More than three minutes after the first report without a sweep, and after the last sweep."""
    world = World()
    assert not watch.report(world.services).problems
    world.clock.advance(3 * 60 + 1)
    assert watch.report(world.services).problems
    world.sweep()
    assert not watch.report(world.services).problems
    world.clock.advance(3 * 60)
    assert not watch.report(world.services).problems
    world.clock.advance(1)
    (problem,) = watch.report(world.services).problems
    assert "silent" in problem


# --- a late sweep ------------------------------------------------------------------------------


def sweeps(world: World) -> int:
    """Count the sweeps that ran to their end."""
    return len(world.telemetry.named("jit.sweep.completed"))


def test_a_late_sweep_is_run_by_the_worker_that_notices() -> None:
    """The timer has been silent for more than three minutes: other work closes what is due."""
    world = World()
    world.protect()
    world.sweep()
    request = world.ask(DB, minutes=5)
    world.queues.waiting.clear()
    world.clock.advance(5 * 60 + 1)
    sweep_if_late(world.services)
    assert world.status(request.id) is Status.REVOKED
    assert sweeps(world) == 2
    (told,) = world.telemetry.named("jit.sweep.late")
    assert str(told["last"]).startswith("2026-11-22T14:00:00")


@pytest.mark.parametrize(("seconds", "late"), [(0, False), (180, False), (181, True)])
def test_a_sweep_is_late_after_three_minutes(seconds: float, *, late: bool) -> None:
    """Not before: each run costs calls that closing needs."""
    world = World()
    world.sweep()
    world.clock.advance(seconds)
    sweep_if_late(world.services)
    assert sweeps(world) == 1 + late


def test_of_all_who_notice_only_one_runs_it() -> None:
    """Three workers notice in the same instant, and a fourth right after.

    Two of them come between the first one's read and write.
    """
    world = World()
    world.sweep()
    world.clock.advance(600)
    table = world.tables.firewalls
    write = table.replace

    def notice_too(row: Row) -> str:
        table.replace = write  # type: ignore[method-assign]
        for _ in range(2):
            sweep_if_late(replace(world.services))
        return write(row)

    table.replace = notice_too  # type: ignore[method-assign]
    sweep_if_late(world.services)
    sweep_if_late(world.services)
    assert sweeps(world) == 2
    assert len(world.telemetry.named("jit.sweep.late")) == 1


def test_a_first_start_is_not_late() -> None:
    """Where no sweep ever ran, the timer gets its three minutes; then it is missed."""
    world = World()
    sweep_if_late(world.services)
    assert sweeps(world) == 0
    world.clock.advance(181)
    sweep_if_late(world.services)
    assert sweeps(world) == 1


def test_a_sweep_that_cannot_finish_is_not_run_by_everybody() -> None:
    """While ARM is down, the stored marker alone counts: the next worker waits three more minutes."""
    world = SimulatedWorld()
    world.protect()
    world.ask(minutes=5, who=BOB)
    world.sweep()
    world.order(kind="serverError", times=None)
    world.clock.advance(5 * 60 + 1)
    sweep_if_late(world.services)
    assert sweeps(world) == 2
    for _ in range(3):
        sweep_if_late(world.services)
    assert sweeps(world) == 2
    world.order()
    world.clock.advance(181)
    sweep_if_late(world.services)
    assert_over(world, NSG_NIC, NSG_SUBNET)
