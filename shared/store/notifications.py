"""The due rows of notifications. They name audit events, as those of the audit export do."""

from dataclasses import dataclass
from datetime import datetime

from shared.domain.notifications import Notification, type_of
from shared.store.audit import Fact
from shared.store.audit_export import ExportDue, PendingEvents
from shared.store.codec import UnreadableRowError, pack_json, unpack

PARTITION = "notifications"
NOTIFIED = "notified"  # on an event's row: its notification was accepted


@dataclass(frozen=True)
class PendingNotification:
    """A due row, and the notification of its event. None: there is nothing to be sent."""

    due: ExportDue
    notification: Notification | None


class NotificationRows(PendingEvents):
    """The due rows of notifications, and the events that they name."""

    partition = PARTITION
    marked = NOTIFIED

    def read(self, due: ExportDue, believed_from: datetime) -> PendingNotification | None:
        """Read a notification. Return None while the event's writer may not have written it.

        A due row is written before its event. One that leads to no event is believed once the
        longest stall of its writer has passed.
        """
        stored = self.event(due.partition, due.key)
        if stored is None and not self.noted_before(due, believed_from):
            return None
        if stored is None or stored[1]:
            return PendingNotification(due, None)
        return PendingNotification(due, _notification(due.key, stored[0].text))

    def done(self, due: ExportDue) -> None:
        """Note on the event's row that its notification was accepted, and take off its due row."""
        self.mark(due.name, 1)


def _notification(key: str, text: str) -> Notification | None:
    try:
        fact = unpack(Fact, pack_json(text))
    except UnreadableRowError:
        return None
    kind = type_of(fact.operation, fact.reason)
    if kind is None:
        return None
    subject = fact.request_id or fact.policy_id or fact.vm_id
    return Notification(key.rpartition("|")[2], kind, fact.at, subject, _data(fact))


def _data(fact: Fact) -> dict[str, str | int | float]:
    """Return what a subscriber reads, under the names that the activity uses; no empty field."""
    values = {
        "operation": fact.operation,
        "principal": fact.principal,
        "principalName": fact.principal_name,
        "onBehalfOf": fact.on_behalf_of,
        "requestId": fact.request_id,
        "virtualMachine": fact.vm_id,
        "port": fact.port,
        "firewall": fact.firewall_id,
        "policyId": fact.policy_id,
        "sourceAddress": fact.source_address,
        "reason": fact.reason,
        "latenessSeconds": fact.lateness_seconds,
    }
    return {name: value for name, value in values.items() if value is not None and value != ""}
