"""Compare policies and firewalls with lists of the cloud and of our rows, and change nothing.

A list is older than a read. A difference here is therefore only a reason to apply a policy or to
converge a firewall, both of which read again. Firewalls are listed before their rows are read, so
that a rule which was just opened is not taken for an orphan.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from shared.domain.desired import Observed, Verdict
from shared.domain.ids import key_of, row_key
from shared.domain.machine_ids import AzureVm, parse_machine_id
from shared.domain.model import (
    Attachment,
    FirewallRows,
    Grant,
    Policy,
    PolicyState,
    Protection,
)
from shared.domain.texts import shorten
from shared.ports import Listed, Machine
from shared.store.policies import VmRow
from shared.use_cases.firewalls.failures import Failures
from shared.use_cases.firewalls.paths import find_exposures, observed_of
from shared.use_cases.firewalls.planning import Judged, PlanningParts, intents, judge
from shared.use_cases.parts import HasFirewalls
from shared.use_cases.policies.apply import describe_problems
from shared.use_cases.policies.findings import Governed
from shared.use_cases.policies.protect import unprotectable

_FINISHED = frozenset({PolicyState.SUCCEEDED, PolicyState.FAILED})
_NO_ROWS = FirewallRows()


@dataclass
class Estate:
    """A listing: the cloud's machines and firewalls, and after them our rows."""

    is_ours: Callable[[str], bool]  # by the name of a rule
    machines: dict[str, Machine] = field(default_factory=dict)
    observed: dict[str, Observed] = field(default_factory=dict)
    marked: set[str] = field(default_factory=set)  # firewalls that hold a rule of ours
    unsettled: set[str] = field(default_factory=set)
    rows: dict[str, FirewallRows] = field(default_factory=dict)
    subscriptions: set[str] = field(default_factory=set)  # of which everything was listed

    def take_in(
        self,
        listed: Listed,
        machines: Iterable[Machine],
        rows: Mapping[str, FirewallRows],
        subscription: str,
    ) -> None:
        """Take in the lists of one subscription."""
        self.machines.update({key_of(each.id): each for each in machines})
        for key, snapshot in listed.firewalls.items():
            self.observed[key] = observed_of(snapshot)
            if any(self.is_ours(rule.name) for rule in snapshot.rules):
                self.marked.add(key)
        self.unsettled |= listed.unsettled
        self.rows.update(rows)
        self.subscriptions.add(subscription)

    def firewalls_with_rows(self) -> set[str]:
        """Return the keys of the listed firewalls for which something is stored."""
        return {key for key in self.observed if _is_kept(self.rows.get(row_key(key), _NO_ROWS))}

    def rows_of(self, firewall_id: str) -> FirewallRows:
        """Return the rows of a firewall."""
        return self.rows.get(row_key(firewall_id), _NO_ROWS)

    def saw(self, observed: Observed) -> None:
        """Take over a read that is newer than the list."""
        key = key_of(observed.firewall_id)
        self.unsettled.discard(key)
        if observed.exists:
            self.observed[key] = observed
        else:
            self.observed.pop(key, None)

    def covers(self, machine_id: str) -> bool:
        """Tell whether a machine would be listed if it existed."""
        parsed = parse_machine_id(machine_id)
        return isinstance(parsed, AzureVm) and parsed.subscription.lower() in self.subscriptions


def _is_kept(rows: FirewallRows) -> bool:
    return bool(rows.protections or rows.grants or rows.undecoded)


def _protections(rows: FirewallRows) -> dict[tuple[str, str], Protection]:
    return {(key_of(each.policy_id), key_of(each.vm_id)): each for each in rows.protections}


# --- policies ----------------------------------------------------------------------------------


