"""Audit events derived from the rows: the same rows give the same events, under the same ids.

So any worker that finds a request may record its events again, and a stop between a write and its
record loses nothing.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from shared.domain.audit import Operation
from shared.domain.ids import key_of
from shared.domain.model import (
    AccessRequest,
    CloseReason,
    Extended,
    Front,
    PortRequest,
    Vote,
)
from shared.domain.times import format_instant
from shared.store.audit import AuditEvent
from shared.store.together import raise_first
from shared.use_cases.parts import HasActivity


def record(services: HasActivity, request: AccessRequest, *, since: datetime | None = None) -> None:
    """Record every event of a request's row, or those since an instant."""
    events = [event for event in request_events(request) if since is None or event.at >= since]
    raise_first(filter(None, services.activity.record_all(events)))


def record_change(services: HasActivity, before: AccessRequest, after: AccessRequest) -> None:
    """Record the events that a change has added to a request's row.

    A stop before this loses nothing: the due row that came before the change leads the sweep to
    the same events.
    """
    known = {event.id for event in request_events(before)}
    events = [event for event in request_events(after) if event.id not in known]
    raise_first(filter(None, services.activity.record_all(events)))


def request_events(request: AccessRequest) -> list[AuditEvent]:
    """Return a request's events: asked, decided, extended, revoked, opened, closed, ended."""
    events = [_asked(request), *_decisions(request), *_extensions(request)]
    events += [_extended(request, each) for each in request.extended]
    for port in request.ports:
        if port.closing and port.closing.by:
            events.append(_closing(request, port, Operation.REVOKED, port.closing.at))
        if port.closed_at and not port.fronts:
            events.append(_closing(request, port, Operation.ENDED, port.closed_at))
        for front in port.fronts or ():
            for what, at in (
                (Operation.OPENED, front.opened_at),
                (Operation.CLOSED, front.closed_at),
            ):
                if at is not None:
                    events.append(rule_event(request, port, front, what, at))
    return events


def _asked(request: AccessRequest) -> AuditEvent:
    operation = Operation.BREAK_GLASS if request.break_glass else Operation.REQUESTED
    told = request.justification or ""
    return replace(
        _event(request, "requested", request.requested_at, operation, reason=told),
        relayed_by=request.relayed_by.key if request.relayed_by else "",
        authorized_by=request.authorized_by,
        approvals_needed=request.approval.needed if request.approval else 0,
    )


def _extended(request: AccessRequest, given: Extended) -> AuditEvent:
    mark = f"extended|{given.end_at.isoformat()}"
    told = f"until {format_instant(given.end_at)}"
    event = _event(request, mark, given.at, Operation.EXTENDED, reason=told)
    return replace(event, relayed_by=given.relayed_by)


def _extensions(request: AccessRequest) -> list[AuditEvent]:
    """Tell which longer ends were asked for, who decided, and which were not decided in time."""
    events = []
    waiting = (request.extension,) if request.extension else ()
    for asked in (*request.decided, *waiting):
        mark = f"extension|{asked.asked_at.isoformat()}"
        told = f"until {format_instant(asked.end_at)}"
        event = _event(request, mark, asked.asked_at, Operation.EXTENSION_REQUESTED, reason=told)
        events.append(replace(event, relayed_by=asked.relayed_by))
        events += _votes(request, f"{mark}|vote", asked.approval.votes)
    for asked in request.decided:
        if not asked.approval.is_met and all(vote.approved for vote in asked.approval.votes):
            mark = f"extension|{asked.asked_at.isoformat()}|timedOut"
            at = asked.approval.deadline
            told = "no approver decided in time"
            events.append(_event(request, mark, at, Operation.EXTENSION_TIMED_OUT, reason=told))
    return events


def _decisions(request: AccessRequest) -> list[AuditEvent]:
    return _votes(request, "vote", request.approval.votes if request.approval else ())


