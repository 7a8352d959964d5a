"""Refuse what the service refuses when a workflow is saved, as far as our workflows could meet it."""

import re
from collections.abc import Iterator
from typing import Any

from tests.logic_apps.parts import Json, WorkflowError, inner_actions, seconds_of

LONGEST_EXPRESSION = 8192
DEEPEST = 8
MOST_ACTIONS = 500
_LOOPS = frozenset({"foreach", "until"})
_REFERENCE = re.compile(r"\b(?:body|outputs|actions|result)\('([^']+)'\)")
_COUNT, _REPETITIONS = range(1, 5001), range(1, 51)


def check_definition(definition: Json) -> None:
    """Refuse a definition that the service would refuse; raises WorkflowError."""
    actions = definition["actions"]
    seen: dict[str, tuple[str, ...]] = {}
    _check_scope(actions, (), (), seen)
    if len(seen) > MOST_ACTIONS:
        raise WorkflowError(f"{len(seen)} actions; {MOST_ACTIONS} is the limit")
    for text in _texts(definition):
        if "@" in text and len(text) > LONGEST_EXPRESSION:
            raise WorkflowError(f"an expression of {len(text)} characters")
    _check_references(actions, (), seen)


def _check_scope(
    actions: Json, around: tuple[str, ...], foreach: tuple[str, ...], seen: dict[str, Any]
) -> None:
    """Check the actions of a scope; `around` are the types of the scopes around it, `foreach` the loops' names."""
    if len(around) > DEEPEST:
        raise WorkflowError(f"actions nested {len(around)} deep; {DEEPEST} is the limit")
    for name, action in actions.items():
        if name in seen:
            raise WorkflowError(f"two actions are named {name}")
        seen[name] = foreach
        action_type = action["type"].lower()
        if action_type == "terminate" and _LOOPS & set(around):
            raise WorkflowError(f"{name}: Terminate cannot stand in a loop")
        if action_type == "initializevariable" and around:
            raise WorkflowError(f"{name}: a variable is initialized outside of every scope")
        _check_limits(name, action, action_type)
        inside = (*foreach, name) if action_type == "foreach" else foreach
        for inner in inner_actions(action):
            _check_scope(inner, (*around, action_type), inside, seen)


def _check_limits(name: str, action: Json, action_type: str) -> None:
    limit = action.get("limit", {})
    if action_type == "until" and limit.get("count", 60) not in _COUNT:
        raise WorkflowError(f"{name}: a loop goes round 1 to 5000 times")
    if "timeout" in limit:
        seconds_of(limit["timeout"])
    given = action.get("runtimeConfiguration", {}).get("concurrency", {})
    if given.get("repetitions", 1) not in _REPETITIONS:
        raise WorkflowError(f"{name}: 1 to 50 iterations run side by side")


def _check_references(actions: Json, foreach: tuple[str, ...], seen: dict[str, Any]) -> None:
    """Refuse a reference into a Foreach from outside of it, where no iteration is meant."""
    for name, action in actions.items():
        own = {key: each for key, each in action.items() if key not in {"actions", "cases"}}
        own = {key: each for key, each in own.items() if key not in {"else", "default"}}
        for text in _texts(own):
            for named in _REFERENCE.findall(text):
                if named not in seen:
                    raise WorkflowError(f"{name} refers to {named}, which is no action")
                if seen[named] != foreach[: len(seen[named])]:
                    raise WorkflowError(f"{name} refers to {named} inside another loop")
        inside = (*foreach, name) if action["type"].lower() == "foreach" else foreach
        for inner in inner_actions(action):
            _check_references(inner, inside, seen)


def _texts(held: Any) -> Iterator[str]:
    if isinstance(held, str):
        yield held
    elif isinstance(held, dict):
        for each in held.values():
            yield from _texts(each)
    elif isinstance(held, list):
        for each in held:
            yield from _texts(each)
