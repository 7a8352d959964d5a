"""Take off the due rows of ends that were moved further away, once nothing can rest on them.

Each extension writes due rows for its end before it moves the end, and leaves those of the end
before. A firewall's due row may serve other grants that end in the same minute, and one of them may
be about to be written. So a row is taken off only if it is older than the grace, which is longer
than the longest stall of a worker, and no grant or request rests on it.
"""

from datetime import datetime

from shared.domain.approval import pending
from shared.domain.model import GRACE, MINUTE, AccessRequest, Grant
from shared.use_cases.rows import Due, slot_of
from shared.use_cases.services import Services


def fold_dues(services: Services, request: AccessRequest, seen: Due) -> None:
    """Take off the due rows of moved ends that were written when `seen` was.

    The sweep comes back to each request when the grace is over, so every extension has its turn.
    """
    now = services.clock()
    if seen.since + GRACE > now:
        return
    kept = _ends_kept(request)
    for end in _moved_ends(request, seen) - kept:
        if end > now + 2 * MINUTE:
            _fold_request(services, request, end, kept)
            for firewall_id in _firewalls(request):
                _fold_firewall(services, firewall_id, end)


def _ends_kept(request: AccessRequest) -> set[datetime]:
    ends = {port.end_at for port in request.ports if port.end_at}
    return ends | ({request.extension.end_at} if request.extension else set())


def _moved_ends(request: AccessRequest, seen: Due) -> set[datetime]:
    """Return the ends that were given around the time of a due row, and those they replaced."""
    ends = [given.end_at for given in request.extended]
    first, last = seen.since - 2 * MINUTE, seen.since + MINUTE
    found: set[datetime] = set()
    for number, given in enumerate(request.extended):
        if first <= given.at <= last:
            found |= set(ends[max(0, number - 1) : number + 1])
    return found


def _firewalls(request: AccessRequest) -> list[str]:
    return sorted({f.firewall_id for port in request.ports for f in port.fronts or ()})


def _fold_request(
    services: Services, request: AccessRequest, end: datetime, kept: set[datetime]
) -> None:
    """Take off the row of a moved end, unless something else about the request rests on it."""
    due = _old_due(services, end + MINUTE, "request", request.id)
    approval = pending(request)
    watched = {slot_of(each + MINUTE) for each in kept}
    watched |= {slot_of(approval.deadline)} if approval else set()
    if due is not None and due.slot not in watched:
        services.due.remove(due)


def _fold_firewall(services: Services, firewall_id: str, end: datetime) -> None:
    """Take off the row of a moved end, unless a grant of the firewall rests on it."""
    due = _old_due(services, end, "firewall", firewall_id)
    if due is None:
        return
    grants = services.rows.read(firewall_id).grants
    if due.slot not in {slot_of(_watched_at(grant)) for grant in grants}:
        services.due.remove(due)


def _watched_at(grant: Grant) -> datetime:
    return grant.expires_at if grant.sealed_at is None else grant.sealed_at + GRACE


def _old_due(services: Services, at: datetime, kind: str, subject: str) -> Due | None:
    """Return a due row behind which no write can still be on its way."""
    due = services.due.get(at, kind, subject)
    return due if due is not None and due.since + GRACE <= services.clock() else None
