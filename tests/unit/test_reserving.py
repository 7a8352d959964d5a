"""The limits of one caller and one firewall hold for calls at the same instant too."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Lock, local
from typing import Any

import pytest

from shared.domain.errors import TooManyRequestsError
from shared.domain.model import GRACE, AccessRequest, Principal, Status
from shared.domain.policy import Asked, AskedPort
from shared.ports import OutsideError, Row, RowChangedError
from shared.store.index import INDEX
from shared.store.live import LIVE
from shared.use_cases.reports.me import describe_caller
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests import submit as access
from shared.use_cases.requests.decide import Caller
from shared.use_cases.requests.idempotency import Repeat
from tests.fakes import MemoryTable
from tests.unit.approving import APPROVER, asking, decide
from tests.unit.racing import EACH_TIME, overtake
from tests.world import ALICE, BOB, DB, NSG_NIC, NSG_SUBNET, POLICY, SOURCE, WEB, World

MANY = tuple(range(1000, 1100))
STEPS = 14  # no fewer than a request makes calls to its table
CALLS = (
    *("get", "query", "insert", "replace", "upsert", "delete", "remove"),
)  # fmt: skip


def ask(
    world: World,
    count: int,
    *,
    who: Principal = ALICE,
    vm: str = WEB,
    first: int = 0,
    repeat: Repeat | None = None,
) -> AccessRequest:
    """Ask for so many ports in one request."""
    asked = tuple(
        AskedPort(f"ports[{n}]", vm, port, (SOURCE,), duration=timedelta(minutes=10))
        for n, port in enumerate(MANY[first : first + count])
    )
    new_request = access.PolicyRequest(
        world.policy(), Asked(asked, "because", SOURCE), who, repeat=repeat
    )
    return access.request_access(world.services, new_request)


def refused(world: World, count: int, **more: Any) -> bool:
    """Tell whether a call is refused as one too many."""
    try:
        ask(world, count, **more)
    except TooManyRequestsError as error:
        return error.retry_after > 0
    return False


def held(world: World, who: Principal = ALICE) -> int:
    """Count the ports of a caller's stored requests that have not ended."""
    stored = world.services.requests.newest(POLICY, 999)
    return sum(
        not port.is_final for each in stored if each.requestor.key == who.key for port in each.ports
    )


def reserved(world: World) -> list[tuple[str, str]]:
    """Return the keys of all rows of what is live or reserved."""
    rows = world.tables.requests.rows
    return sorted(key for key in rows if key[0].startswith(LIVE) and not key[0].startswith(INDEX))


@pytest.fixture
def world() -> World:
    """Make a world with a hundred ports on a VM behind two groups, and one on a second VM."""
    world = World()
    world.protect(WEB, DB, ports=MANY)
    return world


# --- finding 2: one caller -----------------------------------------------------------------------


def test_finding_2_twelve_calls_of_100_ports_at_once_hold_100(world: World) -> None:
    """Exactly one of twelve threads gets all of the caller's ports, and the others are refused."""
    ids = iter(range(10**6))
    lock = Lock()

    def new_id() -> str:
        with lock:
            return f"{next(ids):016x}"

    world.services = replace(world.services, new_id=new_id)
    meet_before_counting(world, 12)
    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(lambda _: refused(world, 100), range(12)))
    assert sorted(outcomes) == [False] + [True] * 11
    assert held(world) == 100
    del world.tables.requests.query
    assert not refused(world, 10, who=BOB)


def meet_before_counting(world: World, threads: int) -> None:
    """Have each thread that lists what is live for the first time wait for all the others."""
    here, real = local(), world.tables.requests.query
    barrier = Barrier(threads, timeout=60)

    def query(partition: str, **more: Any) -> list[Row]:
        found = real(partition, **more)
        if partition.startswith(LIVE) and not hasattr(here, "met"):
            here.met = True
            barrier.wait()
        return found

    world.tables.requests.query = query  # type: ignore[method-assign]


@contextmanager
def before_each_call(world: World, at: int, do: Callable[[], object]) -> Iterator[list[int]]:
    """Have something done right before the nth call to the table of requests."""
    table, count = world.tables.requests, [0]

    def late(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **more: object) -> object:
            count[0] += 1
            if count[0] == at + 1:
                do()
            return real(*args, **more)

        return call

    for name in CALLS:
        setattr(table, name, late(getattr(table, name)))
    try:
        yield count
    finally:
        for name in CALLS:
            delattr(table, name)


