"""People who come together are let in by a few writes; who comes alone waits for nobody."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.model import Status
from shared.use_cases.approval import Caller, revoke
from shared.use_cases.converge import converge
from shared.use_cases.opening import open_access
from tests.fakes import START
from tests.world import ALICE, DB, NSG_SUBNET, World


class Crowd(World):
    """A world where others come while somebody waits: so many in each half second."""

    def __init__(self, *coming: int) -> None:
        super().__init__()
        self.protect()
        self.clock.advance(3600)
        self.services = replace(self.services, sleep=self._sleep)
        self.coming = list(coming)
        self.slept: list[float] = []
        self.opened: list[str] = []
        self.meanwhile: dict[int, Callable[[], object]] = {}

    def arrive(self, *, minutes: float = 30) -> str:
        """Ask for db from yet another address, and have a worker of one's own take it up."""
        source = f"192.0.2.{len(self.opened) + 1}"
        request = self.ask(DB, source=source, minutes=minutes, work=False)
        self.opened.append(request.id)
        open_access(self.services, request.id)
        return request.id

    def writes(self) -> int:
        """Count the writes to the group in front of db."""
        return self.firewall.writes[NSG_SUBNET.lower()]

    def all_open(self) -> bool:
        """Tell whether everybody was let in."""
        return all(self.status(each) is Status.INITIATED for each in self.opened)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)
        self.meanwhile.pop(len(self.slept), lambda: None)()
        for _ in range(self.coming.pop(0) if self.coming else 0):
            self.arrive()


def test_who_comes_alone_is_let_in_at_once() -> None:
    """There is nobody to wait for."""
    world = Crowd()
    before = world.writes()
    world.arrive()
    assert world.all_open()
    assert world.slept == []
    assert world.writes() - before == 1


def test_who_comes_right_after_another_waits_half_a_second() -> None:
    """If nobody else comes in it, that is all; half a minute later nobody waits."""
    world = Crowd()
    world.arrive()
    world.clock.advance(29)
    world.arrive()
    assert world.all_open()
    assert world.slept == [0.5]
    world.clock.advance(30)
    world.arrive()
    assert world.slept == [0.5]


def test_a_crowd_is_let_in_by_one_write() -> None:
    """While each half second brings more, they gather."""
    world = Crowd(3, 2, 4, 1, 0)
    world.arrive()
    before = world.writes()
    world.arrive()
    assert len(world.opened) == 12
    assert world.all_open()
    assert world.slept == [0.5] * 5
    assert world.writes() - before == 1


def test_nobody_waits_longer_than_ten_seconds() -> None:
    """However many keep coming."""
    world = Crowd(*[1] * 30)
    first = world.arrive()
    assert world.status(first) is Status.INITIATED
    second = world.arrive()
    port = world.request(second).ports[0]
    assert port.opened_at is not None
    assert port.opened_at - world.request(second).requested_at <= timedelta(seconds=10)
    assert world.all_open()


@pytest.mark.parametrize(("waiting", "slept"), [(24, [0.5]), (25, [0.5] * 4)])
def test_many_requests_on_their_way_are_worth_waiting_for(waiting: int, slept: list[float]) -> None:
    """More than an instance handles at once: some of them will come, and not in this moment."""
    world = Crowd()
    world.arrive()
    world.meanwhile[4] = world.queues.waiting.clear
    for number in range(waiting - len(world.opened) - 1):
        world.queues.send_request(f"elsewhere{number}")
    world.arrive()
    assert world.slept == slept
    assert world.all_open()


def test_who_was_let_in_is_told_before_the_others_gather() -> None:
    """The proof of the write before does not wait for them."""
    world = Crowd(1, 1, 1)
    first = world.arrive()
    opened = world.request(first).ports[0].opened_at
    assert opened == START + timedelta(seconds=3600)


def test_where_rules_are_written_one_by_one_nobody_gathers() -> None:
    """There it would save nothing."""
    world = Crowd(*[1] * 30)
    world.firewall.whole = False
    world.arrive()
    world.arrive()
    assert world.all_open()
    assert world.slept == []


def test_an_end_that_is_near_cuts_the_waiting_short() -> None:
    """Whoever waits holds the lease: no close may find it taken."""
    world = Crowd(*[1] * 30)
    first = world.arrive(minutes=5)
    end = world.request(first).ports[0].end_at
    assert end is not None
    world.clock.now = end - timedelta(seconds=4)
    world.arrive()
    world.arrive()
    assert 0 < len(world.slept) < 8
    assert world.clock() <= end
    world.clock.now = end
    converge(world.services, NSG_SUBNET)
    assert world.request(first).ports[0].closed_at == end


def test_a_revoke_cuts_the_waiting_short() -> None:
    """The next look, half a second later, closes it."""
    world = Crowd(*[1] * 30)
    first = world.arrive()
    world.meanwhile[3] = lambda: revoke(world.services, first, Caller(ALICE))
    world.arrive()
    closing = world.request(first).ports[0].closing
    closed_at = world.request(first).ports[0].closed_at
    assert closing is not None
    assert closed_at is not None
    assert closed_at - closing.at <= timedelta(seconds=0.5)


def test_a_lease_that_says_nonsense_delays_nobody_for_long() -> None:
    """The note of the last opening is advice, like the lease."""
    world = Crowd()
    now = world.clock()
    lease = world.services.rows.take_lease(NSG_SUBNET, "forger", now, now)
    assert lease is not None
    forged = replace(lease, values={**lease.values, "opened_at": "tomorrow"})
    world.services.rows.drop_lease(forged, now)
    world.arrive()
    assert world.all_open()
    assert world.slept == [0.5]