def _votes(request: AccessRequest, mark: str, votes: Iterable[Vote]) -> list[AuditEvent]:
    return [
        AuditEvent(
            id=f"{request.id}|{mark}|{vote.approver.key}",
            at=vote.at,
            operation=Operation.APPROVED if vote.approved else Operation.DENIED,
            principal=vote.approver.key,
            principal_name=vote.approver.name,
            on_behalf_of=request.requestor.key,
            relayed_by=vote.relayed_by.key if vote.relayed_by else "",
            request_id=request.id,
            policy_id=request.policy_id,
            reason=vote.comment,
        )
        for vote in votes
    ]


def _closing(
    request: AccessRequest, port: PortRequest, operation: Operation, at: datetime
) -> AuditEvent:
    assert port.closing is not None  # noqa: S101 - the callers have just seen it
    event_id = f"{key_of(port.vm_id)}|{port.port}|{operation}"
    told = ": ".join(filter(None, (port.closing.reason.value, port.closing.message)))
    return replace(
        _event(request, event_id, at, operation, reason=told, port=port, principal=port.closing.by),
        relayed_by=port.closing.relayed_by,
    )


def _event(  # noqa: PLR0913 - an event has that many parts, and each is named
    request: AccessRequest,
    event_id: str,
    at: datetime,
    operation: Operation,
    *,
    reason: str = "",
    port: PortRequest | None = None,
    principal: str = "",
) -> AuditEvent:
    vms = {each.vm_id for each in request.ports}
    by_requestor = principal in {"", request.requestor.key}
    return AuditEvent(
        id=f"{request.id}|{event_id}",
        at=at,
        operation=operation,
        principal=principal or request.requestor.key,
        principal_name=request.requestor.name if by_requestor else "",
        on_behalf_of="" if by_requestor else request.requestor.key,
        request_id=request.id,
        vm_id=port.vm_id if port else next(iter(vms)) if len(vms) == 1 else "",
        port=port.port if port else None,
        policy_id=request.policy_id,
        source_address=request.source_address,
        reason=reason,
    )


def rule_event(
    request: AccessRequest, port: PortRequest, front: Front, what: Operation, at: datetime
) -> AuditEvent:
    """Tell that a rule was seen open or gone on one firewall; lateness is in seconds."""
    due_at = None
    if what is Operation.CLOSED and port.closing:
        expired = port.closing.reason is CloseReason.EXPIRED
        due_at = port.end_at if expired else port.closing.at
    return AuditEvent(
        id="|".join(
            (request.id, key_of(port.vm_id), str(port.port), key_of(front.firewall_id), what)
        ),
        at=at,
        operation=what,
        principal=request.requestor.key,
        principal_name=request.requestor.name,
        request_id=request.id,
        vm_id=port.vm_id,
        port=port.port,
        firewall_id=front.firewall_id,
        policy_id=request.policy_id,
        source_address=request.source_address,
        reason=port.closing.reason.value if port.closing and what is Operation.CLOSED else "",
        lateness_seconds=max(0.0, (at - due_at).total_seconds()) if due_at else None,
    )


def extension_refused(
    request: AccessRequest, port: PortRequest, firewall_id: str, until: datetime, reason: str
) -> AuditEvent:
    """Tell that a firewall refused a later end, so that the end in its rule's text counts again.

    Its time is that of the extension, so that a repeat finds it recorded.
    """
    assert port.end_at is not None  # noqa: S101 - only an end that was fixed can be extended
    given = max((each.at for each in request.extended), default=request.requested_at)
    event_id = (
        f"{key_of(port.vm_id)}|{port.port}|{key_of(firewall_id)}|{format_instant(port.end_at)}"
    )
    told = f"ends {format_instant(until)}, as before: {reason}"
    return replace(
        _event(
            request,
            f"extensionRefused|{event_id}",
            given,
            Operation.EXTENSION_REFUSED,
            reason=told,
            port=port,
        ),
        firewall_id=firewall_id,
    )