def calls_of_one(make: Callable[[], World], count: int) -> int:
    """Count the calls to the table of requests that one request makes."""
    world = make()
    with before_each_call(world, -1, lambda: None) as calls:
        ask(world, count)
    return calls[0]


def two_ports() -> World:
    """Make a world with few ports, of which a caller may hold three."""
    world = World()
    world.services = replace(world.services, most_live_ports=3)
    world.protect(WEB, ports=MANY[:4])
    return world


@pytest.mark.parametrize("step", range(STEPS))
def test_at_every_interleaving_of_two_calls_exactly_one_gets_the_last_ports(step: int) -> None:
    """A second call runs from start to end before each step of the first."""
    world = two_ports()
    others: list[bool] = []
    with before_each_call(world, step, lambda: others.append(refused(world, 2, first=2))) as calls:
        mine = refused(world, 2)
    if calls[0] <= step:  # the call was over before: the second one comes after it
        others.append(refused(world, 2, first=2))
    assert sorted((mine, *others)) == [False, True]
    assert held(world) == 2
    assert not refused(world, 1)
    assert refused(world, 1)


def test_the_interleavings_are_all_there_are() -> None:
    """No request makes more calls to its table than the test above steps into."""
    assert 2 < calls_of_one(two_ports, 2) <= STEPS


def test_what_is_refused_leaves_nothing_reserved(world: World) -> None:
    """Refusals, however many, are counted against no later call."""
    ask(world, 60)
    before = reserved(world)
    for _ in range(20):
        assert refused(world, 41)
    assert reserved(world) == before
    assert not refused(world, 40, first=60)


def test_what_was_asked_for_is_counted_and_not_the_requests(world: World) -> None:
    """Two requests of 5 ports fill a caller's 10; their end gives all of it back."""
    world.services = replace(world.services, most_live_ports=10)
    first, second = ask(world, 5), ask(world, 5, first=5)
    assert refused(world, 1)
    world.work()
    for each in (first, second):
        approval.revoke(world.services, each.id, Caller(ALICE))
    world.work()
    assert reserved(world) == []
    assert not refused(world, 10)


