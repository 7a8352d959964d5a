"""With any failure of one row, every access closes on time; tests/faults tries every error."""

from collections.abc import Callable
from datetime import timedelta
from itertools import product

import pytest

from shared.firewalls.nsg.model import Access
from shared.ports import (
    OutsideError,
    RowChangedError,
)
from shared.use_cases.timers.reconcile import reconcile
from tests.unit.breaking import NSG_FAR, ROWS, BreakingWorld
from tests.world import NSG_NIC, NSG_SUBNET, POLICY

READS, WRITES = "get", "insert replace upsert delete remove"
ERRORS: dict[str, Callable[[], Exception]] = {
    "outage": lambda: OutsideError("no answer"),
    "value": lambda: ValueError("odd"),
    "changed": lambda: RowChangedError("changed"),
}
IN_TIME = 3.0  # seconds


def fail_to_send(*_given: object, **_named: object) -> None:
    """Fail as a queue that does not answer."""
    raise OutsideError("no queue")


def assert_closed(world: BreakingWorld, within: float) -> None:
    """Assert that nothing is open any more, and that the last access closed in time."""
    assert world.allows() == []
    assert world.late <= within
    standing = {rule.name for rule in world.firewall.ours(NSG_NIC, Access.DENY)}
    assert world.denies <= standing


def assert_right_afterwards(world: BreakingWorld) -> None:
    """Assert that the rows are in order, once they can be read and written again."""
    world.mend()
    world.pass_time(2)
    reconcile(world.services)
    world.pass_time(20)
    reconcile(world.services)
    world.pass_time(2)
    for request in world.services.requests.newest(POLICY, 10):
        assert request.is_final
    for nsg in (NSG_NIC, NSG_SUBNET, NSG_FAR):
        assert world.services.rows.read(nsg).grants == ()


@pytest.mark.parametrize(
    ("subject", "methods", "error"),
    list(product(ROWS, (READS, WRITES), ("outage", "value", "changed"))),
    ids=str,
)
def test_an_error_at_one_row_delays_no_close(subject: str, methods: str, error: str) -> None:
    """Every access ends on time, by its message, and the rows are right later."""
    world = BreakingWorld()
    world.break_rows(subject, methods, ERRORS[error])
    world.pass_time(4)
    reconcile(world.services)
    world.pass_time(3)
    assert_closed(world, IN_TIME)
    assert_right_afterwards(world)


@pytest.mark.parametrize("messages", [True, False], ids=["messages", "no-queue"])
@pytest.mark.parametrize("subject", ROWS)
def test_a_row_that_cannot_be_decoded_delays_no_close(subject: str, messages: bool) -> None:
    """Every other access ends on time, and a deny whose protection is unreadable stands."""
    world = BreakingWorld()
    world.garble(subject)
    if not messages:
        world.queues.waiting.clear()
        world.queues._send = fail_to_send  # type: ignore[method-assign]
    world.pass_time(7)
    assert_closed(world, IN_TIME if messages else 120 + IN_TIME)


@pytest.mark.parametrize("subject", ROWS)
def test_a_row_garbled_and_swept_is_closed_by_the_sweep_alone(subject: str) -> None:
    """With the rows garbled just before the end, two sweeps close everything."""
    world = BreakingWorld()
    world.queues.waiting.clear()
    world.clock.now = world.end - timedelta(seconds=1)
    world.garble(subject)
    world.clock.now = world.end
    world.sweep()
    world.clock.advance(60)
    world.sweep()
    assert_closed(world, 60 + IN_TIME)
