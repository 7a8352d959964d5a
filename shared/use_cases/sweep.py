"""Look at what is due, and at nothing else. The sweep is the guarantee: it needs nobody."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import Enum

from shared.domain.approval import pending
from shared.domain.lifecycle import change_ports, close
from shared.domain.model import (
    GRACE,
    MINUTE,
    AccessRequest,
    CloseReason,
    FirewallRows,
    Grant,
    PolicyState,
    PortRequest,
    Status,
)
from shared.domain.rules import has_overdue
from shared.use_cases import watch
from shared.use_cases.approval import copy_ends, time_out_approval
from shared.use_cases.closing import seal_closed
from shared.use_cases.converge import LEASE, Outcome, converge
from shared.use_cases.facts import record
from shared.use_cases.folding import fold_dues
from shared.use_cases.interfaces import RowChangedError
from shared.use_cases.rows import Due
from shared.use_cases.services import Services

_TURN_SECONDS = 0.5


class _Swept(Enum):
    """How the sweep of one firewall ended."""

    CLOSED = "closed"
    OVERDUE = "overdue"
    BUSY = "busy"


def sweep_expired(services: Services) -> int:
    """Converge each firewall with something due; return how many could not be finished.

    It also looks one minute ahead: what falls due before the next tick gets a message for that
    second. Losing the message costs promptness, never the closing.
    """
    started = services.clock()
    watch.note_sweep(services, started)
    dues = services.due.until(started + MINUTE)
    now_due = [due for due in dues if due.at <= started]
    _announce((due for due in dues if due.at > started), services)
    firewalls = _by_firewall(now_due)
    overdue = _sweep_firewalls(services, firewalls)
    others = [due for due in now_due if due.kind != "firewall"]
    services.workers(lambda due: _look_after(services, due), others)
    services.telemetry.event(
        "jit.sweep.completed",
        due=len(now_due),
        firewalls=len(firewalls),
        overdue=overdue,
        seconds=(services.clock() - started).total_seconds(),
    )
    return overdue


def sweep_if_late(services: Services) -> None:
    """Run the sweep where the timer has been silent too long; the first to notice does it."""
    if watch.claim_late_sweep(services):
        sweep_expired(services)


def _announce(soon: Iterable[Due], services: Services) -> None:
    now = services.clock()
    for due in soon:
        if due.kind == "firewall":
            services.queues.send_firewall(due.subject, delay=max(due.at - now, timedelta(0)))


def _by_firewall(dues: Iterable[Due]) -> list[tuple[str, list[Due]]]:
    groups: dict[str, list[Due]] = {}
    for due in dues:
        if due.kind == "firewall":
            groups.setdefault(due.subject, []).append(due)
    return list(groups.items())


def _sweep_firewalls(services: Services, firewalls: list[tuple[str, list[Due]]]) -> int:
    """Sweep firewalls side by side; return how many have to be looked at again.

    Somebody may be at one: they close what has ended, but take nothing off. Once the others had
    their turn we come back, until a lease that nobody holds any more would be over.
    """
    until, overdue = services.clock() + LEASE, 0
    while True:
        swept = services.workers(lambda each: _sweep_firewall(services, *each), firewalls)
        overdue += swept.count(_Swept.OVERDUE)
        firewalls = [each for each, how in zip(firewalls, swept, strict=True) if how is _Swept.BUSY]
        if not firewalls or services.clock() > until:
            return overdue + len(firewalls)
        services.sleep(_TURN_SECONDS)


def _sweep_firewall(services: Services, firewall_id: str, dues: list[Due]) -> _Swept:
    """Converge one firewall and take off what is done.

    One firewall that fails keeps its due rows and stops no other.
    """
    try:
        started = services.clock()
        if converge(services, firewall_id) is Outcome.BUSY:
            return _Swept.BUSY
        _forget(services, services.rows.read(firewall_id), started)
        rows = services.rows.read(firewall_id)
        again = _next_look(services, rows)
        if again is not None:
            services.due.add(again, "firewall", firewall_id, since=started)
        for due in dues:
            services.due.remove(due)
    except Exception as error:  # noqa: BLE001 - whatever it is, the others must still be closed
        services.telemetry.fault("jit.sweep.failed", error, firewall=firewall_id)
        return _Swept.OVERDUE
    return _Swept.OVERDUE if has_overdue(rows, services.clock()) else _Swept.CLOSED


def _forget(services: Services, rows: FirewallRows, converged_at: datetime) -> None:
    """Delete sealed grants whose grace is over and whose request is final; only the sweep does.

    The converge that has just run began after the grace, so a write of ours that landed late has
    been undone. A delete touches only the row that was read.
    """
    for grant in rows.grants:
        if _is_over(grant, converged_at) and _request_is_final(services, grant):
            try:
                services.rows.delete_grant(grant)
            except RowChangedError:
                continue


def _is_over(grant: Grant, at: datetime) -> bool:
    return grant.sealed_at is not None and grant.proven and grant.sealed_at + GRACE <= at


def _request_is_final(services: Services, grant: Grant) -> bool:
    held = services.requests.get(grant.request_id)
    port = held.request.port(grant.vm_id, grant.port) if held else None
    return port is None or port.is_final


def _next_look(services: Services, rows: FirewallRows) -> datetime | None:
    """Say when a firewall's sealed and overdue grants need the next look; None: never.

    Wanted grants have due rows of their own, at their expiry.
    """
    now = services.clock()
    looks = [
        max(grant.sealed_at + GRACE, now + MINUTE) if grant.proven else now + MINUTE
        for grant in rows.grants
        if grant.sealed_at is not None
    ]
    looks += [now + MINUTE for g in rows.grants if not g.is_sealed and g.expires_at <= now]
    return min(looks, default=None)


def _look_after(services: Services, due: Due) -> None:
    try:
        look = _settle_request if due.kind == "request" else _settle_policy
        _reschedule(services, due, look(services, due))
    except Exception as error:  # noqa: BLE001 - the row stays due, and the others go on
        services.telemetry.fault("jit.sweep.failed", error, subject=due.subject)


def _reschedule(services: Services, due: Due, again: datetime | None) -> None:
    """Move a due row on, or take it off.

    A row is written before what it watches. So "nothing left" is believed only once the longest
    stall has passed: until then the write it announces may still be on its way.
    """
    settled_at = due.since + GRACE
    if again is None and services.clock() < settled_at:
        again = settled_at
    if again is not None:
        services.due.add(again, due.kind, due.subject, since=due.since)
    services.due.remove(due)


def _settle_request(services: Services, due: Due) -> datetime | None:
    """Send a request on its way where it is stuck; return when to look again, None: never.

    What happened long before the due row was written had a due row of its own.
    """
    request_id = due.subject
    held = services.requests.get(request_id)
    if held is None:
        return None
    request = _end_overdue(services, time_out_approval(services, held.request))
    record(services, request, since=due.since - GRACE)
    fold_dues(services, request)
    if request.is_final:
        services.requests.forget_live(request)
        return None
    for firewall_id in seal_closed(services, request):
        services.queues.send_firewall(firewall_id)
    copy_ends(services, request)
    now = services.clock()
    if any(_is_waiting(port) for port in request.ports):
        services.queues.send_request(request_id)
        return now + MINUTE
    if any(port.closing and not port.is_final for port in request.ports):
        return now + MINUTE
    approval = pending(request)
    return approval.deadline if approval else None


def _end_overdue(services: Services, request: AccessRequest) -> AccessRequest:
    """Close what its firewalls should have closed a minute ago: their rows may be lost."""
    now = services.clock()

    def end(port: PortRequest) -> PortRequest:
        overdue = port.fronts and port.end_at is not None and port.end_at + MINUTE <= now
        return close(port, CloseReason.EXPIRED, now) if overdue else port

    return services.requests.change(request.id, lambda r: change_ports(r, end)) or request


def _is_waiting(port: PortRequest) -> bool:
    return port.status is Status.INITIATING and not port.closing


def _settle_policy(services: Services, due: Due) -> datetime | None:
    policy_id = due.subject
    held = services.policies.get(policy_id)
    if held is None or held.policy.state in {PolicyState.SUCCEEDED, PolicyState.FAILED}:
        return None
    services.queues.send_policy(policy_id)
    return services.clock() + MINUTE
