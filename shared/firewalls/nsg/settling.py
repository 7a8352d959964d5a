"""Say when a group that was just written is worth reading: reads count against a quota of ARM.

The first look comes after what the last write of the group took to settle. A group that this
process has not seen settle is taken for one like the last that it has.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from shared.domain.ids import key_of

LONGEST_FIRST_LOOK = 10.0  # seconds; what takes longer is left to a message
_HITS_BEFORE_SOONER = 8  # first looks that found the group settled, before one comes sooner
_SOONER = 4 / 5
_MOST_GROUPS = 10_000


@dataclass
class _Taken:
    """How many seconds the last write took at most, and how many first looks found it settled."""

    seconds: float
    hits: int = 0

    def hit(self) -> "_Taken":
        """Count a first look that came in time; after some, the next one comes sooner."""
        if self.hits + 1 < _HITS_BEFORE_SOONER:
            return _Taken(self.seconds, self.hits + 1)
        return _Taken(self.seconds * _SOONER)


class SettleTimes:
    """What the last write of each group took to settle, as this process has seen it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._written: dict[str, float] = {}
        self._taken: dict[str, _Taken] = {}
        self._last: _Taken | None = None

    def note_write(self, firewall_id: str) -> None:
        """Note that a write of a group was accepted now."""
        if len(self._taken) > _MOST_GROUPS:
            self._taken.clear()
        self._written[key_of(firewall_id)] = self._now()

    def first_look(self, firewall_id: str) -> float:
        """Return how many seconds to wait before a group is read; 0 without a write of ours."""
        key = key_of(firewall_id)
        written, taken = self._written.get(key), self._taken.get(key) or self._last
        if written is None or taken is None:
            return 0.0
        left = min(taken.seconds, LONGEST_FIRST_LOOK) - max(0.0, self._now() - written)
        return max(0.0, left)

    def note_settled(self, firewall_id: str, *, at_first_look: bool) -> None:
        """Note that a group which was written has settled."""
        key = key_of(firewall_id)
        written = self._written.pop(key, None)
        if written is None:
            return
        known = self._taken.get(key) or self._last
        took = max(0.0, self._now() - written)
        taken = known.hit() if known and at_first_look else _Taken(took)
        self._taken[key] = self._last = taken
