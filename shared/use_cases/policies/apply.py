"""Policies: keep them, and close the ports they govern on every firewall in front of their VMs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

from shared.domain.desired import Observed
from shared.domain.errors import InvalidInputError, NotFoundError
from shared.domain.ids import key_of, name_of
from shared.domain.model import (
    MINUTE,
    Attachment,
    CloseReason,
    Conditions,
    Policy,
    PolicyState,
    PolicyVm,
    PortRequest,
    PortRule,
    Protection,
)
from shared.domain.network import overlaps
from shared.domain.policy import USUAL_PORTS
from shared.domain.texts import shorten
from shared.ports import Firewalls, Machine, RowChangedError, RowExistsError, SettlingError
from shared.store.codec import UnreadableRowError
from shared.store.policies import PolicyRow, VmRow
from shared.store.room import policy_has_room
from shared.use_cases.firewalls.converge import Outcome, converge
from shared.use_cases.firewalls.paths import find_exposures, find_machine
from shared.use_cases.grants import close_early
from shared.use_cases.policies.findings import (
    Finding,
    Governed,
    Kind,
    clear_finding,
    note_exposure,
    note_finding,
)
from shared.use_cases.services import Services

_SOON = timedelta(seconds=2)
_LATER = timedelta(seconds=15)  # where a firewall is being written, which may take minutes
_TRIES = 10


BeforeChange = Callable[[Policy | None, Policy | None], None]  # the old and the new policy


def _unrecorded(_old: Policy | None, _new: Policy | None) -> None:
    """Do nothing before a change."""


def put_policy(
    services: Services,
    policy: Policy,
    *,
    keep_conditions: bool = False,
    before: BeforeChange = _unrecorded,
) -> Policy:
    """Record a policy, and have it applied; it replaces the one of that id, VM list and all.

    `before` gets the very policy that is replaced, before the new one is stored.
    """
    if not policy_has_room(policy):
        raise InvalidInputError(
            "the policy is too large to be kept; spread its VMs over several", code="PolicyTooLarge"
        )
    now = services.clock()
    for _ in range(_TRIES):
        held = services.policies.get(policy.id)
        written = succeeding(held, policy, keep_conditions=keep_conditions)
        before(standing(held), written)
        services.due.add(now + MINUTE, "policy", policy.id, since=now)
        try:
            stored = (
                services.policies.replace(held, written)
                if held
                else services.policies.insert(written)
            )
        except (RowChangedError, RowExistsError):
            continue
        services.queues.send_policy(policy.id)
        return stored.policy
    raise RowChangedError(f"policy {policy.id} is being changed by others")


def succeeding(held: PolicyRow | None, policy: Policy, *, keep_conditions: bool) -> Policy:
    """Return a policy as it is written over another: the first spelling of an id stays.

    NB. Defender's clients read a policy, lose what they do not know, and PUT the rest back. So
    the conditions go only when a PUT says so, never because it does not mention them.
    """
    written = replace(policy, state=PolicyState.UPDATING, error="")
    if held is None or held.policy.state is PolicyState.DELETING:
        return written
    if keep_conditions:
        written = replace(written, conditions=held.policy.conditions)
    return replace(written, id=held.policy.id, location=held.policy.location)


def get_policy(services: Services, policy_id: str) -> Policy:
    """Read a policy; raises NotFoundError."""
    policy = standing(services.policies.get(policy_id))
    if policy is None:
        raise NotFoundError(
            f"There is no policy '{name_of(policy_id)}' here; PUT one to protect VMs.",
            code="PolicyNotFound",
        )
    return policy


def standing(held: PolicyRow | None) -> Policy | None:
    """Return a policy that is not being deleted."""
    return held.policy if held and held.policy.state is not PolicyState.DELETING else None


def delete_policy(
    services: Services, policy_id: str, *, before: BeforeChange = _unrecorded
) -> bool:
    """Have a policy's deny rules removed and its grants closed; False: there is none."""
    for _ in range(_TRIES):
        held = services.policies.get(policy_id)
        if held is None or held.policy.state is PolicyState.DELETING:
            return False
        before(held.policy, None)
        now = services.clock()
        services.due.add(now + MINUTE, "policy", policy_id, since=now)
        try:
            services.policies.replace(held, replace(held.policy, state=PolicyState.DELETING))
        except RowChangedError:
            continue
        services.queues.send_policy(policy_id)
        return True
    raise RowChangedError(f"policy {policy_id} is being changed by others")


