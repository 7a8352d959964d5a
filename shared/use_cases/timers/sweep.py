"""Look at what is due, and at nothing else. The sweep is the guarantee: it needs no message."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import Enum
from functools import partial

from shared.domain.approval import pending
from shared.domain.grants import has_overdue, is_covered, is_held
from shared.domain.ids import digest, key_of
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
from shared.domain.request import change_ports, close
from shared.ports import Row, UnknownFirewallError
from shared.store.due import Due
from shared.use_cases.audit import record
from shared.use_cases.firewalls.converge import Outcome, OverrunError, converge
from shared.use_cases.firewalls.lanes import lease_key
from shared.use_cases.firewalls.unread import close_past_ends
from shared.use_cases.grants import copy_ends, seal_closed
from shared.use_cases.messages import send_firewall
from shared.use_cases.requests.decide import time_out_approval
from shared.use_cases.services import Services
from shared.use_cases.timers import health as watch
from shared.use_cases.timers.folding import fold_dues
from shared.use_cases.timers.overruns import note_overruns, overran_before

BUDGET = timedelta(seconds=20)  # for each firewall; what takes longer is left to a message
_TURN_SECONDS = 0.5
_Subject = tuple[str, list[Due]]


class _Swept(Enum):
    """How the sweep of one firewall ended."""

    CLOSED = "closed"
    OVERDUE = "overdue"
    OVERRAN = "overran"
    SETTLING = "settling"  # within the time that its kind of firewall takes
    BUSY = "busy"


def sweep_expired(services: Services) -> int:
    """Converge each firewall with something due; return how many could not be finished.

    It also looks one minute ahead: what falls due before the next tick gets a message for that
    second. Losing the message costs promptness, never the closing. Where what is due cannot be
    read, it closes what has ended by its rule's own text, and raises.
    """
    started = services.clock()
    _note_sweep(services, started)
    try:
        dues = _read_dues(services, started + MINUTE)
    except Exception:
        _sweep_unread(services)
        raise
    now_due = [due for due in dues if due.at <= started]
    _announce((due for due in dues if due.at > started), services)
    firewalls = _by_firewall(now_due)
    overdue = _sweep_firewalls(services, firewalls)
    services.workers(lambda dues: _look_after(services, dues), _by_subject(now_due))
    services.telemetry.event(
        "jit.sweep.completed",
        due=len(now_due),
        firewalls=len(firewalls),
        overdue=overdue,
        seconds=(services.clock() - started).total_seconds(),
    )
    return overdue


def sweep_if_late(services: Services) -> None:
    """Run the sweep where the timer has been silent too long; the first to notice does it.

    What fails is reported: the message that noticed has been handled.
    """
    try:
        if watch.reserve_late_sweep(services):
            sweep_expired(services)
    except Exception as error:  # noqa: BLE001 - the next message, or the timer, tries again
        services.telemetry.fault("jit.sweep.failed", error)


def _note_sweep(services: Services, started: datetime) -> None:
    try:
        watch.note_sweep(services, started)
    except Exception as error:  # noqa: BLE001 - closing needs no note
        services.telemetry.fault("jit.sweep.unnoted", error)


def _read_dues(services: Services, until: datetime) -> list[Due]:
    """Read what is due, oldest first; of a row that cannot be decoded, find the firewall."""
    undecoded: list[Row] = []
    dues = services.due.until(until, undecoded=undecoded)
    if undecoded:
        dues += _decode_by_key(services, undecoded)
    return dues


def _decode_by_key(services: Services, rows: Iterable[Row]) -> list[Due]:
    """Find the firewalls that due rows name in their keys, among those that hold our rules."""
    by_digest = {digest(key_of(each)): each for each in _find_ours(services)}
    now = services.clock()
    return [
        Due(now, "firewall", by_digest[each], since=now)
        for each in sorted({row.key.rpartition("|")[2] for row in rows} & by_digest.keys())
    ]


def _sweep_unread(services: Services) -> None:
    """Close what has ended by its rule's own text on every firewall that holds our rules."""
    services.workers(lambda each: _close_unread(services, each), _find_ours(services))


def _find_ours(services: Services) -> list[str]:
    """Return the firewalls that hold something of ours; a list that fails leaves the others."""
    found: dict[str, str] = {}
    for provider in services.firewalls:
        for scope in services.scopes:
            try:
                found |= {key_of(each): each for each in provider.find_ours(scope)}
            except Exception as error:  # noqa: BLE001 - the next sweep tries again
                services.telemetry.fault("jit.sweep.failed", error, scope=scope)
    return list(found.values())


