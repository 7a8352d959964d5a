"""The health report, and the sweep that runs when the timer does not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.model import Attachment, CloseReason, Status
from shared.domain.request import change_ports, close
from shared.firewalls.nsg.model import Access, Snapshot
from shared.firewalls.registry import Registry
from shared.ports import Machine, OutsideError, Row
from shared.use_cases.timers import health as watch
from shared.use_cases.timers.reconcile import reconcile
from shared.use_cases.timers.sweep import sweep_if_late
from tests.fakes import START
from tests.unit.racing import overtake
from tests.world import DB, NSG_NIC, NSG_SUBNET, WEB, World

MINUTE = 60


@pytest.fixture
def world() -> World:
    """Protect both VMs."""
    made = World()
    made.protect()
    return made


def is_open(world: World) -> bool:
    """Tell whether a rule of ours lets anybody in."""
    return bool(world.firewall.ours(NSG_SUBNET, Access.ALLOW))


def probes(world: World, answer: str) -> list[str]:
    """Have the service answer a probe, and return what was answered so far."""
    answered: list[str] = []

    def probe() -> str:
        answered.append(answer)
        return answer

    world.firewall.probe = probe  # type: ignore[method-assign]
    return answered


# --- the sweep -----------------------------------------------------------------------------------


def test_other_work_sweeps_where_the_timer_is_silent(world: World) -> None:
    """Once three minutes have passed, and only once: what is due is closed then."""
    request = world.ask(DB, minutes=5)
    world.clock.advance(2 * MINUTE)
    world.sweep()
    world.clock.advance(3 * MINUTE)
    sweep_if_late(world.services)
    assert is_open(world)
    world.clock.advance(1)
    sweep_if_late(world.services)
    assert not is_open(world)
    assert world.status(request.id) is Status.REVOKED
    sweep_if_late(world.services)
    assert world.telemetry.named("jit.sweep.late") == [{"last": "2026-11-22T14:02:00.000Z"}]
    assert len(world.telemetry.named("jit.sweep.completed")) == 2


def test_a_first_start_is_no_silence(world: World) -> None:
    """The timer has had no chance yet; from then on its silence counts."""
    sweep_if_late(world.services)
    assert watch.last_sweep(world.services) == START
    assert world.telemetry.named("jit.sweep.completed") == []


def test_of_two_who_notice_the_silence_one_sweeps(world: World) -> None:
    """The other goes on with its own work."""
    world.sweep()
    world.clock.advance(4 * MINUTE)
    lost = overtake(world.tables.firewalls, "sweep")
    sweep_if_late(world.services)
    assert lost() == 1
    assert len(world.telemetry.named("jit.sweep.completed")) == 1


def test_a_firewall_under_another_worker_stays_due(world: World) -> None:
    """The sweep waits half a minute, then leaves it to them and counts it as not finished."""
    request = world.ask(DB, minutes=5)
    world.clock.advance(5 * MINUTE)
    now = world.clock()
    lease = world.services.rows.take_lease(NSG_SUBNET, "other", now, now + timedelta(seconds=35))
    assert lease is not None
    assert world.sweep() == 1
    assert world.clock() - now <= timedelta(seconds=31)
    assert is_open(world)
    world.services.rows.drop_lease(lease, now)
    world.pass_time(1)
    assert world.status(request.id) is Status.REVOKED


def test_a_sweep_comes_back_to_a_firewall_under_another_worker(world: World) -> None:
    """Once they are done it takes off what is closed: nothing is called overdue that is shut."""
    world.ask(DB, minutes=5)
    now = world.clock()
    lease = world.services.rows.take_lease(NSG_SUBNET, "other", now, now + timedelta(hours=1))
    assert lease is not None
    world.clock.advance(5 * MINUTE)

    def sleep(seconds: float) -> None:
        world.clock.advance(seconds)
        if world.clock() - now > timedelta(minutes=5, seconds=9):
            world.services.rows.drop_lease(lease, now)

    world.services = replace(world.services, sleep=sleep)
    assert world.sweep() == 0
    assert not is_open(world)
    world.clock.advance(3 * MINUTE)
    assert not watch.report(world.services).overdue


def test_a_busy_firewall_keeps_no_other_waiting(world: World) -> None:
    """The sweep goes through all of them before it comes back to one."""
    request = world.ask(WEB, minutes=5)
    world.clock.advance(5 * MINUTE)
    now = world.clock()
    assert world.services.rows.take_lease(NSG_NIC, "other", now, now + timedelta(seconds=35))
    world.services = replace(world.services, sleep=_Stop.now)
    with pytest.raises(_Stop):
        world.sweep()
    assert not is_open(world)
    assert world.status(request.id) is Status.INITIATED


class _Stop(Exception):  # noqa: N818 - it is no error
    """The sweep begins to wait."""

    @classmethod
    def now(cls, _seconds: float) -> None:
        """Stop here."""
        raise cls


def test_a_lease_lost_by_its_holder_is_not_taken_back(world: World) -> None:
    """Another worker holds it by then: etags alone guard what the slow one does."""
    request = world.ask(DB, work=False)
    now = world.clock

    def taken_over(_snapshot: Snapshot, _plan: object) -> None:
        world.firewall.before_write = lambda _s, _p: None
        world.clock.advance(31)
        until = now() + timedelta(seconds=35)
        assert world.services.rows.take_lease(NSG_SUBNET, "second", now(), until)

    world.firewall.before_write = taken_over
    world.work()
    assert world.status(request.id) is Status.INITIATED
    assert world.services.rows.take_lease(NSG_SUBNET, "third", now(), now()) is None


def test_a_request_that_cannot_be_looked_after_stops_no_other(world: World) -> None:
    """It stays due, and the sweep closes what it can."""
    stuck = world.ask(WEB, work=False)
    due = world.ask(DB, minutes=5, work=False)
    world.work()
    get = world.tables.requests.get

    def failing(partition: str, key: str) -> object:
        if key == stuck.id.partition("-")[2]:
            raise OutsideError("away")
        return get(partition, key)

    world.tables.requests.get = failing  # type: ignore[method-assign, assignment]
    world.pass_time(6)
    world.tables.requests.get = get  # type: ignore[method-assign]
    assert world.status(due.id) is Status.REVOKED
    assert ("jit.sweep.failed", "away") in [(n, str(e)) for n, e in world.telemetry.faults]
    world.pass_time(5)
    assert world.status(stuck.id) is Status.REVOKED


def test_a_request_whose_message_is_lost_is_sent_again(world: World) -> None:
    """Within a minute, and each minute until it is taken up."""
    request = world.ask(DB, work=False)
    for _ in range(2):
        world.queues.waiting.clear()
        world.clock.advance(MINUTE)
        world.sweep()
        assert [(m.kind, m.subject) for m in world.queues.waiting] == [("request", request.id)]
    world.work()
    assert world.status(request.id) is Status.INITIATED


def test_a_close_that_stopped_after_its_reason_is_finished(world: World) -> None:
    """The request's own due row leads there: the firewall knows nothing of it yet."""
    request = world.ask(DB, minutes=30)
    now = world.clock()
    world.services.due.add(now + timedelta(minutes=1), "request", request.id, since=now)
    world.services.requests.change(
        request.id, lambda r: change_ports(r, lambda p: close(p, CloseReason.REVOKED, now))
    )
    world.clock.advance(MINUTE)
    world.sweep()
    world.work()
    assert not is_open(world)
    assert world.status(request.id) is Status.REVOKED


