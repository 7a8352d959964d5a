"""Every VM in scope: configured or not, unsupported, exposed; and who was last let in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from shared.domain.desired import Observed
from shared.domain.exposure import Exposure
from shared.domain.ids import is_within, key_of, name_of
from shared.domain.model import Policy, PortRule, Principal
from shared.domain.permissions import Action
from shared.ports import Inventory, Machine
from shared.store.policies import VmRow
from shared.use_cases.firewalls.paths import find_exposures
from shared.use_cases.parts import (
    HasAuthorize,
    HasFirewalls,
    HasPolicies,
    HasScopes,
    HasTelemetry,
    HasWorkers,
)
from shared.use_cases.permission import enforce, is_permitted
from shared.use_cases.policies.apply import list_policies
from shared.use_cases.policies.protect import unprotectable, usual_ports
from shared.use_cases.reports.estates import Estate, EstateParts, Estates, Seen


class MachineReportParts(HasFirewalls, HasPolicies, HasWorkers, Protocol):
    """The parts for the report of VMs."""


class WholeReportParts(EstateParts, HasPolicies, Protocol):
    """The parts for reading and judging every VM."""


class CallerReportParts(MachineReportParts, HasAuthorize, HasScopes, HasTelemetry, Protocol):
    """The parts for the report of VMs for a caller."""


class Category(StrEnum):
    """Where a VM stands. The first three are Defender's; it has no word for the others."""

    CONFIGURED = "Configured"
    NOT_CONFIGURED = "Not configured"
    UNSUPPORTED = "Unsupported"
    EXPOSED = "Exposed"
    UNKNOWN = "Unknown"


class State(StrEnum):
    """The state of a resource in Defender's recommendation to use just-in-time access."""

    HEALTHY = "Healthy"
    UNHEALTHY = "Unhealthy"
    NOT_APPLICABLE = "NotApplicable"


@dataclass(frozen=True)
class MachineReport:
    """One VM, judged."""

    machine: Machine
    category: Category
    reason: str
    state: State
    state_reason: str
    policies: tuple[str, ...] = ()
    ports: tuple[PortRule, ...] = ()
    openings: tuple[Exposure, ...] = ()
    last_access_at: datetime | None = None
    last_requestor: str = ""


@dataclass(frozen=True)
class Report:
    """Every VM in some scopes, and the parts of a cloud whose machines could not be listed."""

    machines: list[MachineReport]
    unanswered: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Known:
    """The stored rows of the VMs of a subscription."""

    policies: Mapping[str, list[Policy]] = field(default_factory=dict)
    rows: Mapping[str, VmRow] = field(default_factory=dict)


@dataclass(frozen=True)
class ListedMachine:
    """One VM that a caller can read, before it is judged, and the estate that it is part of."""

    key: str
    machine: Machine
    estate: Estate


@dataclass(frozen=True)
class Listing:
    """Every VM in some scopes, ordered by key, and the parts of a cloud that did not answer."""

    machines: list[ListedMachine]
    unanswered: tuple[str, ...]
    _policies: Mapping[str, list[Policy]]
    _services: MachineReportParts

    def judge(self, listed: Sequence[ListedMachine]) -> list[MachineReport]:
        """Judge some of the VMs, such as those of one page."""
        known = self._known(listed)
        seen = {
            id(estate): estate.see(each.machine for each in listed if each.estate is estate)
            for estate in {id(each.estate): each.estate for each in listed}.values()
        }
        return [
            _judge(self._services, each.machine, seen[id(each.estate)], known) for each in listed
        ]

    def _known(self, listed: Iterable[ListedMachine]) -> _Known:
        """Read the rows of those policies that list one of some VMs."""
        named = {
            policy.id: policy for each in listed for policy in self._policies.get(each.key, ())
        }
        rows = self._services.workers(self._services.policies.vm_rows, sorted(named))
        return _Known(self._policies, _newest(row for those in rows for row in those))


