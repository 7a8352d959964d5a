"""Disconnecting Bastion's sessions breaks at each of its calls in turn: no close suffers from it."""

from typing import Any

import pytest

from shared.domain.audit import Operation
from shared.domain.model import Status
from shared.use_cases.timers.disconnect_sessions import disconnect_sessions
from tests.bastion_closes import MemorySessions, ask, noted, prepare, recorded, run, session
from tests.faults import harness
from tests.faults.harness import Breakable, FragileWorld
from tests.world import BOB

_CALLS = frozenset({"list", "disconnect"})


def _scene() -> tuple[FragileWorld, MemorySessions, Any]:
    """Return a world with a closed access, its host, and the host with calls that can break."""
    world = FragileWorld()
    prepare(world)
    ask(world)
    world.pass_time(11)
    host = MemorySessions(session("s1"), session("s2", user=BOB.name), session("s3", user="root"))
    return world, host, Breakable(host, world.faults, _CALLS)


@pytest.mark.parametrize("failure", harness.FaultType)
def test_a_crash_at_any_call_ends_with_the_session_gone_and_recorded_once(
    failure: harness.FaultType,
) -> None:
    """Whichever call fails, is answered too late or is the last: theirs ends, no other does."""
    for at in range(1, 100):
        world, host, breakable = _scene()
        world.faults.arm(at, failure)
        for _ in range(2):
            world.attempt(lambda: disconnect_sessions(world.services, breakable))  # noqa: B023
            world.clock.advance(60)
        fired = world.faults.fired
        world.faults.disarm()
        run(world, breakable, times=6)

        assert [each.id for each in host.live] == ["s2", "s3"], (at, failure)
        assert len(recorded(world, Operation.SESSION_DISCONNECTED)) == 1, (at, failure)
        assert noted(world) == 0, (at, failure)
        if not fired:
            assert at > 8
            return
    pytest.fail("it never came to its end")


def test_a_death_after_any_call_of_a_close_leaves_the_close_right() -> None:
    """With the disconnection switched on, a close still ends, and is noted once at most."""
    for at in range(1, 400):
        world = FragileWorld()
        prepare(world)
        request = ask(world)
        world.clock.advance(9 * 60)
        world.faults.arm(at, harness.FaultType.DEATH_AFTER)
        world.step(2)
        fired = world.faults.fired
        world.faults.disarm()
        world.pass_time(3)

        assert world.status(request.id) is Status.REVOKED, at
        assert noted(world) <= 1
        if not fired:
            return
    pytest.fail("it never came to its end")
