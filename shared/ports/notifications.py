"""Notification channels: the port that notifications are sent through."""

from collections.abc import Sequence
from typing import Protocol

from shared.domain.notifications import Notification


class RejectedEventError(Exception):
    """A subscriber rejects the content of a notification; others may still be accepted."""


class NotificationChannel(Protocol):
    """Where notifications are sent. A failed answer raises OutsideError; repeats do no harm."""

    @property
    def batch_size(self) -> int:
        """Return how many notifications one call sends at most."""
        ...

    def send(self, notifications: Sequence[Notification]) -> None:
        """Send notifications in one call; raises RejectedEventError."""
        ...
