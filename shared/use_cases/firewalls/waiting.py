"""Whether a firewall's rows leave something to do, and how long its next round waits."""

from datetime import datetime, timedelta
from typing import Protocol

from shared.domain.grants import first_end, is_covered, is_held
from shared.domain.model import FirewallRows, Grant
from shared.ports import FirewallChangedError, ThrottledError
from shared.use_cases.firewalls.run import Run
from shared.use_cases.parts import HasClock, HasSleep, HasTelemetry

LONGEST_WAIT_SECONDS = 30.0
MOMENT = timedelta(seconds=2)  # a message that announces an end comes up to a second early
_FAILURES_IN_A_ROW = 4


class WaitParts(HasClock, HasSleep, HasTelemetry, Protocol):
    """The parts for waiting."""


def is_left_over(rows: FirewallRows) -> bool:
    """Tell whether something was recorded that no read has settled yet."""
    return any(not grant.proven for grant in rows.grants) or any(
        each.lifted or not (each.proven or each.blocked) for each in rows.protections
    )


def is_proven_since(rows: FirewallRows, since: datetime, now: datetime, grace: timedelta) -> bool:
    """Tell whether a firewall was read since an instant, and that read proved all its rows.

    A grant that was sealed since then and is proven closed shows such a read: it has also removed
    every rule without a row. Once a grace is over, the firewall is read again.
    """
    closed = [g.sealed_at for g in rows.grants if g.sealed_at is not None and g.proven]
    if not closed or since > max(closed):
        return False
    if rows.undecoded or rows.lacks_grants or any(is_over(g, now, grace) for g in rows.grants):
        return False
    return not is_left_over(rows) and all(
        grant.is_sealed or (is_held(grant, now) and is_covered(grant, rows))
        for grant in rows.grants
    )


def is_over(grant: Grant, at: datetime, grace: timedelta) -> bool:
    """Tell whether a grant was proven closed, and its grace has passed since it was sealed."""
    return grant.sealed_at is not None and grant.proven and grant.sealed_at + grace <= at


def await_end(services: WaitParts, rows: FirewallRows) -> bool:
    """Wait for an end that is a moment away; True: one is there, or passed since the last look."""
    now = services.clock()
    first = first_end(rows)
    if first is None or first > now + MOMENT:
        return False
    services.sleep(max(0.0, (first - now).total_seconds()))
    return True


def _pause(services: HasTelemetry, run: Run, error: Exception) -> float:
    """Return how many seconds to wait before the next round; raises what waiting will not mend."""
    if isinstance(error, FirewallChangedError):
        return 1.0
    if isinstance(error, ThrottledError):
        if error.retry_after > LONGEST_WAIT_SECONDS:
            raise error
        return error.retry_after
    run.failures += 1
    if run.failures >= _FAILURES_IN_A_ROW:
        raise error
    services.telemetry.fault("jit.converge.retry", error, firewall=run.firewall_id)
    return float(2 ** (run.failures - 1))


def wait_for_next(services: WaitParts, run: Run, error: Exception) -> None:
    """Wait before the next round, within the budget; raises what waiting will not mend."""
    pause = _pause(services, run, error)
    left = (run.until - services.clock()).total_seconds()
    if isinstance(error, ThrottledError) and pause > left:
        raise error
    services.sleep(max(0.0, min(pause, left)))
