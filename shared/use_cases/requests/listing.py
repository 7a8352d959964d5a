"""Find requests by person, status, VM, time or what awaits the caller, a page at a time.

A filter reads the index rows made for it; no filter is a scan. Rows are read newest first, and a
page ends where enough requests were found or enough rows were looked at.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain.ids import key_of, name_of
from shared.domain.model import GRACE, AccessRequest, Status
from shared.domain.permissions import Action
from shared.domain.request import overall_status
from shared.ports import OutsideError, Row, RowChangedError
from shared.store.codec import UnreadableRowError
from shared.store.index import (
    AWAITING,
    id_of,
    order_key,
    partitions_of,
    person_partition,
    status_partition,
    vm_partition,
)
from shared.store.keys import age_key, asked_before
from shared.use_cases.parts import HasClock, HasRequests, HasTables, HasTelemetry, HasWorkers
from shared.use_cases.policies.apply import ListPoliciesParts, policies_in_scope
from shared.use_cases.requests.submit import parties_of
from shared.use_cases.requests.view import Viewer

_CHUNK = 100
_MOST_READ = 10 * _CHUNK  # rows looked at for one page; the next page goes on from there
_AFTER = "!"  # added to a key: sorts right after it
_LAST = "~"  # sorts after every key

Found = tuple[str, AccessRequest | None]
Source = Callable[[str, str, int], list[Found]]


class ListingParts(
    ListPoliciesParts, HasClock, HasRequests, HasTables, HasTelemetry, HasWorkers, Protocol
):
    """The parts for listing requests."""


@dataclass(frozen=True)
class RequestFilter:
    """Which requests a caller wants; what is empty means any. `after` is the last page's end."""

    mine: bool = False
    awaiting: bool = False
    status: Status | None = None
    vm_id: str = ""
    policy: str = ""  # the key of its id or of its name
    since: datetime | None = None
    until: datetime | None = None
    after: str = ""
    top: int = 100


@dataclass(frozen=True)
class RequestPage:
    """Some requests, newest first, and the key after which the next page begins."""

    requests: tuple[AccessRequest, ...]
    next: str = ""


def list_requests(services: ListingParts, viewer: Viewer, wanted: RequestFilter) -> RequestPage:
    """Return one page of the requests that a caller may see and asks for."""
    read = _source(services, viewer, wanted)
    start, stop = _first(wanted), age_key(wanted.since) + _LAST if wanted.since else _LAST
    found: list[tuple[str, AccessRequest]] = []
    for _ in range(_MOST_READ // _CHUNK):
        rows = read(start, stop, _CHUNK)
        found += [(key, each) for key, each in rows if each and _fits(each, viewer, wanted)]
        if len(found) > wanted.top:
            return _page(found[: wanted.top], found[wanted.top - 1][0])
        if len(rows) < _CHUNK:
            return _page(found)
        start = rows[-1][0] + _AFTER
    return _page(found, start.removesuffix(_AFTER))


def _page(found: Sequence[tuple[str, AccessRequest]], after: str = "") -> RequestPage:
    return RequestPage(tuple(request for _, request in found), after)


def _first(wanted: RequestFilter) -> str:
    newest = age_key(wanted.until) if wanted.until else ""
    return max(newest, wanted.after + _AFTER) if wanted.after else newest


def _fits(request: AccessRequest, viewer: Viewer, wanted: RequestFilter) -> bool:
    """Tell whether a request is what the caller wants, and may be seen by the caller."""
    mine = viewer.caller.key in parties_of(request)
    return (
        (mine or not wanted.mine)
        and (wanted.status is None or overall_status(request) is wanted.status)
        and (not wanted.vm_id or any(key_of(p.vm_id) == wanted.vm_id for p in request.ports))
        and (not wanted.policy or wanted.policy in _names(request.policy_id))
        and (wanted.since is None or wanted.since <= request.requested_at)
        and (wanted.until is None or request.requested_at <= wanted.until)
        and (viewer.can_vote(request) if wanted.awaiting else _is_shown(request, viewer, mine=mine))
    )


def _names(policy_id: str) -> set[str]:
    return {key_of(policy_id), key_of(name_of(policy_id))}


def _is_shown(request: AccessRequest, viewer: Viewer, *, mine: bool) -> bool:
    # Past the bound of role reads the caller is shown their own requests, as without a role.
    return mine or viewer.permissions.holds(Action.READ, request.policy_id)


# --- where to read -----------------------------------------------------------------------------


def _source(services: ListingParts, viewer: Viewer, wanted: RequestFilter) -> Source:
    """Return how to read the rows among which everything wanted is found."""
    own = person_partition(viewer.caller.key)
    if wanted.awaiting:
        return _indexed(services, AWAITING)
    if wanted.mine:
        return _indexed(services, own)
    if wanted.vm_id:
        return _indexed(services, vm_partition(wanted.vm_id))
    if wanted.status:
        return _indexed(services, status_partition(wanted.status))
    readable = [
        policy.id
        for policy in policies_in_scope(services)
        if (not wanted.policy or wanted.policy in _names(policy.id))
        and viewer.permissions.holds(Action.READ, policy.id)
    ]
    return _merged(services, [_of_policy(services, each) for each in readable], own)


def _merged(services: ListingParts, sources: list[Source], own: str) -> Source:
    """Read several sources as one: those of policies, and the caller's own requests."""
    every = [*sources, _indexed(services, own)]

    def read(start: str, stop: str, limit: int) -> list[Found]:
        parts = services.workers(lambda source: source(start, stop, limit), every)
        rows: dict[str, AccessRequest | None] = {}
        for part in parts:
            rows |= dict(part)
        return sorted(rows.items(), key=lambda row: row[0])[:limit]

    return read


def _of_policy(services: HasRequests, policy_id: str) -> Source:
    def read(start: str, stop: str, limit: int) -> list[Found]:
        first = start.partition("|")[0]
        rows = services.requests.page(policy_id, first, stop, limit + 1)
        keyed = [(order_key(request_id), request) for request_id, request in rows]
        return [(key, request) for key, request in keyed if key >= start][:limit]

    return read


def _indexed(services: ListingParts, partition: str) -> Source:
    def read(start: str, stop: str, limit: int) -> list[Found]:
        rows = services.requests.index.read(partition, start, stop, limit)
        return services.workers(lambda row: (row.key, _checked(services, row)), rows)

    return read


def _checked(services: ListingParts, row: Row) -> AccessRequest | None:
    """Read the request that an index row names; remove a row that is left over."""
    try:
        stored = services.requests.get(id_of(row.key))
    except UnreadableRowError as error:
        services.telemetry.fault("jit.row.unreadable", error, row=row.key)
        return None
    if stored is not None and row.partition in partitions_of(stored.request):
        return stored.request
    if stored is not None or asked_before(id_of(row.key), services.clock() - GRACE):
        _tidy(services, row, stored.request if stored else None)
    return None


def _tidy(services: ListingParts, row: Row, request: AccessRequest | None) -> None:
    """Remove a row that does not fit its request, once the request is listed where it belongs."""
    with suppress(OutsideError, RowChangedError):
        if request is not None:
            services.requests.index.note_missing(request)
        services.tables.requests.delete(row)