def report_to_caller(
    services: CallerReportParts,
    estates: Estates,
    caller: Principal,
    scope: str = "",
    *,
    is_next_page: bool = False,
) -> Listing:
    """List every VM at the scope that a caller names, or at those of the app that it may read.

    Raises NotPermittedError. Permission is checked once for each scope, so a caller who may read
    single VMs or resource groups only has to name that scope.
    """
    if scope:
        enforce(services, caller, Action.READ_VM, scope)
        return list_machines(services, estates, [scope], is_next_page=is_next_page)
    readable = [
        each for each in services.scopes if is_permitted(services, caller, Action.READ_VM, each)
    ]
    if not readable:
        enforce(services, caller, Action.READ_VM, services.scopes[0])
    return list_machines(services, estates, readable, is_next_page=is_next_page)


def report(services: WholeReportParts, inventory: Inventory, scopes: Iterable[str]) -> Report:
    """Judge every VM in some scopes as it is now, and name the parts that did not answer."""
    found = list_machines(services, Estates(services, inventory), scopes)
    return Report(found.judge(found.machines), found.unanswered)


def list_machines(
    services: MachineReportParts,
    estates: Estates,
    scopes: Iterable[str],
    *,
    is_next_page: bool = False,
) -> Listing:
    """List every VM in some scopes, and name the parts of a cloud that did not answer."""
    wanted = sorted(set(scopes))
    listed: list[ListedMachine] = []
    unanswered: list[str] = []
    by_vm: dict[str, list[Policy]] = {}
    for subscription in sorted({scope.split("/")[2].lower() for scope in wanted}):
        policies = list_policies(services, subscription)
        _add_by_vm(by_vm, policies)
        estate = estates.of(subscription, policies, is_next_page=is_next_page)
        listed += _within(estate, wanted)
        unanswered += _unanswered(estate, wanted)
    listed.sort(key=lambda each: each.key)
    return Listing(listed, tuple(unanswered), by_vm, services)


def _add_by_vm(by_vm: dict[str, list[Policy]], policies: Iterable[Policy]) -> None:
    for policy in policies:
        for vm in policy.vms:
            by_vm.setdefault(key_of(vm.id), []).append(policy)


def _within(estate: Estate, scopes: Iterable[str]) -> list[ListedMachine]:
    """Return the machines of an estate that are in some scopes."""
    roots = [key_of(each) for each in scopes]
    return [
        ListedMachine(key, machine, estate)
        for key, machine in estate.machines.items()
        if any(key == root or key.startswith(root + "/") for root in roots)
    ]


def _unanswered(estate: Estate, scopes: Sequence[str]) -> list[str]:
    return [
        each.reason
        for each in estate.unanswered
        if any(is_within(each.scope, s) or is_within(s, each.scope) for s in scopes)
    ]


def _newest(rows: Iterable[VmRow]) -> dict[str, VmRow]:
    """Return for each VM the row with its last access, by key."""
    newest: dict[str, VmRow] = {}
    for row in (each for each in rows if each.last_access_at):
        stored = newest.get(key_of(row.vm_id))
        if stored is None or _accessed(row) > _accessed(stored):
            newest[key_of(row.vm_id)] = row
    return newest


def _accessed(row: VmRow) -> float:
    return row.last_access_at.timestamp() if row.last_access_at else 0.0


def _judge(services: HasFirewalls, machine: Machine, seen: Seen, known: _Known) -> MachineReport:
    policies = known.policies.get(key_of(machine.id), [])
    ports = _ports(machine, policies)
    open_by = _openings(services, machine, seen.observed, ports)
    category, reason = _with_remark(
        machine,
        _judged_without_policy(services, machine, seen)
        or _judged_by_policies(machine, policies, open_by),
    )
    state, state_reason = _recommend(machine, category, reason)
    row = known.rows.get(key_of(machine.id))
    return MachineReport(
        machine,
        category,
        reason,
        state,
        state_reason,
        policies=tuple(policy.id for policy in policies),
        ports=ports,
        openings=open_by if category is Category.EXPOSED else (),
        last_access_at=row.last_access_at if row else None,
        last_requestor=row.last_requestor if row else "",
    )


