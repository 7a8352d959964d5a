"""The values that the stand-in engine works with: calls, answers, results, runs and errors."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

Json = dict[str, Any]
SUCCEEDED, FAILED, SKIPPED, TIMED_OUT = "Succeeded", "Failed", "Skipped", "TimedOut"
_LENGTH = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")


class WorkflowError(Exception):
    """The definition asks for what this engine, or the real one, does not do."""


class ProtocolError(Exception):
    """The API breaks the polling pattern: the real engine would hang, or fail."""


class NobodyAnsweredError(Exception):
    """A connector waited for a person for as long as it may."""


class TerminatedError(Exception):
    """A Terminate action ended the run."""

    def __init__(self, status: str, error: Json) -> None:
        super().__init__(status)
        self.status = status
        self.error = error


@dataclass(frozen=True)
class Call:
    """One HTTP call of a workflow."""

    at: float
    method: str
    url: str
    headers: Mapping[str, str]
    body: Any = None


@dataclass(frozen=True)
class Answer:
    """An answer to a call."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        """Return a header whatever its letter case."""
        return {key.lower(): each for key, each in self.headers.items()}.get(name.lower())


Transport = Callable[[Call], Answer]
Connector = Callable[[Json], Any]


class Clock:
    """A clock that moves when an action waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass
class Result:
    """The status, inputs and outputs that an action ended with."""

    status: str
    inputs: Any = None
    outputs: Any = None
    error: str = ""

    def shown(self) -> Json:
        """Return it as the function actions() does."""
        return {"status": self.status, "inputs": self.inputs, "outputs": self.outputs}


@dataclass
class Run:
    """A finished run; `error` is what a Terminate action gave it."""

    status: str
    results: dict[str, Result]
    variables: dict[str, Any]
    response: Answer | None
    history: list[tuple[str, str]]
    error: Json | None = None

    def ran(self, name: str) -> list[str]:
        """List the statuses an action ended with, one for each time."""
        return [status for each, status in self.history if each == name]


def seconds_of(text: str) -> float:
    """Read an ISO 8601 length."""
    match = _LENGTH.fullmatch(text)
    if match is None or not any(match.groups()):
        raise WorkflowError(f"{text!r} is no length of time")
    days, hours, minutes, seconds = (int(each or 0) for each in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()


def inner_actions(action: Json) -> list[Json]:
    """List the groups of actions inside an action."""
    parts = [action, action.get("else", {}), action.get("default", {})]
    parts += action.get("cases", {}).values()
    return [each["actions"] for each in parts if "actions" in each]


_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
}


def check_type(held: Any, type_name: str) -> bool:
    """Tell whether a value is of a type that a schema, a variable or a parameter names."""
    if type_name == "integer" and isinstance(held, bool):
        return False
    return isinstance(held, _TYPES[type_name])


def check_schema(held: Any, schema: Json, at: str) -> None:
    """Hold a value to the part of JSON schema that the workflows use; raises ValueError."""
    if not isinstance(held, _TYPES[schema["type"]]):
        raise ValueError(f"{at} is no {schema['type']}")  # noqa: TRY004 - one error for a schema
    if isinstance(held, dict):
        properties = schema.get("properties", {})
        missing = set(schema.get("required", ())) - set(held)
        unknown = set(held) - set(properties)
        if missing or (unknown and schema.get("additionalProperties") is False):
            raise ValueError(f"{at}: missing {sorted(missing)}, unknown {sorted(unknown)}")
        for name in set(held) & set(properties):
            check_schema(held[name], properties[name], f"{at}.{name}")
    if isinstance(held, list):
        for each in held:
            check_schema(each, schema.get("items", {"type": "object"}), f"{at}[]")
    if isinstance(held, (str, list)):
        least = int(schema.get("minLength") or schema.get("minItems") or 0)
        most = int(schema.get("maxLength") or schema.get("maxItems") or len(held))
        if not least <= len(held) <= most:
            raise ValueError(f"{at} has a length of {len(held)}")
