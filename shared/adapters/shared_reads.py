"""Let concurrent callers share one read of a resource, and never one that is older than their call.

A caller that comes while a read is in flight does not take its answer: what that read saw may be
older than what the caller has just stored. It waits for the next read of the same resource, which
begins when the one in flight has ended and serves every caller that came before it began. No clock
takes part in this. A pace only delays the beginning of a read, so that more callers share it.
"""

import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

from shared.adapters.arm import ArmReader
from shared.ports import OutsideError, Sleep

_BUCKET, _A_SECOND = 250, 25  # reads that ARM lends an identity, and how many more each second
_MOST_KEYS = 10_000


@dataclass(frozen=True)
class _Spacing:
    """How many reads of one resource may begin at once, and how many seconds apart the next."""

    free: int
    seconds: float


_USUAL, _SCARCE = _Spacing(4, 0.5), _Spacing(1, 3.0)


class ReadPace:
    """Space the reads of one resource, so that the callers of a burst share them.

    Hundreds of requests need the same subnet, firewall and VMs. Four reads begin at
    once, then two a second; each after three seconds where this process has used up half of the
    bucket that ARM lends an identity. The first read of a resource is never delayed.
    """

    def __init__(
        self, now: Callable[[], float] = time.monotonic, sleep: Sleep = time.sleep
    ) -> None:
        self._now = now
        self._sleep = sleep
        self._lock = Lock()
        self._paid_until: dict[Hashable, float] = {}
        self._left, self._counted_at = float(_BUCKET), now()

    def wait(self, key: Hashable) -> None:
        """Wait until a resource may be read, and count the read."""
        with self._lock:
            now = self._now()
            spacing = self._count(now)
            if len(self._paid_until) >= _MOST_KEYS:
                self._paid_until = {k: at for k, at in self._paid_until.items() if at > now}
            paid = max(now, self._paid_until.get(key, now)) + spacing.seconds
            self._paid_until[key] = paid
        ahead = paid - now - spacing.free * spacing.seconds
        if ahead > 0:
            self._sleep(ahead)

    def _count(self, now: float) -> _Spacing:
        """Take a read from the bucket; return the spacing for what is left in it."""
        filled = self._left + (now - self._counted_at) * _A_SECOND
        self._left, self._counted_at = min(_BUCKET, filled) - 1, now
        return _USUAL if self._left > _BUCKET / 2 else _SCARCE


@dataclass(eq=False)
class _Read:
    """One read, from when the first caller asks for it until it has ended."""

    before: "_Read | None"  # the read that was in flight then
    ended: Event = field(default_factory=Event)
    answer: Any = None
    error: Exception | None = None

    def take(self) -> Any:
        """Return the answer once the read has ended; raises what the read raised."""
        self.ended.wait()
        if self.error is not None:
            raise self.error
        return self.answer


class SharedReads:
    """At most one read in flight and one that waits, for each key; without a pace none is delayed."""

    def __init__(self, pace: ReadPace | None = None) -> None:
        self._pace = pace
        self._lock = Lock()
        self._waiting: dict[Hashable, _Read] = {}
        self._in_flight: dict[Hashable, _Read] = {}

    def read(self, key: Hashable, work: Callable[[], Any]) -> Any:
        """Return the answer of a read of the key that begins after this call."""
        with self._lock:
            joined = self._waiting.get(key)
            if joined is None:
                own = self._waiting[key] = _Read(self._in_flight.get(key))
        if joined is not None:
            return joined.take()
        if own.before is not None:
            own.before.ended.wait()
            own.before = None
        if self._pace is not None:
            self._pace.wait(key)
        with self._lock:
            del self._waiting[key]  # it begins: a later caller has to wait for the next
            self._in_flight[key] = own
        self._run(key, own, work)
        return own.take()

    def _run(self, key: Hashable, read: _Read, work: Callable[[], Any]) -> None:
        read.error = OutsideError(f"the read of {key} was interrupted")
        try:
            read.answer = work()
            read.error = None
        except Exception as error:  # noqa: BLE001 - raised to every caller that shares the read
            read.error = error
        finally:
            with self._lock:
                if self._in_flight.get(key) is read:
                    del self._in_flight[key]
            read.ended.set()


class SharedArmReader(ArmReader):
    """Reads resources and lists of ARM, each by one read at a time."""

    def __init__(self, *args: Any, pace: ReadPace | None = None, **named: Any) -> None:
        super().__init__(*args, **named)
        self._reads = SharedReads(pace)

    def get(self, path: str, api_version: str, **query: str) -> dict[str, Any] | None:
        """Read one resource; callers that share a read must not change what it returns."""
        key = ("get", path.lower(), api_version, *sorted(query.items()))
        read = super().get
        found: dict[str, Any] | None = self._reads.read(
            key, lambda: read(path, api_version, **query)
        )
        return found

    def list(self, path: str, api_version: str, **query: str) -> Iterator[dict[str, Any]]:
        """Read a list, all pages of it."""
        key = ("list", path.lower(), api_version, *sorted(query.items()))
        read = super().list
        return iter(self._reads.read(key, lambda: [*read(path, api_version, **query)]))
