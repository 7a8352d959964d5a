"""Purge rows that are past their retention, a bounded piece at a time.

A failure is reported and never raised: no rule depends on retention.
Requests and idempotency keys are found by notes of their ends, of which a run reads those that are
due. Where a run stopped is noted, so that what has to stay holds up nothing.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Protocol

from shared.domain.model import AccessRequest
from shared.ports import Row, RowChangedError, Table
from shared.store.audit import CLOSES
from shared.store.codec import UnreadableRowError
from shared.store.purge import PurgeDue, PurgeType, end_of
from shared.store.room import unpack_request
from shared.use_cases.parts import (
    HasClock,
    HasExportAudit,
    HasExports,
    HasKeepActivity,
    HasKeepRequests,
    HasPurges,
    HasRequests,
    HasRows,
    HasTables,
    HasTelemetry,
    HasWorkers,
)
from shared.use_cases.requests.idempotency import KEY_RETENTION, is_purgeable
from shared.use_cases.timers.health import KEPT_CLOSES

# What one run reads of each type of row: the rest is left to the next, a quarter of an hour later.
PIECE = 500
_NEXT = "!"  # added to a key: what sorts right after it
_FIRST_DAY = "0"  # days begin with a digit; what else is kept beside them does not


class _Outcome(Enum):
    """What became of a row whose note was due."""

    PURGED = "purged"
    NOT_DUE = "not due"  # it is gone, or was written again since, with a note of its own
    KEPT = "kept"


class RetentionParts(
    HasClock,
    HasExportAudit,
    HasExports,
    HasKeepActivity,
    HasKeepRequests,
    HasPurges,
    HasRequests,
    HasRows,
    HasTables,
    HasTelemetry,
    HasWorkers,
    Protocol,
):
    """The parts for deleting what is past its time."""


def purge_old(services: RetentionParts) -> None:
    """Purge one piece of each type of row; the next run retries what fails."""
    gone = {}
    for purge in (_purge_activity, _purge_closes, _purge_requests, _purge_keys):
        what = purge.__name__.removeprefix("_purge_")
        try:
            gone[what] = purge(services)
        except Exception as error:  # noqa: BLE001 - closing must not depend on it
            services.telemetry.fault("jit.retention.failed", error, what=what)
    services.telemetry.event("jit.retention.completed", **gone)


def _purge_activity(services: RetentionParts) -> int:
    """Purge the audit events of the oldest days that are past their time, whole days only."""
    if not services.keep_activity:
        return 0
    table = services.tables.activity
    first_kept = f"{services.clock() - services.keep_activity:%Y-%m-%d}"
    if services.export_audit:
        first_kept = min(first_kept, services.exports.oldest_day() or first_kept)
    return _delete(table, table.scan(_FIRST_DAY, first_kept, limit=PIECE))


def _purge_closes(services: HasTables) -> int:
    """Purge the lateness of closes, but for the newest, which alone are read."""
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


def _purge_requests(services: RetentionParts) -> int:
    """Purge requests that ended long enough ago."""
    if not services.keep_requests:
        return 0
    before = services.clock() - services.keep_requests
    return _purge(services, PurgeType.REQUEST, before, partial(_purge_request, services, before))


def _purge_keys(services: RetentionParts) -> int:
    """Purge idempotency keys that have had their time."""
    before = services.clock() - KEY_RETENTION
    return _purge(services, PurgeType.KEY, before, partial(_purge_key, services))


def _purge(
    services: RetentionParts,
    purge_type: PurgeType,
    before: datetime,
    purge: Callable[[PurgeDue], _Outcome],
) -> int:
    """Purge one piece of the rows that are due, from where the last run stopped."""
    note = ("health", f"purge-{purge_type.name.lower()}")
    noted = services.tables.firewalls.get(*note)
    start = str(noted.values["key"]) if noted else ""
    dues = services.purges.due(purge_type, before, start=start, limit=PIECE)
    outcomes = services.workers(partial(_try_to_purge, services, purge), dues)
    done = [due for due, how in zip(dues, outcomes, strict=True) if how is not _Outcome.KEPT]
    services.purges.remove(purge_type, done)
    key = dues[-1].note + _NEXT if len(dues) == PIECE else ""
    services.tables.firewalls.upsert(Row(*note, {"key": key}))
    return outcomes.count(_Outcome.PURGED)


def _try_to_purge(
    services: HasTelemetry, purge: Callable[[PurgeDue], _Outcome], due: PurgeDue
) -> _Outcome:
    """Purge a row; one that cannot be read, or that another writer has just written, stays."""
    try:
        return purge(due)
    except UnreadableRowError as error:
        services.telemetry.fault("jit.row.unreadable", error, row=due.key)
    except RowChangedError:
        pass
    except Exception as error:  # noqa: BLE001 - whatever it is, the other rows have their time
        services.telemetry.fault("jit.retention.failed", error, row=due.key)
    return _Outcome.KEPT


def _purge_request(services: RetentionParts, before: datetime, due: PurgeDue) -> _Outcome:
    """Delete a request as it was read, once it is off the lists and no firewall has a row of it."""
    row = services.tables.requests.get(due.partition, due.key)
    if row is None:
        return _Outcome.NOT_DUE
    request = unpack_request(row.values)
    ended = end_of(request)
    if ended is None:
        return _Outcome.NOT_DUE
    if ended.at >= before:
        services.purges.add(PurgeType.REQUEST, [ended])
        return _Outcome.NOT_DUE
    if _is_granted(services, request):
        return _Outcome.KEPT
    services.requests.remove_live(request)
    services.requests.index.purge(request)
    services.tables.requests.delete(row)
    return _Outcome.PURGED


def _purge_key(services: RetentionParts, due: PurgeDue) -> _Outcome:
    row = services.tables.requests.get(due.partition, due.key)
    if row is None or not is_purgeable(row, services.clock()):
        return _Outcome.NOT_DUE
    services.tables.requests.delete(row)
    return _Outcome.PURGED


def _is_granted(services: HasRows, request: AccessRequest) -> bool:
    """Tell whether a firewall still has a row for it, wanted or sealed."""
    return any(
        services.rows.get_grant(front.firewall_id, request.id, port.vm_id, port.port) is not None
        for port in request.ports
        for front in port.fronts or ()
    )
