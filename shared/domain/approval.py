"""Who may decide on a request, and what their decision does. Refusing wins over agreeing."""

from dataclasses import replace
from datetime import datetime

from shared.domain.errors import ConflictError
from shared.domain.lifecycle import change_ports, close, extend_all
from shared.domain.model import (
    AccessRequest,
    Approval,
    CloseReason,
    Principal,
    Status,
    Vote,
)
from shared.domain.permissions import Decision


def is_awaiting(request: AccessRequest) -> bool:
    """Tell whether a request, or a longer end for it, waits for people."""
    return request.extension is not None or any(
        port.status is Status.PENDING_APPROVAL for port in request.ports
    )


def pending(request: AccessRequest) -> Approval | None:
    """Return the approval that is asked for now."""
    if any(port.status is Status.PENDING_APPROVAL for port in request.ports):
        return request.approval
    return request.extension.approval if request.extension else None


def check_vote(request: AccessRequest, approver: Principal) -> Decision:
    """Decide whether somebody may decide: a person, and not one the access is for.

    NB. The requestor is who the access is for, whichever app carried the request; and an app
    that relays a person's decision is not that person. Only people are counted.
    """
    if approver.is_app:
        return Decision(False, ("an app cannot approve; it can relay a named person's decision",))
    if approver.key == request.requestor.key:
        return Decision(False, ("nobody approves their own request",))
    if request.relayed_by is not None and approver.key == request.relayed_by.key:
        return Decision(False, ("who passed the request on cannot approve it",))
    return Decision(True)


def vote(request: AccessRequest, cast: Vote, now: datetime) -> AccessRequest:
    """Apply one decision; raises ConflictError where it comes too late or contradicts itself."""
    approval = pending(request)
    if approval is None:
        return _already(request, cast)
    if now >= approval.deadline:
        raise ConflictError("The time to decide has passed.", code="ApprovalTimedOut")
    earlier = next((v for v in approval.votes if v.approver.key == cast.approver.key), None)
    if earlier is not None and earlier.approved != cast.approved:
        raise ConflictError("You have already decided otherwise.", code="AlreadyDecided")
    if earlier is not None:
        return request
    decided = replace(approval, votes=(*approval.votes, cast))
    if request.extension is not None and not _waits_to_open(request):
        return _decide_extension(request, decided, cast, now)
    return _decide_request(replace(request, approval=decided), cast, now)


def _already(request: AccessRequest, cast: Vote) -> AccessRequest:
    """Accept the repeat of a decision that was counted; refuse everything else."""
    votes = request.approval.votes if request.approval else ()
    if any(v.approver.key == cast.approver.key and v.approved == cast.approved for v in votes):
        return request
    raise ConflictError("Nothing waits for a decision here.", code="NotAwaitingApproval")


def _waits_to_open(request: AccessRequest) -> bool:
    return any(port.status is Status.PENDING_APPROVAL for port in request.ports)


def _decide_request(request: AccessRequest, cast: Vote, now: datetime) -> AccessRequest:
    if not cast.approved:
        told = cast.comment or "denied"
        return _end_waiting(request, now, f"{told} (by {cast.approver.name})")
    if request.approval is None or not request.approval.is_met:
        return request
    return change_ports(
        request,
        lambda port: (
            replace(port, status=Status.INITIATING)
            if port.status is Status.PENDING_APPROVAL
            else port
        ),
    )


def _decide_extension(
    request: AccessRequest, approval: Approval, cast: Vote, now: datetime
) -> AccessRequest:
    assert request.extension is not None  # noqa: S101 - the caller has just seen it
    if not cast.approved:
        return replace(request, extension=None)
    if not approval.is_met:
        return replace(request, extension=replace(request.extension, approval=approval))
    return replace(extend_all(request, request.extension.end_at, now), extension=None)


def time_out(request: AccessRequest, now: datetime) -> AccessRequest:
    """End what nobody decided in time; whichever write comes first stands."""
    approval = pending(request)
    if approval is None or now < approval.deadline:
        return request
    if _waits_to_open(request):
        return _end_waiting(request, now, "nobody decided in time")
    return replace(request, extension=None)


def _end_waiting(request: AccessRequest, now: datetime, message: str) -> AccessRequest:
    return change_ports(
        request,
        lambda port: (
            close(port, CloseReason.DENIED, now, message=message)
            if port.status is Status.PENDING_APPROVAL
            else port
        ),
    )