def is_applied(
    services: HasFirewalls, policy: Policy, rows: Iterable[VmRow], estate: Estate
) -> bool:
    """Tell whether applying a policy would store nothing new."""
    if policy.state not in _FINISHED or not all(estate.covers(vm.id) for vm in policy.vms):
        return False
    noted = {key_of(row.vm_id): row for row in rows}
    if noted.keys() != {key_of(vm.id) for vm in policy.vms}:
        return False
    problems: dict[str, str] = {}
    protections = cache(lambda key: _protections(estate.rows.get(key, _NO_ROWS)))
    for vm in policy.vms:
        machine = estate.machines.get(key_of(vm.id))
        attachments = machine.attachments if machine else ()
        closing = [each for each in attachments if each.closes]
        ports = tuple(sorted(rule.number for rule in vm.ports))
        if not ports or _keys(noted[key_of(vm.id)].firewalls) != _keys(
            each.firewall_id for each in closing
        ):
            return False
        blocked = ""
        for attachment in closing:
            of_firewall = protections(row_key(attachment.firewall_id))
            stored = of_firewall.get((key_of(policy.id), key_of(vm.id)))
            if stored is None or not _is_in_force(stored, attachment, ports, policy):
                return False
            blocked = blocked or stored.blocked
        problem = unprotectable(services.firewalls, machine)
        if not problem and blocked and not _is_closed(services, vm.id, attachments, ports, estate):
            problem = blocked
        if problem:
            problems[vm.id] = problem
    return describe_problems(problems) == policy.error


def _keys(firewall_ids: Iterable[str]) -> set[str]:
    return {key_of(each) for each in firewall_ids}


def _is_in_force(
    stored: Protection, attachment: Attachment, ports: tuple[int, ...], policy: Policy
) -> bool:
    """Tell whether a protection is the one that a policy wants, and was settled."""
    same = (stored.ports, stored.addresses) == (ports, attachment.addresses)
    flushes = stored.flush_connections == policy.conditions.flush_connections
    return same and flushes and not stored.lifted and (stored.proven or bool(stored.blocked))


def _is_closed(
    services: HasFirewalls,
    vm_id: str,
    attachments: Iterable[Attachment],
    ports: Iterable[int],
    estate: Estate,
) -> bool:
    attached = tuple(attachments)
    if any(key_of(each.firewall_id) not in estate.observed for each in attached):
        return False
    return not find_exposures(services.firewalls, vm_id, attached, estate.observed, ports)


def governed_by(policy: Policy, estate: Estate) -> list[Governed]:
    """Return the VMs of a policy that were listed, with their ports and firewalls."""
    return [
        Governed(vm.id, tuple(sorted(rule.number for rule in vm.ports)), machine.attachments)
        for vm in policy.vms
        if (machine := estate.machines.get(key_of(vm.id)))
    ]


# --- firewalls ---------------------------------------------------------------------------------


def missing_firewalls(estate: Estate) -> set[str]:
    """Return the ids of the firewalls that have rows and were not listed."""
    listed = {row_key(key) for key in estate.observed}
    unlisted = [rows for key, rows in estate.rows.items() if key not in listed]
    protected = {each.firewall_id for rows in unlisted for each in rows.protections}
    return protected | {each.firewall_id for rows in unlisted for each in rows.grants}


def is_converged(services: PlanningParts, observed: Observed, estate: Estate) -> bool:
    """Tell whether a firewall holds what its rows say, and every row says what it holds."""
    if key_of(observed.firewall_id) in estate.unsettled:
        return False
    judged = _judge(services, observed, estate.rows_of(observed.firewall_id))
    rows = judged.rows
    if judged.failures or rows.undecoded or not judged.plan.is_done:
        return False
    return all(_is_settled(judged, each) for each in rows.protections) and all(
        _is_granted(judged, each) for each in rows.grants
    )


def _judge(services: PlanningParts, observed: Observed, rows: FirewallRows) -> Judged:
    """Judge a firewall by its listed rows; where there are grants, they are read and synced."""
    if rows.grants:
        return judge(services, observed, {})
    provider = services.firewalls.of(observed.firewall_id)
    wanted, refused = intents(provider, observed, rows, services.clock())
    plan = provider.plan(observed, wanted)
    return Judged(rows, wanted, plan, Failures(services, observed.firewall_id), refused)


def _is_settled(judged: Judged, protection: Protection) -> bool:
    """Tell whether a protection says what is found; one marked for removal waits to be deleted."""
    finding = judged.finding(protection)
    blocked = shorten(finding.reason) if finding.verdict is Verdict.IMPOSSIBLE else ""
    said = replace(protection, proven=finding.agrees, blocked=blocked)
    return said == protection and not protection.lifted and bool(finding.agrees or blocked)


def _is_granted(judged: Judged, grant: Grant) -> bool:
    return grant.proven and judged.finding(grant).agrees


def count_open(estate: Estate, keys: Iterable[str]) -> int:
    """Count the grants that are open on some firewalls."""
    return sum(
        grant.proven and not grant.is_sealed
        for key in keys
        for grant in estate.rows.get(row_key(key), _NO_ROWS).grants
    )
