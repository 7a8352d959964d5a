"""Another writer changes the same network security group at the same time, again and again."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.model import Status
from shared.firewalls.nsg.model import Access, SecurityRule, Snapshot
from shared.firewalls.nsg.rules import Plan
from shared.ports import Row
from shared.use_cases.firewalls.converge import converge
from tests.fakes import NAMES
from tests.world import BOB, DB, NSG_SUBNET, World

THEIRS = SecurityRule("theirs", Access.ALLOW, "Tcp", ("*",), ("*",), ("443",), priority=150)


class Rivalry(World):
    """A world where a neighbour is quicker so many times, and the reads of rows are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.protect()
        self.times = 0
        self.lost = 0
        self.reads = 0
        self.firewall.before_write = self._be_quicker
        self.edit: Callable[[], None] = lambda: self.firewall.edit(
            NSG_SUBNET, replace(THEIRS, description=f"release {self.lost}")
        )
        self._query = self.tables.firewalls.query
        self.tables.firewalls.query = self._counted  # type: ignore[method-assign]

    def _counted(self, partition: str, **given: Any) -> list[Row]:
        self.reads += 1
        return self._query(partition, **given)

    def _be_quicker(self, _snapshot: Snapshot, _plan: Plan) -> None:
        if self.lost < self.times:
            self.lost += 1
            self.edit()


@pytest.fixture
def world() -> Rivalry:
    """Make a world with two ports of db open that end together."""
    made = Rivalry()
    made.ask(DB)
    made.ask(DB, who=BOB)
    made.clock.advance(10 * 60)
    made.reads = 0
    return made


def close(world: Rivalry, *, lost: int) -> int:
    """Converge once with so many races lost; return how often the rows were read."""
    world.times = lost
    before = world.firewall.writes[NSG_SUBNET.lower()]
    began = world.clock()
    converge(world.services, NSG_SUBNET)
    assert world.firewall.ours(NSG_SUBNET, Access.ALLOW) == []
    assert world.firewall.writes[NSG_SUBNET.lower()] - before == 1
    assert world.clock() - began <= timedelta(seconds=lost)
    return world.reads


@pytest.mark.parametrize("lost", [1, 4])
def test_a_lost_race_is_run_again_with_the_firewall_read_alone(world: Rivalry, lost: int) -> None:
    """However many rows there are, the neighbour gets no more time than that."""
    quiet = Rivalry()
    quiet.ask(DB)
    quiet.ask(DB, who=BOB)
    quiet.clock.advance(10 * 60)
    quiet.reads = 0
    assert close(world, lost=lost) == close(quiet, lost=0)
    assert world.lost == lost
    assert world.firewall.rules(NSG_SUBNET)["theirs"].description == f"release {lost}"


def test_after_five_lost_races_the_rows_are_read_again(world: Rivalry) -> None:
    """Rows read before the races grow old."""
    reads = close(world, lost=5)
    quiet = Rivalry()
    quiet.ask(DB)
    quiet.ask(DB, who=BOB)
    quiet.clock.advance(10 * 60)
    quiet.reads = 0
    assert reads == close(quiet, lost=0) + 1


def test_what_the_neighbour_has_done_is_not_done_again(world: Rivalry) -> None:
    """Another writer removed both rules by hand just before we did."""
    names = [rule.name for rule in world.firewall.ours(NSG_SUBNET, Access.ALLOW)]
    world.edit = lambda: world.firewall.edit(NSG_SUBNET, remove=names)
    world.times = 1
    before = world.firewall.writes[NSG_SUBNET.lower()]
    converge(world.services, NSG_SUBNET)
    assert world.firewall.writes[NSG_SUBNET.lower()] == before
    assert world.firewall.ours(NSG_SUBNET, Access.ALLOW) == []


def test_what_is_new_waits_for_a_full_round(world: Rivalry) -> None:
    """A rule that appears in between may be a colleague's, whose row was written since."""
    new = replace(THEIRS, name=NAMES.allow("colleague", DB, 22, 4), priority=300)
    plans: list[Plan] = []
    quicker = world.firewall.before_write

    def note(snapshot: Snapshot, plan: Plan) -> None:
        plans.append(plan)
        quicker(snapshot, plan)

    world.firewall.before_write = note
    world.edit = lambda: world.firewall.edit(NSG_SUBNET, new)
    world.times = 1
    converge(world.services, NSG_SUBNET)
    assert [len(plan.remove) for plan in plans] == [2, 2, 1]
    assert plans[-1].remove == (new.name,)
    assert world.firewall.ours(NSG_SUBNET, Access.ALLOW) == []


def test_a_place_the_neighbour_took_is_not_used(world: Rivalry) -> None:
    """Priorities are given anew from what each read shows."""
    converge(world.services, NSG_SUBNET)
    world.clock.advance(60)
    world.edit = lambda: world.firewall.edit(NSG_SUBNET, replace(THEIRS, priority=200))
    world.lost, world.times = 0, 1
    request = world.ask(DB)
    assert world.status(request.id) is Status.INITIATED
    (rule,) = world.firewall.ours(NSG_SUBNET, Access.ALLOW)
    assert rule.priority == 201
