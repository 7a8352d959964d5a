"""Take in a request: check it, record it, queue it. And find it again."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from shared.domain.errors import (
    InvalidInputError,
    NotFoundError,
    OutsidePolicyError,
    Reason,
)
from shared.domain.ids import name_of
from shared.domain.machine_ids import parse_machine_id
from shared.domain.model import (
    MINUTE,
    AccessRequest,
    Approval,
    Policy,
    PolicyState,
    PortRequest,
    Principal,
    Status,
)
from shared.domain.permissions import Action
from shared.domain.policy import Asked, PolicyDecision, check_request
from shared.domain.texts import shorten
from shared.ports import Row, RowExistsError
from shared.store.keys import is_request_id, new_request_id
from shared.store.live import merge_reserved
from shared.store.room import has_room, require_short
from shared.use_cases.audit import record
from shared.use_cases.parts import (
    HasActivity,
    HasAuthorize,
    HasClock,
    HasDue,
    HasLimits,
    HasNewId,
    HasPace,
    HasPolicies,
    HasPurges,
    HasQueues,
    HasRequests,
    HasSideBySide,
    HasTables,
    HasTelemetry,
    HasWorkers,
)
from shared.use_cases.permission import (
    PermissionParts,
    ScopeParts,
    enforce,
    enforce_for_missing,
    enforce_on_found,
)
from shared.use_cases.requests.idempotency import Repeat, find_repeated, note_end, reserve_key
from shared.use_cases.requests.paces import LengthParts, check_lengths
from shared.use_cases.requests.reserving import (
    Fronts,
    Held,
    ReserveParts,
    give_back,
    grants_asked,
    read_fronts,
    reserve,
)
from shared.use_cases.requests.source_bounds import check_sources_held


class NewRequestParts(HasClock, HasNewId, Protocol):
    """The parts for making a request."""


class FindRequestParts(ScopeParts, HasRequests, Protocol):
    """The parts for showing a request to a caller."""


class JudgeParts(
    LengthParts, HasLimits, HasPolicies, HasRequests, HasSideBySide, HasWorkers, Protocol
):
    """The parts for judging a request by its policy."""


class SubmitParts(
    ReserveParts,
    HasActivity,
    HasAuthorize,
    HasDue,
    HasLimits,
    HasNewId,
    HasPace,
    HasPolicies,
    HasPurges,
    HasQueues,
    HasTables,
    HasTelemetry,
    Protocol,
):
    """The parts for storing a request."""


@dataclass(frozen=True)
class PolicyRequest:
    """A caller's request under its policy, with its wire form where clients compare that."""

    policy: Policy
    asked: Asked
    requestor: Principal
    end_texts: tuple[str, ...] = ()
    sources_listed: tuple[bool, ...] = ()
    sources_given: tuple[bool, ...] = ()
    relayed_by: Principal | None = None
    authorized_by: str = ""
    break_glass: bool = False
    repeat: Repeat | None = None


def request_access(services: SubmitParts, new: PolicyRequest) -> AccessRequest:
    """Check a request, record it and queue it.

    Raises NotPermittedError, or OutsidePolicyError with every line of the policy that the request
    breaks. Nothing is stored or queued then.
    """
    new = permitted(services, new)
    earlier = find_repeated(services, new.policy.id, new.repeat)
    if earlier is not None:
        return earlier
    policy = new.policy
    decision, grants, held = _judge_and_count(services, new)
    if not decision.allowed:
        raise OutsidePolicyError(
            f"The given access request is not a subset of policy '{policy.id}'. Please make sure "
            "that the access request is within the allowed policy properties.",
            details=decision.broken,
        )
    _require_reason_for_break_glass(new)
    bounded = _bounded(new_request(services, new))
    request = _take_place(services, bounded, grants, held, new.repeat)
    try:
        services.requests.insert_listed(request)
    except RowExistsError:  # a repeat at the same instant was quicker
        return get_request(services, request.id)
    record(services, request)  # before the message: nothing opens whose request is not on record
    send = services.queues.send_notice if request.approval else services.queues.send_request
    send(request.id)
    services.telemetry.event(
        "jit.breakglass.used" if request.break_glass else "jit.access.requested",
        request=request.id,
        requestor=request.requestor.key,
        policy=policy.id,
        ports=len(request.ports),
        source=request.source_address,
    )
    return request


