"""Rows past their retention are purged, no others; closing never waits for it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.model import AccessRequest, CloseReason, Closing, Status
from shared.domain.policy import Asked, AskedPort
from shared.domain.request import change_ports
from shared.ports import OutsideError, Row
from shared.store.audit import CLOSES, AuditEvent
from shared.store.purge import Ended, PurgeType
from shared.use_cases.grants import grant_of
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import submit as access
from shared.use_cases.requests.idempotency import Repeat
from shared.use_cases.timers import health as watch
from shared.use_cases.timers import reindex, retention
from shared.use_cases.timers.reconcile import reconcile
from shared.use_cases.timers.reindex import list_missing
from shared.use_cases.timers.retention import purge_old
from tests.world import ALICE, DB, NSG_NIC, POLICY, SOURCE, WEB, World

DAY = 24 * 3600
KEPT = timedelta(days=90)


@pytest.fixture
def world() -> World:
    """Give a world with a policy, that keeps requests for 90 days and activity for a year."""
    made = World()
    made.services = replace(made.services, keep_requests=KEPT, keep_activity=timedelta(days=365))
    made.protect()
    return made


def ended(world: World, *, vm: str = WEB, minutes: float = 5) -> str:
    """Play one access to its end, and past the grace of its rows."""
    request = world.ask(vm, minutes=minutes)
    world.pass_time(minutes + 40)
    assert world.request(request.id).is_final
    return request.id


def kept(world: World) -> set[str]:
    """Return the ids of the requests that are kept."""
    return {
        f"{partition}-{key}"
        for partition, key in world.tables.requests.rows
        if "|" not in partition
    }


def repeated(world: World, key: str) -> AccessRequest:
    """Ask for a port by a call that has an idempotency key."""
    asked = AskedPort("ports[0]", WEB, 22, (SOURCE,), duration=timedelta(minutes=5))
    new_request = access.PolicyRequest(
        world.policy(), Asked((asked,), "because", SOURCE), ALICE,
        repeat=Repeat(ALICE.key, key, "body"),
    )  # fmt: skip
    return access.request_access(world.services, new_request)


def faults(world: World) -> list[str]:
    """Name what was told of things that failed."""
    return [name for name, _ in world.telemetry.faults]


def rounds(world: World, count: int = 3) -> None:
    """Purge in several runs; each walks over a piece."""
    for _ in range(count):
        purge_old(world.services)


def test_a_request_is_purged_after_its_retention(world: World) -> None:
    """The days are counted from its end, and until then it is kept whole."""
    request = ended(world)
    world.clock.advance(KEPT.total_seconds() - 41 * 60)
    rounds(world)
    assert kept(world) == {request}
    world.clock.advance(41 * 60)
    rounds(world)
    assert kept(world) == set()
    assert not any(partition.startswith("live|") for partition, _ in world.tables.requests.rows)


def test_the_days_count_from_the_end_not_from_the_asking(world: World) -> None:
    """An access that was extended over and over has a record as long as any."""
    request = ended(world)

    def late(port: Any) -> Any:
        return replace(port, closed_at=world.clock() + timedelta(days=200))

    world.services.requests.change(request, lambda held: change_ports(held, late))
    world.clock.advance(150 * DAY)
    rounds(world)
    assert kept(world) == {request}
    world.clock.advance(141 * DAY)
    rounds(world)
    assert kept(world) == set()


def test_requests_of_a_deleted_policy_are_found(world: World) -> None:
    """No list names their partition any more; the walk comes by."""
    request = ended(world)
    protection.delete_policy(world.services, POLICY)
    world.work()
    assert world.services.policies.everything() == []
    assert kept(world) == {request}
    world.clock.advance(91 * DAY)
    rounds(world)
    assert kept(world) == set()


@pytest.mark.parametrize("status", [Status.PENDING_APPROVAL, Status.INITIATING, Status.INITIATED])
def test_a_request_that_is_not_final_is_never_purged(world: World, status: Status) -> None:
    """However old it is: what has not ended must still be closed."""
    request = ended(world)
    world.services.requests.change(
        request, lambda held: change_ports(held, lambda port: replace(port, status=status))
    )
    world.clock.advance(1000 * DAY)
    rounds(world)
    assert kept(world) == {request}


def test_one_port_that_has_not_ended_keeps_its_request(world: World) -> None:
    """Two ports, and a firewall that never let one of them be closed."""
    request = ended(world)
    world.services.requests.change(
        request,
        lambda held: replace(
            held,
            ports=(
                *held.ports,
                replace(held.ports[0], port=3389, status=Status.INITIATED, closed_at=None),
            ),
        ),
    )
    world.clock.advance(1000 * DAY)
    rounds(world)
    assert kept(world) == {request}


@pytest.mark.parametrize("sealed", [False, True])
def test_a_request_with_a_grant_is_kept(world: World, *, sealed: bool) -> None:
    """A grant is judged by its request, so that goes first, whatever the request says."""
    request_id = ended(world)
    request = world.request(request_id)
    port = request.ports[0]
    assert port.fronts is not None
    grant = grant_of(request, port, port.fronts[0])
    at = world.clock() if sealed else None
    assert world.services.rows.insert_grant(replace(grant, sealed_at=at))
    world.clock.advance(91 * DAY)
    rounds(world)
    assert kept(world) == {request_id}
    world.services.due.add(world.clock(), "firewall", NSG_NIC, since=world.clock())
    world.pass_time(40)
    rounds(world)
    assert world.services.rows.read(NSG_NIC).grants == ()
    assert kept(world) == set()


def test_a_due_row_of_a_purged_request_is_taken_off_by_the_sweep(world: World) -> None:
    """No due row is read to purge a request; the sweep takes off one that leads to none."""
    request = ended(world)
    world.clock.advance(91 * DAY)
    later = world.clock() + timedelta(days=400)
    world.services.due.add(later, "request", request, since=world.clock())
    purge_old(world.services)
    assert kept(world) == set()
    world.clock.now = later
    world.pass_time(40)
    assert world.services.due.until(later + timedelta(days=1)) == []
    assert faults(world) == []


def test_a_row_that_cannot_be_read_is_told_and_kept(world: World) -> None:
    """It may be anything, so it is not known to be over; it stops nothing after it."""
    request = ended(world)
    partition, _, key = request.partition("-")
    world.tables.requests.upsert(Row(partition, key[:-1] + "!", {"doc": "{"}))
    world.tables.requests.upsert(Row("repeat|x", "k", {"doc": "[]"}))
    at, purges = world.clock(), world.services.purges
    purges.add(PurgeType.REQUEST, [Ended(at, partition, key[:-1] + "!")])
    purges.add(PurgeType.KEY, [Ended(at, "repeat|x", "k")])
    world.clock.advance(91 * DAY)
    rounds(world)
    assert kept(world) == {f"{partition}-{key[:-1]}!"}
    assert ("repeat|x", "k") in world.tables.requests.rows
    assert faults(world) == ["jit.row.unreadable"] * 6
    list_missing(world.services)
    assert faults(world) == ["jit.row.unreadable"] * 8


def test_a_request_that_changes_meanwhile_is_kept(world: World) -> None:
    """A delete takes only the version that was read."""
    request = ended(world)
    world.clock.advance(91 * DAY)
    real = world.services.requests.remove_live

    def change_first(_self: object, held: Any) -> None:
        real(held)
        world.services.requests.change(
            held.id, lambda found: replace(found, justification="changed")
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.store.requests.RequestRows.remove_live", change_first)
        purge_old(world.services)
    assert world.request(request).justification == "changed"


def test_a_reserved_key_is_purged_after_a_day(world: World) -> None:
    """Not before, so that a repeat within the day opens nothing twice; whatever days are set."""
    world.services = replace(world.services, keep_requests=None)
    first = repeated(world, "an-id")
    world.pass_time(45)
    world.clock.advance(DAY - 46 * 60)
    rounds(world)
    assert repeated(world, "an-id").id == first.id
    world.clock.advance(120)
    rounds(world)
    assert not any("repeat|" in partition for partition, _ in world.tables.requests.rows)
    assert kept(world) == {first.id}


def test_activity_goes_by_whole_days(world: World) -> None:
    """An event is kept for as many days as the setting says, and to the end of its day."""
    services = world.services
    for days in (400, 366, 365, 364, 0):
        at = services.clock() - timedelta(days=days)
        services.activity.record(AuditEvent(f"{days}", at, "requested"))
    held = {row.partition for row in world.tables.activity.rows.values()}
    purge_old(services)
    left = {row.partition for row in world.tables.activity.rows.values()}
    gone = {f"{services.clock() - timedelta(days=days):%Y-%m-%d}" for days in (400, 366)}
    assert held - left == gone


def test_the_newest_closes_are_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as health looks at; what it says does not change."""
    monkeypatch.setattr(retention, "KEPT_CLOSES", 3)
    monkeypatch.setattr(watch, "KEPT_CLOSES", 3)
    for second in range(8):
        at = world.clock() - timedelta(seconds=second)
        world.services.activity.record(
            AuditEvent(f"{second}", at, "closed", lateness_seconds=second)
        )
    before = watch.lateness(world.services)
    purge_old(world.services)
    assert world.services.activity.newest_lateness(100) == [0, 1, 2]
    assert watch.lateness(world.services) == before
    assert len([1 for partition, _ in world.tables.activity.rows if partition == CLOSES]) == 3


