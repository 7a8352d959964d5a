"""A notification channel in memory, which can be away or reject events."""

from collections.abc import Sequence
from dataclasses import replace

from shared.domain.notifications import Notification
from shared.ports import OutsideError, RejectedEventError
from shared.store.audit import AuditEvent
from shared.use_cases.timers.send_notifications import NotificationDelivery, send_notifications
from tests.world import World


class MemoryChannel:
    """Keeps the notifications that it accepts."""

    def __init__(self, batch_size: int = 1) -> None:
        self.batch_size = batch_size
        self.accepted: list[Notification] = []
        self.rejected: set[str] = set()  # ids that are rejected
        self.is_away = False
        self.calls = 0

    def send(self, notifications: Sequence[Notification]) -> None:
        """Accept all or none."""
        self.calls += 1
        if self.is_away:
            raise OutsideError("the channel does not answer")
        if any(each.id in self.rejected for each in notifications):
            raise RejectedEventError("400")
        self.accepted += notifications

    @property
    def types(self) -> list[str]:
        """Return the types of what was accepted, in order."""
        return [each.type.value for each in self.accepted]


def turn_on(world: World) -> World:
    """Let a world note notifications for its audit events."""
    world.services = replace(world.services, notify=True)
    return world


def record_event(world: World, name: str, operation: str = "requested", **values: str) -> None:
    """Put an audit event on record."""
    at = world.clock()
    world.services.activity.record(AuditEvent(name, at, operation, **values))  # type: ignore[arg-type]


def delivery_of(world: World, channel: MemoryChannel) -> NotificationDelivery:
    """Return the parts that send a world's notifications."""
    services = world.services
    return NotificationDelivery(
        services.notifications, services.requests, channel, services.telemetry, services.clock
    )


def run_delivery(world: World, channel: MemoryChannel) -> int:
    """Send notifications once, as the timer does."""
    return send_notifications(delivery_of(world, channel))
