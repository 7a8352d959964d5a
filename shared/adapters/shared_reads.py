"""Let concurrent callers share one read of a resource, and never one that is older than their call.

A caller that comes while a read is in flight does not take its answer: what that read saw may be
older than what the caller has just stored. It waits for the next read of the same resource, which
begins when the one in flight has ended and serves every caller that came before it began. No clock
takes part in this.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

from shared.adapters.arm import ArmReader
from shared.ports import OutsideError


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
    """At most one read in flight and one that waits, for each key."""

    def __init__(self) -> None:
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

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._reads = SharedReads()

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
