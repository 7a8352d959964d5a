"""Role assignments, role definitions and deny assignments, with the filters of the real API."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from local.arm import errors, ids
from local.arm.reads import page
from local.arm.simulator import Answer, Call, Simulator
from local.arm.store import Resource, type_of

ASSIGNMENTS = "microsoft.authorization/roleassignments"
DEFINITIONS = "microsoft.authorization/roledefinitions"
DENIALS = "microsoft.authorization/denyassignments"
TYPES = (ASSIGNMENTS, DEFINITIONS, DENIALS)
# Groups are no ARM resources; an estate may carry them to give `assignedTo` its members.
GROUPS = "microsoft.graph/groups"
# The principal of a deny assignment that is for all.
EVERYONE = "00000000-0000-0000-0000-000000000000"

_FILTER = re.compile(
    r"^(?:(?P<at>atScope)\(\)"
    r"|(?P<assigned>assignedTo)\('(?P<assignee>[^']*)'\)"
    r"|(?P<member>principalId|roleName|type) eq '(?P<value>[^']*)')$",
    re.IGNORECASE,
)
Test = Callable[[Resource], bool]


def list_at_scope(sim: Simulator, call: Call) -> Answer:
    """List what stands at a scope, above it and below it; `atScope()` leaves out what is below."""
    tests = _tests(sim, call)
    found = [
        each
        for each in sim.store.everything()
        if type_of(each) == call.path.type_key and all(test(each) for test in tests)
    ]
    return page(sim, call, found, indented=False)


def get_by_id(sim: Simulator, call: Call) -> Answer:
    """Return one by id; a role definition is known wherever it can be assigned."""
    scope = ids.key(call.path.scope)
    for each in sim.store.everything():
        if type_of(each) != call.path.type_key or not _is_named(each, call.path.names[-1]):
            continue
        if type_of(each) != DEFINITIONS or _is_assignable(each, scope):
            return Answer(200, each, indented=False)
    type_name = call.path.types[-1]
    code = type_name[0].upper() + type_name[1:-1] + "NotFound"
    message = f"The specified {_spaced(type_name)} with ID '{call.path.names[-1]}' is not found."
    raise errors.front_door(404, code, message)


def _tests(sim: Simulator, call: Call) -> list[Test]:
    scope = ids.key(call.path.scope)
    if call.path.type_key == DEFINITIONS:
        tests: list[Test] = [lambda each: _is_assignable(each, scope)]
    else:
        tests = [lambda each: _touches(each, scope)]
    for clause in _clauses(call):
        tests.append(_test(sim, clause, scope))
    return tests


def _clauses(call: Call) -> list[re.Match[str]]:
    given = next((value for name, value in call.query.items() if name.lower() == "$filter"), "")
    clauses = []
    for part in re.split(r"\s+and\s+", given.strip()) if given.strip() else []:
        found = _FILTER.match(part.strip())
        if found is None:  # text from memory
            raise errors.front_door(
                400, "UnsupportedQuery", f"The filter '{given}' is not supported."
            )
        clauses.append(found)
    return clauses


def _test(sim: Simulator, clause: re.Match[str], scope: str) -> Test:
    if clause["at"]:
        return lambda each: _stands_at_or_above(each, scope)
    if clause["assigned"]:
        holders = _with_groups(sim, clause["assignee"])
        return lambda each: bool(_principals(each) & holders)
    member, value = clause["member"].lower(), clause["value"].lower()
    if member == "principalid":
        return lambda each: value in _principals(each)
    name = "type" if member == "type" else "roleName"
    return lambda each: str(each["properties"].get(name, "")).lower() == value


def _with_groups(sim: Simulator, principal: str) -> frozenset[str]:
    """Return a principal with all groups around it: `assignedTo` is transitive."""
    groups = [each for each in sim.store.everything() if type_of(each) == GROUPS]
    holders = {principal.lower(), EVERYONE}
    while True:
        around = {
            ids.last_name(group["id"]).lower()
            for group in groups
            if holders & {member.lower() for member in group["properties"].get("members", [])}
        }
        if around <= holders:
            return frozenset(holders)
        holders |= around


def _principals(each: Mapping[str, Any]) -> frozenset[str]:
    properties = each["properties"]
    if "principals" not in properties:
        return frozenset({str(properties.get("principalId", "")).lower()})
    # A deny assignment may name everyone and leave some out.
    return frozenset(str(principal["id"]).lower() for principal in properties["principals"])


def _scope_of(each: Mapping[str, Any]) -> str:
    given = each["properties"].get("scope")
    return ids.key(given if given is not None else each["id"].rsplit("/providers/", 1)[0])


def _stands_at_or_above(each: Mapping[str, Any], scope: str) -> bool:
    own = _scope_of(each)
    return own in ("", scope) or scope.startswith(own + "/") or _is_management_group(own)


def _is_management_group(scope: str) -> bool:
    """Take every management group of an estate as one above its subscriptions."""
    return scope.startswith("providers/microsoft.management/managementgroups/")


def _touches(each: Mapping[str, Any], scope: str) -> bool:
    return _stands_at_or_above(each, scope) or _scope_of(each).startswith(scope + "/")


def _is_assignable(definition: Mapping[str, Any], scope: str) -> bool:
    scopes = [ids.key(each) for each in definition["properties"].get("assignableScopes", ["/"])]
    return any(
        own in ("", scope) or scope.startswith(own + "/") or _is_management_group(own)
        for own in scopes
    )


def _is_named(each: Mapping[str, Any], name: str) -> bool:
    return ids.last_name(each["id"]).lower() == name.lower()


def _spaced(type_name: str) -> str:
    return re.sub(r"([A-Z])", lambda found: " " + found[1].lower(), type_name)[:-1]
