"""One due row for each subject and minute, and only new events recorded."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.model import GRACE, AccessRequest
from shared.firewalls.nsg.model import Access
from shared.ports import Row
from shared.store.due import DueRows, slot_of
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests.decide import Caller
from tests.fakes import START, Clock, MemoryTable, MemoryTelemetry
from tests.samples import MINUTE
from tests.unit.approving import APPROVER, asking, decide, events, extend
from tests.world import ALICE, BOB, DB, NSG_NIC, NSG_SUBNET, WEB, World

SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)


def subjects(world: World) -> list[tuple[datetime, str, str]]:
    """Return the slot, type and subject of every due row."""
    far = world.clock() + timedelta(days=9)
    return sorted(
        (due.slot or due.at, due.kind, due.subject) for due in world.services.due.until(far)
    )


def is_open(world: World) -> bool:
    """Tell whether a rule of ours lets anyone in."""
    return any(world.firewall.ours(nsg, Access.ALLOW) for nsg in (NSG_NIC, NSG_SUBNET))


def recorded(world: World) -> list[Row]:
    """Return a list that grows by each row that is put on record from now on."""
    rows: list[Row] = []
    real = world.tables.activity.insert

    def insert(row: Row) -> str:
        rows.append(row)
        return real(row)

    world.tables.activity.insert = insert  # type: ignore[method-assign]
    return rows


@pytest.fixture
def world() -> World:
    """Make a world whose policy was applied long ago."""
    world = World()
    world.protect(WEB, DB)
    world.pass_time(30)
    return world


def test_finding_9_119_extensions_leave_a_few_due_rows(world: World) -> None:
    """Extensions within two minutes fold; the sweeps after them record and read next to nothing."""
    request = world.ask(WEB, minutes=10)
    for _ in range(119):
        world.clock.advance(1)
        extend(world, request, 60)
    world.work()
    found = subjects(world)
    assert len(found) == len(set(found)) <= 20
    inserts = recorded(world)
    for _ in range(4):
        world.clock.advance(60)
        world.sweep()
        world.work()
    assert len(inserts) <= 4 * 130
    world.pass_time(20)
    inserts.clear()
    world.pass_time(20)
    assert not inserts
    world.pass_time(30)
    assert not is_open(world)
    assert len(events(world, "extended")) == 119


def test_finding_9_ends_moved_minute_by_minute_leave_no_rows_behind(world: World) -> None:
    """An extension each minute for an hour; a grace later only the rows of the last end are left."""
    request = world.ask(WEB, minutes=30)
    for n in range(60):
        world.pass_time(1)
        extend(world, request, 60 + n)
    world.pass_time(17)
    end = world.request(request.id).ports[0].end_at
    assert end is not None
    left = [row for row in subjects(world) if row[0] > world.clock() + 3 * MINUTE]
    assert left == sorted(
        [
            (slot_of(end), "firewall", NSG_NIC),
            (slot_of(end), "firewall", NSG_SUBNET),
            (slot_of(end + MINUTE), "request", request.id),
        ]
    )
    world.pass_time(110)
    assert not is_open(world)
    assert world.request(request.id).is_final
    assert not world.telemetry.faults


def test_an_extension_records_what_is_new_only(world: World) -> None:
    """One event for each, however many came before it."""
    request = world.ask(WEB, minutes=10)
    for _ in range(5):
        world.clock.advance(1)
        extend(world, request, 60)
    inserts = recorded(world)
    world.clock.advance(1)
    extend(world, request, 60)
    approval.revoke(world.services, request.id, Caller(ALICE))
    assert len(inserts) == 2


def test_an_event_whose_writer_stopped_is_recorded_by_the_sweep(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The due row of the change leads there, also where the sweep was silent for an hour."""
    request = world.ask(WEB, minutes=100)
    monkeypatch.setattr("shared.use_cases.requests.decide.record_change", _stop)
    with pytest.raises(KeyboardInterrupt):
        extend(world, request, 120)
    monkeypatch.undo()
    world.clock.advance(3600)
    assert not events(world, "extended")
    world.sweep()
    assert len(events(world, "extended")) == 1


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


