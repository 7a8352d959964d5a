"""The due rows of notifications. They name audit events, as those of the audit export do.

A notification without an audit event, as of an access that closes soon, is in its due row.
The version before finds no event of such a row, and takes it off.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from shared.domain.ids import digest, key_of
from shared.domain.notifications import EventType, Notification, types_of
from shared.domain.texts import as_json
from shared.domain.times import format_sortable
from shared.ports import Row, RowChangedError
from shared.store.audit import AuditEvent
from shared.store.audit_export import ExportDue, PendingEvents
from shared.store.codec import UnreadableRowError, pack, pack_json, unpack

PARTITION = "notifications"
NOTIFIED = "notified"  # on an event's row: its notifications were accepted

_LATER = "notifications-later"
_Data = dict[str, str | int | float]


@dataclass(frozen=True)
class PendingNotification:
    """A due row, and the notifications of its event. Empty: there is nothing to be sent."""

    due: ExportDue
    notifications: tuple[Notification, ...]


@dataclass(frozen=True)
class ClosingSoon:
    """An end of a port's access, which is notified a while before."""

    request_id: str
    vm_id: str
    port: int
    end_at: datetime

    @property
    def id(self) -> str:
        """Return the id of the notification."""
        end = format_sortable(self.end_at)
        return digest("closingSoon", self.request_id, key_of(self.vm_id), str(self.port), end)


class NotificationRows(PendingEvents):
    """The due rows of notifications, and the events that they name."""

    partition = PARTITION
    marked = NOTIFIED

    def note(self, notification: Notification) -> None:
        """Note a notification that no audit event leads to. A repeat replaces it."""
        at = notification.at
        noted = format_sortable(self._clock())
        key = f"{format_sortable(at)}|{notification.id}"
        due = ExportDue(f"{at:%Y-%m-%d}", key, noted, content=_content_of(notification))
        self._due.upsert(self._row(due))

    def note_later(self, at: datetime, soon: ClosingSoon) -> None:
        """Note an end that has to be notified at an instant. A repeat changes nothing."""
        self._due.upsert(Row(_LATER, f"{format_sortable(at)}|{soon.id}", pack(soon)))

    def later(self, until: datetime, limit: int) -> list[tuple[Row, ClosingSoon | None]]:
        """Read the ends that are notified by an instant; None: the row cannot be decoded."""
        rows = self._due.query(_LATER, stop=format_sortable(until) + "~", limit=limit)
        return [(row, _closing_soon(row)) for row in rows]

    def remove_later(self, row: Row) -> None:
        """Take off an end that is notified, or needs no notification any more."""
        with suppress(RowChangedError):
            self._due.delete(row)

    def read(self, due: ExportDue, believed_from: datetime) -> PendingNotification | None:
        """Read the notifications of an event. Return None while it may not be written yet.

        A due row is written before its event. One that leads to no event is believed once the
        longest stall of its writer has passed.
        """
        if due.content:
            return PendingNotification(due, _parse_content(due.content))
        stored = self.event(due.partition, due.key)
        if stored is None and not self.noted_before(due, believed_from):
            return None
        if stored is None or stored[1]:
            return PendingNotification(due, ())
        return PendingNotification(due, tuple(_notifications(due.key, stored[0].text)))

    def done(self, due: ExportDue) -> None:
        """Note on the event's row that its notifications were accepted; take off the due row."""
        if due.content:
            self.remove(due)
        else:
            self.mark(due.name, 1)


def _closing_soon(row: Row) -> ClosingSoon | None:
    try:
        return unpack(ClosingSoon, row.values)
    except UnreadableRowError:
        return None


def _content_of(notification: Notification) -> str:
    return as_json(
        {
            "id": notification.id,
            "type": notification.type,
            "at": notification.at.isoformat(),
            "subject": notification.subject,
            "data": dict(notification.data),
        }
    )


def _parse_content(text: str) -> tuple[Notification, ...]:
    """Read the content of a due row. A type of a newer version sends nothing."""
    try:
        held = json.loads(text)
        at = datetime.fromisoformat(held["at"])
        found = Notification(
            held["id"], EventType(held["type"]), at, held["subject"], dict(held["data"])
        )
    except (ValueError, TypeError, KeyError):
        return ()
    return (found,)


def _notifications(key: str, text: str) -> Iterable[Notification]:
    """Make the notifications of an event. The first has the event's id."""
    try:
        event = unpack(AuditEvent, pack_json(text))
    except UnreadableRowError:
        return
    subject = event.request_id or event.policy_id or event.vm_id
    event_id = key.rpartition("|")[2]
    types = types_of(event.operation, event.reason, approvals_needed=event.approvals_needed)
    for number, event_type in enumerate(types):
        sent_as = digest(event_id, event_type) if number else event_id
        yield Notification(sent_as, event_type, event.at, subject, _data(event))


def _data(event: AuditEvent) -> _Data:
    """Return the data of a notification, in the names of the activity, without empty fields."""
    values = {
        "operation": event.operation,
        "principal": event.principal,
        "principalName": event.principal_name,
        "onBehalfOf": event.on_behalf_of,
        "requestId": event.request_id,
        "virtualMachine": event.vm_id,
        "port": event.port,
        "firewall": event.firewall_id,
        "policyId": event.policy_id,
        "sourceAddress": event.source_address,
        "reason": event.reason,
        "latenessSeconds": event.lateness_seconds,
        "approvalsNeeded": event.approvals_needed or None,
    }
    return {name: value for name, value in values.items() if value is not None and value != ""}
