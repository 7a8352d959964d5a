"""Concurrent openings are batched into few writes; a single one is written at once."""

from datetime import timedelta
from unittest.mock import Mock

import pytest

from shared.domain.ids import row_key
from shared.domain.model import Status
from shared.ports import OutsideError, Row
from shared.use_cases.firewalls.converge import Outcome, converge
from shared.use_cases.requests.decide import Caller, revoke
from shared.use_cases.requests.open import open_access
from tests.fakes import START
from tests.world import ALICE, DB, NSG_SUBNET, World

BEGIN = START + timedelta(hours=1)


class BatchWorld(World):
    """A world where the requests that are on their way are those a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.protect()
        self.clock.now = BEGIN
        self.queues.waiting.clear()
        self.came: list[str] = []

    def arrive(self, *, minutes: float = 30, others: int = 0) -> str:
        """Ask for db from yet another address, and handle that while so many others wait."""
        source = f"192.0.2.{len(self.came) + 1}"
        request = self.ask(DB, source=source, minutes=minutes, work=False)
        self.came.append(request.id)
        for number in range(others):
            self.queues.send_request(f"elsewhere{number}")
        open_access(self.services, request.id)
        soon = self.clock() + timedelta(minutes=1)  # the messages of ends come later
        self.queues.waiting = [
            each
            for each in self.queues.waiting
            if each.kind == "firewall" and each.visible_at <= soon
        ]
        return request.id

    def messages(self) -> list[float]:
        """Say in how many seconds each message for the group in front of db will come."""
        now = self.clock()
        return [(each.visible_at - now).total_seconds() for each in self.queues.waiting]

    def writes(self) -> int:
        """Count the writes to the group in front of db."""
        return self.firewall.writes[NSG_SUBNET.lower()]

    def opened(self) -> list[bool]:
        """Tell who was let in so far."""
        return [self.status(each) is Status.INITIATED for each in self.came]


@pytest.fixture
def world() -> BatchWorld:
    """Let the first in, together with others who are on their way elsewhere."""
    made = BatchWorld()
    made.arrive(others=100)
    assert made.opened() == [True]
    assert made.messages() == []
    return made


def test_an_opening_right_after_another_is_written_at_once(world: BatchWorld) -> None:
    """Without another request in the queue there is no batch."""
    world.arrive()
    assert world.opened() == [True, True]
    assert world.messages() == []


def test_an_opening_half_a_minute_later_is_not_batched(world: BatchWorld) -> None:
    """However many ask elsewhere."""
    world.clock.advance(29.9)
    world.arrive(others=100)
    assert world.opened() == [True, False]
    world.clock.advance(30)
    world.work()
    assert world.opened() == [True, True]
    world.clock.advance(30)
    world.arrive(others=100)
    assert world.opened() == [True, True, True]


@pytest.mark.parametrize(("others", "seconds"), [(1, 1), (63, 1), (64, 10), (600, 10)])
def test_the_more_requests_are_queued_the_longer_a_batch_waits(
    world: BatchWorld, others: int, seconds: int
) -> None:
    """With more than one instance handles at a time, ten seconds; no worker waits meanwhile."""
    world.arrive(others=others)
    assert world.opened() == [True, False]
    assert world.messages() == [seconds]
    assert world.clock() == BEGIN
    world.clock.advance(seconds)
    world.work()
    assert world.opened() == [True, True]


def test_the_last_requests_of_a_burst_end_its_batch(world: BatchWorld) -> None:
    """Five seconds after the last write, one that finds hardly any other queued opens them all."""
    world.arrive(others=100)
    before = world.writes()
    world.clock.advance(4.9)
    world.arrive()
    assert world.opened() == [True, False, False]
    world.clock.advance(0.1)
    world.arrive(others=4)
    assert world.opened() == [True, False, False, False]
    world.arrive(others=3)
    assert all(world.opened())
    assert world.writes() - before == 1


def test_without_a_count_the_message_of_a_batch_opens_it(
    world: BatchWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that cannot be counted keeps no one from being opened, and ends no batch early."""
    world.arrive(others=100)
    world.clock.advance(6)
    with monkeypatch.context() as broken:
        broken.setattr(world.queues, "requested", Mock(side_effect=OutsideError("away")))
        world.arrive()
    assert world.opened() == [True, False, False]
    assert world.telemetry.named("jit.queue.uncounted")
    world.clock.advance(4)
    world.work()
    assert all(world.opened())


