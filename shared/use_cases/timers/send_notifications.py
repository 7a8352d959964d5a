"""Send notifications of audit events and of ends that come soon, apart from every access.

An event's row is marked once the channel has accepted its notification, and its due row is taken
off last. So a crash anywhere loses nothing. One accepted and not marked is sent again under the
same id. It runs on the timer of the audit export, and is bounded in time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.model import GRACE, AccessRequest
from shared.ports import Clock, NotificationChannel, RejectedEventError, Telemetry
from shared.store.codec import UnreadableRowError
from shared.store.notifications import ClosingSoon, NotificationRows, PendingNotification
from shared.store.requests import RequestRows
from shared.use_cases.closing_soon import closing_soon

BUDGET = timedelta(seconds=30)
BATCH = 100  # due rows in one read
PERIOD = timedelta(minutes=5)  # of the timer: what would be late with its next run is sent now
KEEP_REJECTED = timedelta(days=3)  # a rejected notification is tried again for that long


@dataclass(frozen=True)
class NotificationDelivery:
    """The parts that notifications are sent with."""

    rows: NotificationRows
    requests: RequestRows
    channel: NotificationChannel
    telemetry: Telemetry
    clock: Clock


def send_notifications(delivery: NotificationDelivery) -> int:
    """Send what is due, a bounded time at once; return how many notifications were accepted.

    A failure is reported, never raised: the next run tries again.
    """
    sent = 0
    try:
        for count in _batches(delivery):
            sent += count
    except Exception as error:  # noqa: BLE001 - whatever it is, the next run tries again
        delivery.telemetry.fault("jit.notifications.failed", error)
    if sent:
        delivery.telemetry.event("jit.notifications.sent", notifications=sent)
    return sent


def _batches(delivery: NotificationDelivery) -> Iterable[int]:
    """Send batch after batch until nothing is due or the time is over."""
    began = delivery.clock()
    until, start = began + BUDGET, ""
    _note_ends(delivery, began)
    size = delivery.channel.batch_size
    while True:
        found = delivery.rows.due(BATCH, start=start)
        for at in range(0, len(found), size):
            if delivery.clock() >= until:
                return
            believed = delivery.clock() - GRACE
            read = [delivery.rows.read(due, believed) for due in found[at : at + size]]
            yield _send(delivery, [pending for pending in read if pending is not None])
        if len(found) < BATCH:
            return
        start = f"{found[-1].name}!"


def _note_ends(delivery: NotificationDelivery, now: datetime) -> None:
    """Note the notifications of accesses that close soon."""
    for row, soon in delivery.rows.later(now + PERIOD, BATCH):
        request = _read_request(delivery, soon) if soon else None
        notification = closing_soon(soon, request, now) if soon else None
        if notification is not None:
            delivery.rows.note(notification)
        delivery.rows.remove_later(row)


def _read_request(delivery: NotificationDelivery, soon: ClosingSoon) -> AccessRequest | None:
    """Read the request of an end; None: there is none, or its row cannot be decoded."""
    try:
        held = delivery.requests.get(soon.request_id)
    except UnreadableRowError as error:
        delivery.telemetry.fault("jit.row.unreadable", error, row=soon.request_id)
        return None
    return held.request if held else None


def _send(delivery: NotificationDelivery, batch: Sequence[PendingNotification]) -> int:
    """Send a batch and mark its events; drop due rows that lead to no notification."""
    wanted: list[PendingNotification] = []
    for pending in batch:
        if pending.notifications:
            wanted.append(pending)
        else:
            delivery.rows.remove(pending.due)
    if not wanted:
        return 0
    notifications = [each for pending in wanted for each in pending.notifications]
    try:
        delivery.channel.send(notifications)
    except RejectedEventError as error:
        return _send_apart(delivery, wanted, error)
    for pending in wanted:
        delivery.rows.done(pending.due)
    return len(notifications)


def _send_apart(
    delivery: NotificationDelivery, batch: Sequence[PendingNotification], error: RejectedEventError
) -> int:
    """Send each notification of a rejected batch by itself, so that one delays no other."""
    if len(batch) > 1:
        return sum(_send(delivery, [pending]) for pending in batch)
    (due,) = (pending.due for pending in batch)
    dropped = delivery.rows.noted_before(due, delivery.clock() - KEEP_REJECTED)
    delivery.telemetry.fault("jit.notifications.rejected", error, event=due.name, dropped=dropped)
    if dropped:
        delivery.rows.remove(due)
    return 0
