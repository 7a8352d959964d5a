"""Look after the requests and policies that are due: send each on its way where it is stuck."""

from datetime import datetime
from typing import Protocol

from shared.domain.approval import pending
from shared.domain.model import (
    GRACE,
    MINUTE,
    AccessRequest,
    CloseReason,
    PolicyState,
    PortRequest,
    Status,
)
from shared.domain.request import change_ports, close
from shared.store.due import Due
from shared.store.purge import PurgeType, end_of
from shared.store.requests import RequestRow
from shared.use_cases.audit import record
from shared.use_cases.grants import SealParts, copy_ends, seal_closed
from shared.use_cases.messages import send_firewall
from shared.use_cases.parts import (
    HasActivity,
    HasPolicies,
    HasPurges,
    HasQueues,
    HasRequests,
    HasTelemetry,
)
from shared.use_cases.requests.decide import time_out_approval
from shared.use_cases.timers.folding import fold_dues


class LookAfterParts(
    SealParts, HasActivity, HasPolicies, HasPurges, HasQueues, HasRequests, HasTelemetry, Protocol
):
    """The parts for looking after requests and policies that are due."""


def look_after(services: LookAfterParts, dues: list[Due]) -> None:
    """Look after one request or policy, and move its due rows on together."""
    oldest = min(dues, key=lambda due: due.since)
    try:
        look = _settle_request if oldest.kind == "request" else _settle_policy
        _reschedule(services, dues, look(services, oldest))
    except Exception as error:  # noqa: BLE001 - the rows stay due, and the others go on
        services.telemetry.fault("jit.sweep.failed", error, subject=oldest.subject)


def _reschedule(services: LookAfterParts, dues: list[Due], again: datetime | None) -> None:
    """Move due rows on, or take them off.

    A row is written before what it watches. So "nothing left" is believed only once the longest
    stall has passed: until then the write it announces may still be on its way.
    """
    newest = max(dues, key=lambda due: due.since)
    settled_at = newest.since + GRACE
    if again is None and services.clock() < settled_at:
        again = settled_at
    if again is not None:
        services.due.add(again, newest.kind, newest.subject, since=newest.since)
    for due in dues:
        services.due.remove(due)


def _settle_request(services: LookAfterParts, due: Due) -> datetime | None:
    """Send a request on its way where it is stuck; return when to look again, None: never.

    An end long before the due row was written had a due row of its own.
    """
    request_id = due.subject
    held = services.requests.get(request_id)
    if held is None:
        return None
    request = _end_overdue(services, time_out_approval(services, held))
    record(services, request, since=due.since - GRACE)
    fold_dues(services, request)
    if request.is_final:
        services.requests.remove_live(request)
        services.purges.add(PurgeType.REQUEST, filter(None, [end_of(request)]))
        return None
    for firewall_id in seal_closed(services, request):
        send_firewall(services, firewall_id)
    copy_ends(services, request)
    now = services.clock()
    if any(_is_waiting(port) for port in request.ports):
        services.queues.send_request(request_id)
        return now + MINUTE
    if any(port.closing and not port.is_final for port in request.ports):
        return now + MINUTE
    approval = pending(request)
    return approval.deadline if approval else None


def _end_overdue(services: LookAfterParts, stored: RequestRow) -> AccessRequest:
    """Close what its firewalls should have closed a minute ago: their rows may be lost."""
    now = services.clock()

    def end(port: PortRequest) -> PortRequest:
        closes_at = port.closes_at if port.fronts else None
        overdue = closes_at is not None and closes_at + MINUTE <= now
        return close(port, CloseReason.EXPIRED, now) if overdue else port

    ended = services.requests.change_row(stored, lambda r: change_ports(r, end)) or stored
    return ended.request


def _is_waiting(port: PortRequest) -> bool:
    return port.status is Status.INITIATING and not port.closing


def _settle_policy(services: LookAfterParts, due: Due) -> datetime | None:
    policy_id = due.subject
    held = services.policies.get(policy_id)
    if held is None or held.policy.state in {PolicyState.SUCCEEDED, PolicyState.FAILED}:
        return None
    services.queues.send_policy(policy_id)
    return services.clock() + MINUTE