@pytest.mark.parametrize(
    ("table", "call"), [("due", "upsert"), ("requests", "insert"), ("requests", "upsert")]
)
def test_a_call_that_fails_before_its_request_is_stored_gives_back(
    world: World, table: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reservation that fails before its request is stored counts no longer."""
    real = getattr(getattr(world.tables, table), call)

    def fail(row: Row) -> str:
        if row.partition.startswith((LIVE, "due")):
            raise OutsideError(row.key)
        return str(real(row))

    monkeypatch.setattr(getattr(world.tables, table), call, fail)
    with pytest.raises(OutsideError):
        ask(world, 100)
    monkeypatch.undo()
    assert reserved(world) == []
    assert held(world) == 0
    assert not refused(world, 100)


def test_a_failure_that_cannot_be_given_back_counts_until_the_grace_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store goes away between the reservation and its return."""
    monkeypatch.setattr(world.tables.due, "upsert", _gone)
    monkeypatch.setattr(world.tables.requests, "delete", _gone)
    with pytest.raises(OutsideError):
        ask(world, 100)
    monkeypatch.undo()
    assert refused(world, 1)
    world.clock.advance(GRACE.total_seconds() + 1)
    assert not refused(world, 100)
    assert held(world) == 100


def test_a_call_whose_insert_was_not_answered_keeps_what_it_reserved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request may be stored: it stays on the lists by which it can be found and revoked."""
    real = world.tables.requests.insert

    def unanswered(row: Row) -> str:
        real(row)
        if row.partition.startswith(LIVE):
            return real.__name__
        raise OutsideError("no answer")

    monkeypatch.setattr(world.tables.requests, "insert", unanswered)
    with pytest.raises(OutsideError):
        ask(world, 60)
    monkeypatch.undo()
    assert refused(world, 41)
    (request_id,) = world.services.requests.live(requestor=ALICE.key)
    assert len(world.request(request_id).ports) == 60


def _gone(*_: object) -> str:
    raise OutsideError("gone")


def test_a_caller_whose_list_keeps_changing_is_told(world: World) -> None:
    """Nothing is asked for, and nothing stays reserved."""
    ask(world, 1)
    overtake(world.tables.requests, "reserved", EACH_TIME)
    with pytest.raises(RowChangedError, match="reserved by others"):
        ask(world, 1, first=1)
    assert held(world) == 1


def test_what_ends_is_given_back_though_others_write_the_list(world: World) -> None:
    """A call at the same instant is in the way once or twice; for ever, and the next one tidies."""
    world.services = replace(world.services, most_live_ports=10)
    first, second = ask(world, 4), ask(world, 4, first=4)
    world.work()
    for request, times in ((first, 3), (second, EACH_TIME)):
        overtake(world.tables.requests, "reserved", times)
        overtake(world.tables.requests, "reserved", times, before="delete")
        approval.revoke(world.services, request.id, Caller(ALICE))
        world.work()
        _real(world.tables.requests)
    assert not refused(world, 10)


def _real(table: MemoryTable) -> None:
    for name in ("replace", "delete"):
        if name in vars(table):
            delattr(table, name)


@pytest.mark.parametrize("values", [{"doc": "{"}, {}, {"doc": '{"held":7}'}])
def test_a_list_of_reservations_that_cannot_be_decoded_stops_nothing(
    world: World, values: dict[str, str]
) -> None:
    """The rows of the live requests still count, and closing gives back as before."""
    world.services = replace(world.services, most_live_ports=10)
    request = ask(world, 6)
    world.work()
    (place,) = (key for key in world.tables.requests.rows if key[1] == "reserved")
    world.tables.requests.upsert(Row(*place, values))
    assert refused(world, 5)
    world.tables.requests.upsert(Row(*place, values))
    approval.revoke(world.services, request.id, Caller(ALICE))
    world.work()
    assert world.request(request.id).is_final
    assert not refused(world, 10)


def test_requests_of_the_version_before_count(world: World) -> None:
    """They stand in the list by requestor alone, and what that says is damaged counts as much."""
    world.services = replace(world.services, most_live_ports=10)
    request = ask(world, 6)
    world.work()
    for place in reserved(world):
        row = world.tables.requests.rows[place]
        if place[1] == "reserved" or "at" in row.values:
            world.tables.requests.delete(row)
    assert refused(world, 5)
    assert not refused(world, 4, first=6)
    partition = next(key[0] for key in reserved(world) if key[1] == request.id)
    for values in ({}, {"ports": "many"}):
        world.tables.requests.upsert(Row(partition, request.id, values))
        assert refused(world, 1)


def test_a_repeated_call_holds_its_ports_once(world: World) -> None:
    """The second call of an id joins the first one's request, and takes nothing of its own."""
    repeat = Repeat(ALICE.key, "one", "digest")
    first = ask(world, 50, repeat=repeat)
    assert ask(world, 50, repeat=repeat).id == first.id
    assert not refused(world, 50, first=50)


def test_a_repeat_takes_a_stopped_call_up_and_holds_its_ports_once(world: World) -> None:
    """A call stopped between its key and its request; the repeat asks under the same id."""
    repeat = Repeat(ALICE.key, "one", "digest")
    first = ask(world, 50, repeat=repeat)
    world.tables.requests.delete(*world.tables.requests.query(first.id.partition("-")[0]))
    again = ask(world, 50, repeat=repeat)
    assert again.id == first.id
    assert held(world) == 50
    assert not refused(world, 50, first=50)


def test_a_refused_call_leaves_its_idempotency_key_free(world: World) -> None:
    """The same key may be used for a smaller request."""
    ask(world, 60)
    assert refused(world, 41, repeat=Repeat(ALICE.key, "one", "large"))
    small = ask(world, 40, first=60, repeat=Repeat(ALICE.key, "one", "small"))
    assert len(small.ports) == 40


# --- one firewall -------------------------------------------------------------------------------


def test_a_firewall_is_bounded_by_the_grants_asked_for(world: World) -> None:
    """Ports that are only asked for count, before any of them is open."""
    world.services = replace(world.services, most_grants=100)
    ask(world, 60)
    assert refused(world, 41, who=BOB)
    assert not refused(world, 40, who=BOB)


def test_each_firewall_counts_what_stands_behind_it(world: World) -> None:
    """The subnet's group holds both VMs' grants, the interface's one VM's; a refusal frees both."""
    world.services = replace(world.services, most_grants=60)
    ask(world, 50, vm=DB)
    before = reserved(world)
    assert refused(world, 11, who=BOB, vm=WEB)
    assert reserved(world) == before
    assert not refused(world, 10, who=BOB, vm=WEB)


def test_calls_at_once_never_overfill_a_firewall(world: World) -> None:
    """Twelve callers of 20 ports each at a group of 100; those refused get in one by one."""
    world.services = replace(world.services, most_grants=100)
    people = [replace(ALICE, object_id=f"p{n}") for n in range(12)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda who: refused(world, 20, who=who), people))
    assert sum(held(world, who) for who in people) <= 100
    for who in people:
        if not held(world, who):
            refused(world, 20, who=who)
    assert sum(held(world, who) for who in people) == 100


