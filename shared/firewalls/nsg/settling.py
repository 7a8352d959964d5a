"""Say when a group that was just written is worth reading: reads count against a quota of ARM.

The first look comes after what the last write of the group took to settle. A group that this
process has not seen settle is taken for one like the last that it has.
"""

import time
from collections.abc import Callable

from shared.domain.ids import key_of

LONGEST_FIRST_LOOK = 10.0  # seconds; what takes longer is left to a message
_HITS_BEFORE_SOONER = 8  # first looks that found the group settled, before one comes sooner
_SOONER = 4 / 5
_WHILE_LEARNING = 2.0  # seconds; many groups that are written at once need not all learn
_MOST_GROUPS = 10_000


class SettleTimes:
    """The settle time of each group's last write, as this process has seen it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._written: dict[str, float] = {}
        self._taken: dict[str, float] = {}  # seconds at most
        self._last: float | None = None
        self._is_learning = False  # the first write of ours is looked at again and again
        self._hits = 0  # first looks in time, since one came sooner or too soon

    def note_write(self, firewall_id: str) -> None:
        """Note that a write of a group was accepted now."""
        if len(self._taken) > _MOST_GROUPS:
            self._taken.clear()
        self._written[key_of(firewall_id)] = self._now()

    def first_look(self, firewall_id: str) -> float:
        """Return how many seconds to wait before a group is read; 0 without a write of ours.

        After some looks in time one comes sooner, and no other before it has told: many groups
        that are written at once must not all look too soon.
        """
        key = key_of(firewall_id)
        written, seconds = self._written.get(key), self._taken.get(key, self._last)
        if written is None:
            return 0.0
        if seconds is None:
            first, self._is_learning = not self._is_learning, True
            return 0.0 if first else _WHILE_LEARNING
        if self._hits >= _HITS_BEFORE_SOONER:
            self._hits = 0
            seconds *= _SOONER
        left = min(seconds, LONGEST_FIRST_LOOK) - max(0.0, self._now() - written)
        return max(0.0, left)

    def note_settled(self, firewall_id: str, *, looks: int) -> None:
        """Note that a group which was written has settled, as one look or several have shown.

        One look alone tells no more than that the write has not taken longer.
        """
        key = key_of(firewall_id)
        written = self._written.pop(key, None)
        if written is None:
            return
        known, took = self._taken.get(key, self._last), max(0.0, self._now() - written)
        if looks == 1 and known is not None:
            took, self._hits = min(took, known), self._hits + 1
        else:
            self._hits = 0
        self._taken[key] = self._last = took
