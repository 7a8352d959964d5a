"""Azure role assignments, read from ARM and evaluated here. What cannot be read is refused."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, TypeVar

from shared.adapters.arm import ArmReader
from shared.domain.arm_ids import is_within, key_of
from shared.domain.model import Principal
from shared.domain.permissions import (
    Action,
    Decision,
    DenyAssignment,
    RoleAssignment,
    is_allowed,
)
from shared.use_cases.interfaces import Clock, OutsideError

_API = "2022-04-01"
_KEPT = timedelta(minutes=1)
_MOST_KEPT = 10_000
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_EVERYBODY = "00000000-0000-0000-0000-000000000000"
_SECURITY = "/providers/microsoft.security/"
Found = TypeVar("Found")


@dataclass(frozen=True)
class _Denial:
    """A deny assignment, and whom it concerns."""

    assignment: DenyAssignment
    principals: frozenset[str]
    excluded: frozenset[str]
    names_groups: bool

    def concerns(self, object_id: str) -> bool:
        """Tell whether it may concern somebody.

        NB. Who is in a denied group cannot be told from here, so such a denial concerns
        everybody who is not excluded by name.
        """
        if object_id.lower() in self.excluded:
            return False
        return self.names_groups or not self.principals.isdisjoint({object_id.lower(), _EVERYBODY})


class RoleAuthorizer:
    """Decides by app roles first, then by Azure roles at the scope.

    Answers are kept for a minute at most, and never past a failure: there is nothing to fall
    back on but a refusal that says so.
    """

    def __init__(
        self, arm: Callable[[], ArmReader], app_scopes: Iterable[str], clock: Clock
    ) -> None:
        self._arm = arm
        self._app_scopes = tuple(app_scopes)
        self._clock = clock
        self._kept: dict[tuple[str, ...], tuple[datetime, Any]] = {}
        self._lock = Lock()

    def __call__(self, principal: Principal, action: Action, scope: str) -> Decision:
        """Decide whether somebody may do something at a scope."""
        if not any(is_within(scope, root) for root in self._app_scopes):
            return Decision(False, (f"{scope} is outside the scopes this app works in",))
        decision = is_allowed(principal, action, scope, app_scopes=self._app_scopes)
        if decision.allowed or action in {Action.RELAY, Action.BREAK_GLASS}:
            return decision
        if not _GUID.fullmatch(principal.object_id):
            return Decision(False, ("the object id is not a GUID",))
        try:
            return self._by_azure_role(principal, action, scope)
        except OutsideError as error:
            told = f"the check could not be made: {error}"
            return Decision(False, (told,), failed_check=True)

    def _by_azure_role(self, principal: Principal, action: Action, scope: str) -> Decision:
        at = _resource_scope(scope)
        held = self._keep(
            ("assigned", at, principal.object_id), lambda: self._assigned(at, principal)
        )
        denials = [
            each.assignment
            for each in self._keep(("denied", at), lambda: self._denied(at))
            if each.concerns(principal.object_id)
        ]
        decision = Decision(False, (f"'{action}' is not held at {scope}",))
        for assignment in held:
            # One definition at a time: most people hold one role that decides.
            decision = is_allowed(
                principal,
                action,
                scope,
                app_scopes=(),
                assignments=self._expanded(assignment),
                denials=denials,
            )
            if decision.allowed:
                return decision
        return decision

    def _assigned(self, scope: str, principal: Principal) -> list[dict[str, Any]]:
        # assignedTo() covers the groups somebody is in, nested ones too (Azure RBAC, REST).
        found = self._arm().list(
            f"{scope}/providers/Microsoft.Authorization/roleAssignments",
            _API,
            **{"$filter": f"assignedTo('{principal.object_id}')"},
        )
        return [each["properties"] for each in found]

    def _denied(self, scope: str) -> list[_Denial]:
        found = self._arm().list(
            f"{scope}/providers/Microsoft.Authorization/denyAssignments",
            _API,
            **{"$filter": "atScope()"},
        )
        return [denial for each in found for denial in _denials(each["properties"])]

    def _expanded(self, assignment: dict[str, Any]) -> list[RoleAssignment]:
        definition_id = assignment["roleDefinitionId"]
        definition = self._keep(
            ("definition", key_of(definition_id)), lambda: self._definition(definition_id)
        )
        return [
            RoleAssignment(
                scope=assignment["scope"],
                actions=tuple(permission.get("actions", ())),
                not_actions=tuple(permission.get("notActions", ())),
                has_condition=bool(assignment.get("condition")),
                role=definition["roleName"],
            )
            for permission in definition["permissions"]
        ]

    def _definition(self, definition_id: str) -> dict[str, Any]:
        found = self._arm().get(definition_id, _API)
        if found is None:
            raise OutsideError(f"role definition {definition_id} cannot be read")
        properties: dict[str, Any] = found["properties"]
        return properties

    def _keep(self, key: tuple[str, ...], read: Callable[[], Found]) -> Found:
        now = self._clock()
        with self._lock:
            held = self._kept.get(key)
        if held is not None and now - held[0] < _KEPT:
            return held[1]  # type: ignore[no-any-return]
        try:
            found = read()
        except (KeyError, TypeError, AttributeError) as error:
            raise OutsideError(f"an answer of ARM cannot be read: {error!r}") from error
        with self._lock:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = (now, found)
        return found


def _resource_scope(scope: str) -> str:
    """Return where to ask: our policies are no resources of Azure's, their group is."""
    cut = scope.lower().find(_SECURITY)
    return scope if cut < 0 else scope[:cut]


def _denials(properties: dict[str, Any]) -> list[_Denial]:
    principals = properties["principals"]
    return [
        _Denial(
            DenyAssignment(
                scope=properties["scope"],
                actions=tuple(permission.get("actions", ())),
                not_actions=tuple(permission.get("notActions", ())),
                name=properties.get("denyAssignmentName", ""),
            ),
            frozenset(each["id"].lower() for each in principals),
            frozenset(each["id"].lower() for each in properties.get("excludePrincipals", ())),
            any(each.get("type") == "Group" for each in principals),
        )
        for permission in properties["permissions"]
    ]
