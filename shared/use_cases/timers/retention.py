"""Purge rows that are past their retention, a bounded piece at a time.

A failure is reported, never raised: no rule depends on it.
A request is found by walking over the partitions of its table, for a policy that was deleted is
listed nowhere. Where a run stopped is noted; without that note the walk begins anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from shared.domain.model import AccessRequest, PortRequest
from shared.ports import Row, RowChangedError, Table
from shared.store.audit import CLOSES
from shared.store.codec import UnreadableRowError
from shared.store.keys import age_key
from shared.store.live import LIVE
from shared.store.policies import LAST
from shared.store.room import unpack_request
from shared.use_cases.parts import (
    HasClock,
    HasDue,
    HasExportAudit,
    HasExports,
    HasKeepActivity,
    HasKeepRequests,
    HasRequests,
    HasRows,
    HasTables,
    HasTelemetry,
)
from shared.use_cases.requests.idempotency import REPEATS, is_purgeable
from shared.use_cases.timers.health import KEPT_CLOSES

# What one run reads of each type of row: the rest is left to the next, a quarter of an hour later.
PIECE = 500
PARTITIONS = 100
_NOTE = ("health", "retention")
_NEXT = "!"  # added to a key or partition: what sorts right after it
_AFTER_LIVE = LIVE[:-1] + "}"
_FIRST_DAY = "0"  # days begin with a digit; what else is kept beside them does not
_EVER = datetime.max.replace(tzinfo=UTC)


class RetentionParts(
    HasClock,
    HasDue,
    HasExportAudit,
    HasExports,
    HasKeepActivity,
    HasKeepRequests,
    HasRequests,
    HasRows,
    HasTables,
    HasTelemetry,
    Protocol,
):
    """The parts for deleting what is past its time."""


def purge_old(services: RetentionParts) -> None:
    """Purge one piece of each type of row; the next run retries what fails."""
    gone = {}
    for purge in (_purge_activity, _purge_closes, _purge_requests):
        what = purge.__name__.removeprefix("_purge_")
        try:
            gone[what] = purge(services)
        except Exception as error:  # noqa: BLE001 - closing must not depend on it
            services.telemetry.fault("jit.retention.failed", error, what=what)
    services.telemetry.event("jit.retention.completed", **gone)


def _purge_activity(services: RetentionParts) -> int:
    """Purge the events of the oldest days that are past their retention, whole days only."""
    if not services.keep_activity:
        return 0
    table = services.tables.activity
    first_kept = f"{services.clock() - services.keep_activity:%Y-%m-%d}"
    if services.export_audit:
        first_kept = min(first_kept, services.exports.oldest_day() or first_kept)
    return _delete(table, table.scan(_FIRST_DAY, first_kept, limit=PIECE))


def _purge_closes(services: HasTables) -> int:
    """Purge the lateness of closes, except that of the newest, which alone are read."""
    table = services.tables.activity
    return _delete(table, table.query(CLOSES, limit=KEPT_CLOSES + PIECE)[KEPT_CLOSES:])


def _delete(table: Table, rows: Iterable[Row]) -> int:
    gone = 0
    failed: list[Exception] = []
    for row in rows:
        try:
            table.delete(row)
            gone += 1
        except Exception as error:  # noqa: BLE001 - raised again once the others are deleted
            failed.append(error)
    if failed:
        raise failed[0]
    return gone


@dataclass(frozen=True)
class _Round:
    """The bounds of one walk: the oldest row that is kept, and the requests still watched."""

    before: datetime | None  # None: requests are kept for ever
    watched: frozenset[str]


def _purge_requests(services: RetentionParts) -> int:
    """Walk on over requests and reserved keys, and purge those that are past their retention."""
    before = services.clock() - services.keep_requests if services.keep_requests else None
    # NB. The watched requests are read first: a request that has ended is never watched again.
    watched = frozenset(due.subject for due in services.due.until(_EVER))
    this_round = _Round(before, watched)
    partition, key = _noted(services)
    left, gone = PIECE, 0
    for _ in range(PARTITIONS):
        found = services.tables.requests.scan(partition, LAST, limit=1)
        if not found:
            partition = key = ""
            break
        if found[0].partition != partition:
            partition, key = found[0].partition, ""
        rows = _old_rows(services, this_round, Row(partition, key, {}), left)
        gone += sum(_purge_row(services, this_round, row) for row in rows)
        left -= len(rows)
        if not left:
            key = rows[-1].key + _NEXT
            break
        partition = _AFTER_LIVE if partition.startswith(LIVE) else partition + _NEXT
        key = ""
    services.tables.firewalls.upsert(Row(*_NOTE, {"partition": partition, "key": key}))
    return gone


def _noted(services: HasTables) -> tuple[str, str]:
    row = services.tables.firewalls.get(*_NOTE)
    return (str(row.values["partition"]), str(row.values["key"])) if row else ("", "")


def _old_rows(services: HasTables, this_round: _Round, start: Row, limit: int) -> list[Row]:
    """Read on in a partition: of a policy's requests, those from before what is kept."""
    table = services.tables.requests
    if start.partition.startswith(REPEATS):
        return table.query(start.partition, start=start.key, limit=limit)
    if start.partition.startswith(LIVE) or this_round.before is None:
        return []
    oldest = age_key(this_round.before)
    return table.query(start.partition, start=max(start.key, oldest), limit=limit)


def _purge_row(services: RetentionParts, this_round: _Round, row: Row) -> bool:
    """Delete a row that has had its time, as it was read; what cannot be read stays."""
    try:
        if row.partition.startswith(REPEATS):
            over = is_purgeable(row, services.clock())
        else:
            over = _unlist_purgeable(services, this_round, unpack_request(row.values))
        if over:
            services.tables.requests.delete(row)
    except UnreadableRowError as error:
        services.telemetry.fault("jit.row.unreadable", error, row=row.key)
        return False
    except RowChangedError:
        return False  # another writer has just written it
    except Exception as error:  # noqa: BLE001 - whatever it is, the other rows have their time
        services.telemetry.fault("jit.retention.failed", error, row=row.key)
        return False
    return over


def _unlist_purgeable(services: RetentionParts, this_round: _Round, request: AccessRequest) -> bool:
    """Take a request that has had its time off the lists; False: it is kept."""
    if not request.is_final or not all(_ended(port, this_round.before) for port in request.ports):
        return False
    if request.id in this_round.watched or _is_granted(services, request):
        return False
    services.requests.remove_live(request)
    services.requests.index.purge(request)
    return True


def _ended(port: PortRequest, before: datetime | None) -> bool:
    return before is not None and port.closed_at is not None and port.closed_at < before


def _is_granted(services: HasRows, request: AccessRequest) -> bool:
    """Tell whether a firewall still has a row for it, wanted or sealed."""
    return any(
        services.rows.get_grant(front.firewall_id, request.id, port.vm_id, port.port) is not None
        for port in request.ports
        for front in port.fronts or ()
    )
