"""The verifier names what was done to exported files or to the table."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.audit_chain import Link, StoredEvent, event_lines, follow
from tests.audit_files import MemoryBlobs, hours_later, run_export
from tests.fakes import START
from tests.unit.test_audit_export import (
    TODAY,
    exporting_world,
    names,
    record_event,
    table_rows,
    verified,
)
from tests.world import World
from tools.audit_check import Compared, TableRow, check_heads, compare, read_record

TOMORROW = "test1/2026-11-23.jsonl"
AFTER = "test1/2026-11-24.jsonl"
Lines = list[bytes]


def exported() -> tuple[World, MemoryBlobs]:
    """Return a world with six events, three exported on one day and three on the next."""
    world, blobs = exporting_world(), MemoryBlobs()
    for day in range(2):
        for number in range(3):
            record_event(world, f"e{day}{number}", reason="because")
            hours_later(world, 0.01)
        run_export(world, blobs)
        hours_later(world, 24)
    return world, blobs


def lines_of(blobs: MemoryBlobs, name: str = TODAY) -> Lines:
    """Return a file's lines with their line breaks."""
    return blobs.files[name].splitlines(keepends=True)


def _edit(lines: Lines, number: int) -> Lines:
    return [
        ln.replace(b"because", b"no reason") if n == number else ln for n, ln in enumerate(lines)
    ]


def _forge(lines: Lines) -> Lines:
    link = Link()
    for line in lines[:3]:
        link = follow(link, line.decode().rstrip("\n"))
    (forged,) = event_lines(link, [StoredEvent("2026-11-22", "forged", '{"id":"forged"}')])
    return [*lines[:3], f"{forged}\n".encode(), *lines[3:]]


