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
class Fact:
    """Something that happened; the same fact has the same id however often it is recorded."""

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


def _lateness_row(fact: Fact) -> Row:
    key = f"{age_key(fact.at)}|{digest(fact.id)}"
    values: dict[str, Value] = {
        "seconds": fact.lateness_seconds or 0.0,
        "firewall": fact.firewall_id,
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

    def record(self, fact: Fact) -> None:
        """Record a fact once. Its day comes from its own time, so a repeat finds it again."""
        raise_first(filter(None, self.record_all([fact])))

    def record_all(self, facts: Sequence[Fact]) -> list[Exception | None]:
        """Record facts, each once; return for each why that failed.

        The row that leads to an event is written before the event.
        """
        rows: list[Row | None] = []
        failed: list[Exception | None] = []
        for fact in facts:
            row, error = _try_row(fact)
            rows.append(row)
            failed.append(error)
        steps = (self._insert_lateness, self._note_exports, self._note_notifications)
        pieces = [partial(step, facts, rows) for step in steps]
        for step_failed in self._workers(call, pieces):
            failed = _first_of_each(failed, step_failed)
        sound = [row if error is None else None for row, error in zip(rows, failed, strict=True)]
        return _first_of_each(failed, self._insert_all(sound))

    def _insert_lateness(
        self, facts: Sequence[Fact], rows: Sequence[Row | None]
    ) -> list[Exception | None]:
        return self._insert_all(
            [
                _lateness_row(fact) if row and fact.lateness_seconds is not None else None
                for fact, row in zip(facts, rows, strict=True)
            ]
        )

    def _note_exports(
        self, facts: Sequence[Fact], rows: Sequence[Row | None]
    ) -> list[Exception | None]:
        if self._exports is None:
            return [None] * len(facts)
        return self._exports.add_all(rows)

    def _note_notifications(
        self, facts: Sequence[Fact], rows: Sequence[Row | None]
    ) -> list[Exception | None]:
        if self._notifications is None:
            return [None] * len(facts)
        return self._notifications.add_all(
            [
                row if type_of(fact.operation, fact.reason) else None
                for fact, row in zip(facts, rows, strict=True)
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

    def on(self, day: datetime, *, start: str = "", limit: int = 0) -> list[tuple[str, Fact]]:
        """Read the facts of a day with their keys, oldest first; a row that cannot be decoded is reported."""
        rows = self._table.query(f"{day:%Y-%m-%d}", start=start, limit=limit)
        return [(row.key, _fact(row, day)) for row in rows]


def _try_row(fact: Fact) -> tuple[Row | None, Exception | None]:
    """Return the row of a fact, or why it has none."""
    try:
        key = f"{format_sortable(fact.at)}|{digest(fact.id)}"
        return Row(f"{fact.at:%Y-%m-%d}", key, pack(_bounded(fact))), None
    except Exception as error:  # noqa: BLE001 - it holds up no other fact
        return None, error


def _first_of_each(
    first: Sequence[Exception | None], then: Sequence[Exception | None]
) -> list[Exception | None]:
    return [one or other for one, other in zip(first, then, strict=True)]


def _bounded(fact: Fact) -> Fact:
    """Keep a fact's texts within what one may take: rows of older versions hold longer ones."""
    return replace(
        fact,
        reason=shorten(fact.reason, MAX_REASON),
        authorized_by=shorten(fact.authorized_by),
        principal_name=shorten(fact.principal_name, MAX_NAME),
    )


def _fact(row: Row, day: datetime) -> Fact:
    try:
        return unpack(Fact, row.values)
    except UnreadableRowError:
        return Fact(row.key, day, Operation.UNREADABLE)
