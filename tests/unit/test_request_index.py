"""The index of requests: listed before they are stored, moved with their status, purged, repaired."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.model import Principal, Status
from shared.ports import OutsideError, Row
from shared.store.index import (
    AWAITING,
    INDEX,
    order_key,
    person_partition,
    status_partition,
    vm_partition,
)
from shared.store.requests import RequestRows
from shared.use_cases.requests.decide import Caller, decide
from shared.use_cases.requests.listing import RequestFilter, RequestPage, list_requests
from shared.use_cases.requests.view import Viewer
from shared.use_cases.timers import reindex
from shared.use_cases.timers.reindex import list_missing
from shared.use_cases.timers.retention import purge_old
from tests.unit.approving import APPROVER, SECOND, asking
from tests.world import ALICE, BOB, DB, POLICY, WEB, World

READER = Principal("tenant", "rita-id", "rita", roles=frozenset({"Jit.Read"}))


def listed(world: World, request_id: str) -> set[str]:
    """Return the partitions of the index that list a request."""
    key = order_key(request_id)
    rows = world.tables.requests.rows
    return {partition for partition, held in rows if held == key and partition.startswith(INDEX)}


def page(world: World, who: Principal = READER, **wanted: Any) -> RequestPage:
    """Return a page of the list of requests."""
    asked = replace(RequestFilter(), **wanted)
    return list_requests(world.services, Viewer(world.services, who), asked)


def ids(world: World, who: Principal = READER, **wanted: Any) -> list[str]:
    """Return the ids of the requests on a page."""
    return [request.id for request in page(world, who, **wanted).requests]


def unlist(world: World, *partitions: str) -> None:
    """Remove the index, or some partitions of it, as if an earlier version had written the rows."""
    for held in list(world.tables.requests.rows):
        if held[0].startswith(INDEX) and (not partitions or held[0] in partitions):
            del world.tables.requests.rows[held]


@contextmanager
def failing(world: World, call: str, partition: str) -> Iterator[None]:
    """Have one type of call to one partition of the table of requests fail."""
    table, real = world.tables.requests, getattr(world.tables.requests, call)

    def fail(first: Row | str, *rest: object, **more: object) -> object:
        if (first.partition if isinstance(first, Row) else first) == partition:
            raise OutsideError("the table does not answer")
        return real(first, *rest, **more)

    setattr(table, call, fail)
    try:
        yield
    finally:
        delattr(table, call)


@pytest.fixture
def world() -> World:
    """Give a world with a policy."""
    made = World()
    made.protect()
    return made


def test_a_request_is_listed_by_person_vm_and_status(world: World) -> None:
    """A stored request stands under its requestor, its VMs and its status."""
    request = world.ask()
    assert listed(world, request.id) == {
        person_partition(ALICE.key),
        vm_partition(WEB),
        status_partition(Status.INITIATED),
    }


def test_a_carried_request_is_listed_under_the_app_that_carried_it(world: World) -> None:
    """A relay finds the requests that it carried."""
    relay = Principal("tenant", "relay-id", is_app=True)
    request = replace(world.ask(), relayed_by=relay)
    world.services.requests.index.note(request)
    assert person_partition(relay.key) in listed(world, request.id)


def test_a_status_is_left_when_the_next_is_reached(world: World) -> None:
    """A request that has closed stands under its last status only."""
    request = world.ask(minutes=5)
    world.pass_time(10)
    statuses = {each for each in listed(world, request.id) if "|status|" in each}
    assert statuses == {status_partition(Status.REVOKED)}


def test_a_request_awaits_people_until_they_have_decided() -> None:
    """A pending request is listed as awaiting approval, and no longer once it is approved."""
    world = asking(1)
    request = world.ask(work=False)
    assert AWAITING in listed(world, request.id)
    decide(world.services, request.id, Caller(APPROVER), approved=True)
    assert AWAITING not in listed(world, request.id)


def test_rows_of_the_index_come_before_the_request(world: World) -> None:
    """A crash between the index and the request leaves no request that is not listed."""
    order: list[str] = []
    table = world.tables.requests
    real_insert, real_upsert = table.insert, table.upsert

    def insert(row: Row) -> str:
        order.append("other" if "|" in row.partition else "request")
        return real_insert(row)

    def upsert(row: Row) -> str:
        order.append("index" if row.partition.startswith(INDEX) else "other")
        return real_upsert(row)

    table.insert, table.upsert = insert, upsert  # type: ignore[method-assign]
    world.ask(work=False)
    assert "index" not in order[order.index("request") :]
    assert order.count("index") == 3


def test_a_list_of_what_awaits_approval_that_fails_keeps_no_decision_from_being_written() -> None:
    """The request is approved although its row on that list cannot be read; a reader removes it."""
    world = asking(1)
    request = world.ask(work=False)
    with failing(world, "get", AWAITING):
        decide(world.services, request.id, Caller(APPROVER), approved=True)
    assert world.status(request.id) is Status.INITIATING
    assert any(name == "jit.index.failed" for name, _ in world.telemetry.faults)
    assert AWAITING in listed(world, request.id)


def test_an_index_that_fails_keeps_no_request_from_closing(world: World) -> None:
    """A close is written although the index cannot be, and reconcile lists the request again."""
    request = world.ask(minutes=5)
    with failing(world, "upsert", status_partition(Status.REVOKED)):
        world.pass_time(10)
    assert world.status(request.id) is Status.REVOKED
    assert any(name == "jit.index.failed" for name, _ in world.telemetry.faults)
    list_missing(world.services)
    assert ids(world, status=Status.REVOKED) == [request.id]


def test_without_telemetry_failures_are_passed_over_in_silence(world: World) -> None:
    """Tools that read rows without telemetry meet the same failures and go on."""
    request = world.ask()
    rows = RequestRows(world.tables.requests)
    with failing(world, "upsert", status_partition(Status.REVOKED)):
        assert rows.index.prepare_moves([(request, replace(request, ports=()))]) == [[]]
    _damage(world, request.id)
    assert rows.page(POLICY, "", "~", 1) == [(request.id, None)]


def _damage(world: World, request_id: str) -> None:
    partition, _, key = request_id.partition("-")
    row = world.tables.requests.rows[partition, key]
    world.tables.requests.rows[partition, key] = replace(row, values={"doc": "{"})


def test_a_row_that_cannot_be_removed_is_removed_by_a_reader(world: World) -> None:
    """A row of a status that a request has left is not believed, and goes when it is read."""
    request = world.ask(minutes=5)
    world.services.requests.index.note(replace(request, ports=()))  # as Revoked
    assert status_partition(Status.REVOKED) in listed(world, request.id)
    assert ids(world, status=Status.REVOKED) == []
    assert status_partition(Status.REVOKED) not in listed(world, request.id)
    assert ids(world, status=Status.INITIATED) == [request.id]


def test_a_row_without_a_request_goes_once_no_request_can_come(world: World) -> None:
    """The row of a call that stopped before its request was stored is removed after the grace."""
    request = world.ask(work=False)
    ghost = replace(request, id=request.id[:-8] + "ffffffff")
    world.services.requests.index.note(ghost)
    assert ids(world, status=Status.INITIATING) == [request.id]
    assert listed(world, ghost.id)
    world.clock.advance(3600)
    ids(world, status=Status.INITIATING)
    assert status_partition(Status.INITIATING) not in listed(world, ghost.id)


def test_a_reader_that_cannot_tidy_still_answers(world: World) -> None:
    """A stale row that cannot be removed fails no list."""
    request = world.ask()
    world.services.requests.index.note(replace(request, ports=()))
    with failing(world, "get", vm_partition(WEB)):
        assert ids(world, status=Status.REVOKED) == []


def test_a_request_that_cannot_be_decoded_is_reported_and_passed_over(world: World) -> None:
    """One damaged row hides no other request, by the index or by the policies."""
    first, second = world.ask(), world.ask(DB)
    _damage(world, first.id)
    assert ids(world, status=Status.INITIATED) == [second.id]
    assert ids(world) == [second.id]
    list_missing(world.services)
    assert {name for name, _ in world.telemetry.faults} == {"jit.row.unreadable"}


# --- the filters -------------------------------------------------------------------------------


def test_each_filter_finds_its_requests(world: World) -> None:
    """Person, VM, status, policy and time narrow the list, alone and together."""
    old = world.ask(minutes=5)
    world.pass_time(60)
    new = world.ask(DB, who=BOB)
    since = world.request(new.id).requested_at - timedelta(minutes=1)
    assert ids(world) == [new.id, old.id]
    assert ids(world, ALICE, mine=True) == [old.id]
    assert ids(world, vm_id=WEB.lower()) == [old.id]
    assert ids(world, status=Status.INITIATED) == [new.id]
    assert ids(world, since=since) == [new.id]
    assert ids(world, until=since) == [old.id]
    assert ids(world, policy="default") == [new.id, old.id]
    assert ids(world, policy="other") == []
    assert ids(world, ALICE, mine=True, status=Status.INITIATED) == []
    assert ids(world, vm_id=WEB.lower(), since=since) == []


def test_without_the_right_to_read_a_caller_finds_their_own(world: World) -> None:
    """A caller without any permission is shown what they requested, by every filter."""
    mine = world.ask()
    world.ask(DB, who=BOB)
    stranger = replace(ALICE, roles=frozenset())
    assert ids(world, stranger) == [mine.id]
    assert ids(world, stranger, status=Status.INITIATED) == [mine.id]
    assert ids(world, stranger, vm_id=DB.lower()) == []


@pytest.mark.parametrize("wanted", [{}, {"status": Status.REVOKED}, {"vm_id": WEB.lower()}])
def test_old_requests_are_found_page_by_page(world: World, wanted: dict[str, Any]) -> None:
    """Pages follow each other without a gap or a repeat, down to the oldest request."""
    made = []
    for _ in range(5):
        made.append(world.ask(minutes=5).id)
        world.pass_time(8)
    found, after = [], ""
    for _ in range(3):
        got = page(world, top=2, after=after, **wanted)
        found += [request.id for request in got.requests]
        after = got.next
    assert found == made[::-1]
    assert after == ""


def test_a_page_looks_at_a_bounded_number_of_rows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter that fits few rows is carried on by the next page, which may be empty."""
    monkeypatch.setattr("shared.use_cases.requests.listing._CHUNK", 2)
    monkeypatch.setattr("shared.use_cases.requests.listing._MOST_READ", 4)
    oldest = world.ask(minutes=5)
    world.pass_time(8)
    for _ in range(5):
        world.ask(who=BOB, minutes=5)
        world.pass_time(8)
    first = page(world, policy="default", vm_id=WEB.lower(), until=oldest.requested_at)
    assert [request.id for request in first.requests] == [oldest.id]
    reader = replace(ALICE, roles=frozenset())
    empty = page(world, reader, vm_id=WEB.lower())
    assert (empty.requests, empty.next != "") == ((), True)
    rest = page(world, reader, vm_id=WEB.lower(), after=empty.next)
    assert [request.id for request in rest.requests] == [oldest.id]


