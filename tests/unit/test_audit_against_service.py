"""The exported record is compared with the audit events that the service shows."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from functions.activity_answers import activity_line
from jit_access.audit import record as verifying
from jit_access.audit.comparing import compare_with_service
from jit_access.audit.record import Finding, read_record
from shared.domain import audit_chain
from shared.domain.audit_chain import MAX_EVENT
from shared.domain.model import Principal
from shared.store.audit import AuditEvent
from shared.use_cases.reports.activity import Asked, read_activity
from tests.audit_files import MemoryBlobs, run_export
from tests.unit.test_audit_export import exporting_world, record_event
from tests.world import WEB, World

HOUR = timedelta(hours=1)
READER = Principal("tenant", "rita-id", "rita", roles=frozenset({"Jit.Read"}))


def lived() -> tuple[World, MemoryBlobs]:
    """Return a world in which an access was requested, opened and closed, and its files."""
    world, blobs = exporting_world(), MemoryBlobs()
    world.protect()
    world.ask(minutes=10)
    world.pass_time(11)
    run_export(world, blobs)
    return world, blobs


def shown(world: World) -> list[dict[str, Any]]:
    """Return the audit events as the service answers them."""
    now = world.clock()
    asked = Asked(now - 24 * HOUR, now + HOUR, top=1000)
    page = read_activity(world.services, READER, asked)
    return [activity_line(event) for event in page.events]


def compared(
    world: World, blobs: MemoryBlobs, events: list[dict[str, Any]], since: datetime | None = None
) -> list[Finding]:
    """Return what differs between the files and some events."""
    now = world.clock()
    return compare_with_service(
        read_record(blobs.files), events, since or now - 24 * HOUR, now + HOUR
    )


def test_what_the_service_shows_is_what_was_exported() -> None:
    """Every field of every event of an access is the same on both sides."""
    world, blobs = lived()
    events = shown(world)
    assert {event["operation"] for event in events} >= {"requested", "opened", "closed"}
    assert compared(world, blobs, events) == []


@pytest.mark.parametrize("name", ["operation", "principalName", "reason", "port", "time"])
def test_an_event_that_was_changed_in_the_table_is_named_on_both_sides(name: str) -> None:
    """The file has the event as it was, and the service shows another one."""
    world, blobs = lived()
    events = shown(world)
    changed = next(event for event in events if name in event)
    changed[name] = "2026-11-22T13:00:59.0000000Z" if name == "time" else "forged"

    found = [finding.kind for finding in compared(world, blobs, events)]
    assert found == ["blob only", "service only"]


def test_an_event_that_was_removed_from_the_table_is_named() -> None:
    """The file still has it, and the finding says where."""
    world, blobs = lived()
    events = shown(world)
    del events[0]
    (found,) = compared(world, blobs, events)
    assert found.kind == "blob only"
    assert "2026-11-22.jsonl, line" in found.where


def test_an_event_that_is_only_in_the_table_is_named() -> None:
    """A forged row has no line; so has an event that stands twice."""
    world, blobs = lived()
    events = shown(world)
    forged = {**events[0], "operation": "approved"}
    found = compared(world, blobs, [*events, forged, events[1]])

    assert [each.kind for each in found] == ["service only"] * 2
    (told,) = (each.what for each in found if "approved" in each.what)
    assert told.startswith(forged["time"][:19])


def test_events_outside_the_period_are_not_missed() -> None:
    """Lines from before the period are verified in the chain, and not compared."""
    world, blobs = lived()
    world.clock.now += 2 * HOUR
    record_event(world, "late", vm_id=WEB)
    run_export(world, blobs)
    late = [event for event in shown(world) if event["time"] > "2026-11-22T15"]

    assert len(late) == 1
    assert compared(world, blobs, late, world.clock() - HOUR) == []
    assert compared(world, blobs, [], world.clock() - HOUR)[0].what.startswith("event 2026-11-22|")


def test_an_event_too_long_for_the_record_is_found_by_its_time() -> None:
    """Of such an event the file has a hash, so it is neither missing nor superfluous."""
    world, blobs = exporting_world(), MemoryBlobs()
    at = world.clock() + timedelta(microseconds=1234)
    world.services.activity.record(AuditEvent("long", at, "policyChanged", changes="x" * MAX_EVENT))
    run_export(world, blobs)
    events = shown(world)
    assert len(events) == 1
    assert compared(world, blobs, events) == []
    assert len(compared(world, blobs, [*events, *events])) == 1


def test_the_verifier_counts_and_hashes_as_the_app_does() -> None:
    """The command line's package has its own two functions; they are the app's."""
    assert verifying.GENESIS == audit_chain.GENESIS
    assert verifying.hash_of(b'{"seq":1}') == audit_chain.hash_of(b'{"seq":1}')
    for first, last in (("2026-11-22", "2026-11-25"), ("2026-11-22", "2026-11-21")):
        assert list(verifying.days_between(first, last)) == list(
            audit_chain.days_between(first, last)
        )


def test_a_line_that_is_no_event_of_ours_is_not_compared() -> None:
    """An event without a time in the file is passed over; the chain names what was forged."""
    world, blobs = lived()
    record = read_record(blobs.files)
    number = max(record.chain)
    line = record.chain[number]
    for event in ("text", {"at": "no time"}, {"at": "2026-11-22T13:00:00"}):
        record.chain[number] = replace(line, content={**line.content, "event": event})
        found = compare_with_service(record, [], world.clock() - 24 * HOUR, world.clock())
        assert len(found) == sum(each.is_event for each in record.chain.values()) - 1
