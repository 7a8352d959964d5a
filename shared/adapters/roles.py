"""Azure role assignments, read from ARM and evaluated here. An unreadable answer grants nothing."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, TypeVar

from shared.adapters.arm import ArmReader
from shared.adapters.read_budget import ReadBudget, ReadsExceededError
from shared.domain.ids import is_within, key_of
from shared.domain.model import Principal
from shared.domain.permissions import (
    Action,
    Decision,
    DenyAssignment,
    RoleAssignment,
    is_allowed,
    reaches,
)
from shared.ports import Clock, GoneError, OutsideError

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
        """Tell whether it may concern a principal.

        NB. The members of a denied group are unknown here, so such a denial concerns
        everybody who is not excluded by name.
        """
        if object_id.lower() in self.excluded:
            return False
        return self.names_groups or not self.principals.isdisjoint({object_id.lower(), _EVERYBODY})


@dataclass(frozen=True)
class _Assignment:
    """A role held at a scope, before its definition is known."""

    scope: str
    definition_id: str
    has_condition: bool


@dataclass(frozen=True)
class _Definition:
    """The actions that a role allows: pairs of actions and exceptions."""

    name: str
    permissions: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


class RoleAuthorizer:
    """Decides by app roles first, then by Azure roles at the scope.

    Answers are kept for a minute at most, and never past a failure: there is nothing to fall
    back on but a refusal that says so. How many reads one caller can cause is bounded.
    """

    def __init__(
        self, arm: Callable[[], ArmReader], app_scopes: Iterable[str], clock: Clock
    ) -> None:
        self._arm = arm
        self._app_scopes = tuple(app_scopes)
        self._clock = clock
        self._kept: dict[tuple[str, ...], tuple[datetime, Any]] = {}
        self._lock = Lock()
        self._budget = ReadBudget(clock)

    def __call__(self, principal: Principal, action: Action, scope: str) -> Decision:
        """Decide whether a principal may perform an action at a scope."""
        if not any(is_within(scope, root) for root in self._app_scopes):
            # The same words as for a scope where nothing is held: a caller without permission
            # does not learn where this app works.
            return Decision(False, (f"'{action}' is not held at {scope}",))
        decision = is_allowed(principal, action, scope, app_scopes=self._app_scopes)
        if decision.allowed or action in {Action.RELAY, Action.BREAK_GLASS}:
            return decision
        if not _GUID.fullmatch(principal.object_id):
            return Decision(False, ("the object id is not a GUID",))
        try:
            return self._by_azure_role(principal, action, scope)
        except ReadsExceededError as error:
            return Decision(False, (str(error),), failed_check=True, retry_after=error.retry_after)
        except OutsideError as error:
            told = f"the check could not be made: {error}"
            return Decision(False, (told,), failed_check=True)

    def _by_azure_role(self, principal: Principal, action: Action, scope: str) -> Decision:
        at = _resource_scope(scope)
        assigned = self._keep(
            ("assigned", at, principal.object_id),
            lambda: self._counted(principal, lambda: self._assigned(at, principal)),
        )
        held = [each for each in assigned if reaches(each.scope, scope) and not each.has_condition]
        if not held:
            return Decision(False, (f"'{action}' is not held at {scope}",))
        denials = [
            each.assignment
            for each in self._keep(
                ("denied", at), lambda: self._counted(principal, lambda: self._denied(at), held)
            )
            if each.concerns(principal.object_id)
        ]
        self._read_definitions(principal, at, {each.definition_id for each in held})
        return is_allowed(
            principal,
            action,
            scope,
            app_scopes=(),
            assignments=[role for each in held for role in self._expanded(principal, at, each)],
            denials=denials,
        )

    def _counted(
        self, principal: Principal, read: Callable[[], Found], held: object = None
    ) -> Found:
        """Make a read that counts for a caller: in vain, unless a role is held or found."""
        self._budget.spend(principal.key)
        found = read()
        if held or found:
            self._budget.found(principal.key)
        return found

    def _assigned(self, scope: str, principal: Principal) -> list[_Assignment]:
        # assignedTo() covers the groups a principal is in, nested ones too (Azure RBAC, REST).
        found = self._arm().list(
            f"{scope}/providers/Microsoft.Authorization/roleAssignments",
            _API,
            **{"$filter": f"assignedTo('{principal.object_id}')"},
        )
        try:
            return [_assignment(each["properties"], principal.object_id) for each in found]
        except GoneError:
            return []  # at a scope that does not exist nothing is held, as at one of others

    def _denied(self, scope: str) -> list[_Denial]:
        found = self._arm().list(
            f"{scope}/providers/Microsoft.Authorization/denyAssignments",
            _API,
            **{"$filter": "atScope()"},
        )
        return [denial for each in found for denial in _denials(each["properties"])]

    def _expanded(
        self, principal: Principal, scope: str, held: _Assignment
    ) -> list[RoleAssignment]:
        definition = self._keep(
            _place(held.definition_id),
            lambda: self._counted(
                principal, lambda: self._definition(scope, held.definition_id), held
            ),
        )
        return [
            RoleAssignment(held.scope, actions, not_actions, role=definition.name)
            for actions, not_actions in definition.permissions
        ]

    def _definition(self, scope: str, definition_id: str) -> _Definition:
        # An assignment names its definition below the subscription, where the app may have no
        # rights. The same definition stands at the scope that was asked for.
        guid = definition_id.rpartition("/")[2]
        path = f"{scope}/providers/Microsoft.Authorization/roleDefinitions/{guid}"
        found = self._arm().get(path, _API)
        if found is None:
            raise OutsideError(f"role definition {definition_id} cannot be read")
        if _place(_text(found["id"])) != _place(definition_id):
            raise ValueError("it is another role definition")
        return _definition(found["properties"])

    def _read_definitions(self, principal: Principal, scope: str, ids: set[str]) -> None:
        """Read several definitions at once: a decision costs three reads, however many roles."""
        missing = {each for each in map(_place, ids) if self._held(each) is None}
        if len(missing) <= 1:
            return
        began = self._clock()
        path = f"{scope}/providers/Microsoft.Authorization/roleDefinitions"
        found = self._counted(principal, lambda: self._arm().list(path, _API), ids)
        for place, definition in _reading(lambda: list(_definitions(found, missing))):
            self._put(place, definition, began)

    def _held(self, place: tuple[str, ...]) -> Any:
        with self._lock:
            at, found = self._kept.get(place, (None, None))
        # A clock that was set back makes nothing younger than it is.
        fresh = at is not None and timedelta(0) <= self._clock() - at < _KEPT
        return found if fresh else None

    def _put(self, place: tuple[str, ...], found: object, began: datetime) -> None:
        # NB. The age counts from before the read: what an answer says may be as old as that.
        with self._lock:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[place] = (began, found)

    def _keep(self, place: tuple[str, ...], read: Callable[[], Found]) -> Found:
        held = self._held(place)
        if held is not None:
            return held  # type: ignore[no-any-return]
        began = self._clock()
        found = _reading(read)
        self._put(place, found, began)
        return found


def _reading(read: Callable[[], Found]) -> Found:
    """Read an answer of ARM; one of another shape is an answer we cannot go by."""
    try:
        return read()
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise OutsideError(f"an answer of ARM cannot be read: {error!r}") from error


def _assignment(properties: dict[str, Any], object_id: str) -> _Assignment:
    """Read an assignment; raises ValueError where it is another principal's.

    NB. ARM passes over filters it does not know. An answer that lists other people's roles is
    not the answer to what was asked, and grants nothing. Only ARM knows the members of a group.
    """
    person = properties.get("principalType", "User") != "Group"
    if person and _text(properties["principalId"]).lower() != object_id.lower():
        raise ValueError("it lists the roles of another principal")
    return _Assignment(
        scope=_text(properties["scope"]),
        definition_id=_text(properties["roleDefinitionId"]),
        has_condition=bool(properties.get("condition")),
    )


def _definition(properties: dict[str, Any]) -> _Definition:
    return _Definition(
        _text(properties["roleName"]),
        tuple(
            (_texts(each.get("actions", [])), _texts(each.get("notActions", [])))
            for each in properties["permissions"]
        ),
    )


def _definitions(
    found: Iterable[dict[str, Any]], wanted: set[tuple[str, ...]]
) -> Iterator[tuple[tuple[str, ...], _Definition]]:
    for each in found:
        place = _place(_text(each["id"]))
        if place in wanted:
            yield place, _definition(each["properties"])


def _place(definition_id: str) -> tuple[str, ...]:
    """Return where a definition is kept: by its own GUID, whichever scope its id begins with."""
    return ("definition", key_of(definition_id).rpartition("/")[2])


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} is no text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    """Read a list of texts; a bare text would be taken for its letters, `*` among them."""
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return tuple(_text(each) for each in value)


def _resource_scope(scope: str) -> str:
    """Return where to ask: our policies are no resources of Azure's, their group is."""
    cut = key_of(scope).find(_SECURITY)
    return scope if cut < 0 else scope[:cut]


def _denials(properties: dict[str, Any]) -> list[_Denial]:
    principals = properties["principals"]
    return [
        _Denial(
            DenyAssignment(
                scope=_text(properties["scope"]),
                actions=_texts(permission.get("actions", [])),
                not_actions=_texts(permission.get("notActions", [])),
                name=str(properties.get("denyAssignmentName", "")),
            ),
            frozenset(each["id"].lower() for each in principals),
            frozenset(each["id"].lower() for each in properties.get("excludePrincipals", ())),
            any(each.get("type") == "Group" for each in principals),
        )
        for permission in properties["permissions"]
    ]
