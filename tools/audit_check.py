"""Compare an exported audit record with the app's table.

Pure: it takes the record and the texts of the rows, and returns findings. The record itself is
checked by the command line's package.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from jit_access.audit.record import Finding, Record, check_heads, read_record
from shared.domain.audit_chain import StoredEvent, content_of

__all__ = ["Compared", "Finding", "Record", "TableRow", "check_heads", "compare", "read_record"]


@dataclass(frozen=True)
class TableRow:
    """An event's row in the table; `exported` is the number that the app has noted on it."""

    event: StoredEvent
    exported: int | None = None


@dataclass(frozen=True)
class Compared:
    """The settings of a comparison."""

    now: datetime
    lag: timedelta = timedelta(minutes=30)  # a younger event may still be on its way
    kept: timedelta | None = timedelta(days=365)  # older events are deleted; None: never


def compare(record: Record, rows: Iterable[TableRow], by: Compared) -> list[Finding]:
    """Say what the table has and the files lack, the other way round, and what differs."""
    events = record.events
    findings = []
    names = set()
    for row in rows:
        names.add(row.event.name)
        line = events.get(row.event.name)
        if line is None:
            findings += _table_only(row, record, by)
        elif line.content.get("event") != content_of(row.event.text):
            findings.append(Finding("differing", f"event {row.event.name}", line.where))
        elif row.exported not in {None, line.sequence}:
            told = f"event {row.event.name} is noted as line {row.exported}"
            findings.append(Finding("differing", told, line.where))
    first_kept = f"{by.now - by.kept + timedelta(days=1):%Y-%m-%d}" if by.kept else ""
    for name, line in events.items():
        if name not in names and str(line.content.get("partition")) >= first_kept:
            findings.append(Finding("blob only", f"event {name}", line.where))
    return findings


def _table_only(row: TableRow, record: Record, by: Compared) -> list[Finding]:
    """Report a row without a line, unless it may still be on its way or lies before the files."""
    if row.exported is not None and row.exported < min(record.chain, default=1):
        return []
    young = row.event.key >= f"{by.now - by.lag:%Y-%m-%dT%H:%M:%S}"
    if row.exported is None and young:
        return []
    noted = f", noted as line {row.exported}" if row.exported is not None else ""
    return [Finding("table only", f"event {row.event.name}{noted}")]
