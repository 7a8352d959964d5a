"""Protect one VM of a policy: close its governed ports on every firewall in front of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from shared.domain.desired import Observed
from shared.domain.ids import key_of
from shared.domain.model import (
    Attachment,
    CloseReason,
    PolicyVm,
    PortRequest,
    PortRule,
    Protection,
)
from shared.domain.network import overlaps
from shared.domain.policy import USUAL_PORTS
from shared.ports import Firewalls, Machine, RowChangedError
from shared.store.codec import UnreadableRowError
from shared.store.policies import VmRow
from shared.use_cases.firewalls.paths import find_machine
from shared.use_cases.grants import CloseParts, close_early
from shared.use_cases.parts import HasFirewalls, HasMachines, HasPolicies, HasRows
from shared.use_cases.policies.doubts import Twice, doubt_of
from shared.use_cases.policies.findings import (
    Governed,
)

_TRIES = 10


class FindVmParts(HasFirewalls, HasMachines, Protocol):
    """The parts for finding a VM and its firewalls."""


class ProtectParts(CloseParts, HasFirewalls, HasMachines, HasPolicies, Protocol):
    """The parts for protecting a VM."""


@dataclass
class Applied:
    """The writes and problems of one pass over a policy."""

    firewalls: set[str] = field(default_factory=set)
    after_them: set[str] = field(default_factory=set)  # where nothing is opened, only closed
    problems: dict[str, str] = field(default_factory=dict)
    errors: list[Exception] = field(default_factory=list)
    governed: list[Governed] = field(default_factory=list)
    observed: dict[str, Observed] = field(default_factory=dict)
    flush_connections: bool = False
    revoke_foreign: bool = False
    twice: Twice = None

    def saw(self, observed: Observed) -> None:
        """Keep the last settled read of a firewall that is there."""
        if observed.exists:
            self.observed[key_of(observed.firewall_id)] = observed


def protect_vm(services: ProtectParts, row: VmRow, vm: PolicyVm, applied: Applied) -> None:
    """Write a VM's protection on every firewall that closes; remove it from firewalls now gone."""
    machine = find_vm(services, vm.id)
    problem = unprotectable(services.firewalls, machine)
    if problem:
        applied.problems[vm.id] = problem
    attachments = machine.attachments if machine else ()
    closing = [each for each in attachments if each.closes]
    current = {key_of(each.firewall_id) for each in closing}
    gone = [each for each in row.firewalls if key_of(each) not in current]
    # The firewalls are noted before anything is written to them: a protection without
    # a note here could never be removed.
    noted = sorted({*row.firewalls, *(each.firewall_id for each in closing)})
    doubt = doubt_of(machine, applied.twice)
    known = replace(row, vm_id=vm.id, firewalls=tuple(noted), doubt=doubt)
    if not row.version or (row.firewalls, row.doubt) != (known.firewalls, known.doubt):
        services.policies.put_vm(known)
    ports = vm.ports or usual_ports(machine)
    numbers = tuple(sorted(rule.number for rule in ports))
    applied.governed.append(Governed(vm.id, numbers, tuple(attachments)))
    for attachment in closing:
        wanted = Protection(
            firewall_id=attachment.firewall_id,
            policy_id=row.policy_id,
            vm_id=vm.id,
            ports=numbers,
            addresses=attachment.addresses,
            flush_connections=applied.flush_connections,
            revoke_foreign=applied.revoke_foreign,
        )
        _write_protection(services, wanted)
        (applied.firewalls if attachment.opens else applied.after_them).add(attachment.firewall_id)
    remove_protections(services, row, gone, applied)
    _fail_ports_behind_new_firewalls(services, vm.id, attachments)


def _fail_ports_behind_new_firewalls(
    services: ProtectParts, vm_id: str, attachments: Iterable[Attachment]
) -> None:
    """Fail the ports of a VM that a firewall blocks which was added after they were opened."""

    def is_blocked(port: PortRequest) -> bool:
        fronts = port.fronts or ()
        known = {key_of(front.firewall_id) for front in fronts}
        opened = [address for front in fronts for address in front.addresses]
        lives = key_of(port.vm_id) == key_of(vm_id) and not (port.is_final or port.closing)
        return lives and any(
            key_of(each.firewall_id) not in known and overlaps(each.addresses, opened)
            for each in attachments
            if each.opens
        )

    for request_id in services.requests.live(vm_id=vm_id):
        held = services.requests.get(request_id)
        if held is not None and any(is_blocked(port) for port in held.request.ports):
            labels = {services.firewalls.of(each.firewall_id).label for each in attachments}
            named = " or ".join(sorted(labels))
            told = f"another {named} was put in front of the VM; ask again"
            close_early(services, request_id, is_blocked, CloseReason.FAILED, message=told)


def unprotectable(firewalls: Firewalls, machine: Machine | None) -> str:
    """Say why the ports of a VM cannot be closed for certain; empty: they can."""
    if machine is None:
        return "the VM does not exist"
    if machine.unreadable:
        return machine.unreadable
    label = firewalls.label_at(machine.id)
    if not machine.attachments:
        return f"no {label} stands in front of it, on its network interface or subnet"
    if machine.bare_addresses:
        bare = ", ".join(machine.bare_addresses)
        return f"no {label} stands in front of its address {bare}"
    return ""


def usual_ports(machine: Machine | None) -> tuple[PortRule, ...]:
    """Return the ports Defender governs by default on a VM's system; both systems' if unknown."""
    system = machine.system if machine else ""
    numbers = USUAL_PORTS.get(system) or tuple(sorted(sum(USUAL_PORTS.values(), ())))
    return tuple(PortRule(number) for number in numbers)


def _write_protection(services: ProtectParts, wanted: Protection) -> None:
    held = _read_protection(services, wanted)
    if held is not None and not held.lifted:
        wanted = replace(wanted, memory=held.memory)
    if held is None or replace(held, proven=False, blocked="", version="") != wanted:
        services.rows.put_protection(wanted)


def _read_protection(services: ProtectParts, wanted: Protection) -> Protection | None:
    """Read a protection; one that cannot be decoded is written anew, and reported."""
    try:
        return services.rows.get_protection(wanted.firewall_id, wanted.policy_id, wanted.vm_id)
    except UnreadableRowError as error:
        services.telemetry.fault("jit.row.unreadable", error, vm=wanted.vm_id)
        return None


def remove_protections(
    services: HasRows, row: VmRow, firewall_ids: Iterable[str], applied: Applied
) -> None:
    """Mark protections for removal; a row that is lost or cannot be decoded is written anew.

    Its rule may still be on the firewall, and stays there until a row asks for its removal.
    """
    for firewall_id in firewall_ids:
        applied.firewalls.add(firewall_id)
        removed = Protection(firewall_id, row.policy_id, row.vm_id, (), (), lifted=True)
        for _ in range(_TRIES):
            try:
                stored = services.rows.get_protection(firewall_id, row.policy_id, row.vm_id)
                if stored is None:
                    services.rows.put_protection(removed)
                elif not stored.lifted:
                    services.rows.replace_protection(replace(stored, lifted=True, proven=False))
            except UnreadableRowError:
                services.rows.put_protection(removed)
            except RowChangedError:
                continue
            break
        else:
            applied.errors.append(RowChangedError(f"a protection of {row.vm_id} keeps changing"))


def find_vm(services: FindVmParts, vm_id: str) -> Machine | None:
    """Return a VM and the firewalls in front of it; None: it does not exist."""
    return find_machine(services.machines, services.firewalls, vm_id)
