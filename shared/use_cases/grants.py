"""Close port requests: the reason first, then every grant sealed, then the firewalls told."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

from shared.domain.model import (
    MINUTE,
    AccessRequest,
    CloseReason,
    Front,
    Grant,
    PortRequest,
)
from shared.domain.request import change_ports, close
from shared.ports import RowChangedError
from shared.use_cases.messages import send_firewall
from shared.use_cases.parts import (
    HasClock,
    HasDue,
    HasPace,
    HasQueues,
    HasRequests,
    HasRows,
    HasTelemetry,
)

Choice = Callable[[PortRequest], bool]

_TRIES = 50


class EndParts(HasQueues, HasRows, Protocol):
    """The parts for copying a request's ends to its grants."""


class SealParts(HasClock, HasDue, HasPace, HasRows, Protocol):
    """The parts for sealing grants."""


class CloseParts(SealParts, HasQueues, HasRequests, HasTelemetry, Protocol):
    """The parts for closing grants early."""


class By(NamedTuple):
    """The person who ends an access, and the app that carried the message, if one did."""

    person: str = ""
    relay: str = ""


_NO_ACTOR = By()


def grant_of(request: AccessRequest, port: PortRequest, front: Front) -> Grant:
    """Copy a port request for one of its firewalls."""
    assert port.closes_at is not None  # noqa: S101 - begin_opening fixed the end with the fronts
    return Grant(
        firewall_id=front.firewall_id,
        request_id=request.id,
        policy_id=request.policy_id,
        vm_id=port.vm_id,
        port=port.port,
        protocol=port.protocol,
        sources=port.sources,
        addresses=front.addresses,
        requestor=request.requestor.key,
        requested_at=request.requested_at,
        expires_at=port.closes_at,
        seen_sources=front.seen_sources,
    )


def close_early(
    services: CloseParts,
    request_id: str,
    choice: Choice,
    reason: CloseReason,
    *,
    message: str = "",
    by: By = _NO_ACTOR,
) -> AccessRequest | None:
    """End chosen port requests before their time; None: there is no such request.

    The work to finish is noted before it begins: if this stops half-way, the due row leads
    the sweep back here. The grants are sealed when this returns.
    """
    now = services.clock()
    services.due.add(now + MINUTE, "request", request_id, since=now)

    def end(port: PortRequest) -> PortRequest:
        if not choice(port):
            return port
        return close(port, reason, now, message=message, by=by.person, relayed_by=by.relay)

    request = services.requests.change(request_id, lambda held: change_ports(held, end))
    if request is not None:
        for firewall_id in seal_closed(services, request):
            send_firewall(services, firewall_id)
        if request.is_final:
            services.requests.remove_live(request)
    return request


def seal_closed(services: SealParts, request: AccessRequest) -> list[str]:
    """Seal each grant of the port requests whose close is decided; return where one was sealed."""
    touched = {
        front.firewall_id
        for port in request.ports
        if port.closing and not port.is_final
        for front in port.fronts or ()
        if front.closed_at is None and seal(services, request, port, front)
    }
    return sorted(touched)


def seal(services: SealParts, request: AccessRequest, port: PortRequest, front: Front) -> bool:
    """Seal one grant, or take its place with a sealed row, so that a late opener finds it taken.

    Both due rows come first: one to converge now, one to look again after the grace. False: it
    was sealed already, so its due row leads there; a firewall that does not answer gets no burst
    of messages.
    """
    sealed = False
    grace = services.pace(front.firewall_id).grace
    for _ in range(_TRIES):
        held = services.rows.get_grant(front.firewall_id, request.id, port.vm_id, port.port)
        if held is not None and held.is_sealed:
            return sealed
        sealed = True
        now = services.clock()
        services.due.add(now, "firewall", front.firewall_id, since=now)
        services.due.add(now + grace, "firewall", front.firewall_id, since=now)
        if held is None:
            services.rows.insert_grant(replace(grant_of(request, port, front), sealed_at=now))
        else:
            seal_row(services, held)
    raise RowChangedError(f"a grant of {request.id} changed {_TRIES} times while being sealed")


def seal_row(services: SealParts, grant: Grant) -> Grant | None:
    """Seal a grant as it was read; None: it changed meanwhile."""
    try:
        return services.rows.replace_grant(replace(grant, sealed_at=services.clock(), proven=False))
    except RowChangedError:
        return None


def copy_ends(services: EndParts, request: AccessRequest) -> None:
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