def test_what_is_sealed_frees_a_firewall_at_once(world: World) -> None:
    """A revoked request's grants leave room before their rules are seen gone."""
    world.services = replace(world.services, most_grants=10)
    request = ask(world, 10)
    world.work()
    approval.revoke(world.services, request.id, Caller(ALICE))
    assert not refused(world, 10, who=BOB)


def test_what_stands_behind_nothing_frees_a_firewall_when_it_is_in_the_way() -> None:
    """Ended requests that an older version did not give back, and calls that stopped half-way."""
    world = asking(1)
    world.services = replace(world.services, most_grants=1)
    denied = world.ask()
    for firewall in (NSG_NIC, NSG_SUBNET):
        (mine,) = world.services.requests.live_rows.reserved_grants(firewall)
        assert (mine.request_id, mine.ports) == (denied.id, 1)
    assert refused_one(world)
    decide(world, denied, APPROVER, yes=False)
    world.services.requests.live_rows.reserve_grants(NSG_NIC, mine)
    assert not refused_one(world)
    world = asking(1)
    world.services = replace(world.services, most_grants=1)
    stopped = replace(mine, request_id=mine.request_id[:-1] + "f")
    for firewall in (NSG_NIC, NSG_SUBNET):  # of a call that stopped there
        world.services.requests.live_rows.reserve_grants(firewall, stopped)
    assert refused_one(world)
    world.clock.advance(GRACE.total_seconds() + 1)
    assert not refused_one(world)
    assert refused_one(world)


def refused_one(world: World) -> bool:
    """Tell whether one more port on the VM is refused for the sake of a firewall."""
    try:
        world.ask(who=BOB, work=False)
    except TooManyRequestsError:
        return True
    return False


def test_a_damaged_time_of_a_reservation_counts_as_long_ago(world: World) -> None:
    """It is given back once nothing stands behind it."""
    world.services = replace(world.services, most_grants=1)
    live = world.services.requests.live_rows
    live.reserve_grants(NSG_SUBNET, live_reserved(world))
    (place,) = reserved(world)
    world.tables.requests.upsert(Row(*place, {"ports": 1, "at": "yesterday"}))
    assert not refused(world, 1, vm=DB)


def live_reserved(world: World) -> Any:
    """Make the reservation of a call that stopped long ago."""
    from shared.store.keys import new_request_id  # noqa: PLC0415
    from shared.store.live import Reserved  # noqa: PLC0415 - used once

    old = world.clock() - 2 * GRACE
    return Reserved(new_request_id(POLICY, old, "0" * 16), 1, old)


def test_a_request_opens_and_closes_with_its_reservations(world: World) -> None:
    """Lists, reservations and their order leave nothing behind in the end."""
    request = ask(world, 2)
    world.work()
    assert world.status(request.id) is Status.INITIATED
    assert len(reserved(world)) == 5  # requestor, its ports, VM, two groups
    world.pass_time(12)
    assert reserved(world) == []


# --- what expires --------------------------------------------------------------------------------


def test_what_has_expired_makes_room_when_it_is_in_the_way(world: World) -> None:
    """Its part of the limit is given back by the sweep a minute later, or by a call that needs it."""
    world.services = replace(world.services, most_live_ports=10)
    request = ask(world, 10)
    world.work()
    world.clock.advance(10 * 60 + 1)
    world.work()
    assert world.status(request.id) is Status.REVOKED
    assert world.services.requests.live(requestor=ALICE.key) == [request.id]
    assert describe_caller(world.services, ALICE, []).ports == 0
    assert approval.revoke_all(world.services, Caller(ALICE), requestor=ALICE.key) == []
    assert not refused(world, 10)
    assert refused(world, 1)


def test_an_unreadable_request_counts_as_held(world: World) -> None:
    """A caller is told of the ports that the ledger names, where the request cannot be decoded."""
    request = ask(world, 3)
    partition, _, key = request.id.partition("-")
    world.tables.requests.upsert(Row(partition, key, {"doc": "damaged"}))
    assert describe_caller(world.services, ALICE, []).ports == 3
