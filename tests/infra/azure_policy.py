"""Evaluates an Azure Policy rule on a resource: the part of the language that ours use."""

from dataclasses import dataclass, field
from typing import Any

from tests.logic_apps.expressions import Function, Lazy, evaluate

Json = dict[str, Any]
_NSG = "Microsoft.Network/networkSecurityGroups"
_CHILD = f"{_NSG}/securityRules/"
_LIST = f"{_NSG}/securityRules[*]"


@dataclass(frozen=True)
class Scope:
    """The scope of a condition: the resource, the parameters, and the elements being counted."""

    resource: Json
    parameters: Json
    current: Json = field(default_factory=dict)


def holds(condition: Json, scope: Scope) -> bool:
    """Evaluate a condition."""
    if "allOf" in condition:
        return all(holds(each, scope) for each in condition["allOf"])
    if "anyOf" in condition:
        return any(holds(each, scope) for each in condition["anyOf"])
    return _compared(_left(condition, scope), condition)


def _left(condition: Json, scope: Scope) -> Any:
    if "count" in condition:
        return _count(condition["count"], scope)
    if "field" in condition:
        return _field(condition["field"], scope)
    return _value(condition["value"], scope)


def _count(counted: Json, scope: Scope) -> int:
    if "value" in counted:
        name, elements = counted["name"], _value(counted["value"], scope)
    else:
        name, elements = counted["field"], _field(counted["field"], scope)
    return sum(
        holds(
            counted["where"],
            Scope(scope.resource, scope.parameters, {**scope.current, name: element}),
        )
        for element in elements or ()
    )


def _field(alias: str, scope: Scope) -> Any:
    """Read an alias: of the resource, or of the element that is being counted."""
    if alias in scope.current:
        return scope.current[alias]
    if alias == "type":
        return scope.resource["type"]
    if alias.startswith(f"{_LIST}."):
        name = alias.removeprefix(f"{_LIST}.").removesuffix("[*]")
        return scope.current[_LIST]["properties"].get(name)
    if alias == _LIST:
        return scope.resource["properties"].get("securityRules", [])
    if alias.startswith(_CHILD):
        name = alias.removeprefix(_CHILD).removesuffix("[*]")
        return scope.resource["properties"].get(name)
    raise ValueError(f"unknown alias {alias}")


def _value(held: Any, scope: Scope) -> Any:
    if not isinstance(held, str) or not held.startswith("["):
        return held
    # In a template a policy's own expression is written with a second bracket.
    text = held.removeprefix("[").removeprefix("[").removesuffix("]")
    return evaluate(text, _functions(scope))


def _compared(left: Any, condition: Json) -> bool:
    if "equals" in condition:
        return bool(_plain(left) == _plain(condition["equals"]))
    if "in" in condition:
        return _plain(left) in {_plain(each) for each in condition["in"]}
    if "greater" in condition:
        return bool(left > condition["greater"])
    raise ValueError(f"no operator in {condition}")


def _plain(held: Any) -> Any:
    return held.lower() if isinstance(held, str) else held


def _functions(scope: Scope) -> dict[str, Function | Lazy]:
    return {
        "and": lambda *parts: all(parts),
        "contains": lambda held, part: part in held,
        "current": lambda name: _field(name, scope),
        "empty": lambda held: not held,
        "equals": lambda left, right: _plain(left) == _plain(right),
        "field": lambda name: _field(name, scope),
        "first": lambda held: held[0],
        "greaterOrEquals": lambda left, right: left >= right,
        "if": Lazy(lambda test, good, bad: good() if test() else bad()),
        "int": int,
        "last": lambda held: held[-1],
        "lessOrEquals": lambda left, right: left <= right,
        "parameters": lambda name: scope.parameters[name],
        "split": lambda text, between: text.split(between),
        "string": str,
    }
