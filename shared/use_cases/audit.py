"""Audit events derived from the rows: the same rows give the same events, under the same ids.

So any worker that finds a request may record its facts again, and a stop between a write and its record
loses nothing.
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
from shared.store.audit import Fact
from shared.store.together import raise_first
from shared.use_cases.parts import HasActivity


def record(services: HasActivity, request: AccessRequest, *, since: datetime | None = None) -> None:
    """Record every fact that a request's row tells, or those since an instant."""
    facts = [fact for fact in request_facts(request) if since is None or fact.at >= since]
    raise_first(filter(None, services.activity.record_all(facts)))


def record_change(services: HasActivity, before: AccessRequest, after: AccessRequest) -> None:
    """Record the facts that a change has added to a request's row.

    A stop before this loses nothing: the due row that came before the change leads the sweep to
    the same facts.
    """
    known = {fact.id for fact in request_facts(before)}
    facts = [fact for fact in request_facts(after) if fact.id not in known]
    raise_first(filter(None, services.activity.record_all(facts)))


def request_facts(request: AccessRequest) -> list[Fact]:
    """Tell a request's facts: asked, decided, extended, revoked, opened, closed, ended."""
    facts = [_asked(request), *_decisions(request), *_extensions(request)]
    facts += [_extended(request, each) for each in request.extended]
    for port in request.ports:
        if port.closing and port.closing.by:
            facts.append(_closing(request, port, Operation.REVOKED, port.closing.at))
        if port.closed_at and not port.fronts:
            facts.append(_closing(request, port, Operation.ENDED, port.closed_at))
        for front in port.fronts or ():
            for what, at in (
                (Operation.OPENED, front.opened_at),
                (Operation.CLOSED, front.closed_at),
            ):
                if at is not None:
                    facts.append(rule_fact(request, port, front, what, at))
    return facts


def _asked(request: AccessRequest) -> Fact:
    operation = Operation.BREAK_GLASS if request.break_glass else Operation.REQUESTED
    told = request.justification or ""
    return replace(
        _fact(request, "requested", request.requested_at, operation, reason=told),
        relayed_by=request.relayed_by.key if request.relayed_by else "",
        authorized_by=request.authorized_by,
        approvals_needed=request.approval.needed if request.approval else 0,
    )


def _extended(request: AccessRequest, given: Extended) -> Fact:
    mark = f"extended|{given.end_at.isoformat()}"
    told = f"until {format_instant(given.end_at)}"
    fact = _fact(request, mark, given.at, Operation.EXTENDED, reason=told)
    return replace(fact, relayed_by=given.relayed_by)


def _extensions(request: AccessRequest) -> list[Fact]:
    """Tell which longer ends were asked for, who decided, and which were not decided in time."""
    facts = []
    waiting = (request.extension,) if request.extension else ()
    for asked in (*request.decided, *waiting):
        mark = f"extension|{asked.asked_at.isoformat()}"
        told = f"until {format_instant(asked.end_at)}"
        fact = _fact(request, mark, asked.asked_at, Operation.EXTENSION_REQUESTED, reason=told)
        facts.append(replace(fact, relayed_by=asked.relayed_by))
        facts += _votes(request, f"{mark}|vote", asked.approval.votes)
    for asked in request.decided:
        if not asked.approval.is_met and all(vote.approved for vote in asked.approval.votes):
            mark = f"extension|{asked.asked_at.isoformat()}|timedOut"
            at = asked.approval.deadline
            told = "no approver decided in time"
            facts.append(_fact(request, mark, at, Operation.EXTENSION_TIMED_OUT, reason=told))
    return facts


def _decisions(request: AccessRequest) -> list[Fact]:
    return _votes(request, "vote", request.approval.votes if request.approval else ())


def _votes(request: AccessRequest, mark: str, votes: Iterable[Vote]) -> list[Fact]:
    return [
        Fact(
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


def _closing(request: AccessRequest, port: PortRequest, operation: Operation, at: datetime) -> Fact:
    assert port.closing is not None  # noqa: S101 - the callers have just seen it
    fact_id = f"{key_of(port.vm_id)}|{port.port}|{operation}"
    told = ": ".join(filter(None, (port.closing.reason.value, port.closing.message)))
    return replace(
        _fact(request, fact_id, at, operation, reason=told, port=port, principal=port.closing.by),
        relayed_by=port.closing.relayed_by,
    )


def _fact(  # noqa: PLR0913 - a fact has that many parts, and each is named
    request: AccessRequest,
    fact_id: str,
    at: datetime,
    operation: Operation,
    *,
    reason: str = "",
    port: PortRequest | None = None,
    principal: str = "",
) -> Fact:
    vms = {each.vm_id for each in request.ports}
    by_requestor = principal in {"", request.requestor.key}
    return Fact(
        id=f"{request.id}|{fact_id}",
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


def rule_fact(
    request: AccessRequest, port: PortRequest, front: Front, what: Operation, at: datetime
) -> Fact:
    """Tell that a rule was seen open or gone on one firewall; lateness is in seconds."""
    due_at = None
    if what is Operation.CLOSED and port.closing:
        expired = port.closing.reason is CloseReason.EXPIRED
        due_at = port.end_at if expired else port.closing.at
    return Fact(
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
) -> Fact:
    """Tell that a firewall refused a later end, so that the end in its rule's text counts again.

    Its time is that of the extension, so that a repeat finds it recorded.
    """
    assert port.end_at is not None  # noqa: S101 - only an end that was fixed can be extended
    given = max((each.at for each in request.extended), default=request.requested_at)
    fact_id = (
        f"{key_of(port.vm_id)}|{port.port}|{key_of(firewall_id)}|{format_instant(port.end_at)}"
    )
    told = f"ends {format_instant(until)}, as before: {reason}"
    return replace(
        _fact(
            request,
            f"extensionRefused|{fact_id}",
            given,
            Operation.EXTENSION_REFUSED,
            reason=told,
            port=port,
        ),
        firewall_id=firewall_id,
    )
