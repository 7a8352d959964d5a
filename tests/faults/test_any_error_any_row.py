"""Any error at any row, in every combination: every access closes on time."""

from collections.abc import Callable
from itertools import product

import pytest

from shared.firewalls.nsg.model import Access
from shared.ports import (
    OutsideError,
    RowChangedError,
    RowExistsError,
    ThrottledError,
)
from shared.use_cases.timers.reconcile import reconcile
from tests.unit.breaking import NSG_FAR, ROWS, BreakingWorld
from tests.world import NSG_NIC, NSG_SUBNET, POLICY

READS, WRITES = "get", "insert replace upsert delete remove"
ERRORS: dict[str, Callable[[], Exception]] = {
    "outage": lambda: OutsideError("no answer"),
    "too large": lambda: OutsideError("EntityTooLarge"),
    "throttled": lambda: ThrottledError("slow down", retry_after=60),
    "time-out": lambda: TimeoutError("timed out"),
    "value": lambda: ValueError("odd"),
    "key": lambda: KeyError("odd"),
    "changed": lambda: RowChangedError("changed"),
    "exists": lambda: RowExistsError("exists"),
    "unexpected": lambda: RuntimeError("unexpected"),
    "recursion": lambda: RecursionError("too deep"),
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


@pytest.mark.parametrize("messages", [True, False], ids=["messages", "no-queue"])
@pytest.mark.parametrize(
    ("subject", "methods", "error"),
    list(product(ROWS, (READS, WRITES, f"{READS} {WRITES}"), ERRORS)),
    ids=str,
)
def test_any_error_at_one_row_delays_no_close(
    subject: str, methods: str, error: str, messages: bool
) -> None:
    """Every access ends on time, by its message or by the sweep, and the rows are right later."""
    world = BreakingWorld()
    world.break_rows(subject, methods, ERRORS[error])
    if not messages:
        world.queues.waiting.clear()
        world.queues._send = fail_to_send  # type: ignore[method-assign]
    world.pass_time(4)
    reconcile(world.services)
    world.pass_time(3)
    assert_closed(world, IN_TIME if messages else 120 + IN_TIME)
    world.queues.__dict__.pop("_send", None)
    assert_right_afterwards(world)
