"""Open what a request asks for: check once more, find the firewalls, record, converge."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import Protocol

from shared.domain.approval import check_vote
from shared.domain.ids import key_of, name_of
from shared.domain.model import (
    AccessRequest,
    Attachment,
    CloseReason,
    Policy,
    PolicyState,
    PortRequest,
    Status,
)
from shared.domain.network import of_family
from shared.domain.path import for_port, why_not_openable
from shared.domain.permissions import Action
from shared.domain.policy import Asked, AskedPort, check_request, narrow_protocol
from shared.domain.request import begin_opening, change_ports, close
from shared.ports import OutsideError, ThrottledError
from shared.store.codec import UnreadableRowError
from shared.store.room import has_room
from shared.use_cases.firewalls.converge import Outcome, converge
from shared.use_cases.firewalls.lanes import leave_to_message
from shared.use_cases.firewalls.paths import find_with_neighbours
from shared.use_cases.firewalls.run import Before, Seen
from shared.use_cases.grants import close_early
from shared.use_cases.parts import (
    HasAuthorize,
    HasBastions,
    HasLimits,
    HasPace,
    HasPolicies,
    HasRows,
    HasSideBySide,
)
from shared.use_cases.policies.apply import ApplyParts, standing
from shared.use_cases.requests.bastion import refresh_bastion_sources
from shared.use_cases.requests.granting import insert_grants
from shared.use_cases.requests.known import Known, read_known
from shared.use_cases.requests.last_access import note_access
from shared.use_cases.requests.paces import close_lead, opened_on, why_too_short
from shared.use_cases.requests.source_bounds import fail_ports_with_too_many_sources


class OpenParts(ApplyParts, HasAuthorize, HasBastions, HasLimits, HasSideBySide, Protocol):
    """The parts for opening access."""


def open_access(services: OpenParts, request_id: str) -> None:
    """Open what a request asks for. Safe to repeat: a redelivery uses what stands in the row.

    Raises what the outside raised once everything else is done, so that the message comes back.
    """
    held = services.requests.get(request_id)
    if held is None:
        services.telemetry.event("jit.request.unknown", request=request_id)
        return
    known = read_known(services, held)
    request, unread = refresh_bastion_sources(services, held.request)
    if request is not held.request:
        known.row = services.requests.get(request_id) or held
    _fail_ports_outside_policy(services, known)
    request = _fail_ports_without_permission(services, known)
    attachments, errors = _find_attachments(services, request, known)
    attachments = {vm: found for vm, found in attachments.items() if key_of(vm) not in unread}
    request = _begin(services, request, attachments, known)
    request = fail_ports_with_too_many_sources(services, standing(known.policy), request)
    before = insert_grants(services, request, known)
    converge_all = partial(
        services.workers, partial(_try, services, request_id, before), sorted(before)
    )
    outcomes, _ = services.side_by_side(
        converge_all, partial(note_access, services, request, known.vm_rows)
    )
    for error in (*unread.values(), *errors, *outcomes):
        if isinstance(error, ThrottledError):
            _retry_later(services, request_id, error)
        elif error is not None:
            raise error


def _retry_later(services: OpenParts, request_id: str, error: ThrottledError) -> None:
    """Wait as long as a quota asks for; five redeliveries at once would only fail the request."""
    services.telemetry.fault("jit.open.throttled", error, request=request_id)
    services.queues.send_request(request_id, delay=timedelta(seconds=error.retry_after))


def _try(
    services: OpenParts, request_id: str, before: Mapping[str, Before], firewall_id: str
) -> Exception | None:
    """Converge one firewall; an error of one must not keep the others closed."""
    try:
        outcome = converge(services, firewall_id, lets_in=True, before=before[firewall_id])
        if outcome is Outcome.BUSY:
            leave_to_message(services, firewall_id)
        if outcome is Outcome.PARTLY and _is_opening(services, request_id, firewall_id):
            return OutsideError(f"{request_id} could not be settled on {firewall_id}")
    except Exception as error:  # noqa: BLE001 - raised again once the others had their turn
        return error
    return None


def _is_opening(services: HasRows, request_id: str, firewall_id: str) -> bool:
    """Tell whether a request still waits to be open on a firewall."""
    grants = services.rows.read(firewall_id).grants
    return any(
        grant.request_id == request_id and not grant.proven and not grant.is_sealed
        for grant in grants
    )


def _fail_ports_outside_policy(services: OpenParts, known: Known) -> AccessRequest:
    """Fail ports that the policy allows no longer: it may have changed since the request."""
    held, request = known.policy, known.request
    now = services.clock()

    def judge(port: PortRequest) -> PortRequest:
        if not _is_new(port):
            return port
        if port.end_at is not None and port.end_at <= now:
            return close(port, CloseReason.EXPIRED, now)
        if held is None or held.policy.state is PolicyState.DELETING:
            return close(port, CloseReason.FAILED, now, message="the policy no longer exists")
        asked = AskedPort(
            *("", port.vm_id, port.port, port.sources, port.end_at, port.duration),
            bastion=port.bastion,
        )
        asking = Asked.again(request, (asked,))
        broken = check_request(held.policy, asking, services.limits, now).broken
        if broken:
            message = "; ".join(reason.message for reason in broken)
            return close(port, CloseReason.FAILED, now, message=message)
        narrowed, message = narrow_protocol(held.policy, port)
        return close(port, CloseReason.FAILED, now, message=message) if message else narrowed

    return known.change(services, lambda r: change_ports(r, judge))


def _fail_ports_without_permission(services: OpenParts, known: Known) -> AccessRequest:
    """Fail ports without permission or approval: either may have been lost meanwhile.

    A check that could not be made opens nothing: the message comes back.
    """
    request = known.request
    refused: dict[str, str] = {}
    for vm_id in sorted({port.vm_id for port in request.ports if _is_new(port)}):
        decision = services.authorize(request.requestor, Action.INITIATE, vm_id)
        if decision.failed_check:
            raise OutsideError("; ".join(decision.reasons))
        if not decision.allowed:
            refused[key_of(vm_id)] = f"no longer permitted: {'; '.join(decision.reasons)}"
    unapproved = _why_not_approved(known)
    if not refused and not unapproved:
        return request
    now = services.clock()

    def judge(port: PortRequest) -> PortRequest:
        reason = unapproved or refused.get(key_of(port.vm_id), "")
        if not _is_new(port) or not reason:
            return port
        return close(port, CloseReason.FAILED, now, message=reason)

    return known.change(services, lambda r: change_ports(r, judge))


def _why_not_approved(known: Known) -> str:
    """Say which approval is missing, by the policy as it is now; a vote on one's own request does not count."""
    held, request = known.policy, known.request
    needed = held.policy.conditions.approvers_needed if held else 0
    if request.break_glass or not needed:
        return ""
    votes = request.approval.votes if request.approval else ()
    agreed = {
        v.approver.key
        for v in votes
        if v.approved and check_vote(request, v.approver, v.relayed_by).allowed
    }
    if len(agreed) < needed or not all(vote.approved for vote in votes):
        return f"the policy asks for {needed} approvals, and {len(agreed)} were given"
    return ""