def list_policies(
    services: Services, subscription: str, group: str = "", location: str = ""
) -> list[Policy]:
    """List the policies of a subscription, narrowed by group and location."""
    listed = services.policies.listed(subscription, group, location)
    return [policy for policy in listed if policy.state is not PolicyState.DELETING]


def policies_in_reach(services: Services) -> list[Policy]:
    """List the policies of every subscription this app works in."""
    subscriptions = sorted({scope.split("/")[2].lower() for scope in services.scopes})
    return [policy for each in subscriptions for policy in list_policies(services, each)]


def fail_policy(services: Services, policy_id: str, message: str) -> None:
    """Say on a policy that it could not be applied."""
    held = services.policies.get(policy_id)
    if held is not None and held.policy.state is PolicyState.UPDATING:
        note_finding(services, Finding(Kind.FAILED, held.policy.id, message))
        try:
            failed = replace(held.policy, state=PolicyState.FAILED, error=shorten(message))
            services.policies.replace(held, failed)
        except RowChangedError:
            return  # a newer PUT is under way, and has its own outcome


@dataclass
class _Applied:
    """What one pass over a policy did and found wrong."""

    firewalls: set[str] = field(default_factory=set)
    after_them: set[str] = field(default_factory=set)  # where nothing is opened, only closed
    problems: dict[str, str] = field(default_factory=dict)
    errors: list[Exception] = field(default_factory=list)
    governed: list[Governed] = field(default_factory=list)
    observed: dict[str, Observed] = field(default_factory=dict)
    flush_connections: bool = False
    revoke_foreign: bool = False

    def saw(self, observed: Observed) -> None:
        """Keep the last settled read of a firewall that is there."""
        if observed.exists:
            self.observed[key_of(observed.firewall_id)] = observed


def apply_policy(services: Services, policy_id: str) -> None:
    """Make every firewall hold what a policy says, until the policy stands still.

    Raises what failed for one VM or firewall once everything else is done.
    """
    for _ in range(_TRIES):
        held = services.policies.get(policy_id)
        applied = _apply(services, policy_id, held)
        outcomes = _converge_all(services, applied)
        after = services.policies.get(policy_id)
        if (after.version if after else "") != (held.version if held else ""):
            continue  # another PUT or DELETE came meanwhile: what was written may be stale
        complete = not applied.errors
        note_exposure(services, policy_id, applied.governed, applied.observed, complete=complete)
        if after is None:
            clear_finding(services, Kind.FAILED, policy_id)
        if applied.errors:
            raise applied.errors[0]
        if Outcome.BUSY in outcomes or not _is_finished(services, policy_id, after, applied):
            later = _LATER if Outcome.SETTLING in outcomes else _SOON
            services.queues.send_policy(policy_id, delay=later)
        return
    services.queues.send_policy(policy_id, delay=_SOON)


def _converge_all(services: Services, applied: _Applied) -> list[Outcome]:
    """Converge every firewall; those that are only closed come after those that carry grants.

    A group of EC2 gives up a foreign rule once our own group is on the same interfaces.
    """
    run = partial(_converge, services, applied)
    first, then = sorted(applied.firewalls), sorted(applied.after_them - applied.firewalls)
    return [*services.workers(run, first), *services.workers(run, then)]


def _converge(services: Services, applied: _Applied, firewall_id: str) -> Outcome:
    try:
        return converge(services, firewall_id, settled=applied.saw)
    except Exception as error:  # noqa: BLE001 - raised again once the others had their turn
        applied.errors.append(error)
        return Outcome.PARTLY