def judge(services: JudgeParts, new: PolicyRequest) -> PolicyDecision:
    """Decide whether the policy allows a request beside what its requestor holds already."""
    decision = check_request(new.policy, new.asked, services.limits, services.clock())
    if not decision.allowed:
        return decision
    policy, requestor, ports = new.policy, new.requestor, new.asked.ports
    sources, fronts = services.side_by_side(
        partial(check_sources_held, services, policy, requestor, ports),
        partial(read_fronts, services, policy.id, [port.vm_id for port in ports]),
    )
    return _judged(services, new, sources, fronts)


def _judged(
    services: JudgeParts, new: PolicyRequest, sources: Iterable[Reason], fronts: Fronts
) -> PolicyDecision:
    short = check_lengths(services, new.policy, new.asked.ports, fronts)
    return PolicyDecision((*sources, *short))


def _judge_and_count(
    services: SubmitParts, new: PolicyRequest
) -> tuple[PolicyDecision, dict[str, int], Held]:
    """Judge a request; count its grants by firewall and what its requestor holds, beside that."""
    decision = check_request(new.policy, new.asked, services.limits, services.clock())
    if not decision.allowed:
        return decision, {}, ({}, "")
    live, requestor = services.requests.live_rows, new.requestor

    def check_listed() -> tuple[list[Row], tuple[Reason, ...]]:
        rows = live.listed(requestor.key)
        ids = [row.key for row in rows]
        return rows, check_sources_held(services, new.policy, requestor, new.asked.ports, ids)

    vm_ids = [port.vm_id for port in new.asked.ports]
    ledger, (listed, sources), fronts = services.side_by_side(
        partial(live.ledger, requestor.key),
        check_listed,
        partial(read_fronts, services, new.policy.id, vm_ids),
    )
    grants = grants_asked(vm_ids, fronts)
    return _judged(services, new, sources, fronts), grants, merge_reserved(ledger, listed)


def permitted(services: PermissionParts, new: PolicyRequest) -> PolicyRequest:
    """Return a new request with the roles that allow it; raises NotPermittedError."""
    held = enforce_initiate(services, new.requestor, new.asked, break_glass=new.break_glass)
    return replace(new, authorized_by=held)


def enforce_initiate(
    services: PermissionParts, requestor: Principal, asked: Asked, *, break_glass: bool
) -> str:
    """Enforce the permission on every VM that a request names; return the roles that give it."""
    vm_ids = sorted({port.vm_id for port in asked.ports})
    held = {
        "; ".join(enforce(services, requestor, Action.INITIATE, vm_id).reasons) for vm_id in vm_ids
    }
    for vm_id in vm_ids if break_glass else ():
        enforce(services, requestor, Action.BREAK_GLASS, vm_id)
    return "; ".join(sorted(held))


def _require_reason_for_break_glass(new: PolicyRequest) -> None:
    """Refuse to skip the approval without a reason; it is announced loudly."""
    if new.break_glass and not (new.asked.justification or "").strip():
        raise InvalidInputError("justification: breaking the glass needs a reason")


def _bounded(request: AccessRequest) -> AccessRequest:
    """Return a request whose row has room for all that may become of it."""
    require_short("justification", request.justification or "")
    if not has_room(request):
        raise InvalidInputError(
            "the request is too large to be kept with room for its end; "
            "name fewer ports or sources in each, and send several"
        )
    return request


def _take_place(
    services: SubmitParts,
    request: AccessRequest,
    grants: Mapping[str, int],
    held: Held,
    repeat: Repeat | None,
) -> AccessRequest:
    """Reserve what a request will hold, and note what must be looked at, before it is stored.

    Returns the request under the id it is to have: an earlier call of the same idempotency key may
    have stopped half-way. A refused request leaves nothing reserved.
    """
    is_only = reserve(services, request, grants, held)
    try:
        reserved = reserve_key(services, request, repeat)
        if reserved.id == request.id:
            _note(services, request, grants, repeat)
            return replace(request, is_only=is_only)
    except Exception:
        give_back(services, request, grants)
        raise
    give_back(services, request, grants)
    is_only = reserve(services, reserved, grants)
    _note(services, reserved, grants, repeat)
    return replace(reserved, is_only=is_only)


def _note(
    services: SubmitParts,
    request: AccessRequest,
    firewalls: Iterable[str],
    repeat: Repeat | None,
) -> None:
    now = services.clock()
    looks = [now + MINUTE, *([request.approval.deadline] if request.approval else [])]
    watch = [partial(services.due.add, at, "request", request.id, since=now) for at in looks]
    if repeat is not None:
        watch.append(partial(note_end, services, request.policy_id, repeat))
    services.side_by_side(*watch, *services.requests.listings(request, firewalls))