def test_no_row_is_purged_without_a_setting() -> None:
    """No setting: requests and activity are kept for ever."""
    world = World()
    world.protect()
    request = ended(world)
    world.clock.advance(10_000 * DAY)
    events = len(world.tables.activity.rows)
    rounds(world)
    assert kept(world) == {request}
    assert len(world.tables.activity.rows) == events


def test_a_run_is_bounded_and_the_next_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many rows and partitions, however much there is; what must stay blocks nothing."""
    stuck = ended(world)
    others = [ended(world, vm=vm) for vm in (WEB, DB) * 3]
    world.services.requests.change(
        stuck,
        lambda held: change_ports(held, lambda port: replace(port, status=Status.INITIATED)),
    )
    monkeypatch.setattr(retention, "PIECE", 2)
    world.clock.advance(91 * DAY)
    sizes = []
    for _ in range(12):
        before = len(kept(world))
        read = world.tables.requests.rows_read
        purge_old(world.services)
        assert world.tables.requests.rows_read - read < 40
        sizes.append(before - len(kept(world)))
    assert max(sizes) == 2
    assert sum(sizes) == len(others)
    assert kept(world) == {stuck}


def test_rows_without_a_note_of_their_end_are_purged_too(world: World) -> None:
    """Rows of the version before, and those whose note was lost, are noted by the walk."""
    request = ended(world)
    repeated(world, "an-id")
    for place in [each for each in world.tables.requests.rows if "|purge|" in each[0]]:
        del world.tables.requests.rows[place]
    world.clock.advance(91 * DAY)
    rounds(world)
    assert len(kept(world)) == 2
    assert any("repeat|" in p for p, _ in world.tables.requests.rows)
    list_missing(world.services)
    assert not any("repeat|" in p for p, _ in world.tables.requests.rows)
    rounds(world)
    assert request not in kept(world)


def test_many_partitions_are_walked_a_few_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The walk ends at some partition and begins there again; the last is followed by the first."""
    monkeypatch.setattr(reindex, "PARTITIONS", 2)
    old = "2020-01-01T00:00:00+00:00"
    values = {"doc": f'{{"request_id":"r","body":"b","at":"{old}"}}'}
    for number in range(7):
        world.tables.requests.insert(Row(f"repeat|{number}", "k", values))
    ended(world)
    left = []
    for _ in range(6):
        list_missing(world.services)
        left.append(sum("repeat|" in p for p, _ in world.tables.requests.rows))
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    world.tables.requests.insert(Row("repeat|0", "k", values))
    for _ in range(5):
        list_missing(world.services)
    assert not any("repeat|" in p for p, _ in world.tables.requests.rows)


