"""Note and send that an access closes soon. A failure here changes no access."""

from datetime import datetime
from typing import Protocol

from shared.domain.ids import name_of
from shared.domain.model import AccessRequest, PortRequest, Status
from shared.domain.notifications import EventType, Notification
from shared.domain.times import format_instant
from shared.store.notifications import ClosingSoon
from shared.use_cases.parts import (
    HasClock,
    HasClosingSoon,
    HasNotifications,
    HasNotify,
    HasTelemetry,
)


class ClosingSoonParts(
    HasClock, HasClosingSoon, HasNotifications, HasNotify, HasTelemetry, Protocol
):
    """The parts for noting that an access ends soon."""


def note_closing_soon(
    services: ClosingSoonParts, request: AccessRequest, port: PortRequest, end_at: datetime
) -> None:
    """Note an end that has been fixed, so that it is notified a while before.

    An access that is shorter than that has no such notification. A note that cannot be written is
    reported: the opening goes on.
    """
    notify_at = end_at - services.closing_soon
    if not services.notify or not services.closing_soon or notify_at <= services.clock():
        return
    soon = ClosingSoon(request.id, port.vm_id, port.port, end_at)
    try:
        services.notifications.note_later(notify_at, soon)
    except Exception as error:  # noqa: BLE001 - whatever it is, the access must open and close
        services.telemetry.fault("jit.notifications.unnoted", error, request=request.id)


def closing_soon(
    soon: ClosingSoon, request: AccessRequest | None, now: datetime
) -> Notification | None:
    """Return the notification of an end; None: the access has ended, or ends at another time."""
    port = request.port(soon.vm_id, soon.port) if request else None
    if request is None or port is None or port.end_at != soon.end_at or soon.end_at <= now:
        return None
    if port.status is not Status.INITIATED or port.closing:
        return None
    end = format_instant(soon.end_at)
    data: dict[str, str | int | float] = {
        "principal": request.requestor.key,
        "principalName": request.requestor.name,
        "requestId": request.id,
        "virtualMachine": port.vm_id,
        "port": port.port,
        "policyId": request.policy_id,
        "reason": f"port {port.port} of '{name_of(port.vm_id)}' closes at {end}",
        "endTimeUtc": end,
    }
    return Notification(soon.id, EventType.CLOSING_SOON, now, request.id, data)
