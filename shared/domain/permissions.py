"""Permissions at scopes: one function decides, and its answer carries its reasons.

Permissions are Azure action names. They are held through app roles, which count within the
deployment's own scopes, or through Azure role assignments at the scope or above it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from shared.domain.ids import is_within
from shared.domain.model import Principal

_JIT = "Microsoft.Security/locations/jitNetworkAccessPolicies"


class Action(StrEnum):
    """The actions a caller can need; the first five are Defender's own."""

    INITIATE = f"{_JIT}/initiate/action"
    READ = f"{_JIT}/read"
    WRITE = f"{_JIT}/write"
    DELETE = f"{_JIT}/delete"
    READ_VM = "Microsoft.Compute/virtualMachines/read"
    APPROVE = f"{_JIT}/approve/action"
    # Not below the policies: the documented role for requestors holds `*/read` there, and would read
    # what everybody does.
    READ_ACTIVITY = "Microsoft.Security/locations/jitNetworkAccessActivities/read"
    RELAY = f"{_JIT}/relay/action"
    BREAK_GLASS = f"{_JIT}/breakGlass/action"
    REVOKE = f"{_JIT}/revoke/action"


_MANAGEMENT_GROUPS = "/providers/microsoft.management/managementgroups/"
_READS = frozenset({Action.READ, Action.READ_VM})
APP_ROLES: dict[str, frozenset[Action]] = {
    "Jit.Request": frozenset({Action.INITIATE, *_READS}),
    "Jit.Approve": frozenset({Action.APPROVE, *_READS}),
    "Jit.Admin": frozenset(
        {Action.WRITE, Action.DELETE, Action.REVOKE, Action.READ_ACTIVITY, *_READS}
    ),
    "Jit.Read": frozenset({Action.READ_ACTIVITY, *_READS}),
    "Jit.BreakGlass": frozenset({Action.BREAK_GLASS, Action.INITIATE, *_READS}),
    "Jit.Relay": frozenset({Action.RELAY, *_READS}),
}


# Wildcards reach far: everybody with `*` would carry other people's approvals, or skip them. These
# two are held only where a role gives them by name.
_BY_APP_ROLE_ONLY = frozenset({Action.RELAY, Action.BREAK_GLASS})


@dataclass(frozen=True)
class Decision:
    """An answer with its reasons; what could not be checked is a refusal that says so."""

    allowed: bool
    reasons: tuple[str, ...] = ()
    failed_check: bool = False
    retry_after: int = 0  # seconds, where the bound of role reads for this caller is reached


@dataclass(frozen=True)
class RoleAssignment:
    """A role that a principal holds at a scope, with what its definition allows."""

    scope: str
    actions: tuple[str, ...]
    not_actions: tuple[str, ...] = ()
    has_condition: bool = False
    role: str = ""


@dataclass(frozen=True)
class DenyAssignment:
    """Actions denied at a scope."""

    scope: str
    actions: tuple[str, ...]
    not_actions: tuple[str, ...] = ()
    name: str = ""


def is_allowed(
    principal: Principal,
    action: Action,
    scope: str,
    *,
    app_scopes: Iterable[str],
    assignments: Iterable[RoleAssignment] = (),
    denials: Iterable[DenyAssignment] = (),
) -> Decision:
    """Decide whether a principal may do something at a scope.

    NB. A deny assignment wins over every role assignment, and an assignment with a condition
    grants nothing: we cannot evaluate conditions, so we do not guess.
    """
    held = by_app_role(principal, action, scope, app_scopes)
    if held:
        return Decision(True, (f"app role {held}",))
    if action in _BY_APP_ROLE_ONLY:
        return Decision(False, (f"'{action}' is held through an app role only",))
    denial = next((d for d in denials if _applies(d, action, scope)), None)
    if denial is not None:
        return Decision(False, (f"deny assignment '{denial.name}' at {denial.scope}",))
    for each in assignments:
        if not each.has_condition and _applies(each, action, scope):
            return Decision(True, (f"role '{each.role}' at {each.scope}",))
    return Decision(False, (f"'{action}' is not held at {scope}",))


def by_app_role(principal: Principal, action: Action, scope: str, app_scopes: Iterable[str]) -> str:
    """Name the app role that gives an action at a scope; empty if none does."""
    if not any(is_within(scope, root) for root in app_scopes):
        return ""
    return next(
        (role for role in sorted(principal.roles) if action in APP_ROLES.get(role, frozenset())),
        "",
    )


def _applies(held: RoleAssignment | DenyAssignment, action: Action, scope: str) -> bool:
    denies = isinstance(held, DenyAssignment)
    return (
        reaches(held.scope, scope)
        and _matches(action, held.actions, unclear=denies)
        and not _matches(action, held.not_actions, unclear=not denies)
    )


def reaches(held_at: str, scope: str) -> bool:
    """Tell whether what is held at one scope counts at another; management groups lie above."""
    above = held_at == "/" or held_at.lower().startswith(_MANAGEMENT_GROUPS)
    return above or (bool(held_at) and is_within(scope, held_at))


def _matches(action: str, patterns: Iterable[str], *, unclear: bool) -> bool:
    """Match as Azure does: `*` stands for any text, letter case is ignored.

    A pattern with other characters that fnmatch treats as special is no action name of Azure's;
    `unclear` says how it counts, so that it never grants and always denies.
    """
    lowered = action.lower()
    return any(
        fnmatchcase(lowered, pattern.lower()) if set(pattern).isdisjoint("?[") else unclear
        for pattern in patterns
    )
