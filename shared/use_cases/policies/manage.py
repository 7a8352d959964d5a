"""Change a policy: who may, and an audit event that is stored before the change takes effect."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from shared.domain.audit import Operation
from shared.domain.errors import NotPermittedError, PreconditionFailedError
from shared.domain.ids import key_of
from shared.domain.model import GRACE, Policy, Principal
from shared.domain.permissions import Action
from shared.domain.policy_diff import (
    differences,
    digest_of,
    etag_of,
    summed_up,
    with_known_ports,
)
from shared.store.audit import AuditEvent
from shared.use_cases.parts import (
    HasActivity,
    HasAuthorize,
    HasClock,
    HasPolicies,
    HasScopes,
    HasTelemetry,
)
from shared.use_cases.permission import ScopeParts, enforce, enforce_on_vms, is_in_scope
from shared.use_cases.policies import apply as protection
from shared.use_cases.policies.apply import PolicyWriteParts


class ManageParts(PolicyWriteParts, HasActivity, HasAuthorize, HasScopes, HasTelemetry, Protocol):
    """The parts for writing and removing a policy for a caller."""


@dataclass(frozen=True)
class Changer:
    """The person who changes a policy, the address, and the app that carries the message."""

    person: Principal
    source_address: str = ""
    relayed_by: Principal | None = None


@dataclass(frozen=True)
class Precondition:
    """The condition on the policy that a call replaces: entity tags, or that none exists.

    `*` in `matches` stands for any policy that exists.
    """

    matches: tuple[str, ...] = ()
    must_not_exist: bool = False


ANYTHING = Precondition()


def check_precondition(current: Policy | None, expected: Precondition) -> None:
    """Raise PreconditionFailedError where a policy is not what the caller expects."""
    if expected.must_not_exist and current is not None:
        raise PreconditionFailedError(
            f"If-None-Match is '*', and policy '{current.name}' exists already."
        )
    if not expected.matches or (current is not None and "*" in expected.matches):
        return
    if current is None:
        raise PreconditionFailedError("If-Match is given, and there is no such policy.")
    if etag_of(current) not in expected.matches:
        raise PreconditionFailedError(
            f"Policy '{current.name}' has changed since it was read; its etag is now "
            f"{etag_of(current)}. Read it again and repeat the change."
        )


def enforce_write(
    services: ScopeParts, changer: Changer, policy_id: str, vm_ids: Iterable[str]
) -> None:
    """Enforce the right to write at a policy's scope and on each VM that a PUT names."""
    enforce(services, changer.person, Action.WRITE, policy_id)
    _enforce_on_vms(services, changer, vm_ids)


def write_policy(
    services: ManageParts,
    changer: Changer,
    policy: Policy,
    *,
    keep_conditions: bool = False,
    expected: Precondition = ANYTHING,
) -> Policy:
    """Write a policy: check the right on every VM, record the change, then store it.

    Raises NotPermittedError, and PreconditionFailedError where the policy that is replaced is not
    the expected one. Nothing is stored then.
    """
    enforce_write(services, changer, policy.id, [vm.id for vm in policy.vms])

    def before(held: Policy | None, written: Policy | None) -> None:
        enforce_on_replaced(services, changer, held)
        check_precondition(held, expected)
        _record(services, changer, held, written)

    return protection.put_policy(services, policy, keep_conditions=keep_conditions, before=before)


def remove_policy(
    services: ManageParts, changer: Changer, policy_id: str, *, expected: Precondition = ANYTHING
) -> bool:
    """Delete a policy: check the right on every VM in it, record the change, then delete.

    Return False if there is none. Raises NotPermittedError and PreconditionFailedError.
    """
    enforce(services, changer.person, Action.DELETE, policy_id)

    def before(held: Policy | None, written: Policy | None) -> None:
        enforce_on_replaced(services, changer, held)
        check_precondition(held, expected)
        _record(services, changer, held, written)

    existed = protection.delete_policy(services, policy_id, before=before)
    if not existed:
        check_precondition(None, expected)
    return existed


def enforce_on_replaced(services: ScopeParts, changer: Changer, held: Policy | None) -> None:
    """Enforce the right on the VMs that a policy lists now: a change may remove their protection.

    NB. A VM outside the app's scopes by now cannot be checked, nor opened or closed.
    """
    listed = [vm.id for vm in held.vms if is_in_scope(services, vm.id)] if held else []
    enforce_on_vms(services, changer.person, Action.WRITE, listed)


def _enforce_on_vms(services: ScopeParts, changer: Changer, vm_ids: Iterable[str]) -> None:
    named = list(vm_ids)
    for vm_id in named:
        if not is_in_scope(services, vm_id):
            raise NotPermittedError(f"'{vm_id}' is outside the scopes this app works in.")
    enforce_on_vms(services, changer.person, Action.WRITE, named)


def _record(
    services: ManageParts, changer: Changer, old: Policy | None, new: Policy | None
) -> None:
    """Record a change before it takes effect; one that changes nothing is no change."""
    after = with_known_ports(new, old) if new else None
    lines = differences(old, after)
    if not lines:
        return
    event = _as_begun(services, _event(services, changer, old, after, lines))
    services.activity.record(event)
    services.telemetry.event(
        "jit.policy.changed",
        operation=event.operation,
        policy=event.policy_id,
        principal=event.principal,
        principal_name=event.principal_name,
        relayed_by=event.relayed_by,
        source=event.source_address,
        old=event.old_digest,
        new=event.new_digest,
        changes=event.changes,
    )


def _event(
    services: HasClock,
    changer: Changer,
    old: Policy | None,
    new: Policy | None,
    lines: tuple[str, ...],
) -> AuditEvent:
    operations = {(False, True): Operation.POLICY_CREATED, (True, False): Operation.POLICY_DELETED}
    policy = new or old
    assert policy is not None  # noqa: S101 - two policies that do not exist do not differ
    vms = {key_of(vm.id): vm.id for each in (old, new) if each for vm in each.vms}
    return AuditEvent(
        id="",
        at=services.clock(),
        operation=operations.get((old is not None, new is not None), Operation.POLICY_CHANGED),
        principal=changer.person.key,
        principal_name=changer.person.name or changer.person.app_id,
        relayed_by=changer.relayed_by.key if changer.relayed_by else "",
        vm_id=next(iter(vms.values())) if len(vms) == 1 else "",
        policy_id=policy.id,
        source_address=changer.source_address,
        old_digest=digest_of(old),
        new_digest=digest_of(new),
        changes=summed_up(lines),
    )


def _as_begun(services: HasPolicies, event: AuditEvent) -> AuditEvent:
    """Return the event of an earlier try that stopped before its change, or this one as begun.

    The last event of each policy is kept beside it. Its change has taken effect, unless the
    policy still is what it was then: the same change by the same person is then the same event.
    """
    begun = services.policies.last_change(event.policy_id)
    if begun is not None and event.at - begun.at <= GRACE and _same(begun, event):
        return begun
    mark = f"{event.at.isoformat()}|{event.old_digest}|{event.new_digest}|{event.principal}"
    event = replace(event, id=f"{key_of(event.policy_id)}|{mark}")
    services.policies.note_change(event)
    return event


def _same(begun: AuditEvent, event: AuditEvent) -> bool:
    return replace(begun, id="", at=event.at) == event