def _is_new(port: PortRequest) -> bool:
    return port.status is Status.INITIATING and port.fronts is None


def _find_attachments(
    services: OpenParts, request: AccessRequest, known: Known | None = None
) -> tuple[dict[str, tuple[Attachment, ...] | str], list[Exception]]:
    """Find the firewalls in front of each VM, or why there is no way to open it.

    `known` takes up what was read of the firewalls and of the VMs' rows.
    """
    errors: list[Exception] = []
    found: dict[str, tuple[Attachment, ...] | str] = {}
    known = known or _read_again(services, request)
    for vm_id in sorted({port.vm_id for port in request.ports if _is_new(port)}):
        try:
            found[vm_id] = _find(services, known, vm_id)
        except Exception as error:  # noqa: BLE001 - raised again after the other VMs are open
            errors.append(error)
    return found, errors


def _find(services: OpenParts, known: Known, vm_id: str) -> tuple[Attachment, ...] | str:
    """Find the firewalls in front of one VM; keep what is read of them, for their first plan.

    Nothing is listed where it was when the policy was applied, and no doubt was found. Reconcile
    lists again. A load balancer that came since opens nothing; an address is given once in a
    network, and interfaces of other networks behind the same group are listed all the same.
    """
    started = services.clock()
    machine, neighbours = find_with_neighbours(
        services.machines,
        services.firewalls,
        vm_id,
        lists=_is_doubtful(services, known, vm_id),
    )
    known.seen |= {key: Seen(observed, started) for key, observed in neighbours.seen.items()}
    if machine is None:
        return "the VM does not exist"
    return (
        machine.unreadable
        or neighbours.shared
        or machine.attachments
        or f"no {services.firewalls.label_at(vm_id)} stands in front of the VM, "
        "so there is nothing to open"
    )


