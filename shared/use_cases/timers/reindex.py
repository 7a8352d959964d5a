"""Walk over all requests, a bounded piece at a time: list what is not listed, note what has ended.

Requests of an earlier version have no rows in the index and no notes of their end, and a row may be
lost where its write failed. Idempotency keys that are past their time are deleted. The walk notes
where it stopped, and begins anew at the end.
"""

from collections.abc import Sequence
from typing import Protocol

from shared.domain.model import AccessRequest
from shared.ports import Row, RowChangedError, Verb, Write
from shared.store.codec import UnreadableRowError
from shared.store.live import LIVE
from shared.store.policies import LAST
from shared.store.purge import PurgeType, end_of
from shared.store.room import unpack_request
from shared.store.together import raise_first, write_together
from shared.use_cases.parts import (
    HasClock,
    HasPurges,
    HasRequests,
    HasTables,
    HasTelemetry,
    HasWorkers,
)
from shared.use_cases.requests.idempotency import REPEATS, is_purgeable

PIECE = 500  # rows that one run looks at
PARTITIONS = 100
_AFTER_LIVE = LIVE[:-1] + chr(ord(LIVE[-1]) + 1)  # sorts after the partitions that hold no requests
_NOTE = ("health", "index")
_NEXT = "!"  # added to a key or partition: what sorts right after it


class ReindexParts(HasClock, HasPurges, HasRequests, HasTables, HasTelemetry, HasWorkers, Protocol):
    """The parts for listing requests that an index lacks."""


def list_missing(services: ReindexParts) -> None:
    """List one piece of the requests; a failure is reported, and tried again by the next run."""
    try:
        looked_at, added = _walk(services)
    except Exception as error:  # noqa: BLE001 - closing must not depend on it
        services.telemetry.fault("jit.index.failed", error)
        return
    if added:
        services.telemetry.event("jit.index.repaired", requests=looked_at, rows=added)


def _walk(services: ReindexParts) -> tuple[int, int]:
    table = services.tables.requests
    partition, key = _noted(services)
    looked_at = added = 0
    for _ in range(PARTITIONS):
        found = table.scan(partition, LAST, limit=1)
        if not found:
            partition = key = ""
            break
        if found[0].partition != partition:
            partition, key = found[0].partition, ""
        if partition.startswith(LIVE):
            partition, key = _AFTER_LIVE, ""
            continue
        rows = table.query(partition, start=key, limit=PIECE - looked_at)
        if partition.startswith(REPEATS):
            _purge_keys(services, rows)
        else:
            added += _list_all(services, rows)
        looked_at += len(rows)
        if looked_at >= PIECE:
            key = rows[-1].key + _NEXT
            break
        partition, key = partition + _NEXT, ""
    services.tables.firewalls.upsert(Row(*_NOTE, {"partition": partition, "key": key}))
    return looked_at, added


def _noted(services: HasTables) -> tuple[str, str]:
    row = services.tables.firewalls.get(*_NOTE)
    return (str(row.values["partition"]), str(row.values["key"])) if row else ("", "")


def _list_all(services: ReindexParts, rows: Sequence[Row]) -> int:
    """List requests wherever they are missing, and note the ends of those that have ended."""
    requests = [request for row in rows if (request := _request(services, row))]
    services.purges.add(PurgeType.REQUEST, filter(None, map(end_of, requests)))
    return sum(services.workers(services.requests.index.note_missing, requests))


def _purge_keys(services: ReindexParts, rows: Sequence[Row]) -> None:
    """Delete idempotency keys that are past their time; one that cannot be decoded stays."""
    over = [row for row in rows if _is_over(services, row)]
    raise_first(
        each
        for each in write_together(
            services.tables.requests, [Write(Verb.DELETE, row) for row in over], services.workers
        )
        if not isinstance(each, RowChangedError)
    )


def _is_over(services: ReindexParts, row: Row) -> bool:
    try:
        return is_purgeable(row, services.clock())
    except UnreadableRowError as error:
        services.telemetry.fault("jit.row.unreadable", error, row=row.key)
        return False


def _request(services: HasTelemetry, row: Row) -> AccessRequest | None:
    try:
        return unpack_request(row.values)
    except UnreadableRowError as error:
        services.telemetry.fault("jit.row.unreadable", error, row=row.key)
        return None