def _close_unread(services: Services, firewall_id: str) -> None:
    try:
        close_past_ends(services, firewall_id)
    except Exception as error:  # noqa: BLE001 - whatever it is, the others must be closed
        services.telemetry.fault("jit.sweep.failed", error, firewall=firewall_id)


def _announce(soon: Iterable[Due], services: Services) -> None:
    now = services.clock()
    for due in soon:
        if due.kind == "firewall":
            send_firewall(services, due.subject, delay=due.at - now)


def _by_firewall(dues: Iterable[Due]) -> list[_Subject]:
    groups: dict[str, list[Due]] = {}
    for due in dues:
        if due.kind == "firewall":
            groups.setdefault(due.subject, []).append(due)
    return list(groups.items())


def _by_subject(dues: Iterable[Due]) -> list[list[Due]]:
    """Group the due rows of requests and policies, so that each is looked after once a sweep."""
    groups: dict[tuple[str, str], list[Due]] = {}
    for due in dues:
        if due.kind != "firewall":
            groups.setdefault((due.kind, key_of(due.subject)), []).append(due)
    return list(groups.values())


def _sweep_firewalls(services: Services, firewalls: list[_Subject]) -> int:
    """Sweep firewalls side by side; return how many have to be looked at again.

    Those that overran in the sweep before come last. Somebody may be at one: they close what has
    ended, but take nothing off. Once the others had their turn we come back, until a lease that
    nobody holds any more would be over.
    """
    before = overran_before(services) if len(firewalls) > 1 else frozenset()
    firewalls = sorted(firewalls, key=lambda each: digest(key_of(each[0])) in before)
    lease = max((services.pace(each[0]).lease for each in firewalls), default=timedelta(0))
    until, overdue = services.clock() + lease, 0
    overran: set[str] = set()
    while firewalls:
        lanes = _by_lane(services, firewalls)
        each_lane = services.workers(partial(_sweep_lane, services), lanes)
        firewalls = [each for lane in lanes for each in lane]
        swept = [how for lane in each_lane for how in lane]
        ended = list(zip(firewalls, swept, strict=True))
        overdue += swept.count(_Swept.OVERDUE) + swept.count(_Swept.OVERRAN)
        overran |= {each[0] for each, how in ended if how is _Swept.OVERRAN}
        firewalls = [each for each, how in ended if how is _Swept.BUSY]
        if services.clock() > until:
            break
        if firewalls:
            services.sleep(_TURN_SECONDS)
    if overran or before:
        note_overruns(services, overran)
    return overdue + len(firewalls)


def _by_lane(services: Services, firewalls: list[_Subject]) -> list[list[_Subject]]:
    """Group firewalls whose writes exclude each other: one worker sweeps them in order."""
    lanes: dict[str, list[_Subject]] = {}
    for each in firewalls:
        lanes.setdefault(_lane_of(services, each[0]), []).append(each)
    return list(lanes.values())


def _lane_of(services: Services, firewall_id: str) -> str:
    try:
        return lease_key(services.firewalls.of(firewall_id), firewall_id)
    except UnknownFirewallError:
        return firewall_id  # sweeping it reports that


def _sweep_lane(services: Services, lane: list[_Subject]) -> list[_Swept]:
    return [_sweep_firewall(services, *each) for each in lane]


def _sweep_firewall(services: Services, firewall_id: str, dues: list[Due]) -> _Swept:
    """Converge one firewall and take off what is done.

    One firewall that fails or overruns keeps its due rows and stops no other.
    """
    try:
        started = services.clock()
        outcome = (
            Outcome.DONE
            if _is_proven(services, firewall_id, dues)
            else converge(services, firewall_id, budget=BUDGET)
        )
        if outcome is Outcome.BUSY:
            return _Swept.BUSY
        if outcome is Outcome.SETTLING:
            return _settling(services, firewall_id, dues)
        _forget(services, services.rows.read(firewall_id), started)
        rows = services.rows.read(firewall_id)
        again = _next_look(services, rows)
        if outcome is Outcome.PARTLY:
            again = min(again or started + MINUTE, started + MINUTE)
        if again is not None:
            services.due.add(again, "firewall", firewall_id, since=started)
        for due in dues:
            services.due.remove(due)
    except OverrunError as error:
        services.telemetry.fault("jit.sweep.overran", error, firewall=firewall_id)
        send_firewall(services, firewall_id)
        return _Swept.OVERRAN
    except Exception as error:  # noqa: BLE001 - whatever it is, the others must still be closed
        services.telemetry.fault("jit.sweep.failed", error, firewall=firewall_id)
        return _Swept.OVERDUE
    return _Swept.OVERDUE if has_overdue(rows, services.clock()) else _Swept.CLOSED


