"""Enforce what the authorizer decides: deciding is one step, refusing another."""

from collections.abc import Iterable
from typing import Protocol

from shared.domain.errors import NotPermittedError, Reason, TooManyRequestsError
from shared.domain.ids import is_within, key_of
from shared.domain.model import Principal
from shared.domain.permissions import Action, Decision
from shared.use_cases.parts import HasAuthorize, HasScopes, HasTelemetry


class PermissionParts(HasAuthorize, HasTelemetry, Protocol):
    """The parts for deciding authority."""


class ScopeParts(PermissionParts, HasScopes, Protocol):
    """The parts for deciding authority within the scopes of the app."""


def enforce(
    services: PermissionParts, principal: Principal, action: Action, scope: str
) -> Decision:
    """Let a permitted action pass; raises NotPermittedError that names action and scope."""
    decision = services.authorize(principal, action, scope)
    if not decision.allowed:
        refuse(services, principal, action, scope, decision)
    return decision


def refuse(
    services: HasTelemetry, principal: Principal, action: Action, scope: str, decision: Decision
) -> None:
    """Raise the refusal of a decision: NotPermittedError, or TooManyRequestsError at a bound."""
    services.telemetry.event(
        "jit.permission.refused",
        principal=principal.key,
        action=action.value,
        scope=scope,
        failed_check=decision.failed_check,
        reason="; ".join(decision.reasons),
    )
    if decision.retry_after:
        raise TooManyRequestsError("; ".join(decision.reasons), retry_after=decision.retry_after)
    # ARM's own sentence: scripts look for it.
    raise NotPermittedError(
        f"The client '{principal.name or principal.app_id}' with object id "
        f"'{principal.object_id}' does not have authorization to perform action '{action}' over "
        f"scope '{scope}' or the scope is invalid.",
        details=tuple(Reason("NotHeld", reason, scope) for reason in decision.reasons),
    )


def is_permitted(
    services: PermissionParts, principal: Principal, action: Action, scope: str
) -> bool:
    """Tell whether an action is permitted; raises TooManyRequestsError at the bound of reads."""
    decision = services.authorize(principal, action, scope)
    if decision.retry_after:
        refuse(services, principal, action, scope, decision)
    return decision.allowed


def enforce_on_found(
    services: ScopeParts, principal: Principal, action: Action, scopes: Iterable[str]
) -> None:
    """Enforce an action at scopes that the caller did not name, and that a refusal must not name.

    A caller without permission gets the same refusal as for an object that does not exist.
    """
    for scope in sorted(scopes):
        decision = services.authorize(principal, action, scope)
        if not decision.allowed:
            enforce_for_missing(services, principal, action)
            refuse(services, principal, action, scope, decision)


def enforce_for_missing(services: ScopeParts, principal: Principal, action: Action) -> None:
    """Enforce an action for an object that does not exist: at the scope of the app itself."""
    enforce(services, principal, action, services.scopes[0])


def enforce_on_vms(
    services: ScopeParts, principal: Principal, action: Action, vm_ids: Iterable[str]
) -> None:
    """Enforce an action on each VM. A right on a resource group counts for the VMs in it."""
    by_group: dict[str, dict[str, str]] = {}
    for vm_id in vm_ids:
        by_group.setdefault(group_of(vm_id), {})[key_of(vm_id)] = vm_id
    for group, vms in sorted(by_group.items()):
        if is_in_scope(services, group) and is_permitted(services, principal, action, group):
            continue
        for _, vm_id in sorted(vms.items()):
            enforce(services, principal, action, vm_id)


def group_of(vm_id: str) -> str:
    """Return the key of the resource group that holds a VM."""
    return key_of(vm_id)[: key_of(vm_id).index("/providers/")]


def is_in_scope(services: HasScopes, resource_id: str) -> bool:
    """Tell whether a resource lies within the scopes of the app."""
    return any(is_within(resource_id, scope) for scope in services.scopes)


class CallerPermissions:
    """The permissions of one caller for one call: each action and scope is decided once.

    A check that cannot be made counts as a refusal, so that a list never fails over one of its
    items.
    """

    def __init__(self, services: HasAuthorize, caller: Principal) -> None:
        self.services = services
        self.caller = caller
        self._decided: dict[tuple[Action, str], bool] = {}

    def holds(self, action: Action, scope: str) -> bool:
        """Tell whether the caller holds an action at a scope."""
        key = (action, key_of(scope))
        if key not in self._decided:
            self._decided[key] = self.services.authorize(self.caller, action, scope).allowed
        return self._decided[key]

    def holds_on_vms(self, action: Action, vm_ids: Iterable[str]) -> bool:
        """Tell whether the caller holds an action on each VM, by its resource group or itself."""
        return all(
            self.holds(action, group_of(vm_id)) or self.holds(action, vm_id)
            for vm_id in sorted(set(vm_ids))
        )
