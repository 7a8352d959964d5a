"""Due rows: what must be looked at by when."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.domain.ids import digest, key_of
from shared.domain.model import (
    MINUTE,
)
from shared.domain.times import format_sortable
from shared.ports import (
    Clock,
    Row,
    RowChangedError,
    Table,
    Telemetry,
)
from shared.store.codec import UnreadableRowError, pack, unpack
from shared.store.together import raise_first, upsert, write_together

_LAST_SLOT = datetime.max.replace(tzinfo=UTC) - MINUTE
_ALMOST = MINUTE - timedelta(microseconds=1)  # what is due already belongs to the minute before


@dataclass(frozen=True)
class Due:
    """Something that must be looked at by a time. `since` tells how long it has been watched."""

    at: datetime
    kind: str  # firewall, request or policy
    subject: str
    since: datetime
    version: str = ""
    slot: datetime | None = None  # where its row stands; None: where a new one would


@dataclass(frozen=True)
class _StoredDue:
    """A due row: `at` is the minute by which it is looked at for certain, `moment` the instant.

    The version before reads `at` alone, and finds the row by it.
    """

    at: datetime
    kind: str
    subject: str
    since: datetime
    moment: datetime | None = None


def slot_of(at: datetime) -> datetime:
    """Return the full minute by which something due at an instant is looked at for certain."""
    past = timedelta(seconds=at.second, microseconds=at.microsecond)
    return at if not past or at > _LAST_SLOT else at - past + MINUTE


class DueRows:
    """The subjects that are due; the sweep reads nothing else.

    One row for each subject and minute: what falls due within the same minute folds into it.
    """

    def __init__(self, table: Table, telemetry: Telemetry, clock: Clock | None = None) -> None:
        self._table = table
        self._telemetry = telemetry
        self._clock = clock

    def add(self, at: datetime, row_type: str, subject: str, *, since: datetime) -> None:
        """Note that something must be looked at, as soon as possible if it is due already."""
        self._table.upsert(_due_row(Due(at, row_type, subject, since)))

    def add_all(self, dues: Iterable[tuple[datetime, str, str]], *, since: datetime) -> None:
        """Note several subjects together, each by its own time."""
        rows = {row.key: row for row in (_due_row(Due(*each, since)) for each in dues)}
        raise_first(write_together(self._table, map(upsert, rows.values())))

    def until(self, at: datetime, *, undecoded: list[Row] | None = None) -> list[Due]:
        """Read the rows due before an instant, oldest first, with those that cannot be decoded."""
        found = []
        for row in self._table.query("due", stop=format_sortable(slot_of(at)) + "~"):
            try:
                due = _due(row)
            except UnreadableRowError as error:
                self._telemetry.fault("jit.row.unreadable", error, row=row.key)
                if undecoded is not None:
                    undecoded.append(row)
            else:
                found += [due] if due.at < at else []
        return sorted(found, key=lambda due: due.at)

    def remove(self, due: Due) -> None:
        """Take off what has been looked at, unless it was noted again meanwhile.

        A subject handled within its minute stays until that is over: more may fall due in it.
        """
        if due.slot and self._clock and due.at <= self._clock() < due.slot:
            return
        try:
            self._table.delete(_due_row(due))
        except RowChangedError:
            return


def _due(row: Row) -> Due:
    held = unpack(_StoredDue, row.values)
    return Due(
        held.moment or held.at, held.kind, held.subject, held.since, row.version, slot=held.at
    )


def _due_key(slot: datetime, row_type: str, subject: str) -> str:
    return f"{format_sortable(slot)}|{row_type}|{digest(key_of(subject))}"


def _due_row(due: Due) -> Row:
    slot = due.slot or (slot_of(due.at) if due.at > due.since else slot_of(due.at - _ALMOST))
    moment = due.at if due.at != slot else None
    held = _StoredDue(slot, due.kind, due.subject, due.since, moment)
    return Row("due", _due_key(slot, due.kind, due.subject), pack(held), due.version)