def _apply(services: Services, policy_id: str, held: PolicyRow | None) -> _Applied:
    """Write protections for the VMs a policy lists, and lift those of the VMs it does not."""
    deleting = held is None or held.policy.state is PolicyState.DELETING
    vms = () if held is None or deleting else held.policy.vms
    rows = {key_of(row.vm_id): row for row in services.policies.vm_rows(policy_id)}
    conditions = held.policy.conditions if held else Conditions()
    applied = _Applied(
        flush_connections=conditions.flush_connections, revoke_foreign=conditions.revoke_foreign
    )

    def protect(vm: PolicyVm) -> None:
        row = rows.get(key_of(vm.id), VmRow(policy_id, vm.id))
        try:
            _protect(services, row, vm, applied)
        except Exception as error:  # noqa: BLE001 - raised again once the others are protected
            applied.errors.append(error)

    services.workers(protect, vms)
    listed = {key_of(vm.id) for vm in vms}
    for key, row in rows.items():
        if key not in listed:
            _try_to_lift(services, row, applied)
    return applied


def _try_to_lift(services: Services, row: VmRow, applied: _Applied) -> None:
    try:
        _lift(services, row, row.firewalls, applied)
    except Exception as error:  # noqa: BLE001 - raised again once the others are lifted
        applied.errors.append(error)


def _protect(services: Services, row: VmRow, vm: PolicyVm, applied: _Applied) -> None:
    machine = _found(services, vm.id)
    problem = unprotectable(services.firewalls, machine)
    if problem:
        applied.problems[vm.id] = problem
    attachments = machine.attachments if machine else ()
    closing = [each for each in attachments if each.closes]
    current = {key_of(each.firewall_id) for each in closing}
    gone = [each for each in row.firewalls if key_of(each) not in current]
    # The firewalls are noted before anything is written to them: what is not noted here could
    # never be lifted.
    noted = sorted({*row.firewalls, *(each.firewall_id for each in closing)})
    if tuple(noted) != row.firewalls or not row.version:
        services.policies.put_vm(replace(row, vm_id=vm.id, firewalls=tuple(noted)))
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
    _lift(services, row, gone, applied)
    _end_what_is_blocked(services, vm.id, attachments)


def _end_what_is_blocked(services: Services, vm_id: str, attachments: Iterable[Attachment]) -> None:
    """End what a firewall blocks that was put in front of the VM after it was opened there."""

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


def _write_protection(services: Services, wanted: Protection) -> None:
    held = _decoded(services, wanted)
    if held is not None and not held.lifted:
        wanted = replace(wanted, memory=held.memory)
    if held is None or replace(held, proven=False, blocked="", version="") != wanted:
        services.rows.put_protection(wanted)


def _decoded(services: Services, wanted: Protection) -> Protection | None:
    """Read a protection; one that cannot be decoded is written anew, and reported."""
    try:
        return services.rows.get_protection(wanted.firewall_id, wanted.policy_id, wanted.vm_id)
    except UnreadableRowError as error:
        services.telemetry.fault("jit.row.unreadable", error, vm=wanted.vm_id)
        return None


def _lift(services: Services, row: VmRow, firewall_ids: Iterable[str], applied: _Applied) -> None:
    """Lift protections; a row that is lost or cannot be decoded is written anew, as lifted.

    What it stands for may be on the firewall still, and stays there until a row lifts it.
    """
    for firewall_id in firewall_ids:
        applied.firewalls.add(firewall_id)
        lifted = Protection(firewall_id, row.policy_id, row.vm_id, (), (), lifted=True)
        for _ in range(_TRIES):
            try:
                stored = services.rows.get_protection(firewall_id, row.policy_id, row.vm_id)
                if stored is None:
                    services.rows.put_protection(lifted)
                elif not stored.lifted:
                    services.rows.replace_protection(replace(stored, lifted=True, proven=False))
            except UnreadableRowError:
                services.rows.put_protection(lifted)
            except RowChangedError:
                continue
            break
        else:
            applied.errors.append(RowChangedError(f"a protection of {row.vm_id} keeps changing"))