def _is_proven(services: Services, firewall_id: str, dues: list[Due]) -> bool:
    """Tell whether a firewall was read since it fell due, and that read proved all its rows.

    A grant that was sealed then and is proven closed shows such a read: it has also removed every
    rule without a row. Once a grace is over, the firewall is read again.
    """
    rows = services.rows.read(firewall_id)
    now, grace = services.clock(), services.pace(firewall_id).grace
    closed = [g.sealed_at for g in rows.grants if g.sealed_at is not None and g.proven]
    if not closed or max(due.at for due in dues) > max(closed):
        return False
    if rows.undecoded or rows.lacks_grants or any(_is_over(g, now, grace) for g in rows.grants):
        return False
    return all(
        grant.proven and (grant.is_sealed or is_held(grant, now)) and _is_kept(grant, rows)
        for grant in rows.grants
    ) and not any(each.lifted or not (each.proven or each.blocked) for each in rows.protections)


def _is_kept(grant: Grant, rows: FirewallRows) -> bool:
    return grant.is_sealed or is_covered(grant, rows)


def _settling(services: Services, firewall_id: str, dues: list[Due]) -> _Swept:
    """Judge by its pace whether a firewall that was left to a message is late."""
    pace = services.pace(firewall_id)
    late = min(due.at for due in dues) + pace.overdue <= services.clock()
    return _Swept.SETTLING if pace.settle > MINUTE and not late else _Swept.OVERRAN


def _forget(services: Services, rows: FirewallRows, converged_at: datetime) -> None:
    """Delete sealed grants whose grace is over and whose request is final; only the sweep does.

    The converge that has just run began after the grace, so a write of ours that landed late has
    been undone. A delete touches only the row that was read.
    """
    for grant in rows.grants:
        if not _is_over(grant, converged_at, services.pace(grant.firewall_id).grace):
            continue
        try:
            if _request_is_final(services, grant):
                services.rows.delete_grant(grant)
        except Exception as error:  # noqa: BLE001 - a row that stays is looked at again
            services.telemetry.fault("jit.sweep.unpurged", error, request=grant.request_id)


def _is_over(grant: Grant, at: datetime, grace: timedelta) -> bool:
    return grant.sealed_at is not None and grant.proven and grant.sealed_at + grace <= at


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
        max(grant.sealed_at + services.pace(grant.firewall_id).grace, now + MINUTE)
        if grant.proven
        else now + MINUTE
        for grant in rows.grants
        if grant.sealed_at is not None
    ]
    looks += [now + MINUTE for g in rows.grants if not g.is_sealed and g.expires_at <= now]
    return min(looks, default=None)


def _look_after(services: Services, dues: list[Due]) -> None:
    """Look after one request or policy, and move its due rows on together."""
    oldest = min(dues, key=lambda due: due.since)
    try:
        look = _settle_request if oldest.kind == "request" else _settle_policy
        _reschedule(services, dues, look(services, oldest))
    except Exception as error:  # noqa: BLE001 - the rows stay due, and the others go on
        services.telemetry.fault("jit.sweep.failed", error, subject=oldest.subject)


def _reschedule(services: Services, dues: list[Due], again: datetime | None) -> None:
    """Move due rows on, or take them off.

    A row is written before what it watches. So "nothing left" is believed only once the longest
    stall has passed: until then the write it announces may still be on its way.
    """
    newest = max(dues, key=lambda due: due.since)
    settled_at = newest.since + GRACE
    if again is None and services.clock() < settled_at:
        again = settled_at
    if again is not None:
        services.due.add(again, newest.kind, newest.subject, since=newest.since)
    for due in dues:
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
        send_firewall(services, firewall_id)
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
        closes_at = port.closes_at if port.fronts else None
        overdue = closes_at is not None and closes_at + MINUTE <= now
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
