"""The rows of the activity: who did what, a partition a day."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from shared.domain.audit import Operation
from shared.domain.ids import digest
from shared.domain.notifications import type_of
from shared.domain.texts import MAX_NAME, MAX_TEXT, shorten
from shared.domain.times import format_sortable
from shared.ports import Row, RowExistsError, Table, Value, Workers
from shared.store.audit_export import PendingEvents
from shared.store.codec import UnreadableRowError, pack, unpack
from shared.store.keys import age_key
from shared.store.together import call, errors_of, in_turn, insert, raise_first, write_together


@dataclass(frozen=True)
class AuditEvent:
    """An audit event; a repeat of its record has the same id."""

    id: str
    at: datetime
    operation: str
    principal: str = ""
    principal_name: str = ""
    on_behalf_of: str = ""
    relayed_by: str = ""
    request_id: str = ""
    vm_id: str = ""
    port: int | None = None  # 0 is a port
    firewall_id: str = ""
    policy_id: str = ""
    source_address: str = ""
    reason: str = ""
    authorized_by: str = ""
    lateness_seconds: float | None = None
    old_digest: str = ""  # of a policy before and after a change
    new_digest: str = ""
    changes: str = ""  # the fields of a policy that differ
    approvals_needed: int = 0  # of a request that waits for approval


MAX_REASON = MAX_TEXT + 128  # a close's own word comes before what was said about it
CLOSES = "closes"  # beside the days: how late each close was, newest first


def _lateness_row(event: AuditEvent) -> Row:
    key = f"{age_key(event.at)}|{digest(event.id)}"
    values: dict[str, Value] = {
        "seconds": event.lateness_seconds or 0.0,
        "firewall": event.firewall_id,
    }
    return Row(CLOSES, key, values)


class ActivityRows:
    """Audit events, append only, a partition a day."""

    def __init__(
        self,
        table: Table,
        exports: PendingEvents | None = None,
        notifications: PendingEvents | None = None,
        workers: Workers = in_turn,
    ) -> None:
        self._table = table
        self._workers = workers
        self._exports = exports  # None: audit events are not exported
        self._notifications = notifications  # None: there is no notification channel

    def record(self, event: AuditEvent) -> None:
        """Record an event once. Its day comes from its own time, so a repeat finds it again."""
        raise_first(filter(None, self.record_all([event])))

    def record_all(self, events: Sequence[AuditEvent]) -> list[Exception | None]:
        """Record events, each once; return for each why that failed.

        The row that leads to an event is written before the event.
        """
        rows: list[Row | None] = []
        failed: list[Exception | None] = []
        for event in events:
            row, error = _try_row(event)
            rows.append(row)
            failed.append(error)
        steps = (self._insert_lateness, self._note_exports, self._note_notifications)
        pieces = [partial(step, events, rows) for step in steps]
        for step_failed in self._workers(call, pieces):
            failed = _first_of_each(failed, step_failed)
        sound = [row if error is None else None for row, error in zip(rows, failed, strict=True)]
        return _first_of_each(failed, self._insert_all(sound))

    def _insert_lateness(
        self, events: Sequence[AuditEvent], rows: Sequence[Row | None]
    ) -> list[Exception | None]:
        return self._insert_all(
            [
                _lateness_row(event) if row and event.lateness_seconds is not None else None
                for event, row in zip(events, rows, strict=True)
            ]
        )

    def _note_exports(
        self, events: Sequence[AuditEvent], rows: Sequence[Row | None]
    ) -> list[Exception | None]:
        if self._exports is None:
            return [None] * len(events)
        return self._exports.add_all(rows)

    def _note_notifications(
        self, events: Sequence[AuditEvent], rows: Sequence[Row | None]
    ) -> list[Exception | None]:
        if self._notifications is None:
            return [None] * len(events)
        return self._notifications.add_all(
            [
                row if type_of(event.operation, event.reason) else None
                for event, row in zip(events, rows, strict=True)
            ]
        )

    def _insert_all(self, rows: Sequence[Row | None]) -> list[Exception | None]:
        """Insert rows; one that is there already is fine."""
        written = write_together(
            self._table, [insert(row) for row in rows if row is not None], self._workers
        )
        return errors_of(rows, written, fine=RowExistsError)

    def newest_lateness(self, limit: int) -> list[float]:
        """Read how late the newest closes were, in seconds."""
        return [seconds for _, seconds in self.newest_closes(limit)]

    def newest_closes(self, limit: int) -> list[tuple[str, float]]:
        """Read the firewalls of the newest closes, and how late each was, in seconds.

        The firewall is empty in a row that an older version wrote.
        """
        rows = self._table.query(CLOSES, limit=limit)
        return [(str(r.values.get("firewall", "")), float(r.values["seconds"])) for r in rows]

    def on(self, day: datetime, *, start: str = "", limit: int = 0) -> list[tuple[str, AuditEvent]]:
        """Read the events of a day with their keys, oldest first; an undecodable row is reported."""
        rows = self._table.query(f"{day:%Y-%m-%d}", start=start, limit=limit)
        return [(row.key, _event(row, day)) for row in rows]


def _try_row(event: AuditEvent) -> tuple[Row | None, Exception | None]:
    """Return the row of an event, or the reason that it has none."""
    try:
        key = f"{format_sortable(event.at)}|{digest(event.id)}"
        return Row(f"{event.at:%Y-%m-%d}", key, pack(_bounded(event))), None
    except Exception as error:  # noqa: BLE001 - it holds up no other event
        return None, error


def _first_of_each(
    first: Sequence[Exception | None], then: Sequence[Exception | None]
) -> list[Exception | None]:
    return [one or other for one, other in zip(first, then, strict=True)]


def _bounded(event: AuditEvent) -> AuditEvent:
    """Keep an event's texts within what one may take: rows of older versions hold longer ones."""
    return replace(
        event,
        reason=shorten(event.reason, MAX_REASON),
        authorized_by=shorten(event.authorized_by),
        principal_name=shorten(event.principal_name, MAX_NAME),
    )


def _event(row: Row, day: datetime) -> AuditEvent:
    try:
        return unpack(AuditEvent, row.values)
    except UnreadableRowError:
        return AuditEvent(row.key, day, Operation.UNREADABLE)
