"""Bound how many reads of roles one caller can cause, so that a stranger cannot spend ARM's quota.

Each instance counts for itself, in a sliding minute. A read that finds no role counts against a
smaller bound: a caller who holds nothing gets no further by naming other scopes.
"""

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock

MOST_READS = 1000
MOST_IN_VAIN = 100
_WINDOW = timedelta(minutes=1)
_MOST_CALLERS = 10_000


class ReadsExceededError(Exception):
    """A caller has reached the bound; `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            "your roles were looked up at too many scopes within a minute; "
            f"try again in {retry_after} seconds"
        )
        self.retry_after = retry_after


class ReadBudget:
    """Counts the reads of each caller in the last minute."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._reads: dict[str, deque[datetime]] = {}
        self._in_vain: dict[str, deque[datetime]] = {}
        self._lock = Lock()

    def spend(self, caller: str) -> None:
        """Count one read before it is made; raises ReadsExceededError at a bound."""
        now = self._clock()
        with self._lock:
            in_vain = _recent(self._in_vain, caller, now)
            reads = _recent(self._reads, caller, now)
            _raise_if_full(in_vain, MOST_IN_VAIN, now)
            _raise_if_full(reads, MOST_READS, now)
            reads.append(now)
            in_vain.append(now)

    def found(self, caller: str) -> None:
        """Take the last read off the smaller bound: it found a role."""
        with self._lock:
            in_vain = self._in_vain.get(caller)
            if in_vain:
                in_vain.pop()


def _recent(counted: dict[str, deque[datetime]], caller: str, now: datetime) -> deque[datetime]:
    """Return the reads of a caller that count; those after `now` are dropped."""
    if len(counted) > _MOST_CALLERS and caller not in counted:
        counted.clear()
    times = counted.setdefault(caller, deque())
    while times and not timedelta(0) <= now - times[0] < _WINDOW:
        times.popleft()
    return times


def _raise_if_full(times: deque[datetime], most: int, now: datetime) -> None:
    if len(times) >= most:
        raise ReadsExceededError(int((_WINDOW - (now - times[0])).total_seconds()) + 1)
