"""Expands an ARM template in JSON: parameters, variables, conditions and copies, as ARM does."""

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.logic_apps.expressions import Lazy, evaluate

GROUP = "/subscriptions/3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815/resourceGroups/rg-jit-x"
_RULES = ("condition", "copy", "dependsOn")


def expand(template: Mapping[str, Any], **parameters: Any) -> list[dict[str, Any]]:
    """Return the resources that a deployment would create."""
    given = dict(parameters)
    for name, declared in template["parameters"].items():
        if name not in given and "defaultValue" not in declared:
            raise ValueError(f"parameter {name} is missing")
        given.setdefault(name, declared.get("defaultValue"))
    if unknown := set(given) - set(template["parameters"]):
        raise ValueError(f"unknown parameters: {unknown}")
    found = []
    for resource in template["resources"]:
        for index in _indexes(resource, template, given):
            functions = _functions(template, given, index)
            if _value(resource.get("condition", True), functions):
                body = {name: each for name, each in resource.items() if name not in _RULES}
                found.append(_value(body, functions))
    return found


def _indexes(
    resource: Mapping[str, Any], template: Mapping[str, Any], given: Mapping[str, Any]
) -> Iterator[int]:
    copy = resource.get("copy")
    if copy is None:
        yield 0
        return
    yield from range(_value(copy["count"], _functions(template, given, 0)))


def _value(held: Any, functions: Mapping[str, Any]) -> Any:
    if isinstance(held, dict):
        return {name: _value(each, functions) for name, each in held.items()}
    if isinstance(held, list):
        return [_value(each, functions) for each in held]
    if isinstance(held, str) and held.startswith("[") and held.endswith("]"):
        return evaluate(held[1:-1], functions)
    return held


def _functions(
    template: Mapping[str, Any], given: Mapping[str, Any], index: int
) -> dict[str, Callable[..., Any] | Lazy]:
    functions: dict[str, Callable[..., Any] | Lazy] = {
        "parameters": lambda name: given[name],
        "copyIndex": lambda *_name: index,
        "concat": lambda *parts: functools.reduce(lambda one, other: one + other, parts),
        "createArray": lambda *items: list(items),
        "div": lambda one, other: one // other,
        "empty": lambda held: not held,
        "environment": lambda: {"suffixes": {"storage": "core.windows.net"}},
        "equals": lambda one, other: one == other,
        "first": lambda items: items[0],
        "format": lambda text, *items: text.format(*items),
        "guid": lambda *parts: hashlib.sha256("".join(parts).encode()).hexdigest()[:32],
        "if": Lazy(lambda test, good, bad: good() if test() else bad()),
        "length": len,
        "mod": lambda one, other: one % other,
        "mul": lambda one, other: one * other,
        "resourceGroup": lambda: {"id": GROUP},
        "resourceId": lambda resource_type, name: f"{GROUP}/providers/{resource_type}/{name}",
        "split": lambda text, between: text.split(between),
        "string": str,
        "union": lambda one, other: [*one, *(each for each in other if each not in one)],
    }
    functions["variables"] = lambda name: _value(template["variables"][name], functions)
    return functions
