"""Policies: keep them, and apply them to every firewall in front of their VMs."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Protocol

from shared.domain.errors import InvalidInputError, NotFoundError
from shared.domain.ids import key_of, name_of
from shared.domain.model import (
    MINUTE,
    Conditions,
    Policy,
    PolicyState,
    PolicyVm,
)
from shared.domain.texts import shorten
from shared.ports import RowChangedError, RowExistsError, SettlingError
from shared.store.policies import PolicyRow, VmRow
from shared.store.room import policy_has_room
from shared.use_cases.firewalls.converge import ConvergeParts, Outcome, converge
from shared.use_cases.firewalls.paths import find_exposures
from shared.use_cases.parts import (
    HasClock,
    HasDue,
    HasFirewalls,
    HasMachines,
    HasPolicies,
    HasQueues,
    HasRows,
    HasWorkers,
)
from shared.use_cases.policies.doubts import read_twice
from shared.use_cases.policies.findings import (
    Finding,
    FindingParts,
    FindingType,
    clear_finding,
    note_exposure,
    note_finding,
)
from shared.use_cases.policies.protect import (
    Applied,
    find_vm,
    protect_vm,
    remove_protections,
    usual_ports,
)

_SOON = timedelta(seconds=2)
_LATER = timedelta(seconds=15)  # where a firewall is being written, which may take minutes
_TRIES = 10


BeforeChange = Callable[[Policy | None, Policy | None], None]  # the old and the new policy


class PolicyWriteParts(HasClock, HasDue, HasPolicies, HasQueues, HasWorkers, Protocol):
    """The parts for storing and deleting a policy."""


class FailPolicyParts(FindingParts, HasPolicies, Protocol):
    """The parts for failing a policy."""


class ApplyParts(ConvergeParts, HasMachines, HasPolicies, Protocol):
    """The parts for applying a policy to its firewalls."""


def _unrecorded(_old: Policy | None, _new: Policy | None) -> None:
    """Do nothing before a change."""


def put_policy(
    services: PolicyWriteParts,
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
        _note_added(services, standing(held), written)
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


def _note_added(services: PolicyWriteParts, old: Policy | None, written: Policy) -> None:
    """Note by each VM that the policy is about to list it: the short form finds it by that."""
    listed = {key_of(vm.id) for vm in old.vms} if old else set()
    added = [vm.id for vm in written.vms if key_of(vm.id) not in listed]
    services.workers(lambda vm_id: services.policies.note_policy_of(vm_id, written.id), added)


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


def get_policy(services: HasPolicies, policy_id: str) -> Policy:
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
    services: PolicyWriteParts, policy_id: str, *, before: BeforeChange = _unrecorded
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


def list_policies(services: HasPolicies, subscription: str) -> list[Policy]:
    """List all policies of a subscription."""
    listed = services.policies.listed(subscription)
    return [policy for policy in listed if policy.state is not PolicyState.DELETING]


def fail_policy(services: FailPolicyParts, policy_id: str, message: str) -> None:
    """Say on a policy that it could not be applied."""
    held = services.policies.get(policy_id)
    if held is not None and held.policy.state is PolicyState.UPDATING:
        note_finding(services, Finding(FindingType.FAILED, held.policy.id, message))
        try:
            failed = replace(held.policy, state=PolicyState.FAILED, error=shorten(message))
            services.policies.replace(held, failed)
        except RowChangedError:
            return  # a newer PUT is under way, and has its own outcome


def apply_policy(services: ApplyParts, policy_id: str) -> None:
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
            clear_finding(services, FindingType.FAILED, policy_id)
        if applied.errors:
            raise applied.errors[0]
        if Outcome.BUSY in outcomes or not _is_finished(services, policy_id, after, applied):
            later = _LATER if Outcome.SETTLING in outcomes else _SOON
            services.queues.send_policy(policy_id, delay=later)
        return
    services.queues.send_policy(policy_id, delay=_SOON)


def _converge_all(services: ApplyParts, applied: Applied) -> list[Outcome]:
    """Converge every firewall; those that are only closed come after those that carry grants.

    A group of EC2 gives up a foreign rule once our own group is on the same interfaces.
    """
    run = partial(_converge, services, applied)
    first, then = sorted(applied.firewalls), sorted(applied.after_them - applied.firewalls)
    return [*services.workers(run, first), *services.workers(run, then)]


def _converge(services: ApplyParts, applied: Applied, firewall_id: str) -> Outcome:
    try:
        return converge(services, firewall_id, settled=applied.saw)
    except Exception as error:  # noqa: BLE001 - raised again once the others had their turn
        applied.errors.append(error)
        return Outcome.PARTLY


def _apply(services: ApplyParts, policy_id: str, held: PolicyRow | None) -> Applied:
    """Write protections for the VMs a policy lists, and remove those of the VMs it does not."""
    deleting = held is None or held.policy.state is PolicyState.DELETING
    vms = () if held is None or deleting else held.policy.vms
    rows = {key_of(row.vm_id): row for row in services.policies.vm_rows(policy_id)}
    conditions = held.policy.conditions if held else Conditions()
    applied = Applied(
        flush_connections=conditions.flush_connections, revoke_foreign=conditions.revoke_foreign
    )
    applied.twice = read_twice(services, vms)

    def protect(vm: PolicyVm) -> None:
        row = rows.get(key_of(vm.id), VmRow(policy_id, vm.id))
        try:
            protect_vm(services, row, vm, applied)
        except Exception as error:  # noqa: BLE001 - raised again once the others are protected
            applied.errors.append(error)

    services.workers(protect, vms)
    listed = {key_of(vm.id) for vm in vms}
    for key, row in rows.items():
        if key not in listed:
            _try_to_remove(services, row, applied)
    return applied


def _try_to_remove(services: HasRows, row: VmRow, applied: Applied) -> None:
    try:
        remove_protections(services, row, row.firewalls, applied)
    except Exception as error:  # noqa: BLE001 - raised again once the others are removed
        applied.errors.append(error)


def _is_finished(
    services: ApplyParts, policy_id: str, held: PolicyRow | None, applied: Applied
) -> bool:
    """Say how applying ended; False: not yet, or a firewall is being written."""
    try:
        return _finish(services, policy_id, held, applied)
    except SettlingError:
        return False


def _finish(services: ApplyParts, policy_id: str, held: PolicyRow | None, applied: Applied) -> bool:
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


def _is_closed(services: HasFirewalls, applied: Applied, vm_id: str) -> bool:
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


def _tidy(services: HasPolicies, row: VmRow, firewalls: list[str], held: PolicyRow | None) -> None:
    """Keep in a VM's row only the firewalls that hold something; no policy, no row."""
    listed = held is not None and held.policy.state is not PolicyState.DELETING
    try:
        if not firewalls and not (listed and held and held.policy.vm(row.vm_id)):
            services.policies.delete_vm(row)
        elif tuple(sorted(firewalls)) != row.firewalls:
            services.policies.replace_vm(replace(row, firewalls=tuple(sorted(firewalls))))
    except RowChangedError:
        return  # another writer noted a firewall or an access meanwhile; the next pass tidies


