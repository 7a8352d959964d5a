"""Decisions on a request after it was made: approve, deny, revoke, extend."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from shared.domain.approval import (
    ask_extension,
    ask_more,
    check_approver,
    check_vote,
    pending,
    time_out,
    vote,
)
from shared.domain.errors import (
    ConflictError,
    NotFoundError,
    NotPermittedError,
    OutsidePolicyError,
    Reason,
)
from shared.domain.ids import key_of
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
from shared.domain.permissions import Action, Decision
from shared.domain.policy import (
    Asked,
    AskedPort,
    approvals_for_extension,
    check_extension,
    check_request,
)
from shared.domain.request import extend_all, is_open
from shared.domain.times import format_instant
from shared.ports import OutsideError, RowChangedError
from shared.store.requests import RequestRow
from shared.store.room import as_stored, require_room_to_extend, require_short
from shared.use_cases.audit import record_change
from shared.use_cases.closing_soon import ClosingSoonParts, note_closing_soon
from shared.use_cases.grants import By, CloseParts, close_early, copy_ends
from shared.use_cases.parts import (
    HasActivity,
    HasAuthorize,
    HasClock,
    HasDue,
    HasLimits,
    HasPolicies,
    HasQueues,
    HasRequests,
    HasRows,
    HasScopes,
    HasTelemetry,
)
from shared.use_cases.permission import (
    enforce,
    enforce_for_missing,
    enforce_on_found,
    is_permitted,
)
from shared.use_cases.policies.apply import get_policy
from shared.use_cases.requests.submit import change_request, find_request, get_request


class LatestEndParts(HasClock, HasLimits, Protocol):
    """The parts for judging how long an access may last."""


class ApprovalTimeoutParts(HasClock, HasRequests, HasTelemetry, Protocol):
    """The parts for ending an approval that came too late."""


class RevokeParts(CloseParts, HasActivity, HasAuthorize, HasScopes, Protocol):
    """The parts for revoking access."""


class DecideParts(
    ClosingSoonParts,
    HasActivity,
    HasAuthorize,
    HasDue,
    HasLimits,
    HasPolicies,
    HasQueues,
    HasRequests,
    HasRows,
    HasScopes,
    Protocol,
):
    """The parts for deciding and extending requests."""


@dataclass(frozen=True)
class Caller:
    """The person who acts, and the app that carried the message, if one did."""

    person: Principal
    relayed_by: Principal | None = None


def decide(
    services: DecideParts, request_id: str, caller: Caller, *, approved: bool, comment: str = ""
) -> AccessRequest:
    """Record one person's decision; the one that completes it sends the request on its way.

    Raises NotPermittedError for the requestor, apps and people without the approve action,
    ConflictError where nothing awaits a decision or its time has passed.
    """
    require_short("comment", comment)
    _require_person(caller.person)
    request = find_request(services, request_id, caller.person, Action.APPROVE)
    _raise_unless(check_vote(request, caller.person, caller.relayed_by))
    enforce_on_found(services, caller.person, Action.APPROVE, _vms(request.ports))
    needed = _recheck_extension(services, request) if approved else 0
    now = services.clock()
    _note(services, request, request.extension.end_at if request.extension else None)
    relay = as_stored(caller.relayed_by) if caller.relayed_by else None
    cast = Vote(as_stored(caller.person), approved, now, comment, relay)
    decided = change_request(
        services, request_id, lambda held: vote(ask_more(held, needed), cast, now)
    )
    record_change(services, request, decided)
    _tell(services, decided, caller, "approved" if approved else "denied", comment)
    _start_allowed(services, decided)
    return decided


def _require_person(approver: Principal) -> None:
    """Refuse an app before anything is read: it learns nothing of the request."""
    _raise_unless(check_approver(approver))


def _raise_unless(decision: Decision) -> None:
    if not decision.allowed:
        raise NotPermittedError("; ".join(decision.reasons), code="ApproverNotAllowed")


def _recheck_extension(services: DecideParts, request: AccessRequest) -> int:
    """Check a longer end once more: what stood behind it may be gone since it was asked for.

    Return how many approvals it needs by the policy as it is now.
    """
    asked = request.extension
    if asked is None or pending(request) is not asked.approval:
        return 0
    open_ports = [port for port in request.ports if is_open(port, services.clock())]
    for vm_id in _vms(open_ports):
        enforce(services, request.requestor, Action.INITIATE, vm_id)
    policy = get_policy(services, request.policy_id)
    _require_within(services, policy, request, open_ports, asked.end_at)
    return approvals_for_extension(policy, request)


def _start_allowed(services: DecideParts, request: AccessRequest) -> None:
    """Start what a decision allowed: opening, or copying a later end to the grants."""
    if any(port.status is Status.INITIATING and not port.fronts for port in request.ports):
        services.queues.send_request(request.id)
    copy_ends(services, request)


def time_out_approval(services: ApprovalTimeoutParts, stored: RequestRow) -> RequestRow:
    """End a request that was just read, if its approval deadline has passed."""
    now = services.clock()
    ended = services.requests.change_row(stored, lambda held: time_out(held, now)) or stored
    if ended.request != stored.request:
        services.telemetry.event("jit.approval.timed_out", request=stored.request.id)
    return ended


def revoke(
    services: RevokeParts, request_id: str, caller: Caller, *, vm_id: str = "", reason: str = ""
) -> AccessRequest:
    """Close a request early, or its ports on one VM: the caller's own, or by permission any."""
    require_short("comment", reason)
    request = find_request(services, request_id, caller.person, Action.REVOKE)
    chosen = _chosen(request, vm_id)
    if _is_others(request, caller):
        enforce_on_found(services, caller.person, Action.REVOKE, _vms(chosen or request.ports))
    if not chosen:
        raise NotFoundError(f"The request names no port of '{vm_id}'.", code="PortRequestNotFound")
    ended = close_early(
        services,
        request_id,
        lambda port: not vm_id or key_of(port.vm_id) == key_of(vm_id),
        CloseReason.REVOKED,
        message=reason,
        by=By(caller.person.key, _relay(caller)),
    )
    record_change(services, request, ended or request)
    _tell(services, request, caller, "revoked", reason)
    return ended or request


