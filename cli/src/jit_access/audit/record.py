"""Find what was done to an exported audit record: in its chain, and against heads kept elsewhere.

Pure: it takes the bytes of the files and returns findings.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

GENESIS = "0" * 64  # what the first line of all carries as the hash of the line before
_FILE = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)(?:-(?P<part>\d{3}))?\.jsonl$")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and where."""

    kind: str
    what: str
    where: str = ""

    def __str__(self) -> str:
        """Write it as one line."""
        return f"{self.kind}: {self.what}" + (f" ({self.where})" if self.where else "")


@dataclass(frozen=True)
class Line:
    """A line of a file: where it stands, what it says, and its hash."""

    file: str
    number: int
    byte: int
    raw: bytes
    content: Mapping[str, Any]

    @property
    def sequence(self) -> int:
        """Return the number the line gives itself; 0: none."""
        number = self.content.get("seq")
        return number if isinstance(number, int) and not isinstance(number, bool) else 0

    @property
    def previous(self) -> str:
        """Return the hash of the line before, as the line gives it."""
        return str(self.content.get("prev"))

    @property
    def hash(self) -> str:
        """Return the hash of the line as it is stored."""
        return hash_of(self.raw)

    @property
    def where(self) -> str:
        """Say where the line stands."""
        return f"{self.file}, line {self.number}, byte {self.byte}"

    @property
    def name(self) -> str:
        """Return the name of the event in the line; empty: it is the line of a day."""
        return f"{self.content.get('partition')}|{self.content.get('key')}" if self.is_event else ""

    @property
    def is_event(self) -> bool:
        """Tell whether the line holds an audit event."""
        return self.content.get("kind") == "event"


@dataclass
class Record:
    """The record as the files hold it, once each number has one line."""

    chain: dict[int, Line] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def events(self) -> dict[str, Line]:
        """Return the lines of events by name."""
        return {line.name: line for line in self.chain.values() if line.is_event}

    @property
    def last(self) -> int:
        """Return the number of the last line."""
        return max(self.chain, default=0)

    @property
    def head(self) -> str:
        """Return the hash of the last line."""
        return self.chain[self.last].hash if self.chain else GENESIS


def read_record(files: Mapping[str, bytes], *, partial: bool = False) -> Record:
    """Check the chain over all files; `partial`: the first files are not among them."""
    record = Record()
    ordered = sorted(_files(files, record), key=lambda found: found[:2])
    lines = [line for _, _, name in ordered for line in _lines(name, files[name], record)]
    record.chain = _choose(lines, record)
    _check_order(lines, record)
    _check_links(record, partial=partial)
    _check_days([(day, name) for day, part, name in ordered if part == 1], lines, record)
    _check_names(record)
    return record


def _files(files: Mapping[str, bytes], record: Record) -> Iterator[tuple[str, int, str]]:
    for name in files:
        found = _FILE.search(name)
        if found is None or not _is_day(found["day"]):
            record.findings.append(Finding("foreign file", name))
        else:
            yield found["day"], int(found["part"] or 1), name


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _lines(name: str, content: bytes, record: Record) -> Iterator[Line]:
    """Read a file's lines; one that is no line of the record is a finding."""
    byte = 0
    for number, raw in enumerate(content.splitlines(keepends=True), start=1):
        text = raw.removesuffix(b"\n")
        parsed = _parsed(text)
        line = Line(name, number, byte, text, parsed or {})
        byte += len(raw)
        if not raw.endswith(b"\n"):
            record.findings.append(Finding("torn", "the file ends within a line", line.where))
        if parsed is None or line.sequence < 1:
            record.findings.append(Finding("unreadable", "no line of the record", line.where))
        else:
            yield line


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _choose(lines: Iterable[Line], record: Record) -> dict[int, Line]:
    """Choose for each number the line that others refer to; any other was inserted."""
    listed = list(lines)
    referred = {line.previous for line in listed}
    hashes = {line.hash for line in listed} | {GENESIS}
    by_number: dict[int, list[Line]] = defaultdict(list)
    for line in listed:
        by_number[line.sequence].append(line)
    chain = {}
    for number, found in sorted(by_number.items()):
        # Where nothing else decides, the later one is ours: the app goes on behind a foreign line.
        found.reverse()
        chosen = max(found, key=lambda ln: (ln.hash in referred, ln.previous in hashes))
        chain[number] = chosen
        for line in found:
            if line is not chosen:
                change = "doubled" if line.raw == chosen.raw else "inserted"
                told = f"line {number} stands twice, also in {chosen.where}"
                record.findings.append(Finding(change, told, line.where))
    return chain


def _check_order(lines: Iterable[Line], record: Record) -> None:
    highest = 0
    for line in lines:
        if record.chain[line.sequence] is not line:
            continue
        if line.sequence < highest:
            told = f"line {line.sequence} stands after line {highest}"
            record.findings.append(Finding("reordered", told, line.where))
        highest = max(highest, line.sequence)


def _check_links(record: Record, *, partial: bool) -> None:
    """Check that no number is missing, and that each line carries the hash of the one before."""
    numbers = sorted(record.chain)
    before = numbers[0] - 1 if partial and numbers else 0
    for number in numbers:
        line = record.chain[number]
        if number != before + 1:
            record.findings.append(
                Finding("missing", f"lines {before + 1} to {number - 1}", f"before {line.where}")
            )
        elif before in record.chain and record.chain[before].hash != line.previous:
            told = f"line {before}, or what line {number} says of it"
            record.findings.append(Finding("changed", told, record.chain[before].where))
        elif number == 1 and line.previous != GENESIS:
            record.findings.append(Finding("changed", "line 1 follows another line", line.where))
        before = number


def _check_days(files: list[tuple[str, str]], lines: Iterable[Line], record: Record) -> None:
    """Check that there is a file for each day, that begins with the line of its day."""
    firsts = {line.file: line for line in reversed(list(lines))}
    for (day, _), (following, _) in pairwise(files):
        for missing in [*days_between(day, following)][:-1]:
            record.findings.append(Finding("missing day", missing))
    for day, name in files:
        first = firsts.get(name)
        if first is None or first.content.get("kind") != "day" or first.content.get("day") != day:
            record.findings.append(Finding("changed", f"no line begins the day {day}", name))


def _check_names(record: Record) -> None:
    seen: dict[str, Line] = {}
    for number in sorted(record.chain):
        line = record.chain[number]
        if line.is_event and line.name in seen:
            told = f"event {line.name}, in line {seen[line.name].sequence} as well"
            record.findings.append(Finding("doubled", told, line.where))
        seen.setdefault(line.name, line)


def check_heads(record: Record, heads: Iterable[tuple[int, str]]) -> list[Finding]:
    """Compare with heads that were kept elsewhere: only they show a cut end, or a new chain."""
    findings = []
    for number, head in heads:
        if number == 0 or (number < min(record.chain, default=1)):
            continue
        line = record.chain.get(number)
        if line is None:
            findings.append(Finding("cut", f"line {number} is anchored and not in the files"))
        elif line.hash != head:
            told = f"line {number} is anchored with another hash"
            findings.append(Finding("replaced", told, line.where))
    return findings


def hash_of(line: bytes) -> str:
    """Hash a line as it is stored, without its line break."""
    return hashlib.sha256(line).hexdigest()


def days_between(first: str, last: str) -> list[str]:
    """List the days after one day, up to and including another."""
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return [f"{start + timedelta(days=n)}" for n in range(1, (end - start).days + 1)]
