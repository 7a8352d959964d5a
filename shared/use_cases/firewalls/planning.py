"""Judge one firewall: read its rows, sync them with their requests, and plan its changes.

Whatever fails about one row, the plan for all others is made. A grant that fails is not wanted; a
protection that fails keeps its deny.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared.domain.ids import digest, key_of
from shared.domain.model import Access, FirewallRows, Protection, SecurityRule
from shared.domain.rules import Plan, Wanted, allow_rules, current_grants, plan, superseded, wanted
from shared.ports import OutsideError, Snapshot
from shared.use_cases.firewalls.failures import Failures, Subject
from shared.use_cases.firewalls.sync_grants import Aligner
from shared.use_cases.services import Services


@dataclass
class Refusals:
    """What the firewall turned down in this run, so that it is not tried again."""

    rules: dict[str, str] = field(default_factory=dict)
    flush: bool = False


@dataclass(frozen=True)
class Judged:
    """What one firewall should hold by its rows, and the changes that lead there."""

    rows: FirewallRows
    want: Wanted
    changes: Plan
    failures: Failures


def judge(services: Services, snapshot: Snapshot, refusals: Refusals) -> Judged:
    """Judge a firewall by its rows. Raises what reading them raises, and what isolates no row."""
    now = services.clock()
    rows = services.rows.read(snapshot.firewall_id)
    failures = Failures(services, snapshot.firewall_id)
    try:
        return _judge(services, snapshot, refusals, rows, now, failures)
    except OutsideError:
        raise
    except Exception as error:  # noqa: BLE001 - one row is to blame, and the others must close
        services.telemetry.fault("jit.plan.failed", error, firewall=snapshot.firewall_id)
    failures = Failures(services, snapshot.firewall_id)
    sound = _plannable(services, snapshot, rows, now, failures)
    return _judge(services, snapshot, refusals, sound, now, failures)


def _judge(
    services: Services,
    snapshot: Snapshot,
    refusals: Refusals,
    rows: FirewallRows,
    now: datetime,
    failures: Failures,
) -> Judged:
    synced = Aligner(services, snapshot.firewall_id, failures).align(rows, now)
    for protection in synced.protections:
        if protection.lifted and _is_undecoded(synced, protection):
            failures.note(protection, ValueError("another row of its VM cannot be decoded"))
    want = wanted(synced, now, services.names)
    changes = plan_changes(services, snapshot, synced, want, refusals)
    return Judged(synced, want, _withhold(services, synced, changes, failures), failures)


def plan_changes(
    services: Services, snapshot: Snapshot, rows: FirewallRows, want: Wanted, refusals: Refusals
) -> Plan:
    """Plan what makes a firewall hold what is wanted; a firewall that is gone holds nothing."""
    if not snapshot.exists:
        gone = "the network security group no longer exists"
        return Plan(blocked={rule.name: gone for rule in want.rules})
    rules = _with_kept_denies(services, snapshot, rows, want)
    changes = plan(snapshot.rules, rules, services.names, services.band, refusals.rules)
    ends_sessions = any(p.flush_connections and not p.lifted for p in rows.protections)
    may = not snapshot.flushes_connections and not refusals.flush
    if ends_sessions and may and services.firewall.writes_whole():
        return replace(changes, flush_connections=True)
    return changes


def _withhold(services: Services, rows: FirewallRows, changes: Plan, failures: Failures) -> Plan:
    """Leave out the openings of grants whose requests did not answer."""
    names = {
        rule.name
        for grant in rows.grants
        if grant.key in failures.withheld
        for rule in allow_rules(grant, services.names)
    }
    return replace(changes, put=tuple(rule for rule in changes.put if rule.name not in names))


def _plannable(
    services: Services, snapshot: Snapshot, rows: FirewallRows, now: datetime, failures: Failures
) -> FirewallRows:
    """Keep the rows that can be planned, each tried by itself; raises what is no row's fault."""

    def attempt(some: FirewallRows) -> None:
        superseded(current_grants(some, now))
        want = wanted(some, now, services.names)
        plan_changes(services, snapshot, some, want, Refusals())

    def is_plannable(subject: Subject, some: FirewallRows) -> bool:
        try:
            attempt(some)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are planned
            failures.note(subject, error)
            return False
        return True

    attempt(FirewallRows())
    sound = tuple(p for p in rows.protections if is_plannable(p, FirewallRows((p,))))
    unsound = {digest(key_of(p.vm_id)) for p in rows.protections if p not in sound}
    grants = tuple(g for g in rows.grants if is_plannable(g, FirewallRows(sound, (g,))))
    return FirewallRows(sound, grants, rows.undecoded | unsound)


def _with_kept_denies(
    services: Services, snapshot: Snapshot, rows: FirewallRows, want: Wanted
) -> tuple[SecurityRule, ...]:
    """Want every deny of ours that a protection which cannot be decoded may stand behind."""
    if not rows.undecoded:
        return want.rules
    names = services.names
    lifted = {
        names.deny(each.vm_id, family).lower()
        for each in rows.protections
        if each.lifted and not _is_undecoded(rows, each)
        for family in (4, 6)
    }
    present = {
        rule.name.lower(): rule
        for rule in snapshot.rules
        if rule.access is Access.DENY and names.is_ours(rule.name)
    }
    rules = [
        _widest(rule, present) if _may_be_wider(services, rows, rule) else rule
        for rule in want.rules
    ]
    known = {rule.name.lower() for rule in rules} | lifted
    return (*rules, *(rule for name, rule in present.items() if name not in known))


def _is_undecoded(rows: FirewallRows, protection: Protection) -> bool:
    return digest(key_of(protection.vm_id)) in rows.undecoded


def _may_be_wider(services: Services, rows: FirewallRows, rule: SecurityRule) -> bool:
    return rule.name in {
        services.names.deny(each.vm_id, family)
        for each in rows.protections
        if _is_undecoded(rows, each)
        for family in (4, 6)
    }


def _widest(rule: SecurityRule, present: Mapping[str, SecurityRule]) -> SecurityRule:
    """Take over the ports and addresses that a deny already covers."""
    standing = present.get(rule.name.lower(), rule)
    return replace(
        rule,
        ports=tuple(dict.fromkeys((*rule.ports, *standing.ports))),
        destinations=tuple(dict.fromkeys((*rule.destinations, *standing.destinations))),
    )
