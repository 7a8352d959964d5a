"""Compare every policy and every firewall with lists, and repair what differs.

A run reads a few lists of the cloud and all rows page by page. Only a policy or a firewall that
differs is read by itself. The work of one run is bounded: policies take turns, and what a run has
no time for gets a message.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from shared.domain.ids import key_of, places_in, row_key
from shared.domain.model import Policy
from shared.ports import FirewallProvider, Row
from shared.store.policies import VmRow
from shared.use_cases.firewalls.converge import converge
from shared.use_cases.firewalls.paths import with_firewalls
from shared.use_cases.messages import send_firewall
from shared.use_cases.parts import (
    HasExportAudit,
    HasExports,
    HasInventory,
    HasKeepActivity,
    HasKeepRequests,
    HasNames,
    HasPolicies,
    HasPurges,
    HasScopes,
    HasTables,
    HasTelemetry,
)
from shared.use_cases.policies.apply import ApplyParts, apply_policy
from shared.use_cases.policies.findings import (
    Finding,
    FindingType,
    judge_exposure,
    note_exposure,
    note_warnings,
    read_findings,
)
from shared.use_cases.timers.compare import (
    Estate,
    count_open,
    governed_by,
    is_applied,
    is_converged,
    missing_firewalls,
)
from shared.use_cases.timers.reindex import list_missing
from shared.use_cases.timers.retention import purge_old

# The platform ends a run after ten minutes. A piece that began in time may take some minutes more.
POLICY_TIME = timedelta(minutes=4)
FIREWALL_TIME = timedelta(minutes=5)
FIREWALL_BUDGET = timedelta(minutes=1)
MOST_NOTES = 1_000  # written in one run, by VMs whose policies an older version stored
MOST_MESSAGES = 200  # in one run, for policies it had no time for
_MARKER = ("health", "reconcile")


class ReconcileParts(
    ApplyParts,
    HasExportAudit,
    HasExports,
    HasInventory,
    HasKeepActivity,
    HasKeepRequests,
    HasNames,
    HasPurges,
    HasScopes,
    Protocol,
):
    """The parts for reconciling everything: nearly every part, as it repeats the work of the others."""


@dataclass
class _Run:
    """The findings and results of one run."""

    started: datetime
    estate: Estate
    failed: int = 0
    unlisted: set[str] = field(default_factory=set)  # firewalls to converge without comparing
    due: dict[str, str] = field(default_factory=dict)  # firewalls that differ: id by key
    looked_at: set[str] = field(default_factory=set)
    policies: list[Policy] = field(default_factory=list)
    vm_rows: dict[str, list[VmRow]] = field(default_factory=dict)
    differ: list[Policy] = field(default_factory=list)
    left: int = 0


def reconcile(services: ReconcileParts) -> int:
    """Find and repair what no due row leads to; return how many pieces failed.

    Firewalls that differ come first, except behind a policy that is about to be applied: rows that
    were lost come back with it. Retention comes next. Policies that differ come last, each run
    going on after the one at which the run before stopped.
    """
    run = _Run(services.clock(), Estate(services.names.is_ours))
    stopped_at = _stopped_at(services, run)
    try:
        _list_everything(services, run)
        _compare_firewalls(services, run)
        _compare_policies(services, run, run.policies)
        waiting = {key_of(each.id) for each in run.differ} - {stopped_at}
        _converge_apart(services, run, waiting)
        services.firewalls.guard.renew()
    finally:
        purge_old(services)
        list_missing(services)
        _apply_in_turn(services, run, stopped_at)
        _converge(services, run, set(run.due))
        _try(services, run, "warnings", partial(note_warnings, services))
        _report(services, run)
    return run.failed


def _report(services: ReconcileParts, run: _Run) -> None:
    services.telemetry.event(
        "jit.reconcile.completed",
        firewalls=len(run.looked_at),
        grants=count_open(run.estate, run.looked_at),
        failed=run.failed,
        policies=len(run.differ),
        left=run.left,
        seconds=(services.clock() - run.started).total_seconds(),
    )


def _try(services: HasTelemetry, run: _Run, subject: str, work: Callable[[], object]) -> bool:
    """Do one piece; what fails is tried again next time and stops no other."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - whatever it is, the others must be looked at
        services.telemetry.fault("jit.reconcile.failed", error, subject=subject)
        run.failed += 1
        return False
    return True


# --- listing -----------------------------------------------------------------------------------


