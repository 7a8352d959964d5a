"""The real quotas: ARM's token buckets and the network provider's five-minute windows.

Figures from Azure's documentation of request limits and throttling: per subscription and principal 200 writes and 200
deletes refilled at 10 a second, 250 reads refilled at 25 a second; Microsoft.Network takes 1,000
writes and 10,000 reads per subscription in five minutes.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from local.arm import errors

Operation = Literal["reads", "writes", "deletes"]
BUCKETS: dict[Operation, tuple[int, float]] = {
    "reads": (250, 25.0),
    "writes": (200, 10.0),
    "deletes": (200, 10.0),
}
NETWORK_WINDOW_SECONDS = 300
NETWORK_WRITES, NETWORK_READS = 1000, 10000


def operation_of(method: str) -> Operation:
    """Return the bucket a method draws from; POST counts as a write [recorded]."""
    if method in ("GET", "HEAD"):
        return "reads"
    return "deletes" if method == "DELETE" else "writes"


@dataclass
class Bucket:
    """A token bucket."""

    size: int
    per_second: float
    tokens: float
    at: float

    def take(self, now: float) -> float:
        """Take one token, or answer the seconds until there is one."""
        self.tokens = min(self.size, self.tokens + (now - self.at) * self.per_second)
        self.at = now
        if self.tokens < 1:
            return (1 - self.tokens) / self.per_second
        self.tokens -= 1
        return 0.0


@dataclass
class Window:
    """A sliding window of calls."""

    limit: int
    calls: deque[float] = field(default_factory=deque)

    def take(self, now: float) -> float:
        """Count one call, or answer the seconds until one is free again."""
        while self.calls and self.calls[0] <= now - NETWORK_WINDOW_SECONDS:
            self.calls.popleft()
        if len(self.calls) >= self.limit:
            return self.calls[0] + NETWORK_WINDOW_SECONDS - now
        self.calls.append(now)
        return 0.0


class Quotas:
    """The use of quotas by each principal and subscription; counts only while enabled."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.enabled = False
        self._clock = clock
        self._buckets: dict[tuple[str, str, Operation], Bucket] = {}
        self._windows: dict[tuple[str, bool], Window] = {}

    def refill(self) -> None:
        """Reset what was used."""
        self._buckets.clear()
        self._windows.clear()

    def spend(self, subscription: str, caller: str, method: str, namespace: str) -> None:
        """Count one call, or refuse it as ARM or as the network provider would."""
        if not self.enabled:
            return
        operation = operation_of(method)
        wait = self._bucket(subscription, caller, operation).take(self._clock())
        if wait > 0:
            raise errors.arm_throttled(subscription, operation[:-1], caller, math.ceil(wait))
        if namespace.lower() == "microsoft.network":
            wait = self._window(subscription, operation == "reads").take(self._clock())
            if wait > 0:
                raise errors.network_throttled(subscription, math.ceil(wait))

    def remaining(self, subscription: str, caller: str, method: str) -> dict[str, str]:
        """Return the header that tells how much is left."""
        operation = operation_of(method)
        left = int(self._bucket(subscription, caller, operation).tokens)
        return {f"x-ms-ratelimit-remaining-subscription-{operation}": str(left)}

    def _bucket(self, subscription: str, caller: str, operation: Operation) -> Bucket:
        key = (subscription.lower(), caller, operation)
        if key not in self._buckets:
            size, per_second = BUCKETS[operation]
            self._buckets[key] = Bucket(size, per_second, size, self._clock())
        return self._buckets[key]

    def _window(self, subscription: str, reads: bool) -> Window:
        limit = NETWORK_READS if reads else NETWORK_WRITES
        return self._windows.setdefault((subscription.lower(), reads), Window(limit))