# --- reconciling ---------------------------------------------------------------------------------


def test_what_cannot_be_reconciled_stops_no_other(world: World) -> None:
    """Policy or firewall: it is told and counted, and an orphan elsewhere still goes."""
    orphan = replace(world.firewall.ours(NSG_NIC)[0], name="SecurityCenter-JITRule-test1-0")
    orphan = replace(orphan, access=Access.ALLOW, priority=200)
    world.firewall.edit(NSG_NIC, orphan)
    # Both differ from what is stored: what does not is not read at all.
    world.firewall.edit(NSG_SUBNET, remove=[rule.name for rule in world.firewall.ours(NSG_SUBNET)])
    world.machines.add(DB, Attachment(NSG_SUBNET, ("10.0.0.6",)))
    read = world.firewall.read

    def unreadable(_vm_id: str) -> Machine | None:
        raise OutsideError("away")

    def failing(firewall_id: str) -> Snapshot:
        if firewall_id == NSG_SUBNET.casefold():
            raise OutsideError("away")
        return read(firewall_id)

    world.machines.find = unreadable  # type: ignore[method-assign, assignment]
    world.firewall.read = failing  # type: ignore[method-assign]
    assert reconcile(world.services) == 2
    assert [name for name, _ in world.telemetry.faults].count("jit.reconcile.failed") == 2
    assert not world.firewall.ours(NSG_NIC, Access.ALLOW)