def _is_doubtful(services: HasPolicies, known: Known, vm_id: str) -> bool:
    """Tell whether the row of a VM does not say that rules on its addresses decide for it alone."""
    try:
        if key_of(vm_id) not in known.vm_rows:
            known.vm_rows[key_of(vm_id)] = services.policies.vm_row(known.request.policy_id, vm_id)
    except UnreadableRowError:
        return True
    row = known.vm_rows[key_of(vm_id)]
    return row is None or row.doubt != ""


def _begin(
    services: OpenParts,
    request: AccessRequest,
    attachments: dict[str, tuple[Attachment, ...] | str],
    known: Known | None = None,
) -> AccessRequest:
    """Fix each end and the firewalls, or the reason why not, in one write."""
    known = known or _read_again(services, request)
    now, policy = services.clock(), standing(known.policy)

    def begin(port: PortRequest) -> PortRequest:
        found = attachments.get(port.vm_id)
        if found is None or not _is_new(port):
            return port
        if isinstance(found, str):
            return close(port, CloseReason.FAILED, now, message=found)
        problem = why_refused(services, policy, request, port, found)
        if problem:
            return close(port, CloseReason.FAILED, now, message=problem)
        lead = close_lead(services, policy, opened_on(found))
        return begin_opening(port, found, now, lead)

    def begin_all(held: AccessRequest) -> AccessRequest:
        begun = change_ports(held, begin)
        return begun if has_room(begun) else change_ports(held, refuse)

    def refuse(port: PortRequest) -> PortRequest:
        message = "its row has no room for so many firewalls; ask for fewer ports at once"
        return close(port, CloseReason.FAILED, now, message=message) if _is_new(port) else port

    return known.change(services, begin_all)


def why_refused(
    services: HasPace,
    policy: Policy | None,
    request: AccessRequest,
    port: PortRequest,
    attachments: tuple[Attachment, ...],
) -> str:
    """Say why a port is not opened on the firewalls in front of its VM; empty: it is."""
    return _unreachable(port, attachments) or _too_short(
        services, policy, request, port, attachments
    )


def _read_again(services: OpenParts, request: AccessRequest) -> Known:
    stored = services.requests.get(request.id)
    assert stored is not None  # noqa: S101 - the caller has just read it
    return read_known(services, stored)


def _unreachable(port: PortRequest, attachments: tuple[Attachment, ...]) -> str:
    """Say why the firewalls cannot let the sources through; empty: they can."""
    addresses = [address for each in attachments for address in each.addresses]
    if any(of_family(port.sources, f) and of_family(addresses, f) for f in (4, 6)):
        return why_not_openable(for_port(attachments, port.port), port.sources)
    return (
        f"VM '{name_of(port.vm_id)}' has no address of the family of {', '.join(port.sources)} "
        f"(it has {', '.join(addresses)})"
    )


def _too_short(
    services: HasPace,
    policy: Policy | None,
    request: AccessRequest,
    port: PortRequest,
    attachments: Iterable[Attachment],
) -> str:
    """Say that an access is too short for its firewalls, which its policy did not know before."""
    end_at = port.end_at or request.requested_at
    length = end_at - request.requested_at if port.duration is None else port.duration
    return why_too_short(services, policy, port.vm_id, opened_on(attachments), length)


def fail_request(services: OpenParts, request_id: str, message: str) -> None:
    """End what could not be opened, with a reason a person understands and nothing left open."""
    close_early(
        services,
        request_id,
        lambda port: port.status is Status.INITIATING,
        CloseReason.FAILED,
        message=message,
    )