def _is_finished(
    services: Services, policy_id: str, held: PolicyRow | None, applied: _Applied
) -> bool:
    """Say how applying ended; False: not yet, or a firewall is being written."""
    try:
        return _finish(services, policy_id, held, applied)
    except SettlingError:
        return False


def _finish(services: Services, policy_id: str, held: PolicyRow | None, applied: _Applied) -> bool:
    """Say how applying ended, once every protection is settled; False: not yet."""
    for row in services.policies.vm_rows(policy_id):
        standing = [
            protection
            for firewall_id in row.firewalls
            if (protection := services.rows.get_protection(firewall_id, policy_id, row.vm_id))
        ]
        if any(p.lifted or not (p.proven or p.blocked) for p in standing):
            return False
        blocked = next((p.blocked for p in standing if p.blocked), "")
        if blocked and not _is_closed(services, applied, row.vm_id):
            applied.problems[row.vm_id] = blocked
        _tidy(services, row, [p.firewall_id for p in standing], held)
    return held is None or _conclude(services, held, applied)


def _is_closed(services: Services, applied: _Applied, vm_id: str) -> bool:
    """Tell whether a VM's governed ports are closed although a deny of ours could not be placed.

    The machines report judges by the same function, so that both give one answer.
    """
    vm = next(each for each in applied.governed if key_of(each.vm_id) == key_of(vm_id))
    observed = {}
    for each in vm.attachments:
        read = services.firewalls.of(each.firewall_id).read(each.firewall_id)
        if read.exists:
            observed[key_of(each.firewall_id)] = read
    found = find_exposures(services.firewalls, vm.vm_id, vm.attachments, observed, vm.ports)
    return len(observed) == len(vm.attachments) and not found


def _tidy(services: Services, row: VmRow, firewalls: list[str], held: PolicyRow | None) -> None:
    """Keep in a VM's row only the firewalls that hold something; no policy, no row."""
    listed = held is not None and held.policy.state is not PolicyState.DELETING
    try:
        if not firewalls and not (listed and held and held.policy.vm(row.vm_id)):
            services.policies.delete_vm(row)
        elif tuple(sorted(firewalls)) != row.firewalls:
            services.policies.replace_vm(replace(row, firewalls=tuple(sorted(firewalls))))
    except RowChangedError:
        return  # somebody noted another firewall or an access meanwhile; the next pass tidies


def _conclude(services: Services, held: PolicyRow, applied: _Applied) -> bool:
    policy = held.policy
    try:
        if policy.state is PolicyState.DELETING:
            clear_finding(services, Kind.FAILED, policy.id)
            services.policies.delete(held)
            services.telemetry.event("jit.policy.deleted", policy=policy.id)
            return True
        error = describe_problems(applied.problems)
        state = PolicyState.FAILED if error else PolicyState.SUCCEEDED
        if error:
            note_finding(services, Finding(Kind.FAILED, policy.id, error, len(applied.problems)))
        concluded = replace(policy, vms=_with_ports(services, policy), state=state, error=error)
        if concluded != policy:
            services.policies.replace(held, concluded)
            services.telemetry.event(
                "jit.policy.applied", policy=policy.id, state=state.value, error=error
            )
        if not error:
            clear_finding(services, Kind.FAILED, policy.id)
    except RowChangedError:
        return False
    return True


def describe_problems(problems: Mapping[str, str]) -> str:
    """Return the error of a policy whose VMs have some problems, by id; empty: none has one."""
    return shorten("; ".join(f"{name_of(vm)}: {why}" for vm, why in sorted(problems.items())))


def _with_ports(services: Services, policy: Policy) -> tuple[PolicyVm, ...]:
    """Fill in the usual ports of the VMs that were named without any."""
    return tuple(
        vm if vm.ports else replace(vm, ports=usual_ports(_found(services, vm.id)))
        for vm in policy.vms
    )


def _found(services: Services, vm_id: str) -> Machine | None:
    return find_machine(services.machines, services.firewalls, vm_id)