def _conclude(services: ApplyParts, held: PolicyRow, applied: Applied) -> bool:
    policy = held.policy
    try:
        if policy.state is PolicyState.DELETING:
            clear_finding(services, FindingType.FAILED, policy.id)
            services.policies.delete(held)
            services.telemetry.event("jit.policy.deleted", policy=policy.id)
            return True
        error = describe_problems(applied.problems)
        state = PolicyState.FAILED if error else PolicyState.SUCCEEDED
        if error:
            note_finding(
                services, Finding(FindingType.FAILED, policy.id, error, len(applied.problems))
            )
        concluded = replace(policy, vms=_with_ports(services, policy), state=state, error=error)
        if concluded != policy:
            services.policies.replace(held, concluded)
            services.telemetry.event(
                "jit.policy.applied", policy=policy.id, state=state.value, error=error
            )
        if not error:
            clear_finding(services, FindingType.FAILED, policy.id)
    except RowChangedError:
        return False
    return True


def describe_problems(problems: Mapping[str, str]) -> str:
    """Return the error of a policy whose VMs have some problems, by id; empty: none has one."""
    return shorten("; ".join(f"{name_of(vm)}: {why}" for vm, why in sorted(problems.items())))


def _with_ports(services: ApplyParts, policy: Policy) -> tuple[PolicyVm, ...]:
    """Fill in the usual ports of the VMs that were named without any."""
    return tuple(
        vm if vm.ports else replace(vm, ports=usual_ports(find_vm(services, vm.id)))
        for vm in policy.vms
    )
