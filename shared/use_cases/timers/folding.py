"""Take off the due rows of ends that were moved further away, once nothing can rest on them.

Each extension writes due rows for its end before it moves the end, and leaves those of the end
before. A firewall's due row may serve other grants that end in the same minute, and one of them may
be about to be written. So a row is taken off only if it is older than the grace, which is longer
than the longest stall of a worker, and no grant or request rests on it.
"""

from datetime import datetime, timedelta
from typing import Protocol

from shared.domain.approval import pending
from shared.domain.ids import key_of
from shared.domain.model import GRACE, MINUTE, AccessRequest, Grant
from shared.store.due import Due, slot_of
from shared.use_cases.parts import HasClock, HasDue, HasPace, HasRows

_SOON = 2 * MINUTE  # what is looked at by then is left to that look


class FoldParts(HasClock, HasDue, HasPace, HasRows, Protocol):
    """The parts for folding the due rows of a request."""


def fold_dues(services: FoldParts, request: AccessRequest) -> None:
    """Take off the due rows of ends that extensions gave a grace ago and have moved since."""
    moved = _moved_ends(request, services.clock())
    if not moved:
        return
    firewalls = {key_of(f.firewall_id) for port in request.ports for f in port.fronts or ()}
    of_request = {slot_of(end + MINUTE) for end in moved} - _watched(request)
    of_firewall = {slot_of(end) for end in moved}
    for due in services.due.until(max(moved) + 2 * MINUTE):
        if due.slot is None or due.since + GRACE > services.clock():
            continue  # a write that it announces may still be on its way
        if due.kind == "request" and due.subject == request.id and due.slot in of_request:
            services.due.remove(due)
        if due.kind == "firewall" and key_of(due.subject) in firewalls and due.slot in of_firewall:
            _fold_firewall(services, due)


def _moved_ends(request: AccessRequest, now: datetime) -> set[datetime]:
    given = {each.end_at for each in request.extended if each.at + GRACE <= now}
    return {end for end in given - _ends(request) if end > now + _SOON}


def _ends(request: AccessRequest) -> set[datetime]:
    """Return the ends that stand in a request, the one that waits for approval with them."""
    ends = {at for port in request.ports for at in (port.end_at, port.closes_at) if at}
    return ends | ({request.extension.end_at} if request.extension else set())


def _watched(request: AccessRequest) -> set[datetime]:
    """Return the minutes in which a request has to be looked at whatever was moved."""
    approval = pending(request)
    deadline = {slot_of(approval.deadline)} if approval else set()
    return deadline | {slot_of(end + MINUTE) for end in _ends(request)}


def _fold_firewall(services: FoldParts, due: Due) -> None:
    """Take off a firewall's row unless a grant rests on it."""
    grants = services.rows.read(due.subject).grants
    grace = services.pace(due.subject).grace
    if due.slot not in {slot_of(_watched_at(grant, grace)) for grant in grants}:
        services.due.remove(due)


def _watched_at(grant: Grant, grace: timedelta) -> datetime:
    return grant.expires_at if grant.sealed_at is None else grant.sealed_at + grace