def new_request(services: NewRequestParts, new: PolicyRequest) -> AccessRequest:
    """Make the access request of a new request that the policy allows."""
    now, policy = services.clock(), new.policy
    ports = []
    for number, asked in enumerate(new.asked.ports):
        vm = policy.vm(asked.vm_id)
        rule = vm.port(asked.number) if vm else None
        assert rule is not None  # noqa: S101 - the policy check has found it
        ports.append(
            PortRequest(
                vm_id=asked.vm_id,
                port=asked.number,
                protocol=rule.protocol,
                sources=asked.sources,
                end_at=asked.end_at,
                duration=asked.duration,
                end_text=new.end_texts[number] if new.end_texts else "",
                sources_listed=bool(new.sources_listed and new.sources_listed[number]),
                sources_given=not new.sources_given or new.sources_given[number],
                bastion=asked.bastion,
            )
        )
    approval = None
    if policy.conditions.approvers_needed and not new.break_glass:
        deadline = now + policy.conditions.time_to_approve
        approval = Approval(policy.conditions.approvers_needed, deadline)
        ports = [replace(port, status=Status.PENDING_APPROVAL) for port in ports]
    return AccessRequest(
        id=new_request_id(policy.id, now, services.new_id()),
        policy_id=policy.id,
        requestor=new.requestor,
        requested_at=now,
        ports=tuple(ports),
        justification=new.asked.justification,
        source_address=new.asked.caller_address,
        relayed_by=new.relayed_by,
        authorized_by=shorten(new.authorized_by),
        approval=approval,
        break_glass=new.break_glass,
    )


def policy_covering(services: HasPolicies, vm_id: str, ports: Sequence[int]) -> str:
    """Find by key the policy that governs a VM's ports; raises NotFoundError.

    NB. Where no note leads to one, the policies of the subscription are read, until reconcile has
    found a note of each VM of each policy: those of an older version had none.
    """
    ids = services.policies.policies_of(vm_id)
    noted = [held.policy for each in ids if (held := services.policies.get(each))]
    covering = _listing(noted, vm_id)
    if not covering and not services.policies.all_noted():
        of_subscription = services.policies.listed(parse_machine_id(vm_id).subscription)
        covering = _listing(of_subscription, vm_id)
    if not covering:
        raise NotFoundError(
            f"VM '{name_of(vm_id)}' is in no policy; ask an administrator to protect it.",
            code="PolicyNotFound",
        )
    fitting = (
        policy
        for policy in covering
        if (vm := policy.vm(vm_id)) and all(vm.port(port) for port in ports)
    )
    return next(fitting, covering[0]).id


def _listing(policies: Iterable[Policy], vm_id: str) -> list[Policy]:
    """Return those policies that list a VM and are not being deleted."""
    return [
        policy
        for policy in policies
        if policy.state is not PolicyState.DELETING and policy.vm(vm_id)
    ]


def get_request(services: HasRequests, request_id: str) -> AccessRequest:
    """Read a request; raises NotFoundError. The key of another row is no request's id."""
    found = services.requests.get(request_id) if is_request_id(request_id) else None
    if found is None:
        raise NotFoundError(f"There is no request '{request_id}'.", code="RequestNotFound")
    return found.request


def change_request(
    services: HasRequests, request_id: str, step: Callable[[AccessRequest], AccessRequest]
) -> AccessRequest:
    """Apply one step to a request; raises NotFoundError."""
    return services.requests.change(request_id, step) or get_request(services, request_id)


def find_request(
    services: FindRequestParts, request_id: str, caller: Principal, action: Action
) -> AccessRequest:
    """Read a request for a caller; raises NotFoundError where the caller holds the action.

    NB. Without the action the refusal is that of a request which exists and is another person's.
    """
    try:
        return get_request(services, request_id)
    except NotFoundError:
        enforce_for_missing(services, caller, action)
        raise


def read_request(services: FindRequestParts, request_id: str, caller: Principal) -> AccessRequest:
    """Read a request: the caller's own, or with permission any."""
    request = find_request(services, request_id, caller, Action.READ)
    if caller.key not in parties_of(request):
        enforce_on_found(services, caller, Action.READ, [request.policy_id])
    return request


def parties_of(request: AccessRequest) -> set[str]:
    """Return the principals that may always read: the requestor and the relaying app."""
    relay = {request.relayed_by.key} if request.relayed_by else set()
    return {request.requestor.key} | relay