def test_what_awaits_me_is_what_i_can_decide() -> None:
    """Approvers find what they have not decided on; requestors and late approvers find nothing."""
    world = asking(2)
    request = world.ask(work=False)
    assert ids(world, APPROVER, awaiting=True) == [request.id]
    assert ids(world, READER, awaiting=True) == []
    assert ids(world, replace(ALICE, roles=APPROVER.roles), awaiting=True) == []
    decide(world.services, request.id, Caller(APPROVER), approved=True)
    assert ids(world, APPROVER, awaiting=True) == []
    assert ids(world, SECOND, awaiting=True) == [request.id]
    world.clock.advance(3600 * 9)
    assert ids(world, SECOND, awaiting=True) == []


def test_an_old_pending_request_is_found_behind_many_newer(world: World) -> None:
    """No number of newer requests hides one by its status, and no other row is read for it."""
    first = world.ask(minutes=60 * 3)
    for _ in range(30):
        world.ask(DB, who=BOB, minutes=5)
        world.pass_time(7)
    world.tables.requests.rows_read = 0
    assert ids(world, status=Status.INITIATED) == []
    assert first.id in ids(world, status=Status.REVOKED)
    assert world.tables.requests.rows_read < 100


# --- backfill, repair and purge ----------------------------------------------------------------