@pytest.fixture(params=["requests", "activity", "firewalls"])
def broken(request: pytest.FixtureRequest, world: World) -> Iterator[World]:
    """Give a world one of whose tables answers nothing but single rows."""
    table = getattr(world.tables, request.param)

    def fail(*_: object, **__: object) -> None:
        raise OutsideError("no answer")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("scan", "upsert") if request.param == "firewalls" else ("scan", "query"):
            patch.setattr(table, name, fail)
        yield world


def test_a_failure_is_told_and_never_raised(broken: World) -> None:
    """The close path hears nothing of it."""
    purge_old(broken.services)
    assert faults(broken) == ["jit.retention.failed"] * len(faults(broken)) != []
    assert [name for name, _ in broken.telemetry.events][-1] == "jit.retention.completed"


def test_it_comes_after_everything_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where comparing fails: that is raised as before, and what is old still goes."""
    request = ended(world)
    world.clock.advance(91 * DAY)

    def fail() -> bool:
        assert kept(world) == {request}
        raise OutsideError("no answer")

    monkeypatch.setattr(world.probe, "renew", fail)
    with pytest.raises(OutsideError):
        reconcile(world.services)
    assert kept(world) == set()


def test_a_request_closed_without_a_firewall_is_purged(world: World) -> None:
    """Denied, or failed before anything was opened."""
    request = world.ask(work=False)
    now = world.clock()

    def deny(port: Any) -> Any:
        closing = Closing(CloseReason.DENIED, now)
        return replace(port, status=Status.DENIED, closing=closing, closed_at=now)

    world.services.requests.change(request.id, lambda held: change_ports(held, deny))
    world.pass_time(40)
    world.clock.advance(91 * DAY)
    rounds(world)
    assert kept(world) == set()
