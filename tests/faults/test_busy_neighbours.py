"""Another writer keeps one network security group busy; accesses on every other close on time."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.wire import write_rule
from tests.fakes import START
from tests.faults.simulated import SimulatedWorld
from tests.world import DB, NSG_NIC, NSG_SUBNET, WEB, World

EVERY, SETTLE = timedelta(seconds=2), 4.0
THEIRS = SecurityRule("theirs", Access.ALLOW, "Tcp", ("*",), ("*",), ("443",), priority=4000)


class BusyWorld(SimulatedWorld):
    """A neighbour writes its own rule to the group before web's interface, every two seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.protect()
        self.ask(WEB, minutes=5)
        self.ask(DB, minutes=5)
        self.end = self.clock() + timedelta(minutes=5)
        self.closed_at: dict[str, datetime] = {}
        self.services = replace(self.services, sleep=self.pass_seconds)
        self.real_advance = self.clock.advance
        self.clock.advance = self.pass_seconds  # type: ignore[method-assign]
        self.wrote_at = START
        self.busy = False

    def begin(self) -> None:
        """Let the neighbour begin, a moment before the end."""
        self.clock.now = self.end - timedelta(seconds=5)
        self.set(settle=SETTLE)
        self.busy = True
        self.pass_seconds(0)

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass, a quarter of a second at a time, with the neighbour at work."""
        until = self.clock() + timedelta(seconds=seconds)
        while True:
            if self.busy and self.clock() - self.wrote_at >= EVERY:
                self.wrote_at = self.clock()
                text = self.clock().isoformat()
                body = write_rule(replace(THEIRS, description=text))
                self.arm.call("PUT", f"{NSG_NIC}/securityRules/theirs", body)
            for nsg in (NSG_NIC, NSG_SUBNET):
                if nsg not in self.closed_at and not self.allows(nsg):
                    self.closed_at[nsg] = self.clock()
            if self.clock() >= until:
                return
            left = (until - self.clock()).total_seconds()
            self.real_advance(min(0.25, left))

    def late(self, nsg: str) -> float:
        """Say how many seconds after its end the access on a group was closed."""
        return (self.closed_at[nsg] - self.end).total_seconds()


@pytest.mark.parametrize("concurrency", ["accept", "locked", "conflict"])
def test_a_neighbour_who_never_pauses_delays_no_other_group(concurrency: str) -> None:
    """Another group closes within three seconds and a write, its own at the next chance."""
    world = BusyWorld()
    world.set(concurrency=concurrency)
    world.begin()
    world.clock.now = world.end
    for nsg in (NSG_SUBNET, NSG_NIC):
        World.run(world, "firewall", nsg)
    world.pass_seconds(1)
    assert world.late(NSG_SUBNET) <= 3 + SETTLE
    assert world.late(NSG_NIC) <= 60
    world.busy = False
    world.pass_time(3)
    assert not world.allows(NSG_NIC)


def test_a_sweep_gives_a_busy_group_its_budget_and_no_more() -> None:
    """Without messages, the other group closes in the first sweep, and the busy one in two."""
    world = BusyWorld()
    world.begin()
    world.queues.waiting.clear()
    world.clock.now = world.end
    world.sweep()
    assert world.clock() - world.end <= timedelta(seconds=60)
    world.pass_seconds(1)
    assert NSG_SUBNET in world.closed_at
    world.sweep()
    world.pass_seconds(1)
    assert NSG_NIC in world.closed_at