def test_requests_of_an_earlier_version_are_listed_piece_by_piece(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The walk goes on where it stopped, and begins anew at the end."""
    monkeypatch.setattr(reindex, "PIECE", 2)
    made = []
    for _ in range(5):
        made.append(world.ask(minutes=5).id)
        world.pass_time(8)
    unlist(world)
    assert ids(world, status=Status.REVOKED) == []
    list_missing(world.services)
    assert len(ids(world, status=Status.REVOKED)) == 2
    for _ in range(4):
        list_missing(world.services)
    assert ids(world, status=Status.REVOKED) == made[::-1]
    unlist(world, status_partition(Status.REVOKED))
    for _ in range(6):
        list_missing(world.services)
    assert ids(world, status=Status.REVOKED) == made[::-1]
    assert world.telemetry.named("jit.index.repaired")


def test_a_walk_passes_a_bounded_number_of_partitions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that has passed its partitions leaves the rest to the next."""
    request = world.ask()
    unlist(world)
    monkeypatch.setattr(reindex, "PARTITIONS", 1)
    for _ in range(4):
        list_missing(world.services)
    assert ids(world, status=Status.INITIATED) == [request.id]


def test_a_walk_that_fails_is_reported(world: World) -> None:
    """A failing walk never fails reconcile."""
    world.ask()
    with failing(world, "scan", ""):
        list_missing(world.services)
    assert [name for name, _ in world.telemetry.faults] == ["jit.index.failed"]


def test_purged_requests_leave_no_row(world: World) -> None:
    """Retention removes every row of the index with its request."""
    world.services = replace(world.services, keep_requests=timedelta(days=1))
    request = world.ask(minutes=5)
    world.pass_time(60)
    world.services.requests.index.note(replace(request, ports=request.ports))
    world.clock.advance(3 * 24 * 3600)
    for _ in range(3):
        purge_old(world.services)
    assert listed(world, request.id) == set()
    assert world.services.requests.get(request.id) is None


def test_a_row_that_another_writer_notes_again_stays(world: World) -> None:
    """Two writers that end and begin a wait at once leave the row of the later one."""
    request = world.ask()
    index = world.services.requests.index
    world.tables.requests.upsert(Row(AWAITING, order_key(request.id), {}))
    left = [row for row in [world.tables.requests.get(AWAITING, order_key(request.id))] if row]
    world.tables.requests.upsert(Row(AWAITING, order_key(request.id), {"request": request.id}))
    index.remove(left)
    assert AWAITING in listed(world, request.id)