def _list_everything(services: ReconcileParts, run: _Run) -> None:
    """List the cloud and then the rows, one subscription at a time."""
    for subscription in sorted({scope.split("/")[2].lower() for scope in services.scopes}):
        listed: list[FirewallProvider] = []
        list_one = partial(_list_one, services, run.estate, subscription, listed)
        if not _try(services, run, subscription, list_one):
            listed = []
        _find_ours(services, run, subscription, listed)
    if _try(services, run, "policies", partial(_read_policies, services, run)):
        _try(services, run, "notes", partial(_note_policies, services, run))


def _read_policies(services: HasPolicies, run: _Run) -> None:
    policies = services.policies.everything()
    run.vm_rows = services.policies.all_vm_rows()
    run.policies = policies


def _note_policies(services: ReconcileParts, run: _Run) -> None:
    """Note by each VM which policies list it, a bounded piece at a time, until all are noted.

    From then on a note is written before each policy.
    """
    policies = services.policies
    if policies.all_noted():
        return
    missing = policies.missing_notes(run.policies)
    services.workers(lambda each: policies.note_policy_of(*each), missing[:MOST_NOTES])
    if len(missing) <= MOST_NOTES:
        policies.mark_all_noted()


def _list_one(
    services: ReconcileParts, estate: Estate, subscription: str, providers: list[FirewallProvider]
) -> None:
    """Take in what is listed of a subscription; `providers` gets those whose firewalls it shows."""
    listed = services.inventory.read(places_in(services.scopes, subscription))
    machines = with_firewalls(services.firewalls, listed.machines)
    rows = services.rows.read_all(subscription)
    estate.take_in(listed, machines, rows, subscription)
    shown = {key: services.firewalls.of(key) for key in listed.firewalls}
    providers += {id(each): each for each in shown.values()}.values()


def _find_ours(
    services: ReconcileParts, run: _Run, subscription: str, listed: Sequence[FirewallProvider]
) -> None:
    """Find the firewalls that bear our mark where the lists do not show them."""
    for scope in services.scopes:
        if scope.split("/")[2].lower() != subscription:
            continue
        for provider in services.firewalls:
            if not any(provider is each for each in listed):
                _try(services, run, scope, partial(_find_in, run, provider, scope))


def _find_in(run: _Run, provider: FirewallProvider, scope: str) -> None:
    run.unlisted.update(provider.find_ours(scope))


# --- comparing ---------------------------------------------------------------------------------


def _compare_firewalls(services: ReconcileParts, run: _Run) -> None:
    """Note the firewalls that differ from their rows, and those that were not listed."""
    run.due.update({key_of(each): each for each in run.unlisted})
    estate = run.estate
    run.due.update({key_of(each): each for each in missing_firewalls(estate)})
    for key in sorted(estate.marked | estate.firewalls_with_rows()):
        observed = estate.observed[key]
        run.looked_at.add(key)
        compare = partial(is_converged, services, observed, estate)
        if not _holds(services, observed.firewall_id, compare):
            run.due[key] = observed.firewall_id


def _compare_policies(services: ReconcileParts, run: _Run, policies: Iterable[Policy]) -> None:
    """Note the policies that differ from what is stored and what was listed."""
    for policy in policies:
        rows = run.vm_rows.get(key_of(policy.id), [])
        compare = partial(is_applied, services, policy, rows, run.estate)
        if not _holds(services, policy.id, compare):
            run.differ.append(policy)


def _holds(services: HasTelemetry, subject: str, compare: Callable[[], bool]) -> bool:
    """Tell whether a comparison found no difference; one that fails is a difference."""
    try:
        return compare()
    except Exception as error:  # noqa: BLE001 - whatever it is, the subject is read by itself
        services.telemetry.fault("jit.reconcile.uncompared", error, subject=subject)
        return False


def _note_exposures(services: ReconcileParts, run: _Run) -> None:
    """Store the exposures under policies that are not applied, where they have changed."""
    findings = read_findings(services, FindingType.EXPOSED, limit=0)
    known = {key_of(each.policy_id): each for each in findings}
    differ = {key_of(policy.id) for policy in run.differ}
    for policy in run.policies:
        if key_of(policy.id) not in differ:
            note = partial(_note_exposure, services, run.estate, policy, known)
            _try(services, run, policy.id, note)


