"""Verify the exported audit record: `python -m tools.verify_audit --help`.

It needs rights to read and no other: Storage Blob Data Reader on the container, and Storage Table
Data Reader on the app's tables where the two are compared. Exit code 0: sound; 1: something is
wrong, and named; 2: it could not look.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shared.adapters.audit_blobs import AppendBlobs
from shared.adapters.tables import AzureTables
from shared.domain.audit_chain import StoredEvent
from shared.ports import OutsideError, Row, Tables
from shared.store.audit_export import EXPORTED, ExportRows
from shared.store.codec import text_of
from tools.audit_check import (
    Compared,
    Finding,
    Record,
    TableRow,
    check_heads,
    compare,
    read_record,
)

SOUND, BROKEN, UNSEEN = 0, 1, 2
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class LookError(Exception):
    """The record could not be looked at."""


@dataclass
class Report:
    """The verified record and its findings."""

    record: Record
    findings: list[Finding]
    files: int
    rows: int | None  # None: the table was not read
    notes: list[str] = field(default_factory=list)

    def print(self) -> None:
        """Print the report."""
        first = min(self.record.chain, default=0)
        print(f"files: {self.files}; lines {first} to {self.record.last}")
        print(f"head: {self.record.last} {self.record.head}")
        print(f"table: {'not read' if self.rows is None else f'{self.rows} events'}")
        for note in self.notes:
            print(f"note: {note}")
        for finding in self.findings:
            print(finding)
        print("broken" if self.findings else "sound")


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify, print a report and return the exit code."""
    options = _options(arguments)
    try:
        report = verify(options)
    except (OutsideError, LookError, OSError, ValueError) as error:
        print(f"could not look: {error}", file=sys.stderr)
        return UNSEEN
    report.print()
    return BROKEN if report.findings else SOUND


def verify(options: argparse.Namespace) -> Report:
    """Read the files, and the table where it is named, and check them."""
    now = datetime.now(UTC)
    # The table comes first: an event that is exported in between is then in the files.
    tables = _tables(options.tables) if options.tables else None
    state = ExportRows(tables.due, tables.activity, lambda: now).read_state() if tables else None
    rows = _rows(tables) if tables else None
    files, notes, findings = _files(options)
    if not files:
        raise LookError("there is no file; nothing was verified")
    record = read_record(files, partial=options.partial)
    findings += record.findings
    heads = _anchors(options.anchors) if options.anchors else []
    if state:
        heads.append((state.sequence, state.head))
    findings += check_heads(record, heads)
    if not heads:
        notes.append("no anchors: a cut end or a chain made anew would not show")
    if tables and state and rows is not None:
        rows += _recorded_since(tables, record, state.sequence)
        kept = timedelta(days=options.kept_days) if options.kept_days else None
        by = Compared(now, timedelta(minutes=options.lag_minutes), kept)
        findings += compare(record, rows, by)
    return Report(record, findings, len(files), None if rows is None else len(rows), notes)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.verify_audit", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--container", help="address of the container with the exported files")
    where.add_argument("--folder", type=Path, help="folder that holds the files, downloaded")
    parser.add_argument("--deployment", default="", help="id of the deployment: JIT_DEPLOYMENT_ID")
    parser.add_argument("--tables", help="address of the app's table service, to compare with")
    parser.add_argument("--anchors", type=Path, help="heads from the log, a JSON object each line")
    parser.add_argument("--partial", action="store_true", help="the first files are not there")
    parser.add_argument("--kept-days", type=int, default=365, help="JIT_ACTIVITY_DAYS; 0: for ever")
    parser.add_argument("--lag-minutes", type=int, default=30, help="age of what may be on its way")
    return parser.parse_args(arguments)


def _credential(address: str) -> Any:
    if urlsplit(address).hostname in _LOCAL:
        return None
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - only where it is needed

    return DefaultAzureCredential()


def _files(options: argparse.Namespace) -> tuple[dict[str, bytes], list[str], list[Finding]]:
    if options.folder is not None:
        found = {
            path.relative_to(options.folder).as_posix(): path.read_bytes()
            for path in sorted(options.folder.rglob("*"))
            if path.is_file()
        }
        return _of_deployment(found, options.deployment), [], []
    blobs = AppendBlobs(options.container, _credential(options.container))
    names = _of_deployment(dict.fromkeys(blobs.names(), b""), options.deployment)
    files = {name: blobs.read_whole(name) for name in names}
    if blobs.is_immutable():
        return files, [], []
    if urlsplit(options.container).hostname in _LOCAL:
        return files, ["the emulator of storage has no immutability policy"], []
    return files, [], [Finding("unprotected", "the container has no immutability policy")]


def _of_deployment(files: dict[str, bytes], deployment: str) -> dict[str, bytes]:
    """Take the files of one deployment; which one has to be said where there are several."""
    deployments = {name.rpartition("/")[0] for name in files}
    if not deployment and len(deployments) > 1:
        raise LookError(f"--deployment is needed: there are {', '.join(sorted(deployments))}")
    prefix = f"{deployment}/" if deployment else ""
    return {name: content for name, content in files.items() if name.startswith(prefix)}


def _tables(address: str) -> Tables:
    is_connection_string = "AccountName=" in address
    return AzureTables.connect(address, None if is_connection_string else _credential(address))


def _rows(tables: Tables) -> list[TableRow]:
    return [_table_row(row) for row in tables.activity.scan("0", ":")]


def _table_row(row: Row) -> TableRow:
    noted = row.values.get(EXPORTED)
    exported = noted if isinstance(noted, int) else None
    return TableRow(StoredEvent(row.partition, row.key, text_of(row.values)), exported)


def _recorded_since(tables: Tables, record: Record, sequence: int) -> list[TableRow]:
    """Read the events of lines that were exported after the table was read."""
    new = [line for number, line in record.chain.items() if number > sequence and line.is_event]
    rows = [tables.activity.get(*line.name.split("|", 1)) for line in new]
    return [_table_row(row) for row in rows if row is not None]


def _anchors(path: Path) -> list[tuple[int, str]]:
    """Read the anchored heads: lines of JSON with `sequence` and `head`."""
    heads = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            anchor = json.loads(line)
            try:
                anchor = anchor.get("data", anchor)  # a notification has its fields in there
                heads.append((int(anchor["sequence"]), str(anchor["head"])))
            except (KeyError, TypeError, AttributeError) as error:
                raise LookError(f"no anchor in {path}: {line}") from error
    return heads


if __name__ == "__main__":
    sys.exit(main())