TAMPERED: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "changed": (lambda lines: _edit(lines, 2), "changed: line 3"),
    "first changed": (lambda lines: _edit(lines, 1), "changed: line 2"),
    "removed": (lambda lines: lines[:2] + lines[3:], "missing: lines 3 to 3"),
    "two removed": (lambda lines: lines[:1] + lines[3:], "missing: lines 2 to 3"),
    "reordered": (lambda lines: [lines[0], lines[2], lines[1], lines[3]], "reordered: line 2"),
    "inserted": (_forge, "inserted: line 4 stands twice"),
    "doubled": (lambda lines: [*lines, lines[2]], "doubled: line 3 stands twice"),
    "no JSON": (lambda lines: [lines[0], b"x\n", *lines[2:]], "unreadable: no line of the record"),
    "no object": (lambda lines: [*lines, b"7\n"], "unreadable: no line of the record"),
    "no number": (lambda lines: [*lines, b'{"seq":true}\n'], "unreadable: no line of the record"),
    "cut within a line": (lambda lines: [*lines[:3], lines[3][:40]], "torn: the file ends"),
    "emptied": (lambda _lines: [], "changed: no line begins the day 2026-11-22"),
    "no line of the day": (lambda lines: lines[1:], "changed: no line begins the day 2026-11-22"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_what_was_done_to_a_file_is_named(case: str) -> None:
    """A changed, removed, reordered, forged or doubled line is named with its place."""
    world, blobs = exported()
    verified(world, blobs)
    tamper, expected = TAMPERED[case]
    blobs.files[TODAY] = b"".join(tamper(lines_of(blobs)))

    found = [str(finding) for finding in read_record(blobs.files).findings]
    assert any(each.startswith(expected) for each in found), found
    assert all("2026-11-2" in each for each in found)


def test_a_line_of_a_day_that_was_changed_is_named() -> None:
    """The line of a day is a link of the chain like every other."""
    _, blobs = exported()
    blobs.files[TODAY] = blobs.files[TODAY].replace(b'"test1"', b'"other"')
    found = [str(finding) for finding in read_record(blobs.files).findings]
    assert found == [
        "changed: line 1, or what line 2 says of it (test1/2026-11-22.jsonl, line 1, byte 0)"
    ]


def test_a_first_line_that_follows_another_is_named() -> None:
    """A chain begins with the line that follows none."""
    world, blobs = exporting_world(), MemoryBlobs()
    run_export(world, blobs)
    blobs.files[TODAY] = blobs.files[TODAY].replace(b"0" * 64, b"1" * 64)
    assert [f.kind for f in read_record(blobs.files).findings] == ["changed"]


def test_a_removed_file_is_named_by_its_day_and_lines() -> None:
    """Without the file of a day in between, its day and its lines are missing."""
    world, blobs = exported()
    run_export(world, blobs)
    del blobs.files[TOMORROW]
    found = [str(finding) for finding in read_record(blobs.files).findings]

    assert "missing day: 2026-11-23" in found
    assert any(each.startswith("missing: lines 5 to 8") for each in found)


@pytest.mark.parametrize("name", ["test1/notes.txt", "test1/2026-13-45.jsonl"])
def test_files_that_are_not_ours_are_named(name: str) -> None:
    """A file of another name, or of a day that there is not, is no file of the record."""
    _, blobs = exported()
    blobs.files[name] = b""
    assert [f.kind for f in read_record(blobs.files).findings] == ["foreign file"]


def test_a_cut_end_shows_against_an_anchor_and_against_the_table() -> None:
    """A chain alone does not show a cut end: the heads in the log and the events in the table do."""
    world, blobs = exported()
    state = world.services.exports.read_state()
    del blobs.files[TOMORROW]
    record = read_record(blobs.files)
    by = Compared(world.clock(), timedelta(hours=1), None)

    assert record.findings == []
    assert [f.kind for f in check_heads(record, [(state.sequence, state.head)])] == ["cut"]
    assert [f.kind for f in compare(record, table_rows(world), by)] == ["table only"] * 3


def test_a_chain_made_anew_shows_against_an_anchor_and_against_the_table() -> None:
    """Files rewritten as a whole chain differ from the heads in the log, and from the table."""
    world, blobs = exported()
    state = world.services.exports.read_state()
    link = Link()
    for name in (TODAY, TOMORROW):
        rewritten = b""
        for line in lines_of(blobs, name):
            content = json.loads(line.replace(b"because", b"no reason"))
            content["prev"] = link.hash
            text = json.dumps(content, separators=(",", ":"))
            link = follow(link, text)
            rewritten += f"{text}\n".encode()
        blobs.files[name] = rewritten
    record = read_record(blobs.files)
    by = Compared(world.clock(), timedelta(hours=1), None)

    assert record.findings == []
    assert [f.kind for f in check_heads(record, [(state.sequence, state.head)])] == ["replaced"]
    assert {f.kind for f in compare(record, table_rows(world), by)} == {"differing"}
    assert check_heads(record, [(0, "any")]) == []


def _compared(world: World, blobs: MemoryBlobs, kept: timedelta | None = None) -> list[str]:
    by = Compared(world.clock(), timedelta(minutes=30), kept)
    return [str(f) for f in compare(read_record(blobs.files), table_rows(world), by)]


def test_what_was_done_to_the_table_is_named() -> None:
    """A row that was changed, removed, forged or marked with another number is named."""
    world, blobs = exported()
    keys = sorted(key for key in world.tables.activity.rows if key[0] == "2026-11-22")
    changed, removed, marked = (world.tables.activity.rows[key] for key in keys)
    text = str(changed.values["doc"]).replace("because", "no reason")
    world.tables.activity.rows[keys[0]] = replace(changed, values={**changed.values, "doc": text})
    del world.tables.activity.rows[keys[1]]
    world.tables.activity.rows[keys[2]] = replace(marked, values={**marked.values, "exported": 99})
    record_event(world, "forged", at=START)
    assert world.tables.activity.rows

    found = _compared(world, blobs)
    assert sum(each.startswith("differing: event 2026-11-22") for each in found) == 2
    assert sum(each.startswith(f"blob only: event {removed.partition}") for each in found) == 1
    assert sum(each.startswith("table only: event 2026-11-22") for each in found) == 1
    assert len(found) == 4


def test_an_event_that_may_be_on_its_way_is_no_finding() -> None:
    """A young event is waited for; one that is noted as exported is missed at once."""
    world, blobs = exported()
    record_event(world, "young")
    assert _compared(world, blobs) == []

    run_export(world, blobs)
    blobs.files[AFTER] = b"".join(lines_of(blobs, AFTER)[:1])
    assert [each.partition(":")[0] for each in _compared(world, blobs)] == ["table only"]


def test_events_that_retention_deleted_are_no_finding() -> None:
    """Events purged after their retention are missing in the table alone, which is right."""
    world, blobs = exported()
    hours_later(world, 24 * 40)
    world.tables.activity.rows.clear()
    assert _compared(world, blobs, timedelta(days=30)) == []
    assert len(_compared(world, blobs)) == 6


def test_a_record_is_verified_from_its_middle() -> None:
    """Where the first files have expired, the others are verified among themselves."""
    world, blobs = exported()
    del blobs.files[TODAY]
    assert [f.kind for f in read_record(blobs.files).findings] == ["missing"]

    record = read_record(blobs.files, partial=True)
    by = Compared(world.clock(), timedelta(hours=1), None)
    assert record.findings == []
    assert names(record) == ["e10", "e11", "e12"]
    assert compare(record, table_rows(world), by) == []
    assert check_heads(record, [(1, "any")]) == []
    assert read_record({}, partial=True).head == "0" * 64


def test_an_event_in_two_lines_is_named() -> None:
    """The same event under two numbers was exported twice, or forged."""
    world, blobs = exporting_world(), MemoryBlobs()
    record_event(world, "e")
    run_export(world, blobs)
    record = read_record(blobs.files)
    (row,) = table_rows(world)
    (again,) = event_lines(Link(record.last, record.head), [row.event])
    blobs.files[TODAY] += f"{again}\n".encode()

    assert [f.kind for f in read_record(blobs.files).findings] == ["doubled"]
    assert isinstance(row, TableRow)