# --- moments and minutes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "slot"),
    [
        (START, START),
        (START + TICK, START + MINUTE),
        (START + 59 * SECOND, START + MINUTE),
        (START + 60 * SECOND, START + MINUTE),
        (datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_moment_belongs_to_the_minute_that_ends_with_it(at: datetime, slot: datetime) -> None:
    """A subject that is handled by then has passed."""
    assert slot_of(at) == slot


@pytest.fixture
def due() -> tuple[DueRows, Clock, MemoryTable]:
    """Make an empty list of what is due."""
    clock, table = Clock(), MemoryTable()
    return DueRows(table, MemoryTelemetry(), clock), clock, table


Rows = tuple[DueRows, Clock, MemoryTable]


def test_one_subject_has_one_row_for_a_minute(due: Rows) -> None:
    """Repeats fold, whatever their second; other subjects, types and minutes have their own."""
    rows, _, table = due
    for n in range(1, 61):
        rows.add(START + n * SECOND, "firewall", NSG_NIC if n % 2 else NSG_NIC.upper(), since=START)
    assert len(table.rows) == 1
    rows.add(START + SECOND, "request", NSG_NIC, since=START)
    rows.add(START + SECOND, "firewall", NSG_SUBNET, since=START)
    rows.add(START + 61 * SECOND, "firewall", NSG_NIC, since=START)
    assert len(table.rows) == 4


def test_a_row_tells_the_moment_and_is_found_by_it(due: Rows) -> None:
    """Messages are sent for the second of an end, and rows come in the order of their moments."""
    rows, _, _ = due
    rows.add(START + 50 * SECOND, "firewall", NSG_NIC, since=START)
    rows.add(START + 20 * SECOND, "firewall", NSG_SUBNET, since=START)
    assert [each.at for each in rows.until(START + MINUTE)] == [
        START + 20 * SECOND,
        START + 50 * SECOND,
    ]
    assert rows.until(START + 20 * SECOND) == []
    assert [each.subject for each in rows.until(START + 21 * SECOND)] == [NSG_SUBNET]


def test_what_is_looked_at_within_its_minute_stays_until_that_is_over(due: Rows) -> None:
    """A second grant that ends in the same minute must not lose its row to the first one's look."""
    rows, clock, _ = due
    rows.add(START + 50 * SECOND, "firewall", NSG_NIC, since=START)
    rows.add(START + 20 * SECOND, "firewall", NSG_NIC, since=START)
    clock.advance(30)
    (seen,) = rows.until(clock())
    rows.remove(seen)
    clock.advance(30)
    (again,) = rows.until(clock() + TICK)
    rows.remove(again)
    assert rows.until(START + MINUTE * 9) == []


def test_a_second_grant_within_a_minute_is_closed_though_the_first_was_swept() -> None:
    """The sweep comes between the two ends, and no message at all."""
    world = World()
    world.protect(WEB, DB)
    world.clock.advance(20)
    second = world.ask(DB, minutes=5.5)
    first = world.ask(DB, who=BOB, minutes=5)
    world.queues.waiting.clear()
    world.clock.advance(310)
    world.sweep()
    assert world.request(first.id).is_final
    assert not world.request(second.id).is_final
    world.queues.waiting.clear()
    world.clock.advance(60)
    world.sweep()
    assert world.request(second.id).is_final


def test_what_is_due_already_is_due_at_once(due: Rows) -> None:
    """It is not put off to the end of the minute."""
    rows, clock, _ = due
    clock.advance(30)
    rows.add(clock(), "firewall", NSG_NIC, since=clock())
    (seen,) = rows.until(clock() + TICK)
    rows.remove(seen)
    assert rows.until(clock() + MINUTE) == []


def test_what_was_noted_again_stays(due: Rows) -> None:
    """A look that began before takes nothing off that was written since."""
    rows, clock, _ = due
    rows.add(START + MINUTE, "firewall", NSG_NIC, since=START)
    clock.advance(60)
    (seen,) = rows.until(clock() + TICK)
    rows.add(START + MINUTE, "firewall", NSG_NIC, since=clock())
    rows.remove(seen)
    assert len(rows.until(clock() + TICK)) == 1


def test_a_row_without_a_clock_is_removed_when_it_is_told(due: Rows) -> None:
    """Tools outside the app take off what they name."""
    _, _, table = due
    rows = DueRows(table, MemoryTelemetry())
    rows.add(START + SECOND, "firewall", NSG_NIC, since=START)
    (seen,) = rows.until(START + MINUTE)
    rows.remove(seen)
    assert not table.rows


# --- what rests on a row keeps it ---------------------------------------------------------------


def moved(world: World, minutes: float = 30) -> tuple[AccessRequest, datetime]:
    """Open a port, extend it twice after some minutes; return the end between, now obsolete."""
    request = world.ask(WEB, minutes=20)
    world.pass_time(3)
    between = extend(world, request, minutes).ports[0].end_at
    assert between is not None
    world.pass_time(2)
    extend(world, request, minutes + 30)
    return request, between


def rows_at(world: World, end: datetime) -> set[str]:
    """Return the subjects of the due rows of an end."""
    found = (slot_of(end), slot_of(end + MINUTE))
    return {subject for slot, _, subject in subjects(world) if slot in found}


def test_the_rows_of_a_moved_end_go_once_the_grace_is_over(world: World) -> None:
    """Not before: what they announce might still be on its way."""
    request, between = moved(world)
    world.pass_time(10)
    assert rows_at(world, between) == {NSG_NIC, NSG_SUBNET, request.id}
    world.pass_time(8)
    assert rows_at(world, between) == set()


def test_another_grant_that_ends_in_the_same_minute_keeps_the_row(world: World) -> None:
    """On the firewall that it stands on; the other one's row goes."""
    _, between = moved(world)
    other = world.ask(DB, who=BOB, minutes=(between - world.clock()) / MINUTE)
    world.pass_time(20)
    assert rows_at(world, between) == {NSG_SUBNET, other.id}
    world.pass_time(20)
    assert world.request(other.id).is_final


def test_a_row_that_another_opening_has_just_written_is_kept(world: World) -> None:
    """Its grant may come a grace later: rule 7, due before row."""
    _, between = moved(world)
    world.pass_time(14)
    world.services.due.add(between, "firewall", NSG_NIC, since=world.clock())
    world.pass_time(4)
    assert rows_at(world, between) == {NSG_NIC}


def test_a_sealed_grant_keeps_the_row_of_its_grace(world: World) -> None:
    """The last look after a close may share the minute of a moved end."""
    request, between = moved(world)
    world.pass_time(10)
    other = world.ask(DB, who=BOB, minutes=60)
    held = world.services.rows.get_grant(NSG_SUBNET, other.id, DB, 22)
    assert held is not None
    world.services.rows.replace_grant(replace(held, sealed_at=between - GRACE, proven=True))
    world.pass_time(8)
    assert NSG_SUBNET in rows_at(world, between)
    assert request.id not in rows_at(world, between)


def test_an_end_that_waits_for_approval_keeps_its_rows() -> None:
    """And so does the deadline by which people have to decide."""
    world = asking(1)
    world.pass_time(30)
    request = world.ask(WEB, minutes=30)
    decide(world, request, APPROVER)
    world.pass_time(1)
    between = extend(world, request, 59).extension
    assert between is not None
    decide(world, request, APPROVER)
    world.pass_time(1)
    later = extend(world, request, 90).extension
    assert later is not None
    assert slot_of(later.approval.deadline) == slot_of(between.end_at + 2 * MINUTE)
    world.pass_time(20)
    assert rows_at(world, between.end_at) >= {NSG_NIC, NSG_SUBNET}
    assert rows_at(world, later.end_at) >= {NSG_NIC, NSG_SUBNET, request.id}


def test_the_deadline_of_a_decision_keeps_a_requests_row() -> None:
    """A moved end's row that is also the deadline's is looked at: silence is a denial."""
    world = asking(1, approval_timeout=30 * MINUTE)
    world.pass_time(30)
    request = world.ask(WEB, minutes=20)
    decide(world, request, APPROVER)
    world.pass_time(1)
    for minutes in (32, 60):
        extend(world, request, minutes)
        decide(world, request, APPROVER)
        world.pass_time(1)
    asked = extend(world, request, 90).extension
    assert asked is not None
    slot = slot_of(asked.approval.deadline)
    assert (slot, "request", request.id) in subjects(world)
    world.pass_time(20)
    assert (slot, "request", request.id) in subjects(world)
    world.pass_time(15)
    assert world.request(request.id).extension is None
