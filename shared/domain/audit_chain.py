"""The lines of the exported audit record: each carries its number and the hash of the one before.

A file holds the lines exported on one day. Its first line names the day, and is a link of the chain
like every other, so that a day without events has a file too.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

GENESIS = "0" * 64  # what the first line of all carries as the hash of the line before
MAX_EVENT = 100_000  # characters of one exported event; of a longer one its hash is exported
_FORMAT = 1


@dataclass(frozen=True)
class Link:
    """The number and hash of a line: what the next line refers to."""

    sequence: int = 0
    hash: str = GENESIS


@dataclass(frozen=True)
class StoredEvent:
    """An audit event as its row stands in the table."""

    partition: str
    key: str
    text: str

    @property
    def name(self) -> str:
        """Return the name under which table and blobs are compared."""
        return f"{self.partition}|{self.key}"


def day_line(before: Link, day: str, deployment: str) -> str:
    """Write the line with which the file of a day begins."""
    content = {"kind": "day", "day": day, "deployment": deployment, "format": _FORMAT}
    return _line(before, content)


def event_line(before: Link, event: StoredEvent) -> str:
    """Write the line of an audit event."""
    content = {"kind": "event", "partition": event.partition, "key": event.key}
    return _line(before, {**content, "event": content_of(event.text)})


def content_of(text: str) -> Any:
    """Return the exported form of a row's text: its JSON, or the text's digest."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict) and len(json.dumps(content)) <= MAX_EVENT:
        return content
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return {"sha256": digest, "characters": len(text)}


def event_lines(before: Link, events: Iterable[StoredEvent]) -> list[str]:
    """Write the lines of some events, one chained to the next."""
    lines: list[str] = []
    for event in events:
        line = event_line(before, event)
        before = follow(before, line)
        lines.append(line)
    return lines


def _line(before: Link, content: Mapping[str, Any]) -> str:
    whole = {"seq": before.sequence + 1, "prev": before.hash, **content}
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=True)


def follow(before: Link, line: str) -> Link:
    """Return the link that a line makes."""
    return Link(before.sequence + 1, hash_of(line.encode("ascii")))


def hash_of(line: bytes) -> str:
    """Hash a line as it is stored, without its line break; it is never written anew."""
    return hashlib.sha256(line).hexdigest()


def blob_name(deployment: str, day: str, part: int) -> str:
    """Name the file of a day; the second and later parts follow a write that was not ours."""
    return f"{deployment}/{day}{'' if part == 1 else f'-{part:03d}'}.jsonl"


def days_between(first: str, last: str) -> Sequence[str]:
    """List the days after one day, up to and including another."""
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return [f"{start + timedelta(days=n)}" for n in range(1, (end - start).days + 1)]