def revoke_all(
    services: RevokeParts, caller: Caller, *, vm_id: str = "", requestor: str = "", reason: str = ""
) -> list[AccessRequest]:
    """Revoke all that is open on a VM, or for one requestor.

    A caller who may not revoke all of it revokes nothing. An error with one request does not stop
    the others, and is raised at last.
    """
    ids = services.requests.live(vm_id=vm_id, requestor=requestor)
    stored = [held.request for each in ids if (held := services.requests.get(each))]
    found = [request for request in stored if not request.is_final]
    _enforce_revoke_all(services, caller, found, vm_id=vm_id, requestor=requestor)
    ended, errors = [], []
    for each in found:
        try:
            ended.append(revoke(services, each.id, caller, vm_id=vm_id, reason=reason))
        except (OutsideError, RowChangedError) as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return ended


def _chosen(request: AccessRequest, vm_id: str) -> list[PortRequest]:
    return [p for p in request.ports if not vm_id or key_of(p.vm_id) == key_of(vm_id)]


def _enforce_revoke_all(
    services: RevokeParts, caller: Caller, found: list[AccessRequest], *, vm_id: str, requestor: str
) -> None:
    """Enforce the right to revoke what is not the caller's own.

    A refusal names what the caller named, or the app's scope, and never what was found.
    """
    others = [request for request in found if _is_others(request, caller)]
    if vm_id:
        if others or not found:
            enforce(services, caller.person, Action.REVOKE, vm_id)
    elif others:
        vms = _vms(port for request in others for port in request.ports)
        enforce_on_found(services, caller.person, Action.REVOKE, vms)
    elif caller.person.key != requestor:
        enforce_for_missing(services, caller.person, Action.REVOKE)


def _is_others(request: AccessRequest, caller: Caller) -> bool:
    return caller.person.key != request.requestor.key


