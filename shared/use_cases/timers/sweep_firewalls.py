"""Sweep the firewalls that are due: converge each, and delete the grants that are finished."""

from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum
from functools import partial

from shared.domain.grants import has_overdue
from shared.domain.ids import digest, key_of
from shared.domain.model import MINUTE, FirewallRows, Grant
from shared.ports import UnknownFirewallError
from shared.store.due import Due
from shared.use_cases.firewalls.converge import ConvergeParts, Outcome, OverrunError, converge
from shared.use_cases.firewalls.lanes import lease_key
from shared.use_cases.firewalls.run import Before
from shared.use_cases.firewalls.waiting import is_over, is_proven_since
from shared.use_cases.messages import send_firewall
from shared.use_cases.parts import HasFirewalls, HasRequests
from shared.use_cases.timers.overruns import note_overruns, overran_before

BUDGET = timedelta(seconds=20)  # for each firewall; what takes longer is left to a message
_TURN_SECONDS = 0.5
Subject = tuple[str, list[Due]]


class _Swept(Enum):
    """How the sweep of one firewall ended."""

    CLOSED = "closed"
    OVERDUE = "overdue"
    OVERRAN = "overran"
    SETTLING = "settling"  # within the time that its kind of firewall takes
    BUSY = "busy"


def sweep_firewalls(services: ConvergeParts, firewalls: list[Subject]) -> int:
    """Sweep firewalls side by side; return how many have to be looked at again.

    Those that overran in the sweep before come last. Where another worker holds the lease, it
    closes what has ended, but takes nothing off. Once the others had their turn such a firewall is
    tried again, until a lease whose worker has died would be over.
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


def _by_lane(services: HasFirewalls, firewalls: list[Subject]) -> list[list[Subject]]:
    """Group firewalls whose writes exclude each other: one worker sweeps them in order."""
    lanes: dict[str, list[Subject]] = {}
    for each in firewalls:
        lanes.setdefault(_lane_of(services, each[0]), []).append(each)
    return list(lanes.values())


def _lane_of(services: HasFirewalls, firewall_id: str) -> str:
    try:
        return lease_key(services.firewalls.of(firewall_id), firewall_id)
    except UnknownFirewallError:
        return firewall_id  # sweeping it reports that


def _sweep_lane(services: ConvergeParts, lane: list[Subject]) -> list[_Swept]:
    return [_sweep_firewall(services, *each) for each in lane]


def _sweep_firewall(services: ConvergeParts, firewall_id: str, dues: list[Due]) -> _Swept:
    """Converge one firewall and take off what is done.

    One firewall that fails or overruns keeps its due rows and stops no other.
    """
    try:
        started, outcome = services.clock(), Outcome.DONE
        rows, lease = services.rows.read_with_lease(firewall_id)
        is_proven = _is_proven(services, firewall_id, rows, dues)
        if not is_proven:
            outcome = converge(services, firewall_id, budget=BUDGET, before=Before(lease=lease))
        if outcome is Outcome.BUSY:
            return _Swept.BUSY
        if outcome is Outcome.SETTLING:
            return _settling(services, firewall_id, dues)
        rows = _purge_sealed(
            services, rows if is_proven else services.rows.read(firewall_id), started
        )
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


def _is_proven(
    services: ConvergeParts, firewall_id: str, rows: FirewallRows, dues: list[Due]
) -> bool:
    """Tell whether a firewall was read since it fell due, and that read proved all its rows."""
    grace = services.pace(firewall_id).grace
    return is_proven_since(rows, max(due.at for due in dues), services.clock(), grace)


def _settling(services: ConvergeParts, firewall_id: str, dues: list[Due]) -> _Swept:
    """Judge by its pace whether a firewall that was left to a message is late."""
    pace = services.pace(firewall_id)
    late = min(due.at for due in dues) + pace.overdue <= services.clock()
    return _Swept.SETTLING if pace.settle > MINUTE and not late else _Swept.OVERRAN


def _purge_sealed(
    services: ConvergeParts, rows: FirewallRows, converged_at: datetime
) -> FirewallRows:
    """Delete sealed grants whose grace is over and whose request is final; return what is left.

    Only the sweep deletes them. The converge that has just run began after the grace, so a write of
    ours that landed late has been undone. A delete touches only the row that was read.
    """
    deleted = set()
    for grant in rows.grants:
        if not is_over(grant, converged_at, services.pace(grant.firewall_id).grace):
            continue
        try:
            if _request_is_final(services, grant):
                services.rows.delete_grant(grant)
                deleted.add(grant.key)
        except Exception as error:  # noqa: BLE001 - a row that stays is looked at again
            services.telemetry.fault("jit.sweep.unpurged", error, request=grant.request_id)
    return replace(rows, grants=tuple(each for each in rows.grants if each.key not in deleted))


def _request_is_final(services: HasRequests, grant: Grant) -> bool:
    held = services.requests.get(grant.request_id)
    port = held.request.port(grant.vm_id, grant.port) if held else None
    return port is None or port.is_final


def _next_look(services: ConvergeParts, rows: FirewallRows) -> datetime | None:
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