def test_a_batch_is_opened_by_one_write(world: BatchWorld) -> None:
    """An opening during a deferral returns at once, whatever is queued by then."""
    before = world.writes()
    for number in range(10):
        world.arrive(others=10 - number)
        world.clock.advance(0.1)
    assert world.opened() == [True] + [False] * 10
    assert len(world.messages()) == 1
    world.work()
    assert all(world.opened())
    assert world.writes() - before == 1


def test_an_opening_after_a_batch_is_opened_as_well(world: BatchWorld) -> None:
    """Its message is gone, and another will not come."""
    world.arrive(others=1)
    world.clock.advance(1)
    world.work()
    assert world.opened() == [True, True]
    world.clock.advance(0.1)
    world.arrive()
    assert all(world.opened())


def test_a_batch_whose_message_is_late_waits_no_longer(world: BatchWorld) -> None:
    """Two seconds past its time the next worker opens all of the batch."""
    world.arrive(others=1)
    world.queues.waiting.clear()
    world.clock.advance(2.9)
    world.arrive()
    assert world.opened() == [True, False, False]
    world.clock.advance(0.1)
    world.arrive()
    assert all(world.opened())


def test_a_converge_goes_on_until_openings_are_batched(world: BatchWorld) -> None:
    """Openings recorded during a write are deferred as well; that write stands."""
    late = []

    def meanwhile(*_: object) -> None:
        world.firewall.before_write = lambda _s, _p: None
        late.append(world.arrive())
        for number in range(30):
            world.queues.send_request(f"elsewhere{number}")

    world.firewall.before_write = meanwhile
    before = world.writes()
    world.arrive()
    assert world.opened() == [True, True, False]
    assert world.writes() - before == 1
    assert converge(world.services, NSG_SUBNET) is Outcome.DONE
    assert all(world.opened())


def test_where_rules_are_written_one_by_one_nothing_is_batched(world: BatchWorld) -> None:
    """There it would save nothing."""
    world.firewall.whole = False
    world.arrive(others=100)
    assert world.opened() == [True, True]


def test_an_end_that_is_near_bounds_the_deferral(world: BatchWorld) -> None:
    """Its own message may have found the group busy: the batch's message closes it in time."""
    first = world.arrive(minutes=5)
    end = world.request(first).ports[0].end_at
    assert end is not None
    world.clock.now = end - timedelta(seconds=9)
    world.arrive()
    world.clock.now = end - timedelta(seconds=4.5)
    world.queues.waiting.clear()
    world.arrive(others=100)
    assert world.opened()[-1] is False
    assert world.messages() == [4]
    world.clock.advance(4)
    world.work()
    assert world.request(first).ports[0].closed_at == end
    assert world.opened()[-1] is True


def test_an_end_that_has_passed_is_closed_with_the_next_write(world: BatchWorld) -> None:
    """No opening waits where something is to be closed."""
    first = world.arrive(minutes=5)
    end = world.request(first).ports[0].end_at
    assert end is not None
    world.clock.now = end - timedelta(seconds=9)
    world.arrive()
    world.clock.now = end
    world.arrive(others=100)
    assert world.status(first) is Status.REVOKED
    assert world.opened()[-1] is True


def test_a_close_finds_nothing_in_the_way(world: BatchWorld) -> None:
    """A close opens the batch by the same write."""
    closing = world.came[0]
    world.arrive(others=100)
    before = world.writes()
    world.clock.advance(0.5)
    revoke(world.services, closing, Caller(ALICE))
    world.work()
    closed = world.request(closing).ports[0].closed_at
    assert closed == world.clock()
    assert world.opened() == [False, True]
    assert world.writes() - before == 1


@pytest.mark.parametrize("field", ["opened_at", "gathers_until"])
@pytest.mark.parametrize("nonsense", ["", "tomorrow", "9999-12-31T00:00:00.000000Z", "0"])
def test_an_unreadable_lease_delays_no_opening(field: str, nonsense: str) -> None:
    """The notes are advice, like the lease."""
    world = BatchWorld()
    forged = {"owner": "", "until": "", field: nonsense}
    world.tables.firewalls.upsert(Row(row_key(NSG_SUBNET), "lease", forged))
    world.arrive()
    assert world.opened() == [True]


def test_a_batch_belongs_to_one_firewall(world: BatchWorld) -> None:
    """The note stands on the lease of the group, and another lease has none."""
    world.arrive(others=100)
    leases = [row for row in world.tables.firewalls.rows.values() if row.key == "lease"]
    noted = [row.partition for row in leases if row.values["gathers_until"]]
    assert noted == [row_key(NSG_SUBNET)]
