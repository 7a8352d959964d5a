"""A port closes at the second of its end, whichever worker holds the group just then."""

from datetime import timedelta

import pytest

from shared.domain.model import Status
from shared.domain.times import format_sortable
from shared.firewalls.nsg.model import Access, Snapshot
from shared.ports import Row
from shared.use_cases.firewalls.converge import Outcome, converge, converge_on_message
from shared.use_cases.requests.decide import Caller, revoke
from shared.use_cases.timers.health import lateness
from tests.fakes import START
from tests.world import BOB, DB, NSG_SUBNET, World

END = timedelta(minutes=5)


@pytest.fixture
def world() -> World:
    """Protect the VMs; nothing but what a test does happens."""
    made = World()
    made.protect()
    made.queues.waiting.clear()
    return made


def converge_at(world: World, seconds: float) -> None:
    """Have a worker converge the group in front of db, so many seconds after the start."""
    world.clock.now = START + timedelta(seconds=seconds)
    assert converge(world.services, NSG_SUBNET) is Outcome.DONE


def is_open(world: World) -> bool:
    """Tell whether a rule of ours lets anybody in."""
    return bool(world.firewall.ours(NSG_SUBNET, Access.ALLOW))


@pytest.mark.parametrize("early", [2.0, 1.0, 0.25, 0.0])
def test_who_comes_early_waits_for_the_end(world: World, early: float) -> None:
    """A queue counts in whole seconds, and two clocks never agree."""
    world.ask(DB, minutes=5)
    converge_at(world, END.total_seconds() - early)
    assert world.clock() - START == END
    assert not is_open(world)
    assert lateness(world.services).max == 0


def test_a_message_that_comes_early_reads_nothing_before_the_end(world: World) -> None:
    """Azure's read quota is scarce."""
    world.ask(DB, minutes=5)
    read, reads = world.firewall.read, []

    def counted(firewall_id: str) -> Snapshot:
        reads.append(world.clock())
        return read(firewall_id)

    world.firewall.read = counted  # type: ignore[method-assign]
    world.clock.now = START + END - timedelta(seconds=0.7)
    assert converge_on_message(world.services, NSG_SUBNET) is Outcome.DONE
    assert reads == [START + END] * 2
    assert not is_open(world)


def test_a_message_finds_what_is_to_be_done_before_an_end(world: World) -> None:
    """A revoked access closes without waiting for another end."""
    world.ask(DB, minutes=5)
    world.clock.now = START + END - timedelta(seconds=20)
    other = world.ask(DB, who=BOB, source="192.0.2.9", minutes=9)
    world.clock.now = START + END - timedelta(seconds=1)
    revoke(world.services, other.id, Caller(BOB))
    converge_on_message(world.services, NSG_SUBNET)
    assert world.request(other.id).ports[0].closed_at == START + END - timedelta(seconds=1)
    assert world.clock() == START + END
    assert not is_open(world)


def test_who_comes_long_before_the_end_waits_for_nothing(world: World) -> None:
    """A worker has other things to do."""
    world.ask(DB, minutes=5)
    converge_at(world, END.total_seconds() - 2.001)
    assert world.clock() - START < END
    assert is_open(world)


def test_an_end_that_passes_while_another_worker_finishes_is_seen(world: World) -> None:
    """Its own message finds the group busy and is gone: who was busy looks once more."""
    request = world.ask(DB, minutes=5)
    replace = world.tables.firewalls.replace
    found_busy = []

    def give_back_slowly(row: Row) -> object:
        if row.key == "lease" and row.values["until"] == format_sortable(world.clock()):
            world.tables.firewalls.replace = replace  # type: ignore[method-assign]
            world.clock.now = START + END
            found_busy.append(converge(world.services, NSG_SUBNET))
        return replace(row)

    world.tables.firewalls.replace = give_back_slowly  # type: ignore[assignment, method-assign]
    converge_at(world, END.total_seconds() - 9)
    assert found_busy == [Outcome.BUSY]
    assert world.status(request.id) is Status.REVOKED
    assert not is_open(world)
