"""Forgetting breaks at each of its calls in turn: the next run finishes, and nothing else goes."""

import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.model import Status
from shared.domain.request import change_ports
from shared.store.audit import AuditEvent
from shared.store.index import INDEX, order_key
from shared.use_cases.timers.retention import purge_old
from tests.faults.harness import Died, FaultType, FragileWorld
from tests.world import DB, WEB


def aged() -> tuple[FragileWorld, str]:
    """Return a world with old activity, an old request that has ended, and one that has not."""
    world = FragileWorld()
    days = {"keep_requests": timedelta(days=90), "keep_activity": timedelta(days=365)}
    world.services = replace(world.services, **days)  # type: ignore[arg-type]
    world.protect()
    over, stuck = world.ask(WEB, minutes=5).id, world.ask(DB, minutes=5).id
    world.pass_time(45)
    world.kept_requests.change(
        stuck, lambda held: change_ports(held, lambda port: replace(port, status=Status.INITIATED))
    )
    world.kept_requests.note_live(world.request(over))
    at = world.clock() - timedelta(days=400)
    world.services.activity.record(AuditEvent("old", at, "requested"))
    world.clock.advance(91 * 24 * 3600)
    return world, stuck


@pytest.mark.parametrize("fault_type", FaultType)
def test_a_run_that_breaks_anywhere_is_finished_by_the_next(fault_type: FaultType) -> None:
    """Whichever call fails or is the last: what is over goes in the end, what is not stays."""
    for at in range(1, 120):
        world, stuck = aged()
        world.faults.arm(at, fault_type)
        with contextlib.suppress(Died):
            purge_old(world.services)
        fired = world.faults.fired
        world.faults.disarm()
        assert world.kept_requests.get(stuck) is not None
        for _ in range(3):
            purge_old(world.services)
        rows = list(world.tables.requests.rows)
        stored = [row for row in rows if not row[0].startswith(INDEX)]
        assert stored == [stuck.partition("-")[::2]], (at, fault_type)
        assert {key for partition, key in rows if partition.startswith(INDEX)} == {order_key(stuck)}
        assert not any(p.startswith("2025") for p, _ in world.tables.activity.rows)
        if not fired:
            assert at > 10
            return
    pytest.fail("it never came to its end")
