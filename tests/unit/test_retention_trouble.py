"""Retention in trouble: notes that lead nowhere, rows that cannot be read or deleted."""

from datetime import timedelta

import pytest

from shared.ports import OutsideError, Row
from shared.store.audit import AuditEvent
from shared.store.purge import Ended, PurgeType
from shared.use_cases.timers.retention import purge_old
from tests.unit.test_retention import DAY, ended, faults, kept, rounds, world
from tests.world import DB, World

__all__ = ["world"]


def test_a_request_that_cannot_be_read_holds_up_no_other(world: World) -> None:
    """A failure for one request is told, and the others are purged."""
    first, second = ended(world), ended(world, vm=DB)
    world.clock.advance(91 * DAY)
    real = world.tables.requests.get

    def get(partition: str, key: str) -> Row | None:
        if f"{partition}-{key}" == first:
            raise OutsideError("no answer")
        return real(partition, key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.tables.requests, "get", get)
        purge_old(world.services)
    assert kept(world) == {first} != {second}
    assert faults(world) == ["jit.retention.failed"]
    rounds(world)
    assert kept(world) == set()


def test_a_note_whose_row_is_gone_is_removed(world: World) -> None:
    """Notes that a crash left behind, of a request and of a key, go without a fault."""
    ended_at, purges = world.clock(), world.services.purges
    purges.add(PurgeType.REQUEST, [Ended(ended_at, "gone", "gone")])
    purges.add(PurgeType.KEY, [Ended(ended_at, "repeat|gone", "gone")])
    world.clock.advance(91 * DAY)
    purge_old(world.services)
    assert not any("|purge|" in partition for partition, _ in world.tables.requests.rows)
    assert faults(world) == []


def test_an_event_that_cannot_be_deleted_is_told(world: World) -> None:
    """A delete that fails is told, and the other events of its day go."""
    old = world.clock() - timedelta(days=400)
    for name in ("one", "two"):
        world.services.activity.record(AuditEvent(name, old, "requested"))
    real, table = world.tables.activity.delete, world.tables.activity
    refused: list[Row] = []

    def delete(row: Row) -> None:
        if not refused:
            refused.append(row)
            raise OutsideError("no answer")
        real(row)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "delete", delete)
        purge_old(world.services)
    left = [row for row in table.rows.values() if row.partition == f"{old:%Y-%m-%d}"]
    assert [row.key for row in left] == [row.key for row in refused]
    assert faults(world) == ["jit.retention.failed"]
