"""A request's way: taken in over HTTP, opened from the queue, ended when it cannot be done."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.domain.arm_ids import key_of, name_of
from shared.domain.errors import NotFoundError, OutsidePolicyError
from shared.domain.lifecycle import begin_opening, change_ports, close
from shared.domain.model import (
    MINUTE,
    AccessRequest,
    Attachment,
    CloseReason,
    Policy,
    PolicyState,
    PortRequest,
    Principal,
    Status,
)
from shared.domain.policy import Asked, AskedPort, check_request
from shared.domain.prefixes import of_family
from shared.use_cases.closing import close_early, grant_of
from shared.use_cases.converge import converge
from shared.use_cases.protection import apply_policy, get_policy
from shared.use_cases.rows import Fact, new_request_id
from shared.use_cases.services import Services


@dataclass(frozen=True)
class Wish:
    """What a caller asks for, and how it looked on the wire where clients compare that."""

    policy_id: str
    asked: Asked
    requestor: Principal
    end_texts: tuple[str, ...] = ()
    sources_listed: tuple[bool, ...] = ()
    sources_given: tuple[bool, ...] = ()


def request_access(services: Services, wish: Wish) -> AccessRequest:
    """Check a request, record it and queue it.

    Raises NotFoundError for a policy that does not exist and OutsidePolicyError with every line
    of the policy that the request breaks. Nothing is stored or queued then.
    """
    now = services.clock()
    policy = get_policy(services, wish.policy_id)
    decision = check_request(policy, wish.asked, services.limits, now)
    if not decision.allowed:
        raise OutsidePolicyError(
            f"The given access request is not a subset of policy '{policy.id}'. Please make sure "
            "that the access request is within the allowed policy properties.",
            details=decision.broken,
        )
    request = _new_request(services, policy, wish)
    services.due.add(now + MINUTE, "request", request.id, since=now)
    services.requests.insert(request)
    services.activity.record(request_fact(request, "requested"))
    services.queues.send_request(request.id)
    services.telemetry.event(
        "jit.access.requested",
        request=request.id,
        requestor=request.requestor.key,
        policy=policy.id,
        ports=len(request.ports),
        source=request.source_address,
    )
    return request


def _new_request(services: Services, policy: Policy, wish: Wish) -> AccessRequest:
    now = services.clock()
    ports = []
    for number, asked in enumerate(wish.asked.ports):
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
                end_text=wish.end_texts[number] if wish.end_texts else "",
                sources_listed=bool(wish.sources_listed and wish.sources_listed[number]),
                sources_given=not wish.sources_given or wish.sources_given[number],
            )
        )
    return AccessRequest(
        id=new_request_id(policy.id, now),
        policy_id=policy.id,
        requestor=wish.requestor,
        requested_at=now,
        ports=tuple(ports),
        justification=wish.asked.justification,
        source_address=wish.asked.caller_address,
    )


def request_fact(request: AccessRequest, operation: str, reason: str = "") -> Fact:
    """Describe something that happened to a whole request."""
    return Fact(
        id=f"{request.id}|{operation}",
        at=request.requested_at,
        operation=operation,
        principal=request.requestor.key,
        principal_name=request.requestor.name,
        request_id=request.id,
        vm_id=request.ports[0].vm_id if len({p.vm_id for p in request.ports}) == 1 else "",
        policy_id=request.policy_id,
        source_address=request.source_address,
        reason=reason or request.justification or "",
    )


def policy_covering(services: Services, vm_id: str, ports: Sequence[int]) -> str:
    """Find the policy that governs a VM's ports; raises NotFoundError."""
    ids = services.policies.policies_of(vm_id)
    candidates = [held.policy for each in ids if (held := services.policies.get(each))]
    if not candidates:  # a policy just PUT is not applied yet, and has no rows for its VMs
        subscription = key_of(vm_id).split("/")[2]
        candidates = services.policies.listed(subscription)
    covering = [
        policy
        for policy in candidates
        if policy.state is not PolicyState.DELETING and policy.vm(vm_id)
    ]
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


def open_access(services: Services, request_id: str) -> None:
    """Open what a request asks for. Safe to repeat: a redelivery uses what stands in the row.

    Raises what the outside raised once everything else is done, so that the message comes back.
    """
    held = services.requests.get(request_id)
    if held is None:
        services.telemetry.event("jit.request.unknown", request=request_id)
        return
    services.activity.record(request_fact(held.request, "requested"))
    request = _end_what_may_not(services, held.request)
    attachments, errors = _find_attachments(services, request)
    request = _begin(services, request, attachments)
    firewalls = _insert_grants(services, request)
    outcomes = services.workers(lambda each: _try(services, each), firewalls)
    for error in (*errors, *outcomes):
        if error is not None:
            raise error


def _try(services: Services, firewall_id: str) -> Exception | None:
    """Converge one firewall; an error of one must not keep the others closed."""
    try:
        converge(services, firewall_id)
    except Exception as error:  # noqa: BLE001 - raised again once the others had their turn
        return error
    return None


