"""The life of a port request: each change is one pure step, written by one If-Match write."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from shared.domain.desired import Entry
from shared.domain.ids import key_of
from shared.domain.model import (
    AccessRequest,
    Attachment,
    CloseReason,
    Closing,
    Extended,
    FirewallState,
    Front,
    PortRequest,
    Status,
)
from shared.domain.path import for_port, sources_at
from shared.domain.texts import shorten

_STATUS_ORDER = (
    Status.PENDING_APPROVAL,
    Status.INITIATING,
    Status.INITIATED,
    Status.FAILED,
    Status.DENIED,
    Status.REVOKED,
)
PortChange = Callable[[PortRequest], PortRequest]


def change_ports(request: AccessRequest, change: PortChange) -> AccessRequest:
    """Apply one change to every port request."""
    return replace(request, ports=tuple(change(port) for port in request.ports))


def change_port(
    request: AccessRequest, vm_id: str, number: int, change: PortChange
) -> AccessRequest:
    """Apply a change to one port request."""
    return change_ports(request, lambda port: change(port) if port.names(vm_id, number) else port)


def begin_opening(
    port: PortRequest,
    attachments: tuple[Attachment, ...],
    now: datetime,
    close_lead: timedelta = timedelta(0),
) -> PortRequest:
    """Fix the end and the firewalls, once: a redelivery uses what stands there.

    `close_lead` is how long before the end the close begins.
    """
    if port.status is not Status.INITIATING or port.fronts is not None or port.closing:
        return port
    end_at = port.end_at if port.duration is None else now + port.duration
    path = for_port(attachments, port.port)
    fronts = tuple(_front(port, each, path) for each in path if each.opens)
    return replace(port, end_at=end_at, fronts=fronts, close_lead=close_lead)


def _front(port: PortRequest, here: Attachment, path: tuple[Attachment, ...]) -> Front:
    seen = sources_at(here, path, port.sources)
    changed = None if seen == port.sources else seen
    return Front(here.firewall_id, here.addresses, seen_sources=changed)


def close(
    port: PortRequest,
    reason: CloseReason,
    now: datetime,
    *,
    message: str = "",
    by: str = "",
    relayed_by: str = "",
) -> PortRequest:
    """Decide that a port request ends; the first reason stands.

    `Expired` holds only if the close by the end that stands in the row has begun: an extension
    that came first wins. Where nothing was opened yet there is nothing to prove, so it is final at once.
    """
    if port.is_final or port.closing:
        return port
    if reason is CloseReason.EXPIRED and (port.closes_at is None or port.closes_at > now):
        return port
    closing = replace(port, closing=Closing(reason, now, shorten(message), by, relayed_by))
    return closing if closing.fronts else _end(closing, now)


def mark_open(
    port: PortRequest, firewall_id: str, now: datetime, entry: Entry | None = None
) -> PortRequest:
    """Note that a firewall was seen open, and its entry; the last makes the request Initiated."""
    if port.is_final or port.closing:
        return port

    def opened(front: Front) -> Front:
        marked = replace(front, opened_at=front.opened_at or now)
        if entry is None:
            return marked
        return replace(marked, entry_address=entry.address, entry_port=entry.port)

    fronts = _mark(port, firewall_id, opened)
    marked = replace(port, fronts=fronts)
    if port.status is Status.INITIATING and all(front.opened_at for front in fronts):
        return replace(marked, status=Status.INITIATED, opened_at=now)
    return marked


def entry_of(port: PortRequest) -> Entry | None:
    """Return the address and port to connect to; None: the VM's own.

    Fronts are stored from the outermost firewall inwards.
    """
    return next(
        (
            Entry(front.entry_address, front.entry_port)
            for front in port.fronts or ()
            if front.entry_address
        ),
        None,
    )


def mark_closed(port: PortRequest, firewall_id: str, now: datetime) -> PortRequest:
    """Note that a firewall was seen without the rule; the last of them ends the request."""
    if port.is_final or not port.closing:
        return port
    fronts = _mark(
        port, firewall_id, lambda front: replace(front, closed_at=front.closed_at or now)
    )
    marked = replace(port, fronts=fronts)
    return _end(marked, now) if all(front.closed_at for front in fronts) else marked


def extend(port: PortRequest, end_at: datetime, now: datetime) -> PortRequest:
    """Move the end of an open port request further away; one that is ending stays as it is."""
    if not is_open(port, now) or port.end_at is None or end_at <= port.end_at:
        return port
    return replace(port, end_at=end_at, end_text="")


def extend_all(
    request: AccessRequest, end_at: datetime, now: datetime, relayed_by: str = ""
) -> AccessRequest:
    """Give every open port request of a request a later end, and keep a note of it."""
    later = change_ports(request, lambda port: extend(port, end_at, now))
    if later == request:
        return request
    return replace(later, extended=(*request.extended, Extended(end_at, now, relayed_by)))


def has_ended_in_part(request: AccessRequest, now: datetime) -> bool:
    """Tell whether any port of a request has ended, or waits for approval past its deadline."""
    late = request.approval is not None and request.approval.deadline <= now
    return any(
        port.is_final
        or port.closing is not None
        or (port.closes_at is not None and port.closes_at <= now)
        or (late and port.status is Status.PENDING_APPROVAL)
        for port in request.ports
    )


def is_open(port: PortRequest, now: datetime) -> bool:
    """Tell whether a port request is opening or open, and has not ended."""
    return bool(
        port.status in {Status.INITIATING, Status.INITIATED}
        and port.fronts
        and port.closing is None
        and port.closes_at is not None
        and port.closes_at > now
    )


def firewall_state(port: PortRequest, front: Front) -> FirewallState:
    """Return the state of a port request on one of its firewalls."""
    if front.closed_at or port.is_final:
        return FirewallState.CLOSED
    if port.closing:
        return FirewallState.CLOSING
    return FirewallState.OPEN if front.opened_at else FirewallState.OPENING


def overall_status(request: AccessRequest) -> Status:
    """Return a request's status: waiting comes before open, and open before ended."""
    found = {port.status for port in request.ports}
    return next((status for status in _STATUS_ORDER if status in found), Status.REVOKED)


def _mark(port: PortRequest, firewall_id: str, mark: Callable[[Front], Front]) -> tuple[Front, ...]:
    key = key_of(firewall_id)
    return tuple(
        mark(front) if key_of(front.firewall_id) == key else front for front in port.fronts or ()
    )


def _end(port: PortRequest, now: datetime) -> PortRequest:
    assert port.closing is not None  # noqa: S101 - both callers have just seen it
    outcome = {CloseReason.FAILED: Status.FAILED, CloseReason.DENIED: Status.DENIED}
    status = outcome.get(port.closing.reason, Status.REVOKED)
    return replace(port, status=status, closed_at=now)
