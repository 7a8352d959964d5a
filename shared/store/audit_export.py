"""The rows of the audit export: a due row for each event, and the state of the export.

Both lie in the table of due rows, in partitions that the sweep never reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared.domain.audit_chain import Link, StoredEvent
from shared.domain.times import format_sortable
from shared.ports import Clock, Row, RowChangedError, RowExistsError, Table
from shared.store.codec import pack, pack_json, text_of, unpack
from shared.store.together import errors_of, upsert, write_together

PARTITION = "audit-export"
_STATE = ("audit-export-state", "state")
_WALK = ("audit-export-state", "walk")
_DAY = 10  # characters of a partition of the audit table, such as 2026-11-27
_FIRST_DAY, _AFTER_DAYS = "0", ":"  # days begin with a digit
EXPORTED = "exported"  # on an event's row: its number in the chain
_NEXT = "!"  # added to a key or partition: what sorts right after it


@dataclass(frozen=True)
class ExportDue:
    """An event that has to be exported, by its partition and key in the audit table."""

    partition: str
    key: str
    noted: str
    version: str = ""
    content: str = ""  # of a notification that no audit event leads to

    @property
    def name(self) -> str:
        """Return the name of the event, which is the key of the due row."""
        return f"{self.partition}|{self.key}"


@dataclass(frozen=True)
class ExportState:
    """How far the export is. `pending` is stored before it is appended, and cleared last."""

    day: str = ""  # of the file that is written
    part: int = 1
    offset: int = 0  # bytes of the file that are known to be ours
    sequence: int = Link.sequence
    head: str = Link.hash
    pending: str = ""  # lines to be appended at the offset
    events: tuple[str, ...] = ()  # names of the events in them, in order; none: the line of a day
    version: str = ""

    @property
    def link(self) -> Link:
        """Return the last link that is known to be in the blobs."""
        return Link(self.sequence, self.head)


class PendingEvents:
    """The due rows of one use of audit events, and the events that they name."""

    partition = PARTITION
    marked = EXPORTED

    def __init__(self, due: Table, activity: Table, clock: Clock) -> None:
        self._due = due
        self._activity = activity
        self._clock = clock

    def add(self, partition: str, key: str) -> None:
        """Note that an event has to be exported; this comes before the event's own row.

        A repeat is written anew, so that the row is not removed by its former version meanwhile.
        """
        self._due.upsert(self._row(ExportDue(partition, key, format_sortable(self._clock()))))

    def add_all(self, rows: Sequence[Row | None]) -> list[Exception | None]:
        """Note the events that have rows; return for each why that failed."""
        noted = format_sortable(self._clock())
        dues = [upsert(self._row(ExportDue(r.partition, r.key, noted))) for r in rows if r]
        return errors_of(rows, write_together(self._due, dues))

    def due(self, limit: int, *, start: str = "") -> list[ExportDue]:
        """Read the due rows of the export, events of the oldest days first."""
        return [_due(row) for row in self._due.query(self.partition, start=start, limit=limit)]

    def remove(self, due: ExportDue) -> None:
        """Take off what is exported, unless it was noted again meanwhile."""
        try:
            self._due.delete(self._row(due))
        except RowChangedError:
            return

    def noted_before(self, due: ExportDue, at: datetime) -> bool:
        """Tell whether a due row was written before an instant."""
        return due.noted <= format_sortable(at)

    def event(self, partition: str, key: str) -> tuple[StoredEvent, bool] | None:
        """Read an event and whether it is exported; None: it has no row."""
        row = self._activity.get(partition, key)
        return (_event(row), self.marked in row.values) if row else None

    def mark(self, name: str, sequence: int) -> None:
        """Note on an event's row that it is done with, by a number, and take off its due row."""
        partition, key = name[:_DAY], name[_DAY + 1 :]
        row = self._activity.get(partition, key)
        if row is not None and self.marked not in row.values:
            self._activity.replace(replace(row, values={**row.values, self.marked: sequence}))
        due = self._due.get(self.partition, name)
        if due is not None:
            self.remove(_due(due))

    def _row(self, due: ExportDue) -> Row:
        values = pack_json(due.content) if due.content else {}
        return Row(self.partition, due.name, {"noted": due.noted, **values}, due.version)


class ExportRows(PendingEvents):
    """The due rows of the export, the events they name, and the state of the export."""

    def oldest_day(self) -> str:
        """Return the day of the oldest event that has to be exported; empty: there is none."""
        return next((due.partition for due in self.due(1)), "")

    def read_state(self) -> ExportState:
        """Read how far the export is."""
        row = self._due.get(*_STATE)
        return (
            replace(unpack(ExportState, row.values), version=row.version) if row else ExportState()
        )

    def write_state(self, state: ExportState) -> ExportState:
        """Write the state over the version that was read; raises RowChangedError."""
        row = Row(*_STATE, pack(replace(state, version="")), state.version)
        if state.version:
            return replace(state, version=self._due.replace(row))
        try:
            return replace(state, version=self._due.insert(row))
        except RowExistsError as error:
            raise RowChangedError(row.key) from error

    def walk(self, limit: int) -> int:
        """Look through a piece of the audit table for events that no due row leads to.

        They come from a time without export, or from a version that does not know it. Return how
        many were found.
        """
        noted = self._due.get(*_WALK)
        day, key = (str(noted.values["day"]), str(noted.values["key"])) if noted else ("", "")
        rows = self._activity.query(day, start=key, limit=limit) if day else []
        missed = [row for row in rows if EXPORTED not in row.values]
        for row in missed:
            self.add(row.partition, row.key)
        if len(rows) == limit:
            self._note_walk(day, rows[-1].key + _NEXT)
            return len(missed)
        following = self._activity.scan(day + _NEXT if day else _FIRST_DAY, _AFTER_DAYS, limit=1)
        self._note_walk(following[0].partition if following else "", "")
        return len(missed)

    def _note_walk(self, day: str, key: str) -> None:
        self._due.upsert(Row(*_WALK, {"day": day, "key": key}))


def _due(row: Row) -> ExportDue:
    noted = str(row.values.get("noted", ""))
    content = text_of(row.values) if "doc" in row.values else ""
    return ExportDue(row.key[:_DAY], row.key[_DAY + 1 :], noted, row.version, content)


def _event(row: Row) -> StoredEvent:
    return StoredEvent(row.partition, row.key, text_of(row.values))
