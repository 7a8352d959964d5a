"""Bound how often one caller may call, so that no caller uses up what closing needs.

Each instance counts for itself: the bound is per caller and instance, in a sliding minute.
"""

from collections import deque
from collections.abc import Callable
from threading import Lock
from time import monotonic

from shared.domain.errors import TooManyRequestsError

_WINDOW_SECONDS = 60.0
_MOST_CALLERS = 10_000


class Throttle:
    """Counts the calls of each caller in the last minute."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._calls: dict[str, deque[float]] = {}
        self._lock = Lock()

    def count(self, caller: str, most: int) -> None:
        """Count one call; raises TooManyRequestsError with the seconds to wait."""
        now = self._clock()
        with self._lock:
            if len(self._calls) > _MOST_CALLERS:
                self._calls.clear()
            calls = self._calls.setdefault(caller, deque())
            while calls and now - calls[0] >= _WINDOW_SECONDS:
                calls.popleft()
            if len(calls) >= most:
                wait = int(_WINDOW_SECONDS - (now - calls[0])) + 1
                raise TooManyRequestsError(
                    f"More than {most} calls in a minute; slow down.", retry_after=wait
                )
            calls.append(now)