def test_a_policy_s_row_that_cannot_be_read_stops_no_other(world: World) -> None:
    """It is told, and the others are applied."""
    ((place, row),) = [
        each for each in world.tables.policies.rows.items() if each[0][1].startswith("policy|")
    ]
    world.tables.policies.upsert(replace(row, key="policy|bad", values={**row.values, "doc": "{"}))
    world.firewall.edit(NSG_NIC, remove=[rule.name for rule in world.firewall.ours(NSG_NIC)])
    assert reconcile(world.services) == 0
    assert world.firewall.ours(NSG_NIC, Access.DENY)
    assert [name for name, _ in world.telemetry.faults] == ["jit.row.unreadable"]
    assert place in world.tables.policies.rows


# --- whole writes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "holds"),
    [("honoured", timedelta(hours=24)), ("unknown", timedelta(minutes=15))],
)
def test_the_probe_s_answer_is_believed_for_a_while(
    world: World, answer: str, holds: timedelta
) -> None:
    """A day for a yes; a quarter of an hour for what told nothing."""
    answered = probes(world, answer)
    proof = world.services.firewalls.guard.proof()
    assert (proof.state, proof.at) == ("unknown", None)
    for _ in range(2):
        assert world.probe.renew() is (answer == "honoured")
    world.clock.advance(holds.total_seconds())
    world.probe.renew()
    assert len(answered) == 1
    world.clock.advance(1)
    world.probe.renew()
    assert len(answered) == 2


def test_firewalls_whose_writes_need_no_proof_are_not_warned_of(world: World) -> None:
    """Without a provider whose writes rest on a proof, health tells of none and warns of none."""
    world.sweep()
    world.services = replace(world.services, firewalls=Registry(()))
    said = watch.report(world.services)
    assert (said.probe, said.probed_at, said.warnings) == ("unknown", None, ())
    assert not world.services.firewalls.guard.renew()


# --- health --------------------------------------------------------------------------------------


def silent(world: World) -> None:
    """Have no sweep for more than three minutes."""
    world.sweep()
    world.clock.advance(3 * MINUTE + 1)


def overdue(world: World) -> None:
    """Leave something due for more than two minutes, under sweeps that cannot close it."""

    def away(firewall_id: str) -> Snapshot:
        raise OutsideError(firewall_id)

    world.ask(DB, minutes=5)
    world.firewall.read = away  # type: ignore[method-assign]
    world.pass_time(8)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (silent, "the sweep has been silent for more than three minutes"),
        (overdue, "1 firewalls are overdue by more than two minutes"),
    ],
)
def test_what_keeps_ports_open_is_a_problem(
    world: World, trouble: Callable[[World], None], told: str
) -> None:
    """Health says so."""
    probes(world, "honoured")
    world.probe.run()
    trouble(world)
    assert watch.report(world.services).problems == (told,)


def test_a_fresh_app_is_healthy_until_its_timer_stays_silent() -> None:
    """Before its first sweep an app is no problem for three minutes from its first report on."""
    world = World()
    world.probe.run()
    assert watch.report(world.services).problems == ()
    world.clock.advance(3 * MINUTE)
    assert watch.report(world.services).problems == ()
    world.clock.advance(1)
    silence = "the sweep has been silent for more than three minutes"
    assert watch.report(world.services).problems == (silence,)
    world.sweep()
    assert watch.report(world.services).problems == ()


def test_two_first_reports_at_once_agree(world: World) -> None:
    """A report whose note was written meanwhile by another one is answered all the same."""
    table = world.tables.firewalls
    real = table.insert

    def late(row: Row) -> object:
        table.insert = real  # type: ignore[method-assign]
        table.insert(row)
        return real(row)

    table.insert = late  # type: ignore[assignment, method-assign]
    assert watch.report(world.services).problems == ()


def test_messages_that_no_handler_could_take_are_a_warning(world: World) -> None:
    """Not a failure of the app: what they were about stays due."""
    world.probe.run()
    world.sweep()
    world.queues.poison_count = 2
    said = watch.report(world.services)
    assert (said.problems, said.warnings) == ((), ("2 messages could not be handled",))
    assert said.last_sweep_at == START


def test_how_late_ports_were_closed(world: World) -> None:
    """Over the newest closes; a sweep that was late by a minute shows."""
    assert watch.lateness(world.services) == watch.Lateness()
    for minutes in (5, 6):
        world.ask(DB, port=22 if minutes == 5 else 3389, minutes=minutes)
    world.pass_time(5)
    world.queues.waiting.clear()
    world.clock.now = START + timedelta(minutes=7)
    world.sweep()
    assert watch.lateness(world.services) == watch.Lateness(2, 0.0, 60.0, 60.0)