def extend_access(
    services: DecideParts,
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
    request = _own_request(services, request_id, caller.person)
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
    needed = approvals_for_extension(policy, request)
    if needed:
        return _await_extension(services, policy, request, until, needed, _relay(caller))
    extended = change_request(
        services, request_id, lambda held: _extended(held, until, now, _relay(caller))
    )
    record_change(services, request, extended)
    _tell(services, extended, caller, "extended", f"until {format_instant(until)}")
    copy_ends(services, extended)
    return extended


def _extended(
    held: AccessRequest, until: datetime, now: datetime, relayed_by: str
) -> AccessRequest:
    """Move the end, unless what was open a moment ago has been closed meanwhile."""
    if not any(is_open(port, now) for port in held.ports):
        raise ConflictError("Nothing of this request is open; ask anew.", code="NotOpen")
    return require_room_to_extend(extend_all(held, until, now, relayed_by))


def _require_within(
    services: LatestEndParts,
    policy: Policy,
    request: AccessRequest,
    ports: list[PortRequest],
    until: datetime,
) -> None:
    broken = reasons_against_end(services, policy, request, ports, until)
    if broken:
        raise OutsidePolicyError("The policy does not allow this end.", details=broken)


def reasons_against_end(
    services: LatestEndParts,
    policy: Policy,
    request: AccessRequest,
    ports: list[PortRequest],
    until: datetime,
) -> tuple[Reason, ...]:
    """List every line of the policy that a later end of open ports breaks."""
    asked = (AskedPort("", p.vm_id, p.port, p.sources, end_at=until) for p in ports)
    again = Asked.again(request, asked)
    decision = check_request(policy, again, services.limits, services.clock())
    total = check_extension(policy, request, ports, until)
    return tuple(dict.fromkeys((*decision.broken, *total)))


def _await_extension(
    services: DecideParts,
    policy: Policy,
    request: AccessRequest,
    until: datetime,
    needed: int,
    relayed_by: str,
) -> AccessRequest:
    now = services.clock()
    deadline = now + policy.conditions.time_to_approve
    services.due.add(deadline, "request", request.id, since=now)
    asked = Extension(until, Approval(needed, deadline), now, relayed_by)

    def ask(held: AccessRequest) -> AccessRequest:
        return require_room_to_extend(ask_extension(held, asked))

    held = services.requests.change(request.id, ask) or request
    record_change(services, request, held)
    services.queues.send_notice(request.id)
    return held


def _note(services: DecideParts, request: AccessRequest, until: datetime | None) -> None:
    """Write down what must be looked at before the row that it watches changes."""
    now = services.clock()
    services.due.add(now + MINUTE, "request", request.id, since=now)
    if until is None:
        return
    services.due.add(until + MINUTE, "request", request.id, since=now)
    ends = {(f.firewall_id, port.close_lead) for port in request.ports for f in port.fronts or ()}
    for firewall_id, close_lead in sorted(ends):
        services.due.add(until - close_lead, "firewall", firewall_id, since=now)
    for port in request.ports:
        note_closing_soon(services, request, port, until)


def _own_request(services: DecideParts, request_id: str, person: Principal) -> AccessRequest:
    """Read a request of one's own; an unknown one is told to a caller who may read all of them."""
    refusal = NotPermittedError("Only who asked for the access can extend it.")
    try:
        request = get_request(services, request_id)
    except NotFoundError:
        if is_permitted(services, person, Action.READ, services.scopes[0]):
            raise
        raise refusal from None
    if person.key != request.requestor.key:
        raise refusal
    return request


def _relay(caller: Caller) -> str:
    return caller.relayed_by.key if caller.relayed_by else ""


def _vms(ports: Iterable[PortRequest]) -> list[str]:
    return sorted({port.vm_id for port in ports})


def _tell(
    services: HasTelemetry, request: AccessRequest, caller: Caller, operation: str, reason: str
) -> None:
    services.telemetry.event(
        f"jit.access.{operation}",
        request=request.id,
        by=caller.person.key,
        relayed_by=_relay(caller),
        reason=reason,
    )