def _note_exposure(
    services: ReconcileParts, estate: Estate, policy: Policy, known: dict[str, Finding]
) -> None:
    governed = governed_by(policy, estate)
    finding, complete = judge_exposure(services, policy.id, governed, estate.observed)
    before = known.get(key_of(policy.id))
    if finding != before and (finding or complete):
        note_exposure(services, policy.id, governed, estate.observed, complete=complete)


# --- repairing ---------------------------------------------------------------------------------


def _converge_apart(services: ReconcileParts, run: _Run, waiting: set[str]) -> None:
    """Converge the firewalls behind no policy that waits, and compare their policies again."""
    converged = _converge(services, run, set(run.due) - _firewalls_behind(run, waiting))
    differ = {key_of(policy.id) for policy in run.differ}
    behind = [
        policy
        for policy in run.policies
        if key_of(policy.id) not in differ
        and converged & _firewalls_behind(run, {key_of(policy.id)})
    ]
    _compare_policies(services, run, behind if converged else [])
    _try(services, run, "findings", partial(_note_exposures, services, run))


def _firewalls_behind(run: _Run, policies: set[str]) -> set[str]:
    """Return the keys of the firewalls that some policies name or stand behind."""
    named = {
        firewall
        for policy in policies
        for row in run.vm_rows.get(policy, [])
        for firewall in row.firewalls
    }
    attached = {
        each.firewall_id
        for policy in run.policies
        if key_of(policy.id) in policies
        for vm in policy.vms
        if (machine := run.estate.machines.get(key_of(vm.id)))
        for each in machine.attachments
    }
    return {key_of(each) for each in named | attached}


def _converge(services: ReconcileParts, run: _Run, keys: Iterable[str]) -> set[str]:
    """Converge some firewalls that differ, side by side; return those whose reads were seen."""
    firewalls = [run.due.pop(key) for key in sorted(keys)]
    run.looked_at |= {key_of(each) for each in firewalls}
    until = services.clock() + FIREWALL_TIME

    def work(firewall_id: str) -> None:
        if services.clock() >= until:
            send_firewall(services, firewall_id)
            return
        converge(services, firewall_id, budget=FIREWALL_BUDGET, settled=run.estate.saw)
        run.estate.rows[row_key(firewall_id)] = services.rows.read(firewall_id)

    done = services.workers(lambda each: _try(services, run, each, partial(work, each)), firewalls)
    return {key_of(each) for each, well in zip(firewalls, done, strict=True) if well}


def _apply_in_turn(services: ReconcileParts, run: _Run, stopped_at: str) -> None:
    """Apply the policies that differ, beginning after the one at which the last run stopped.

    The policy is noted before it is applied. One that always takes the whole run is thus the last
    to be tried in the next.
    """
    ordered = sorted(run.differ, key=lambda policy: key_of(policy.id))
    ordered.sort(key=lambda policy: key_of(policy.id) <= stopped_at)
    noted = stopped_at
    for at, policy in enumerate(ordered):
        if services.clock() - run.started >= POLICY_TIME:
            _send_rest(services, run, ordered[at:])
            return
        noted = key_of(policy.id)
        _try(services, run, policy.id, partial(_note, services, noted))
        if _try(services, run, policy.id, partial(apply_policy, services, policy.id)):
            applied = _firewalls_behind(run, {noted})
            run.looked_at |= applied
            for key in applied & run.due.keys():
                del run.due[key]
    if noted:
        _try(services, run, "marker", partial(_note, services, ""))


def _send_rest(services: ReconcileParts, run: _Run, policies: list[Policy]) -> None:
    """Send messages for the policies this run has no time for; their firewalls go with them."""
    run.left = len(policies)
    for policy in policies[:MOST_MESSAGES]:
        _try(services, run, policy.id, partial(services.queues.send_policy, policy.id))
    for key in _firewalls_behind(run, {key_of(each.id) for each in policies}) & run.due.keys():
        del run.due[key]


def _stopped_at(services: ReconcileParts, run: _Run) -> str:
    """Return the key of the policy at which the last run stopped; empty: it came to its end."""
    found: list[str] = []

    def read() -> None:
        row = services.tables.firewalls.get(*_MARKER)
        found.append(str(row.values.get("policy", "")) if row else "")

    return found[0] if _try(services, run, "marker", read) else ""


def _note(services: HasTables, policy_key: str) -> None:
    services.tables.firewalls.upsert(Row(*_MARKER, {"policy": policy_key}))
