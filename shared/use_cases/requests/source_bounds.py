"""Bound the sources that one requestor holds on a port over all their requests together.

A request is judged when it is taken in, together with what is live then. Requests that are taken
in at the same moment do not see each other there. So each is judged again once its firewalls are
stored and before its grants are: of two that open at the same moment, at least one sees the other.
Where the ledger of what a requestor holds shows that a request is the only one, it is not judged
again, and each that is taken in later counts it.
"""

from collections.abc import Collection, Iterable
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
    services: SourceParts,
    policy: Policy,
    requestor: Principal,
    ports: Iterable[AskedPort],
    listed: Collection[str] | None = None,
) -> tuple[Reason, ...]:
    """Say which ports of a new request open to too many addresses with what is live already.

    `listed` holds the ids of the requestor's live requests, where they were just read.
    """
    asked = list(ports)
    live = [
        port
        for request in _live(services, requestor, {port.vm_id for port in asked}, listed)
        for port in _unended(request)
    ]
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
    if policy is None or not opening or _was_judged_alone(request):
        return request
    live = _live(services, request.requestor, {port.vm_id for port in opening})
    begun = [
        port
        for other in live
        for port in _unended(other)
        if other.id != request.id and (port.fronts or other.is_only)
    ]
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


def _was_judged_alone(request: AccessRequest) -> bool:
    """Tell whether no other request has to be looked for. A Bastion's prefixes may have changed."""
    return request.is_only and not any(port.bastion for port in request.ports)


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
    services: HasRequests,
    requestor: Principal,
    vm_ids: Iterable[str],
    listed: Collection[str] | None = None,
) -> list[AccessRequest]:
    """Read the requests that a requestor has open or waiting on some VMs."""
    ids = set(services.requests.live(requestor=requestor.key) if listed is None else listed)
    if not ids:
        return []
    on_vms = {each for vm_id in vm_ids for each in services.requests.live(vm_id=vm_id)}
    found = [services.requests.get(each) for each in sorted(ids & on_vms)]
    return [row.request for row in found if row is not None]


def _unended(request: AccessRequest) -> list[PortRequest]:
    return [port for port in request.ports if not port.is_final]


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
