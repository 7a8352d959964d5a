"""Domain values in the JIT API's words: fields, order and spelling as the real service has them."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from functions.conditions import conditions_answer
from shared.domain.approval import pending
from shared.domain.ids import key_of, name_of
from shared.domain.model import (
    AccessRequest,
    Conditions,
    Front,
    Policy,
    PolicyVm,
    PortRequest,
    PortRule,
    Status,
    Vote,
)
from shared.domain.request import entry_of, firewall_state, overall_status
from shared.domain.summary import summarize
from shared.domain.times import format_duration, format_instant, format_ticks
from shared.use_cases.requests.view import RequestView

TYPE = "Microsoft.Security/locations/jitNetworkAccessPolicies"


def policy_answer(policy: Policy, requests: list[AccessRequest]) -> dict[str, Any]:
    """Write a policy as GET, PUT and the lists answer it."""
    properties: dict[str, Any] = {
        "virtualMachines": [_policy_vm(vm, requests) for vm in policy.vms],
        "requests": [request_answer(request) for request in requests],
        "provisioningState": policy.state.value,
        "appendMode": False,
    }
    if policy.error:
        properties["provisioningError"] = policy.error
    if policy.conditions != Conditions():
        properties["conditions"] = conditions_answer(policy.conditions)
    return {
        "kind": policy.kind,
        "properties": properties,
        "id": policy.id,
        "name": policy.name,
        "type": TYPE,
        "location": policy.location,
    }


def _policy_vm(vm: PolicyVm, requests: Iterable[AccessRequest]) -> dict[str, Any]:
    answer: dict[str, Any] = {"id": vm.id, "ports": [port_rule(rule) for rule in vm.ports]}
    address = vm.public_ip or _entry_address(vm, requests)
    if address:
        answer["publicIpAddress"] = address
    return answer


def _entry_address(vm: PolicyVm, requests: Iterable[AccessRequest]) -> str:
    """Return the public address of the firewall by which a VM was opened; empty: not known."""
    key = key_of(vm.id)
    ports = (port for request in requests for port in request.ports if key_of(port.vm_id) == key)
    return next((entry.address for port in ports if (entry := entry_of(port))), "")


def port_rule(rule: PortRule) -> dict[str, Any]:
    """Write a policy's rule for a port."""
    return {
        "number": rule.number,
        "protocol": rule.protocol,
        **_sources(rule.sources, listed=rule.sources_listed),
        "maxRequestAccessDuration": rule.max_duration_text or format_duration(rule.max_duration),
    }


def _sources(sources: tuple[str, ...], *, listed: bool) -> dict[str, Any]:
    if not sources:
        return {}  # not shown to this caller
    if listed:
        return {"allowedSourceAddressPrefixes": list(sources)}
    return {"allowedSourceAddressPrefix": sources[0]}


def request_answer(
    request: AccessRequest, write_port: Callable[[PortRequest], dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Write a request as initiate answers it and policies list it."""
    write = write_port or _port_request
    by_vm: dict[str, list[dict[str, Any]]] = {}
    for port in request.ports:
        by_vm.setdefault(port.vm_id, []).append(write(port))
    answer: dict[str, Any] = {
        "virtualMachines": [{"id": vm, "ports": ports} for vm, ports in by_vm.items()],
        "startTimeUtc": format_ticks(request.requested_at),
        "requestor": request.requestor.name,
    }
    if request.justification is not None:
        answer["justification"] = request.justification
    return answer


def _port_request(port: PortRequest) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "number": port.port,
        **_sources(port.sources, listed=port.sources_listed),
    }
    if port.end_text or port.end_at:
        answer["endTimeUtc"] = port.end_text or (format_ticks(port.end_at) if port.end_at else "")
    elif port.duration:
        answer["duration"] = format_duration(port.duration)
    if port.close_lead and port.closes_at:
        answer["closeBeginsTimeUtc"] = format_ticks(port.closes_at)
    answer["status"] = port.status.value
    answer["statusReason"] = port.closing.reason.value if port.closing else "UserRequested"
    answer |= _entry(port)
    if port.status in {Status.FAILED, Status.DENIED} and port.closing:
        answer["error"] = {"code": port.closing.reason.value, "message": port.closing.message}
    return answer


def _entry(port: PortRequest) -> dict[str, Any]:
    """Name the address and port to connect to, of the outermost firewall that has its own."""
    entry = entry_of(port)
    return {"publicIpAddress": entry.address, "mappedPort": entry.port} if entry else {}


def status_answer(view: RequestView) -> dict[str, Any]:
    """Write a request as the short form's callers poll it."""
    request = view.request
    answer: dict[str, Any] = {
        "id": request.id,
        "status": overall_status(request).value,
        "policyId": request.policy_id,
        **request_answer(request, _port_status),
        "requestorObjectId": request.requestor.object_id,
        "can": [ability.value for ability in view.can],
        "latestEndTimeUtc": format_instant(view.latest_end) if view.latest_end else None,
        "openedAt": _latest(port.opened_at for port in request.ports),
        "closedAt": _latest(port.closed_at for port in request.ports),
    }
    if request.break_glass:
        answer["breakGlass"] = True
    if request.relayed_by is not None:
        answer["relayedBy"] = request.relayed_by.app_id or request.relayed_by.object_id
    return answer | _approval(request)


def _port_status(port: PortRequest) -> dict[str, Any]:
    """Write a port request with its state on each firewall, and where to connect in words."""
    entry = entry_of(port)
    return {
        **_port_request(port),
        **({"bastion": port.bastion} if port.bastion else {}),
        **({"connectTo": f"{entry.address} port {entry.port}"} if entry else {}),
        "firewalls": [_firewall(port, each) for each in port.fronts or ()],
    }


def _firewall(port: PortRequest, front: Front) -> dict[str, Any]:
    closing = port.closing
    return {
        "id": front.firewall_id,
        "name": name_of(front.firewall_id),
        "state": firewall_state(port, front).value,
        "reason": (closing.message or closing.reason.value) if closing else None,
        "openedAt": format_ticks(front.opened_at) if front.opened_at else None,
        "closedAt": format_ticks(front.closed_at) if front.closed_at else None,
    }


def _approval(request: AccessRequest) -> dict[str, Any]:
    """Write the approval that is awaited or was decided; empty where the policy asks for none."""
    awaited = pending(request)
    held = awaited or request.approval
    if held is None:
        return {}
    answer = {
        "needed": held.needed,
        "agreed": held.agreed,
        "deadline": format_instant(held.deadline),
        "decisions": [_vote(vote) for vote in held.votes],
        "summary": list(summarize(request)),
    }
    # Such a request is open already: only this shows that a decision is awaited.
    if request.extension is not None and request.extension.approval is awaited:
        answer["endTimeUtc"] = format_instant(request.extension.end_at)
    return {"approval": answer}


def _vote(vote: Vote) -> dict[str, Any]:
    return {
        "approver": vote.approver.name or vote.approver.object_id,
        "approved": vote.approved,
        "at": format_instant(vote.at),
        "comment": vote.comment,
    }


def _latest(instants: Iterable[datetime | None]) -> str | None:
    known = [at for at in instants if at is not None]
    return format_ticks(max(known)) if known else None


def is_undecided(request: AccessRequest) -> bool:
    """Tell whether a poller has to come again."""
    return any(p.status in {Status.PENDING_APPROVAL, Status.INITIATING} for p in request.ports)