def _end_what_may_not(services: Services, request: AccessRequest) -> AccessRequest:
    """Check the policy once more: it may have changed since the request was taken in."""
    held = services.policies.get(request.policy_id)
    now = services.clock()

    def judge(port: PortRequest) -> PortRequest:
        if port.status is not Status.INITIATING or port.fronts is not None:
            return port
        if port.end_at is not None and port.end_at <= now:
            return close(port, CloseReason.EXPIRED, now)
        if held is None or held.policy.state is PolicyState.DELETING:
            return close(port, CloseReason.FAILED, now, message="the policy no longer exists")
        asked = AskedPort("", port.vm_id, port.port, port.sources, port.end_at, port.duration)
        asking = Asked((asked,), request.justification, request.source_address)
        broken = check_request(held.policy, asking, services.limits, now).broken
        if broken:
            told = "; ".join(reason.message for reason in broken)
            return close(port, CloseReason.FAILED, now, message=told)
        return port

    return services.requests.change(request.id, lambda r: change_ports(r, judge)) or request


def _find_attachments(
    services: Services, request: AccessRequest
) -> tuple[dict[str, tuple[Attachment, ...] | str], list[Exception]]:
    """Find the firewalls in front of each VM, or why there is no way to open it."""
    waiting = {p.vm_id for p in request.ports if p.status is Status.INITIATING and p.fronts is None}
    errors: list[Exception] = []
    found: dict[str, tuple[Attachment, ...] | str] = {}
    for vm_id in sorted(waiting):
        try:
            machine = services.machines.find(vm_id)
        except Exception as error:  # noqa: BLE001 - raised again after the other VMs are open
            errors.append(error)
            continue
        if machine is None:
            found[vm_id] = "the VM does not exist"
        elif machine.unreadable:
            found[vm_id] = machine.unreadable
        else:
            found[vm_id] = machine.attachments or (
                "no network security group stands in front of the VM, so there is nothing to open"
            )
    return found, errors


def _begin(
    services: Services,
    request: AccessRequest,
    attachments: dict[str, tuple[Attachment, ...] | str],
) -> AccessRequest:
    """Fix each end and the firewalls, or the reason why not, in one write."""
    now = services.clock()

    def begin(port: PortRequest) -> PortRequest:
        found = attachments.get(port.vm_id)
        if found is None or port.status is not Status.INITIATING or port.fronts is not None:
            return port
        problem = found if isinstance(found, str) else _unreachable(port, found)
        if problem:
            return close(port, CloseReason.FAILED, now, message=problem)
        assert not isinstance(found, str)  # noqa: S101 - a text is a problem
        return begin_opening(port, found, now)

    return services.requests.change(request.id, lambda r: change_ports(r, begin)) or request


def _unreachable(port: PortRequest, attachments: tuple[Attachment, ...]) -> str:
    """Tell whether no address of the VM is of a source's family."""
    addresses = [address for each in attachments for address in each.addresses]
    if any(of_family(port.sources, f) and of_family(addresses, f) for f in (4, 6)):
        return ""
    return (
        f"VM '{name_of(port.vm_id)}' has no address of the family of {', '.join(port.sources)} "
        f"(it has {', '.join(addresses)})"
    )


def _insert_grants(services: Services, request: AccessRequest) -> list[str]:
    """Insert the grants of what is opening, each after its due row; return the firewalls."""
    firewalls = set()
    protected: set[tuple[str, str]] = set()
    now = services.clock()
    for port in request.ports:
        if port.status is not Status.INITIATING or port.closing or not port.fronts:
            continue
        for front in port.fronts:
            grant = grant_of(request, port, front)
            if (key_of(front.firewall_id), key_of(port.vm_id)) not in protected:
                _protect_first(services, grant.policy_id, port, front.firewall_id)
                protected.add((key_of(front.firewall_id), key_of(port.vm_id)))
            services.due.add(grant.expires_at, "firewall", front.firewall_id, since=now)
            services.rows.insert_grant(grant)
            if grant.expires_at - now <= MINUTE:
                # It may fall due before the next sweep looks ahead.
                services.queues.send_firewall(front.firewall_id, delay=grant.expires_at - now)
            firewalls.add(front.firewall_id)
    return sorted(firewalls)


def _protect_first(services: Services, policy_id: str, port: PortRequest, firewall_id: str) -> None:
    """Apply the policy where its protection is not there yet: no grant without its deny."""
    held = services.rows.get_protection(firewall_id, policy_id, port.vm_id)
    if held is None or held.lifted or port.port not in held.ports:
        apply_policy(services, policy_id)


def fail_request(services: Services, request_id: str, message: str) -> None:
    """End what could not be opened, with a reason a person understands and nothing left open."""
    close_early(
        services,
        request_id,
        lambda port: port.status is Status.INITIATING,
        CloseReason.FAILED,
        message=message,
    )


def get_request(services: Services, request_id: str) -> AccessRequest:
    """Read a request; raises NotFoundError."""
    held = services.requests.get(request_id)
    if held is None:
        raise NotFoundError(f"There is no request '{request_id}'.", code="RequestNotFound")
    return held.request
