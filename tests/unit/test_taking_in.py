"""Submission: accepted requests, refusals before any write, and repeats."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.errors import InvalidInputError, NotFoundError, TooManyRequestsError
from shared.domain.model import GRACE, AccessRequest, Status
from shared.domain.policy import Asked, AskedPort
from shared.ports import Row, RowChangedError
from shared.store.keys import policy_key
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests import submit as access
from shared.use_cases.requests.idempotency import KEY_RETENTION, REPEATS, Repeat
from tests.unit.racing import EACH_TIME, overtake
from tests.world import ALICE, POLICY, SOURCE, WEB, World

REPEAT = Repeat(ALICE.key, "one", "digest")


def ask(
    world: World, *ports: int, sources: tuple[str, ...] = (SOURCE,), repeat: Repeat | None = None
) -> AccessRequest:
    """Ask for ports of a VM at once."""
    asked = tuple(
        AskedPort(f"ports[{port}]", WEB, port, sources, duration=timedelta(minutes=10))
        for port in ports or (22,)
    )
    new_request = access.PolicyRequest(
        world.policy(), Asked(asked, "because", SOURCE), ALICE, repeat=repeat
    )
    return access.request_access(world.services, new_request)


def test_a_request_too_large_to_be_kept_is_refused() -> None:
    """Before anything stands anywhere: its row still has to grow by the firewalls."""
    world = World()
    numbers = tuple(range(1000, 1100))
    world.protect(WEB, ports=numbers)
    sources = tuple(f"2001:0db8:0000:0000:0000:0000:0000:{each:04x}/128" for each in range(64))
    dues = dict(world.tables.due.rows)
    with pytest.raises(InvalidInputError, match="too large to be kept"):
        ask(world, *numbers, sources=sources)
    assert (world.tables.requests.rows, world.tables.due.rows) == ({}, dues)
    assert not world.queues.waiting


def test_an_unknown_request_is_not_found() -> None:
    """A request id that was never issued raises NotFoundError."""
    with pytest.raises(NotFoundError):
        access.get_request(World().services, "x-y")


def test_what_has_ended_counts_against_no_limit() -> None:
    """It does not count even if its worker died before it left the list of live requests."""
    world = World()
    world.services = replace(world.services, most_live_ports=1)
    world.protect()
    ended = world.ask()
    with pytest.raises(TooManyRequestsError):
        world.ask()
    approval.revoke(world.services, ended.id, approval.Caller(ALICE))
    world.work()
    world.services.requests.note_live(world.request(ended.id))
    again = world.ask()
    assert world.status(again.id) is Status.INITIATED
    assert world.services.requests.live(requestor=ALICE.key) == [again.id]


def test_what_was_never_stored_counts_against_no_limit_for_long() -> None:
    """A call stopped between its note and its request; another may be at that very point."""
    world = World()
    world.services = replace(world.services, most_live_ports=1)
    world.protect()
    stopped = world.ask(work=False)
    world.tables.requests.delete(*(r for r in world.tables.requests.query(policy_key(POLICY))))
    with pytest.raises(TooManyRequestsError):
        world.ask()
    world.clock.advance(GRACE.total_seconds() + 1)
    again = world.ask()
    assert world.services.requests.live(requestor=ALICE.key) == [again.id] != [stopped.id]
    world.services.requests.remove_unmade(ALICE.key, stopped.id)  # another call was quicker
    assert world.services.requests.live(requestor=ALICE.key) == [again.id]


# --- repeated calls ------------------------------------------------------------------------------


def test_an_id_of_yesterday_in_two_calls_at_once_leads_to_one_request() -> None:
    """The second call to take over the id joins the first one's request."""
    world = World()
    world.protect()
    yesterday = ask(world, repeat=REPEAT)
    world.clock.advance(KEY_RETENTION.total_seconds())
    replace_row = world.tables.requests.replace
    others: list[str] = []

    def overtaken(row: Row) -> str:
        if not others:
            others.append("begun")
            others.append(ask(world, repeat=REPEAT).id)
        return replace_row(row)

    world.tables.requests.replace = overtaken  # type: ignore[method-assign]
    mine = ask(world, repeat=REPEAT)
    assert others == ["begun", mine.id]
    assert mine.id != yesterday.id
    assert [each.id for each in world.services.requests.newest(POLICY, 9)] == [
        mine.id,
        yesterday.id,
    ]


def test_an_id_that_others_keep_taking_is_told() -> None:
    """Nothing is asked for under it."""
    world = World()
    world.protect()
    first = ask(world, repeat=REPEAT)
    world.work()
    world.clock.advance(KEY_RETENTION.total_seconds())
    world.queues.waiting.clear()  # of the first request's end
    (reserved,) = (key for held, key in world.tables.requests.rows if held.startswith(REPEATS))
    overtake(world.tables.requests, reserved, EACH_TIME)
    with pytest.raises(RowChangedError, match="used by others"):
        ask(world, repeat=REPEAT)
    assert [each.id for each in world.services.requests.newest(POLICY, 9)] == [first.id]
    assert not world.queues.visible()
