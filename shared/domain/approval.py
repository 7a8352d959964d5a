"""Votes on a request: the people who may vote, and the effect. A denial wins over approvals."""

from dataclasses import replace
from datetime import datetime

from shared.domain.errors import ConflictError
from shared.domain.model import (
    AccessRequest,
    Approval,
    CloseReason,
    Extension,
    Principal,
    Status,
    Vote,
)
from shared.domain.permissions import Decision
from shared.domain.request import change_ports, close, extend_all, is_open


def pending(request: AccessRequest) -> Approval | None:
    """Return the approval that is asked for now; a request that has ended awaits none."""
    if _waits_to_open(request):
        return request.approval
    if request.extension is None or request.is_final:
        return None
    return request.extension.approval


def check_approver(approver: Principal) -> Decision:
    """Decide whether a caller can decide on any request: only people can."""
    if approver.is_app:
        return Decision(False, ("an app cannot approve; it can relay a named person's decision",))
    return Decision(True)


def check_vote(
    request: AccessRequest, approver: Principal, carrier: Principal | None = None
) -> Decision:
    """Tell whether a principal may decide: a person, and not one the access is for.

    NB. The requestor is who the access is for, whichever app carried the request; and an app
    that relays a person's decision is not that person. Only people are counted. The
    person who asked carries no other person's decision either, and no person carries both sides.
    """
    if not (decision := check_approver(approver)).allowed:
        return decision
    if approver.key == request.requestor.key:
        return Decision(False, ("requestors cannot approve their own requests",))
    if request.relayed_by is not None and approver.key == request.relayed_by.key:
        return Decision(False, ("who passed the request on cannot approve it",))
    if carrier is not None and _is_of_interest(request, carrier):
        return Decision(False, ("who asked cannot pass the decision on",))
    return Decision(True)


def _is_of_interest(request: AccessRequest, carrier: Principal) -> bool:
    """Tell whether a carrier is the requestor, or a person who carried the request as well."""
    carried = request.relayed_by is not None and carrier.key == request.relayed_by.key
    return carrier.key == request.requestor.key or (carried and not carrier.is_app)


def ask_extension(request: AccessRequest, asked: Extension) -> AccessRequest:
    """Have a longer end wait for people; raises ConflictError where there is nothing to extend.

    NB. One end waits at a time: a second one in its place would inherit the decisions that
    people made about the first.
    """
    request = time_out(request, asked.asked_at)
    if not any(is_open(port, asked.asked_at) for port in request.ports):
        raise ConflictError("Nothing of this request is open; ask anew.", code="NotOpen")
    if request.extension is None:
        return replace(request, extension=asked)
    if request.extension.end_at == asked.end_at:
        return request
    raise ConflictError("Another end already waits for approval.", code="ExtensionPending")


def ask_more(request: AccessRequest, needed: int) -> AccessRequest:
    """Ask so many people about the longer end that waits, if it was fewer; never ask fewer."""
    if request.extension is None or request.extension.approval.needed >= needed:
        return request
    approval = replace(request.extension.approval, needed=needed)
    return replace(request, extension=replace(request.extension, approval=approval))


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
    asked = (*request.decided, *((request.extension,) if request.extension else ()))
    last = asked[-1].approval if asked else request.approval
    votes = last.votes if last else ()
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
    asked = replace(request.extension, approval=approval)
    if cast.approved and not approval.is_met:
        return replace(request, extension=asked)
    if cast.approved:
        request = extend_all(request, asked.end_at, now, asked.relayed_by)
    return _settle_extension(request, asked)


def _settle_extension(request: AccessRequest, asked: Extension) -> AccessRequest:
    """Let a longer end wait no more, and keep who decided on it."""
    return replace(request, extension=None, decided=(*request.decided, asked))


def time_out(request: AccessRequest, now: datetime) -> AccessRequest:
    """End a request whose deadline has passed; whichever write comes first stands."""
    approval = pending(request)
    if approval is None or now < approval.deadline:
        return request
    if _waits_to_open(request):
        return _end_waiting(request, now, "no approver decided in time")
    assert request.extension is not None  # noqa: S101 - that is what is pending
    return _settle_extension(request, request.extension)


def _end_waiting(request: AccessRequest, now: datetime, message: str) -> AccessRequest:
    return change_ports(
        request,
        lambda port: (
            close(port, CloseReason.DENIED, now, message=message)
            if port.status is Status.PENDING_APPROVAL
            else port
        ),
    )
