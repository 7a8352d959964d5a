"""The export breaks at each of its calls in turn, and audit storage is away while access closes."""

import contextlib
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from shared.store.audit import AuditEvent
from shared.use_cases.timers.export_audit import AuditExport, export_audit
from tests.audit_files import DEPLOYMENT, MemoryBlobs, run_export
from tests.faults.harness import Breakable, Died, FaultType, FragileWorld
from tests.unit.test_audit_export import dues, exporting_world, names, table_rows, verified
from tests.world import DB, WEB, World

_CALLS = frozenset({"create", "append", "read"})


def fragile() -> tuple[FragileWorld, MemoryBlobs, AuditExport]:
    """Return a world, its files, and an export whose every call can break."""
    world, blobs = FragileWorld(), MemoryBlobs()
    world.services = replace(world.services, export_audit=True)
    services = world.services
    breakable: Any = Breakable(blobs, world.faults, _CALLS)
    export = AuditExport(
        services.exports, breakable, services.telemetry, services.clock, DEPLOYMENT
    )
    return world, blobs, export


@pytest.mark.parametrize("fault_type", FaultType)
def test_a_crash_at_any_call_of_the_export_loses_and_doubles_nothing(fault_type: FaultType) -> None:
    """Whichever call fails, is answered too late or is the last: each event is there once."""
    for at in range(1, 120):
        world, blobs, export = fragile()
        for name in ("a", "b"):
            world.services.activity.record(AuditEvent(name, world.clock(), "requested"))
        export_audit(export)
        world.clock.now += timedelta(days=1)
        for name in ("c", "d"):
            world.services.activity.record(AuditEvent(name, world.clock(), "requested"))
        world.services.activity.record(
            AuditEvent("a", world.clock() - timedelta(days=1), "requested")
        )
        world.faults.arm(at, fault_type)
        with contextlib.suppress(Died):
            export_audit(export)
        fired = world.faults.fired
        world.faults.disarm()
        for _ in range(2):
            export_audit(export)

        assert names(verified(world, blobs)) in (list("abcd"), list("abdc")), (at, fault_type)
        assert dues(world) == [], (at, fault_type)
        assert len(blobs.files) == 2
        if not fired:
            assert at > 20
            return
    pytest.fail("it never came to its end")


@pytest.mark.parametrize("fault_type", FaultType)
def test_a_crash_while_an_event_is_recorded_leaves_no_event_without_export(
    fault_type: FaultType,
) -> None:
    """An event that reached the table is exported, wherever the writer stopped."""
    for at in (1, 2):
        world, blobs, export = fragile()
        world.faults.arm(at, fault_type)
        event = AuditEvent("e", world.clock(), "closed")
        world.attempt(partial(world.services.activity.record, event))
        world.faults.disarm()
        world.clock.now += timedelta(minutes=20)
        for _ in range(2):
            export_audit(export)

        assert len(names(verified(world, blobs))) == len(table_rows(world))
        assert dues(world) == []


def _lateness(world: World, blobs: MemoryBlobs) -> list[float]:
    """Play two hours of access, with the export on its timer, and return how late each close was."""
    world.protect()
    for turn in range(12):
        world.ask(WEB if turn % 2 else DB, minutes=5)
        for _ in range(2):
            world.pass_time(5)
            run_export(world, blobs)
    return world.services.activity.newest_lateness(100)


def test_closes_are_as_punctual_with_audit_storage_away_for_two_hours() -> None:
    """Lateness is the same to the second, and all events of the two hours arrive afterwards."""
    present, away = exporting_world(), exporting_world()
    blobs, lost = MemoryBlobs(), MemoryBlobs()
    lost.is_away = True

    usual = _lateness(present, blobs)
    assert len(usual) >= 12
    assert _lateness(away, lost) == usual
    assert lost.files == {}

    lost.is_away = False
    run_export(away, lost)
    run_export(present, blobs)
    assert sorted(names(verified(away, lost))) == sorted(names(verified(present, blobs)))
