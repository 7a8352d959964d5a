"""What people decide about a request after it was made: approve, deny, revoke, extend."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain.approval import check_vote, time_out, vote
from shared.domain.arm_ids import key_of
from shared.domain.errors import (
    ConflictError,
    NotFoundError,
    NotPermittedError,
    OutsidePolicyError,
)
from shared.domain.lifecycle import extend_all, is_open
from shared.domain.model import (
    MINUTE,
    AccessRequest,
    Approval,
    CloseReason,
    Extension,
    Policy,
    PortRequest,
    Principal,
    Status,
    Vote,
)
from shared.domain.permissions import Action
from shared.domain.policy import Asked, AskedPort, check_request
from shared.domain.times import format_instant
from shared.use_cases.closing import close_early, grant_of
from shared.use_cases.facts import record
from shared.use_cases.interfaces import RowChangedError
from shared.use_cases.permission import enforce
from shared.use_cases.protection import get_policy
from shared.use_cases.services import Services


@dataclass(frozen=True)
class Caller:
    """Who acts, and which app carried the message, if one did."""

    person: Principal
    relayed_by: Principal | None = None


def decide(
    services: Services, request_id: str, caller: Caller, *, approved: bool, comment: str = ""
) -> AccessRequest:
    """Record one person's decision; the one that completes it sends the request on its way.

    Raises NotPermittedError for the requestor, apps and people without the approve action,
    ConflictError where nothing awaits a decision or its time has passed.
    """
    request = _get(services, request_id)
    allowed = check_vote(request, caller.person)
    if not allowed.allowed:
        raise NotPermittedError("; ".join(allowed.reasons), code="ApproverNotAllowed")
    for vm_id in _vms(request.ports):
        enforce(services, caller.person, Action.APPROVE, vm_id)
    now = services.clock()
    _note(services, request, request.extension.end_at if request.extension else None)
    cast = Vote(caller.person, approved, now, comment, caller.relayed_by)
    decided = services.requests.change(request_id, lambda held: vote(held, cast, now))
    if decided is None:
        raise NotFoundError(f"There is no request '{request_id}'.", code="RequestNotFound")
    record(services, decided)
    _tell(services, decided, caller, "approved" if approved else "denied", comment)
    _carry_on(services, decided)
    return decided


def _carry_on(services: Services, request: AccessRequest) -> None:
    """Start what a decision allowed: opening, or copying a later end to the grants."""
    if any(port.status is Status.INITIATING and not port.fronts for port in request.ports):
        services.queues.send_request(request.id)
    copy_ends(services, request)


def time_out_approval(services: Services, request: AccessRequest) -> AccessRequest:
    """End what nobody decided in time."""
    now = services.clock()
    ended = services.requests.change(request.id, lambda held: time_out(held, now)) or request
    if ended != request:
        services.telemetry.event("jit.approval.timed_out", request=request.id)
    return ended


def revoke(
    services: Services, request_id: str, caller: Caller, *, vm_id: str = "", reason: str = ""
) -> AccessRequest:
    """Close a request before its end, or its ports on one VM: one's own, or by right anybody's."""
    request = _get(services, request_id)
    chosen = [p for p in request.ports if not vm_id or key_of(p.vm_id) == key_of(vm_id)]
    if caller.person.key != request.requestor.key:
        for each in _vms(chosen):
            enforce(services, caller.person, Action.REVOKE, each)
    ended = close_early(
        services,
        request_id,
        lambda port: not vm_id or key_of(port.vm_id) == key_of(vm_id),
        CloseReason.REVOKED,
        message=reason,
        by=caller.person.key,
    )
    record(services, ended or request)
    _tell(services, request, caller, "revoked", reason)
    return ended or request


def revoke_all(
    services: Services, caller: Caller, *, vm_id: str = "", requestor: str = "", reason: str = ""
) -> list[AccessRequest]:
    """Press the red button: end everything that is open on a VM, or for one requestor."""
    ids = services.requests.live(vm_id=vm_id, requestor=requestor)
    return [
        revoke(services, each, caller, vm_id=vm_id, reason=reason)
        for each in ids
        if services.requests.get(each)
    ]


def extend_access(
    services: Services,
    request_id: str,
    caller: Caller,
    *,
    end_at: datetime | None = None,
    duration: timedelta | None = None,
) -> AccessRequest:
    """Move the end of one's own access further away, in place: the rule stays, its text changes.

    Raises OutsidePolicyError where the policy does not allow it from now, ConflictError where
    nothing is open. Where the policy asks for approval again, the end moves once it is given.
    """
    request = _get(services, request_id)
    if caller.person.key != request.requestor.key:
        raise NotPermittedError("Only who asked for the access can extend it.")
    now = services.clock()
    until = end_at or now + (duration or timedelta(0))
    open_ports = [port for port in request.ports if is_open(port, now)]
    if not open_ports:
        raise ConflictError("Nothing of this request is open; ask anew.", code="NotOpen")
    if all(port.end_at and until <= port.end_at for port in open_ports):
        raise ConflictError("It already ends later than that.", code="NotAnExtension")
    for vm_id in _vms(open_ports):
        enforce(services, caller.person, Action.INITIATE, vm_id)
    policy = get_policy(services, request.policy_id)
    _require_within(services, policy, request, open_ports, until)
    _note(services, request, until)
    if policy.conditions.approve_extensions and policy.conditions.approvers_needed:
        return _await_extension(services, policy, request, until)
    extended = services.requests.change(request_id, lambda held: extend_all(held, until, now))
    if extended is None:
        raise NotFoundError(f"There is no request '{request_id}'.", code="RequestNotFound")
    record(services, extended)
    _tell(services, extended, caller, "extended", f"until {format_instant(until)}")
    copy_ends(services, extended)
    return extended


def _require_within(
    services: Services,
    policy: Policy,
    request: AccessRequest,
    ports: Iterable[PortRequest],
    until: datetime,
) -> None:
    asked = tuple(AskedPort("", p.vm_id, p.port, p.sources, end_at=until) for p in ports)
    decision = check_request(
        policy,
        Asked(asked, request.justification, request.source_address),
        services.limits,
        services.clock(),
    )
    if not decision.allowed:
        raise OutsidePolicyError("The policy does not allow this end.", details=decision.broken)


def _await_extension(
    services: Services, policy: Policy, request: AccessRequest, until: datetime
) -> AccessRequest:
    now = services.clock()
    deadline = now + policy.conditions.approval_timeout
    services.due.add(deadline, "request", request.id, since=now)
    asked = Extension(until, Approval(policy.conditions.approvers_needed, deadline), now)
    held = services.requests.change(request.id, lambda r: replace(r, extension=asked))
    services.queues.send_notice(request.id)
    return held or request


def _note(services: Services, request: AccessRequest, until: datetime | None) -> None:
    """Write down what must be looked at before the row that it watches changes."""
    now = services.clock()
    services.due.add(now + MINUTE, "request", request.id, since=now)
    if until is not None:
        services.due.add(until + MINUTE, "request", request.id, since=now)
    for firewall_id in {f.firewall_id for port in request.ports for f in port.fronts or ()}:
        if until is not None:
            services.due.add(until, "firewall", firewall_id, since=now)


def copy_ends(services: Services, request: AccessRequest) -> None:
    """Copy the ends in a request to its grants, and have their rules' texts follow.

    A grant that this does not reach is brought in line when its old end falls due.
    """
    touched = set()
    for port in request.ports:
        for front in port.fronts or ():
            held = services.rows.get_grant(front.firewall_id, request.id, port.vm_id, port.port)
            if held is None or held.is_sealed or port.closing:
                continue
            truth = grant_of(request, port, front)
            if truth.expires_at != held.expires_at:
                try:
                    services.rows.replace_grant(replace(truth, version=held.version))
                except RowChangedError:
                    continue
                touched.add(front.firewall_id)
    for firewall_id in sorted(touched):
        services.queues.send_firewall(firewall_id)


def _get(services: Services, request_id: str) -> AccessRequest:
    held = services.requests.get(request_id)
    if held is None:
        raise NotFoundError(f"There is no request '{request_id}'.", code="RequestNotFound")
    return held.request


def _vms(ports: Iterable[PortRequest]) -> list[str]:
    return sorted({port.vm_id for port in ports})


def _tell(
    services: Services, request: AccessRequest, caller: Caller, operation: str, reason: str
) -> None:
    services.telemetry.event(
        f"jit.access.{operation}",
        request=request.id,
        by=caller.person.key,
        relayed_by=caller.relayed_by.key if caller.relayed_by else "",
        reason=reason,
    )
