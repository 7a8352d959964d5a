"""Bound the sources that one requestor holds on a port over all their requests together.

A request is judged when it is taken in, together with what is live then. Requests that are taken
in at the same moment do not see each other there. So each is judged again once its firewalls are
stored and before its grants are: of two that open at the same moment, at least one sees the other.
"""

from collections.abc import Iterable
from typing import Protocol

from shared.domain.errors import Reason
from shared.domain.ids import key_of
from shared.domain.model import AccessRequest, CloseReason, Policy, PortRequest, Principal, Status
from shared.domain.policy import AskedPort, check_together
from shared.use_cases.grants import CloseParts, close_early
from shared.use_cases.parts import HasLimits, HasRequests

_Subject = tuple[str, int]  # a VM's key and a port


class SourceParts(HasLimits, HasRequests, Protocol):
    """The parts for judging how many sources a requestor holds."""


class FailSourceParts(CloseParts, HasLimits, Protocol):
    """The parts for failing ports with too many sources."""


def check_sources_held(
    services: SourceParts, policy: Policy, requestor: Principal, ports: Iterable[AskedPort]
) -> tuple[Reason, ...]:
    """Say which ports of a new request open to too many addresses with what is live already."""
    asked = list(ports)
    live = _live(services, requestor, {port.vm_id for port in asked})
    reasons = []
    for port in asked:
        others = _sources(live, _subject(port.vm_id, port.number))
        problem = check_together(policy, (*others, *port.sources), services.limits)
        if others and problem:
            target = f"{port.at}.allowedSourceAddressPrefix"
            reasons.append(Reason("SourcesTooWide", _with_others(problem), target))
    return tuple(reasons)


def fail_ports_with_too_many_sources(
    services: FailSourceParts, policy: Policy | None, request: AccessRequest
) -> AccessRequest:
    """Fail the ports of a request that would open to too many addresses with what has begun."""
    opening = [port for port in request.ports if _is_opening(port)]
    if policy is None or not opening:
        return request
    live = _live(services, request.requestor, {port.vm_id for port in opening}, but=request.id)
    begun = [port for port in live if port.fronts]
    failed: dict[_Subject, str] = {}
    for port in opening:
        subject = _subject(port.vm_id, port.port)
        others = _sources(begun, subject)
        problem = check_together(policy, (*others, *port.sources), services.limits)
        if others and problem:
            failed[subject] = _with_others(problem)
    for subject, problem in failed.items():
        request = _fail(services, request, subject, problem)
    return request


def _fail(
    services: FailSourceParts, request: AccessRequest, subject: _Subject, problem: str
) -> AccessRequest:
    ended = close_early(
        services,
        request.id,
        lambda port: _is_opening(port) and _subject(port.vm_id, port.port) == subject,
        CloseReason.FAILED,
        message=problem,
    )
    return ended or request


def _live(
    services: HasRequests, requestor: Principal, vm_ids: Iterable[str], *, but: str = ""
) -> list[PortRequest]:
    """Read the ports that a requestor has open or waiting on some VMs."""
    ids = set(services.requests.live(requestor=requestor.key)) - {but}
    if not ids:
        return []
    on_vms = {each for vm_id in vm_ids for each in services.requests.live(vm_id=vm_id)}
    found = [services.requests.get(each) for each in sorted(ids & on_vms)]
    return [
        port for row in found if row is not None for port in row.request.ports if not port.is_final
    ]


def _sources(live: Iterable[PortRequest], subject: _Subject) -> tuple[str, ...]:
    return tuple(
        source
        for port in live
        if _subject(port.vm_id, port.port) == subject
        for source in port.sources
    )


def _subject(vm_id: str, port: int) -> _Subject:
    return key_of(vm_id), port


def _is_opening(port: PortRequest) -> bool:
    return bool(port.status is Status.INITIATING and port.fronts and not port.closing)


def _with_others(problem: str) -> str:
    return f"with your other requests for this port, {problem}"
