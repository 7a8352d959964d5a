"""Dry runs: the decision, its reasons, and what would be written. Writes nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import NamedTuple, Protocol

from shared.domain.desired import Change, Observed, Verdict
from shared.domain.errors import Reason
from shared.domain.ids import key_of, name_of, places_in
from shared.domain.model import (
    AccessRequest,
    Attachment,
    FirewallRows,
    Grant,
    Policy,
    PolicyVm,
    Protection,
    Status,
)
from shared.domain.policy import PolicyDecision
from shared.domain.request import begin_opening
from shared.ports import FirewallProvider, Inventory, Listed, Machine
from shared.use_cases.firewalls.paths import describe_instances, find_machine, with_firewalls
from shared.use_cases.firewalls.planning import intents
from shared.use_cases.grants import grant_of
from shared.use_cases.parts import (
    HasClock,
    HasFirewalls,
    HasLimits,
    HasMachines,
    HasNewId,
    HasPace,
    HasPolicies,
    HasRequests,
    HasRows,
    HasSideBySide,
    HasWorkers,
)
from shared.use_cases.permission import ScopeParts
from shared.use_cases.policies.apply import standing, succeeding
from shared.use_cases.policies.manage import (
    ANYTHING,
    Changer,
    Precondition,
    check_precondition,
    enforce_on_replaced,
    enforce_write,
)
from shared.use_cases.policies.protect import unprotectable, usual_ports
from shared.use_cases.requests.open import why_refused
from shared.use_cases.requests.paces import close_lead, opened_on
from shared.use_cases.requests.submission import CoveringParts, NewRequest, with_policy
from shared.use_cases.requests.submit import PolicyRequest, judge, new_request, permitted


class PolicyDryRunParts(
    ScopeParts, HasClock, HasFirewalls, HasPolicies, HasRows, HasWorkers, Protocol
):
    """The parts for the dry run of a policy."""


class DryRunParts(
    CoveringParts,
    HasClock,
    HasLimits,
    HasNewId,
    HasPace,
    HasRequests,
    HasRows,
    HasSideBySide,
    HasWorkers,
    Protocol,
):
    """The parts for the dry run of a request."""


@dataclass(frozen=True)
class FirewallChange:
    """The changes on one firewall; `blocked` maps each impossible change to its reason."""

    firewall_id: str
    put: tuple[dict[str, object], ...] = ()
    remove: tuple[str, ...] = ()
    blocked: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DryRun:
    """The result of a dry run of a request or a policy."""

    decision: PolicyDecision
    changes: tuple[FirewallChange, ...] = ()
    problems: tuple[Reason, ...] = ()
    request: AccessRequest | None = None
    policy: Policy | None = None


def dry_run_submission(services: DryRunParts, new: NewRequest) -> DryRun:
    """Dry-run a submitted request; the caller needs the permission to make it."""
    return dry_run_request(services, with_policy(services, new))


def dry_run_write(
    services: PolicyDryRunParts,
    inventory: Inventory,
    changer: Changer,
    policy: Policy,
    *,
    keep_conditions: bool = False,
    expected: Precondition = ANYTHING,
) -> DryRun:
    """Dry-run a PUT; the caller needs the rights and the etag of the PUT."""
    enforce_write(services, changer, policy.id, [vm.id for vm in policy.vms])
    current = standing(services.policies.get(policy.id))
    enforce_on_replaced(services, changer, current)
    check_precondition(current, expected)
    return dry_run_policy(services, inventory, policy, keep_conditions=keep_conditions)


def dry_run_request(services: DryRunParts, new: PolicyRequest) -> DryRun:
    """Return the result of a request without making it."""
    new = permitted(services, new)
    now, policy = services.clock(), new.policy
    decision = judge(services, new)
    if not decision.allowed:
        return DryRun(decision)
    request = new_request(services, new)
    vm_ids = sorted({port.vm_id for port in request.ports})
    find = partial(find_machine, services.machines, services.firewalls)
    machines = dict(zip(vm_ids, services.workers(find, vm_ids), strict=True))
    problems = [
        Reason("CannotBeOpened", f"{name_of(vm_id)}: {why}", vm_id)
        for vm_id, machine in machines.items()
        if (why := _unopenable(services, machine) or _shared_address(services, machine))
    ]
    refused = _refused(services, policy, request, machines)
    problems += [
        Reason("CannotBeOpened", f"{name_of(vm_id)}: {why}", vm_id)
        for (vm_id, _), why in refused.items()
    ]
    opened = replace(
        request, ports=tuple(p for p in request.ports if (p.vm_id, p.port) not in refused)
    )
    grants = _grants(services, policy, opened, machines, now)
    firewalls = {key_of(grant.firewall_id): grant.firewall_id for grant in grants}

    def change(firewall_id: str) -> FirewallChange:
        here = [grant for grant in grants if key_of(grant.firewall_id) == key_of(firewall_id)]
        rows = services.rows.read(firewall_id)
        after = _with_grants(rows, here, policy)
        provider = services.firewalls.of(firewall_id)
        return _difference(services, provider, provider.read(firewall_id), rows, after)

    changes = services.workers(change, sorted(firewalls.values()))
    return DryRun(decision, tuple(changes), tuple(problems), request=request)


def _unopenable(services: HasFirewalls, machine: Machine | None) -> str:
    if machine is None or machine.unreadable or not machine.attachments:
        return unprotectable(services.firewalls, machine)
    return ""


def _refused(
    services: DryRunParts,
    policy: Policy,
    request: AccessRequest,
    machines: Mapping[str, Machine | None],
) -> dict[tuple[str, int], str]:
    """Return the ports that the firewalls in front of a VM cannot open, with the reason."""
    found = {}
    for port in request.ports:
        machine = machines[port.vm_id]
        if machine is None or _unopenable(services, machine):
            continue
        why = why_refused(services, policy, request, port, machine.attachments)
        if why:
            found[port.vm_id, port.port] = why
    return found


def _shared_address(services: HasMachines, machine: Machine | None) -> str:
    return services.machines.shared_address(machine) if machine else ""


def _grants(
    services: DryRunParts,
    policy: Policy,
    request: AccessRequest,
    machines: Mapping[str, Machine | None],
    now: datetime,
) -> list[Grant]:
    grants = []
    for port in request.ports:
        machine = machines[port.vm_id]
        if machine is None or _unopenable(services, machine):
            continue
        # An approval that is still to come changes nothing about the rules.
        approved = replace(port, status=Status.INITIATING)
        lead = close_lead(services, policy, opened_on(machine.attachments))
        opening = begin_opening(approved, machine.attachments, now, lead)
        grants += [grant_of(request, opening, front) for front in opening.fronts or ()]
    return grants


def _with_grants(rows: FirewallRows, grants: list[Grant], policy: Policy) -> FirewallRows:
    """Add grants, and the protections that stand before them where they are not there yet."""
    covered = {(key_of(p.vm_id), key_of(p.policy_id)) for p in rows.protections if not p.lifted}
    missing: dict[str, Protection] = {}
    for grant in grants:
        vm = policy.vm(grant.vm_id)
        if vm and (key_of(grant.vm_id), key_of(policy.id)) not in covered:
            ports = tuple(sorted(rule.number for rule in vm.ports))
            missing[key_of(grant.vm_id)] = _protection(
                policy, vm, ports, Attachment(grant.firewall_id, grant.addresses)
            )
    return FirewallRows((*rows.protections, *missing.values()), (*rows.grants, *grants))


def dry_run_policy(
    services: PolicyDryRunParts, inventory: Inventory, policy: Policy, *, keep_conditions: bool
) -> DryRun:
    """Return the result of a PUT without making it."""
    held = services.policies.get(policy.id)
    policy = succeeding(held, policy, keep_conditions=keep_conditions)
    listed = inventory.read(places_in(services.scopes, policy.id.split("/")[2]))
    instances = describe_instances(vm.id for vm in policy.vms)
    composed = with_firewalls(services.firewalls, [*listed.machines, *instances])
    machines = {key_of(machine.id): machine for machine in composed}
    problems = [
        Reason("CannotBeProtected", f"{name_of(vm.id)}: {why}", vm.id)
        for vm in policy.vms
        if (why := unprotectable(services.firewalls, machines.get(key_of(vm.id))))
    ]
    protections = [each for vm in policy.vms for each in _protections(policy, vm, machines)]
    firewalls = {key_of(each.firewall_id): each.firewall_id for each in protections}
    for row in services.policies.vm_rows(policy.id):
        firewalls |= {key_of(each): each for each in row.firewalls}
    touched = sorted(firewalls.values())
    changes = services.workers(
        lambda each: _policy_change(services, listed, policy, protections, each), touched
    )
    return DryRun(PolicyDecision(), tuple(changes), tuple(problems), policy=policy)


def _protections(
    policy: Policy, vm: PolicyVm, machines: Mapping[str, Machine]
) -> Iterable[Protection]:
    machine = machines.get(key_of(vm.id))
    ports = tuple(sorted(rule.number for rule in vm.ports or usual_ports(machine)))
    attachments: tuple[Attachment, ...] = machine.attachments if machine else ()
    for each in (attachment for attachment in attachments if attachment.closes):
        yield _protection(policy, vm, ports, each)


def _protection(
    policy: Policy, vm: PolicyVm, ports: tuple[int, ...], here: Attachment
) -> Protection:
    return Protection(
        here.firewall_id,
        policy.id,
        vm.id,
        ports,
        here.addresses,
        revoke_foreign=policy.conditions.revoke_foreign,
    )


def _policy_change(
    services: PolicyDryRunParts,
    listed: Listed,
    policy: Policy,
    protections: list[Protection],
    firewall_id: str,
) -> FirewallChange:
    rows = services.rows.read(firewall_id)
    others = [each for each in rows.protections if key_of(each.policy_id) != key_of(policy.id)]
    here = [each for each in protections if key_of(each.firewall_id) == key_of(firewall_id)]
    provider = services.firewalls.of(firewall_id)
    snapshot = listed.firewalls.get(key_of(firewall_id))
    if snapshot is None:
        observed = provider.read(firewall_id)
    else:
        observed = Observed(firewall_id, snapshot.version, snapshot, snapshot.exists)
    after = replace(rows, protections=(*others, *here, *_removed(rows, policy, here)))
    change = _difference(services, provider, observed, rows, after)
    return replace(change, firewall_id=firewall_id)


def _removed(
    rows: FirewallRows, policy: Policy, here: Iterable[Protection]
) -> Iterable[Protection]:
    """Return the protections that a policy would remove: those of the VMs it no longer lists."""
    kept = {key_of(each.vm_id) for each in here}
    for each in rows.protections:
        if key_of(each.policy_id) == key_of(policy.id) and key_of(each.vm_id) not in kept:
            yield replace(each, lifted=True)


def _difference(
    services: HasClock,
    provider: FirewallProvider,
    observed: Observed,
    before: FirewallRows,
    after: FirewallRows,
) -> FirewallChange:
    """Plan with and without what is asked for, and keep what it alone would change."""
    if not observed.exists:
        gone = {name_of(observed.firewall_id): f"the {provider.label} no longer exists"}
        return FirewallChange(observed.firewall_id, blocked=gone)
    now = services.clock()
    already, then = (_plan(provider, observed, rows, now) for rows in (before, after))
    new = [change for key, change in then.changes.items() if key not in already.changes]
    rendered = [provider.render(change) for change in new if change.verb != "remove"]
    return FirewallChange(
        observed.firewall_id,
        put=tuple(each for each in rendered if each),
        remove=tuple(change.target for change in new if change.verb == "remove"),
        blocked={n: why for n, why in then.blocked.items() if n not in already.blocked},
    )


class _Planned(NamedTuple):
    changes: dict[str, Change]
    blocked: dict[str, str]  # name of a VM -> why something about it cannot be done


def _plan(
    provider: FirewallProvider, observed: Observed, rows: FirewallRows, now: datetime
) -> _Planned:
    wanted, impossible = intents(provider, observed, rows, now)
    plan = provider.plan(observed, wanted)
    reasons = {
        key: found.reason
        for key, found in plan.findings.items()
        if found.verdict is Verdict.IMPOSSIBLE
    } | impossible
    blocked = {
        name_of(intent.vm_id): reasons[intent.key]
        for intent in wanted.intents
        if intent.key in reasons
    }
    return _Planned({change.id: change for change in plan.changes}, blocked)