def _ports(machine: Machine, policies: Iterable[Policy]) -> tuple[PortRule, ...]:
    rules: dict[int, PortRule] = {}
    for policy in policies:
        vm = policy.vm(machine.id)
        for rule in (vm.ports if vm else ()) or usual_ports(machine):
            rules.setdefault(rule.number, rule)
    return tuple(rules[number] for number in sorted(rules))


def _openings(
    services: HasFirewalls,
    machine: Machine,
    observed: Mapping[str, Observed],
    ports: Sequence[PortRule],
) -> tuple[Exposure, ...]:
    """Find the rules that leave governed ports open, for every protocol that our deny closes."""
    numbers = [rule.number for rule in ports]
    return find_exposures(services.firewalls, machine.id, machine.attachments, observed, numbers)


def _why_unknown(machine: Machine, seen: Seen) -> str:
    """Say why it is not known who reaches a machine; empty: it is known."""
    if machine.unreadable or machine.notes.unknown:
        return machine.unreadable or machine.notes.unknown
    keys = (key_of(each.firewall_id) for each in machine.attachments)
    return next((seen.doubts[key] for key in keys if key in seen.doubts), "")


def _with_remark(machine: Machine, found: tuple[Category, str]) -> tuple[Category, str]:
    """Return where a machine stands and why, with what limits callers on its path."""
    category, reason = found
    remark = machine.notes.remark
    return category, f"{reason}; {remark}" if remark else reason


def _judged_without_policy(
    services: HasFirewalls, machine: Machine, seen: Seen
) -> tuple[Category, str] | None:
    """Return why a machine cannot be judged or governed; None: it can be both."""
    unknown = _why_unknown(machine, seen)
    if unknown:
        return Category.UNKNOWN, unknown
    problem = unprotectable(services.firewalls, machine) or machine.notes.unsupported
    return (Category.UNSUPPORTED, problem) if problem else None


def _judged_by_policies(
    machine: Machine, policies: Sequence[Policy], open_by: Sequence[Exposure]
) -> tuple[Category, str]:
    if not policies:
        return Category.NOT_CONFIGURED, "no policy lists this VM"
    if open_by:
        first = min(open_by, key=lambda each: bool(each.unresolved))
        return Category.EXPOSED, (
            f"{first.opening.what} of '{name_of(first.firewall_id)}' "
            f"leaves port {first.port} open{_doubt(first)}{_why_not_closed(machine, policies)}"
        )
    return Category.CONFIGURED, f"governed by policy '{policies[0].name}'"


def _why_not_closed(machine: Machine, policies: Iterable[Policy]) -> str:
    """Return a policy's problem with a machine that it could not close; empty: none."""
    told = (p.error for p in policies if name_of(machine.id).lower() in p.error.lower())
    return "".join(f"; {error}" for error in told)


def _doubt(exposure: Exposure) -> str:
    """Name the parts that could not be resolved; empty: some source certainly reaches the port."""
    named = ", ".join(exposure.unresolved)
    return f"; the addresses are not known of {named}" if named else ""


def _recommend(machine: Machine, category: Category, reason: str) -> tuple[State, str]:
    """Return the state that Defender's recommendation would have, as far as it is documented.

    It recommends a VM of a known system behind a firewall that no policy lists.
    Where a port stays open although a policy lists it, we do not call that healthy.
    """
    if category in {Category.UNSUPPORTED, Category.UNKNOWN}:
        return State.NOT_APPLICABLE, reason
    if category is Category.CONFIGURED:
        return State.HEALTHY, "just-in-time access governs its management ports"
    if category is Category.EXPOSED:
        return State.UNHEALTHY, reason
    if not machine.system:
        return State.NOT_APPLICABLE, "its operating system is not known"
    return State.UNHEALTHY, "its management ports are not governed by just-in-time access"
