"""Audit events reach the exported files exactly once, in order, and no close waits for them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.audit_chain import MAX_EVENT, StoredEvent, content_of, event_lines
from shared.domain.audit_chain import Link as ChainLink
from shared.ports import OutsideError, Row, RowChangedError
from shared.store.audit import AuditEvent
from shared.store.audit_export import EXPORTED, PARTITION, ExportState
from shared.store.codec import text_of
from shared.use_cases.timers import export_audit as exporting
from shared.use_cases.timers.export_audit import AuditExport, export_audit
from shared.use_cases.timers.retention import purge_old
from tests.audit_files import MemoryBlobs, export_of, hours_later, run_export
from tests.fakes import START
from tests.world import WEB, World
from tools.audit_check import Compared, Record, TableRow, check_heads, compare, read_record

TODAY = "test1/2026-11-22.jsonl"


def exporting_world() -> World:
    """Return a world whose audit events are exported."""
    world = World()
    world.services = replace(world.services, export_audit=True)
    return world


def record_event(world: World, name: str, **values: Any) -> None:
    """Put an audit event on record."""
    world.services.activity.record(
        AuditEvent(name, values.pop("at", world.clock()), "requested", **values)
    )


def table_rows(world: World) -> list[TableRow]:
    """Return the events of the table."""
    return [
        TableRow(StoredEvent(row.partition, row.key, text_of(row.values)), _mark(row))
        for row in world.tables.activity.scan("0", ":")
    ]


def _mark(row: Row) -> int | None:
    found = row.values.get(EXPORTED)
    return found if isinstance(found, int) else None


def verified(world: World, blobs: MemoryBlobs) -> Record:
    """Return the exported record, which must be sound and equal the table."""
    record = read_record(blobs.files)
    by = Compared(world.clock(), timedelta(0), None)
    state = world.services.exports.read_state()
    findings = [*record.findings, *compare(record, table_rows(world), by)]
    findings += check_heads(record, [(state.sequence, state.head)])
    assert findings == []
    return record


def names(record: Record) -> list[str]:
    """Return the ids of the exported events, in their order."""
    lines = [record.chain[number] for number in sorted(record.chain)]
    return [str(line.content["event"]["id"]) for line in lines if line.is_event]


def dues(world: World) -> list[Row]:
    """Return the due rows of the export."""
    return world.tables.due.query(PARTITION)


def test_every_event_of_an_access_is_exported_once_and_chained() -> None:
    """The life of an access is in the file of its day, and a second run adds nothing."""
    world, blobs = exporting_world(), MemoryBlobs()
    world.protect()
    world.ask(WEB, minutes=5)
    world.pass_time(25)
    count = run_export(world, blobs)
    before = dict(blobs.files)

    assert count == len(table_rows(world)) > 3
    assert run_export(world, blobs) == 0
    assert blobs.files == before
    assert set(blobs.files) == {TODAY}
    assert len(verified(world, blobs).events) == count
    assert dues(world) == []


def test_policy_changes_and_refusals_are_exported() -> None:
    """The record holds what administrators changed and what was refused."""
    world, blobs = exporting_world(), MemoryBlobs()
    world.services.activity.record(AuditEvent("p", world.clock(), "policyChanged", changes="ports"))
    world.services.activity.record(AuditEvent("r", world.clock(), "refused", reason="no right"))
    run_export(world, blobs)

    assert set(names(verified(world, blobs))) == {"p", "r"}


def test_nothing_is_noted_where_no_export_is_configured() -> None:
    """Without an audit container an event costs no due row."""
    world = World()
    record_event(world, "e")

    assert dues(world) == []


def test_days_without_events_have_files_and_anchors() -> None:
    """Three quiet days leave three files that hold the line of their day, and three anchors."""
    world, blobs = exporting_world(), MemoryBlobs()
    record_event(world, "e")
    run_export(world, blobs)
    hours_later(world, 72)
    run_export(world, blobs)

    assert [name[6:16] for name in sorted(blobs.files)] == [
        f"2026-11-{n}" for n in (22, 23, 24, 25)
    ]
    anchors = [
        attributes for name, attributes in world.telemetry.events if name == "jit.audit.anchored"
    ]
    heads = [(anchor["sequence"], anchor["head"]) for anchor in anchors]
    assert len(heads) == 4
    assert check_heads(verified(world, blobs), heads) == []  # type: ignore[arg-type]


def test_an_event_recorded_late_is_exported_later() -> None:
    """An event of yesterday that is recorded today stands in the file of today."""
    world, blobs = exporting_world(), MemoryBlobs()
    record_event(world, "now")
    run_export(world, blobs)
    record_event(world, "late", at=world.clock() - timedelta(days=1))
    run_export(world, blobs)

    assert names(verified(world, blobs)) == ["now", "late"]


def test_an_event_recorded_again_is_not_exported_again() -> None:
    """A repeat of a record leaves a due row, which the next run takes off."""
    world, blobs = exporting_world(), MemoryBlobs()
    record_event(world, "e")
    run_export(world, blobs)
    record_event(world, "e", at=START)
    assert len(dues(world)) == 1

    assert run_export(world, blobs) == 0
    assert dues(world) == []


def test_a_due_row_without_its_event_is_believed_after_the_longest_stall() -> None:
    """A writer between the due row and the event is waited for, and does not stop other events."""
    world, blobs = exporting_world(), MemoryBlobs()
    for number in range(exporting.BATCH + 3):
        world.services.exports.add("2026-11-22", f"2026-11-22T13:00:00.000Z|{number:04d}")
    record_event(world, "e")
    assert run_export(world, blobs) == 1
    assert len(dues(world)) == exporting.BATCH + 3

    hours_later(world, 0.5)
    run_export(world, blobs)
    assert dues(world) == []


def test_events_from_before_the_export_are_found_by_walking() -> None:
    """Events that no due row names are noted piece by piece, and exported by the next run."""
    world, blobs = World(), MemoryBlobs()
    for number in range(450):
        record_event(world, f"old{number}", at=world.clock() - timedelta(days=number % 2))
    world.services = replace(world.services, export_audit=True)
    for _ in range(12):
        run_export(world, blobs)

    assert len(names(verified(world, blobs))) == 450


def test_events_wait_for_storage_that_is_away_and_arrive_in_order() -> None:
    """An hour without audit storage loses nothing; the fault says how long the oldest waits."""
    world, blobs = exporting_world(), MemoryBlobs()
    blobs.is_away = True
    for number in range(12):
        record_event(world, f"e{number:02d}")
        hours_later(world, 1 / 12)
        assert run_export(world, blobs) == 0
    faults = [
        attributes
        for name, attributes in world.telemetry.events
        if name == "jit.audit.export.failed"
    ]
    assert faults[-1]["waiting_seconds"] == pytest.approx(3600)

    blobs.is_away = False
    run_export(world, blobs)
    assert names(verified(world, blobs)) == [f"e{number:02d}" for number in range(12)]


def test_a_foreign_line_moves_the_export_to_the_next_part() -> None:
    """A line that another writer appended stays, is reported and named, and the export goes on."""
    world, blobs = exporting_world(), MemoryBlobs()
    record_event(world, "first")
    run_export(world, blobs)
    last = read_record(blobs.files)
    (forged,) = event_lines(
        ChainLink(last.last, last.head), [StoredEvent("2026-11-22", "forged", "{}")]
    )
    blobs.files[TODAY] += f"{forged}\n".encode()
    record_event(world, "second")
    run_export(world, blobs)

    record = read_record(blobs.files)
    assert names(record) == ["first", "second"]
    assert [finding.kind for finding in record.findings] == ["inserted"]
    assert "test1/2026-11-22-002.jsonl" in blobs.files
    assert "jit.audit.blob.foreign" in [name for name, _ in world.telemetry.events]


def test_a_writer_who_takes_every_part_stops_one_run_only() -> None:
    """After some parts the run gives up and reports; the next goes on with the parts after."""
    world, blobs = exporting_world(), MemoryBlobs()
    record_event(world, "e")
    for part in range(1, 7):
        blobs.files["test1/2026-11-22" + ("" if part == 1 else f"-{part:03d}") + ".jsonl"] = b"x\n"
    assert run_export(world, blobs) == 0
    assert run_export(world, blobs) == 1


def test_a_large_event_is_exported_by_its_hash() -> None:
    """An event that no line holds is named by its hash, and holds up no other."""
    world, blobs = exporting_world(), MemoryBlobs()
    record_event(world, "large", changes="x" * (MAX_EVENT + 1))
    record_event(world, "small")
    assert run_export(world, blobs) == 2

    assert "sha256" in str(blobs.files[TODAY])
    verified(world, blobs)


def test_a_text_that_is_no_object_is_exported_by_its_hash() -> None:
    """A row that cannot be decoded is exported, so that a later change of it shows."""
    assert content_of("no JSON")["characters"] == 7
    assert content_of("[]") != content_of("[ ]")


def test_many_events_go_in_few_appends() -> None:
    """A batch holds so many events, and no more characters than a row of the state takes."""
    world, blobs = exporting_world(), MemoryBlobs()
    for number in range(exporting.BATCH * 2):
        record_event(world, f"e{number}")
    run_export(world, blobs)
    assert blobs.appends == 3  # the line of the day, and two batches

    for number in range(4):
        record_event(world, f"large{number}", changes="\\" * 40_000)
    run_export(world, blobs)
    assert blobs.appends == 5
    verified(world, blobs)


def test_a_run_ends_with_its_time() -> None:
    """Work that one run cannot finish in time is left to the next, days included."""
    world, blobs = exporting_world(), MemoryBlobs()
    export = export_of(world, blobs)

    def slow() -> Any:
        world.clock.now += timedelta(seconds=20)
        return world.clock()

    record_event(world, "e")
    assert export_audit(replace(export, clock=slow)) <= 1
    record_event(world, "f")
    assert export_audit(replace(export, clock=slow)) <= 2
    hours_later(world, 24 * 30)
    export_audit(replace(export, clock=slow))
    assert len(blobs.files) < 10
    for _ in range(3):
        run_export(world, blobs)
    assert len(blobs.files) == 31
    verified(world, blobs)


def test_a_run_stops_between_batches_when_its_time_is_over() -> None:
    """A run that is slow after its first batch leaves the other batches."""
    world, blobs = exporting_world(), MemoryBlobs()
    for number in range(exporting.BATCH + 1):
        record_event(world, f"e{number:03d}")
    real = blobs.append

    def slow(name: str, offset: int, content: bytes) -> None:
        real(name, offset, content)
        world.clock.now += exporting.BUDGET * 0.6

    blobs.append = slow  # type: ignore[method-assign]
    assert run_export(world, blobs) == exporting.BATCH
    assert run_export(world, blobs) == 1
    verified(world, blobs)


def test_two_workers_that_export_at_once_write_each_event_once() -> None:
    """The worker whose state changed meanwhile stops, and the chain stays whole."""
    world, blobs = exporting_world(), MemoryBlobs()
    record_event(world, "e")
    real = blobs.append
    inside: list[int] = []

    def append(name: str, offset: int, content: bytes) -> None:
        if not inside:
            inside.append(1)
            run_export(world, blobs)
        real(name, offset, content)

    blobs.append = append  # type: ignore[method-assign]
    run_export(world, blobs)
    run_export(world, blobs)

    assert names(verified(world, blobs)) == ["e"]
    assert "jit.audit.export.raced" in [name for name, _ in world.telemetry.events]


def test_a_state_that_another_worker_inserted_is_not_written_over() -> None:
    """The first write of the state loses to another one."""
    exports = exporting_world().services.exports
    exports.write_state(ExportState())
    with pytest.raises(RowChangedError):
        exports.write_state(ExportState(day="2026-11-22"))


def test_a_due_row_that_is_noted_again_meanwhile_stays() -> None:
    """A due row is removed only as it was read."""
    exports = exporting_world().services.exports
    exports.add("2026-11-22", "key")
    (due,) = exports.due(1)
    exports.add("2026-11-22", "key")
    exports.remove(due)

    assert len(exports.due(5)) == 1


def test_a_failure_is_reported_although_nothing_can_be_read() -> None:
    """Where the tables do not answer either, the fault leaves out how long events wait."""
    world, blobs = exporting_world(), MemoryBlobs()

    class Away:
        def __getattr__(self, _name: str) -> Any:
            raise OutsideError("no tables")

    export = export_of(world, blobs)
    assert export_audit(AuditExport(Away(), blobs, export.telemetry, world.clock, "test1")) == 0  # type: ignore[arg-type]
    (attributes,) = [
        attributes
        for name, attributes in world.telemetry.events
        if name == "jit.audit.export.failed"
    ]
    assert attributes["waiting_seconds"] is None


def test_retention_keeps_the_days_of_events_that_wait_for_export() -> None:
    """An event whose export has failed for long is not deleted before it is exported."""
    world, blobs = exporting_world(), MemoryBlobs()
    world.services = replace(world.services, keep_activity=timedelta(days=30))
    record_event(world, "e")
    hours_later(world, 24 * 40)
    purge_old(world.services)
    assert len(table_rows(world)) == 1

    run_export(world, blobs)
    purge_old(world.services)
    assert table_rows(world) == []
    assert names(read_record(blobs.files)) == ["e"]


def test_an_event_that_is_gone_when_it_is_marked_is_in_the_files() -> None:
    """A row that was deleted between append and mark stops nothing."""
    world, blobs = exporting_world(), MemoryBlobs()
    run_export(world, blobs)
    record_event(world, "e")
    real = blobs.append

    def append(name: str, offset: int, content: bytes) -> None:
        real(name, offset, content)
        world.tables.activity.rows.clear()

    blobs.append = append  # type: ignore[method-assign]
    run_export(world, blobs)
    blobs.append = real  # type: ignore[method-assign]
    record_event(world, "f")
    run_export(world, blobs)

    record = read_record(blobs.files)
    assert names(record) == ["e", "f"]
    assert record.findings == []
