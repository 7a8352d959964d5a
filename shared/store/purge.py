"""Purge due rows: which rows of the table of requests have ended, and when, oldest first.

They stand in partitions of the index, which no sweep reads: no close depends on them. One is written
once the row that it names is final, and removed after that row.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from shared.domain.ids import digest
from shared.domain.model import AccessRequest
from shared.domain.times import format_sortable
from shared.ports import Row, Table
from shared.store.index import INDEX
from shared.store.together import raise_first, remove, upsert, write_together


class PurgeType(Enum):
    """What ends; each type is kept for a time of its own, in a partition of its own."""

    REQUEST = f"{INDEX}purge|request"
    KEY = f"{INDEX}purge|key"  # an idempotency key


@dataclass(frozen=True)
class Ended:
    """The place of a row in the table of requests, and when it ended."""

    at: datetime
    partition: str
    key: str


@dataclass(frozen=True)
class PurgeDue:
    """A row that is due to be purged, and where the note of it stands."""

    note: str
    partition: str
    key: str


def end_of(request: AccessRequest) -> Ended | None:
    """Return when the row of a request ended; None: it has not."""
    closed = [port.closed_at for port in request.ports]
    known = [at for at in closed if at is not None]
    if not request.is_final or not known or len(known) < len(closed):
        return None
    partition, _, key = request.id.partition("-")
    return Ended(max(known), partition, key)


class PurgeRows:
    """What has ended, by the instant of its end."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, purge_type: PurgeType, ended: Iterable[Ended]) -> None:
        """Note which rows have ended; a repeat changes nothing."""
        rows = {row.key: row for row in (_note(purge_type, each) for each in ended)}
        raise_first(write_together(self._table, map(upsert, rows.values())))

    def due(
        self, purge_type: PurgeType, before: datetime, *, start: str, limit: int
    ) -> list[PurgeDue]:
        """Read what ended before an instant, oldest first, from the key of a note on."""
        rows = self._table.query(
            purge_type.value, start=start, stop=format_sortable(before), limit=limit
        )
        return [
            PurgeDue(row.key, str(row.values["partition"]), str(row.values["key"])) for row in rows
        ]

    def remove(self, purge_type: PurgeType, dues: Iterable[PurgeDue]) -> None:
        """Remove the notes of rows that are purged."""
        rows = [Row(purge_type.value, due.note, {}) for due in dues]
        raise_first(write_together(self._table, map(remove, rows)))


def _note(purge_type: PurgeType, ended: Ended) -> Row:
    key = f"{format_sortable(ended.at)}|{digest(ended.partition, ended.key)}"
    return Row(purge_type.value, key, {"partition": ended.partition, "key": ended.key})
