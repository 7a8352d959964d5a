"""List requests in the index that are not listed yet, a bounded piece at a time.

Requests of an earlier version have no index rows, and a row may be lost where its write failed.
The walk goes over all stored requests, notes where it stopped, and begins anew at the end.
"""

from collections.abc import Sequence
from typing import Protocol

from shared.domain.model import AccessRequest
from shared.ports import Row
from shared.store.codec import UnreadableRowError
from shared.store.live import LIVE
from shared.store.policies import LAST
from shared.store.room import unpack_request
from shared.use_cases.parts import HasRequests, HasTables, HasTelemetry, HasWorkers
from shared.use_cases.requests.idempotency import REPEATS

PIECE = 500  # requests that one run looks at
PARTITIONS = 100
_NOTE = ("health", "index")
_NEXT = "!"  # added to a key or partition: what sorts right after it


class ReindexParts(HasRequests, HasTables, HasTelemetry, HasWorkers, Protocol):
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
        if other := other_partition(partition):
            partition, key = _after(other), ""
            continue
        rows = table.query(partition, start=key, limit=PIECE - looked_at)
        added += _list_all(services, rows)
        looked_at += len(rows)
        if looked_at >= PIECE:
            key = rows[-1].key + _NEXT
            break
        partition, key = partition + _NEXT, ""
    services.tables.firewalls.upsert(Row(*_NOTE, {"partition": partition, "key": key}))
    return looked_at, added


def other_partition(partition: str) -> str:
    """Return the prefix of the partitions that hold no requests; empty: it holds requests."""
    return next((each for each in (LIVE, REPEATS) if partition.startswith(each)), "")


def _after(prefix: str) -> str:
    """Return the key that sorts after every partition with a prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _noted(services: HasTables) -> tuple[str, str]:
    row = services.tables.firewalls.get(*_NOTE)
    return (str(row.values["partition"]), str(row.values["key"])) if row else ("", "")


def _list_all(services: ReindexParts, rows: Sequence[Row]) -> int:
    requests = [request for row in rows if (request := _request(services, row))]
    return sum(services.workers(services.requests.index.note_missing, requests))


def _request(services: HasTelemetry, row: Row) -> AccessRequest | None:
    try:
        return unpack_request(row.values)
    except UnreadableRowError as error:
        services.telemetry.fault("jit.row.unreadable", error, row=row.key)
        return None
