"""A stand-in for the Logic Apps engine: runs a workflow definition action by action.

It does what the two workflows use, as Microsoft documents it, and holds the API to its side of
the bargain: a 202 needs an absolute `Location`, each further 202 the same headers, any other
status is final; 408, 429 and 5xx are tried again with the same body; some headers never arrive.
What it does not know it refuses. That the real engine behaves so was not seen on live Azure.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

from tests.logic_apps.expressions import ExpressionError, Function, Lazy, resolve

Json = dict[str, Any]
SUCCEEDED, FAILED, SKIPPED, TIMED_OUT = "Succeeded", "Failed", "Skipped", "TimedOut"
DEFAULT_POLL_SECONDS = 20.0
_RETRIED = frozenset({408, 429, *range(500, 600)})
_ACCEPTED = 202
_FIRST_ERROR = 300
# Headers that the HTTP action drops from what it sends.
_DROPPED = re.compile(
    r"accept-.+|allow|content-(?!disposition$|encoding$|type$).+|cookie|host|connection|expect"
    r"|last-modified|transfer-encoding|via|warning|www-authenticate",
    re.IGNORECASE,
)
_LENGTH = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")


class WorkflowError(Exception):
    """The definition asks for what this engine, or the real one, does not do."""


class ProtocolError(Exception):
    """The API breaks the polling pattern: the real engine would hang, or fail."""


class NobodyAnsweredError(Exception):
    """A connector waited for a person for as long as it may."""


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
    """What came back."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        """Return a header whatever its letter case."""
        return {key.lower(): each for key, each in self.headers.items()}.get(name.lower())


Transport = Callable[[Call], Answer]
Connector = Callable[[Json], Any]


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass
class Result:
    """What became of an action."""

    status: str
    inputs: Any = None
    outputs: Any = None
    error: str = ""

    def shown(self) -> Json:
        """Return it as the function actions() does."""
        return {"status": self.status, "inputs": self.inputs, "outputs": self.outputs}


@dataclass
class Run:
    """A finished run."""

    status: str
    results: dict[str, Result]
    variables: dict[str, Any]
    response: Answer | None
    history: list[tuple[str, str]]

    def ran(self, name: str) -> list[str]:
        """List the statuses an action ended with, one for each time."""
        return [status for each, status in self.history if each == name]


class Engine:
    """Runs one definition against an API, with connectors that stand for people."""

    def __init__(
        self,
        definition: Json,
        parameters: Json,
        transport: Transport,
        *,
        connectors: Mapping[str, Connector] | None = None,
        token: Callable[[str, str], str] = lambda audience, identity: f"{identity}>{audience}",
        clock: Clock | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._definition = definition
        self._parameters = self._given(parameters)
        self._transport = transport
        self._connectors = connectors or {}
        self._token = token
        self.clock = clock or Clock()
        self._sleep = sleep or self.clock.sleep
        self.calls: list[Call] = []

    def run(self, body: Any, headers: Mapping[str, str] | None = None) -> Run:
        """Fire the one trigger and run to the end; a body that breaks its schema starts nothing."""
        ((_, trigger),) = self._definition["triggers"].items()
        if trigger["type"] != "Request":
            raise WorkflowError(f"no trigger of type {trigger['type']}")
        check_schema(body, trigger["inputs"]["schema"], "trigger")
        shown = "IncludeAuthorizationHeadersInOutputs" in trigger.get("operationOptions", "")
        outputs = {
            "body": body,
            "headers": {
                name: each
                for name, each in (headers or {}).items()
                if shown or name.lower() != "authorization"
            },
        }
        state = _State(self, outputs)
        status = state.scope(self._definition["actions"])
        return Run(status, state.results, state.variables, state.response, state.history)

    def _given(self, parameters: Json) -> Json:
        declared = self._definition.get("parameters", {})
        unknown = set(parameters) - set(declared)
        if unknown:
            raise WorkflowError(f"undeclared parameters: {sorted(unknown)}")
        found = {}
        for name, each in declared.items():
            if name not in parameters and "defaultValue" not in each:
                raise WorkflowError(f"parameter {name} has no value")
            found[name] = parameters.get(name, each.get("defaultValue"))
            if "allowedValues" in each and found[name] not in each["allowedValues"]:
                raise WorkflowError(f"parameter {name} may not be {found[name]!r}")
        return found

    def parameter(self, name: str) -> Any:
        """Return a parameter's value."""
        return self._parameters[name]

    def connect(self, path: str, inputs: Json) -> Any:
        """Call a connector; the longest path that begins the given one is meant."""
        matching = [each for each in self._connectors if path.startswith(each)]
        if not matching:
            raise WorkflowError(f"no connector for {path}")
        return self._connectors[max(matching, key=len)](inputs)

    def http(self, inputs: Json, *, polls: bool) -> Answer:
        """Make an HTTP action's calls: retries, then polling until something final comes."""
        headers = {
            name: each
            for name, each in inputs.get("headers", {}).items()
            if not _DROPPED.fullmatch(name)
        }
        authentication = inputs.get("authentication")
        if authentication:
            if authentication["type"] != "ManagedServiceIdentity":
                raise WorkflowError(f"authentication {authentication['type']}")
            bearer = self._token(authentication["audience"], authentication.get("identity", ""))
            headers["Authorization"] = f"Bearer {bearer}"
        send = partial(self._try, policy=inputs.get("retryPolicy", {}), headers=headers)
        answer = send(inputs["method"], inputs["uri"], body=inputs.get("body"))
        first: dict[str, str] | None = None
        while polls and answer.status == _ACCEPTED:
            seconds, location = _polling(answer)
            names = {name: answer.header(name) or "" for name in ("Location", "Retry-After")}
            if first is not None and names != first:
                raise ProtocolError(f"a later 202 has other headers: {names}, not {first}")
            first = names
            self._sleep(seconds)
            answer = send("GET", location, body=None)
        return answer

    def _try(
        self, method: str, url: str, *, body: Any, headers: Mapping[str, str], policy: Json
    ) -> Answer:
        if urlsplit(url).scheme not in {"http", "https"}:
            raise WorkflowError(f"{url!r} is no absolute address")
        count = 0 if policy.get("type") == "none" else policy.get("count", 4)
        pause = seconds_of(policy.get("interval", "PT7S"))
        text = None if body is None else json.dumps(body)
        for attempt in range(count + 1):
            # Written anew from the same text: a retry carries the same body.
            call = Call(
                self.clock.now,
                method,
                url,
                dict(headers),
                None if text is None else json.loads(text),
            )
            self.calls.append(call)
            answer = self._transport(call)
            if answer.status not in _RETRIED or attempt == count:
                return answer
            named = answer.header("Retry-After")
            doubled = pause * 2**attempt if policy.get("type") != "fixed" else pause
            self._sleep(max(float(named or 0), doubled))
        raise AssertionError("unreachable")


class _State:
    """The state of one run."""

    def __init__(self, engine: Engine, trigger: Json) -> None:
        self._engine = engine
        self._trigger = trigger
        self._item: Any = None
        self.results: dict[str, Result] = {}
        self.variables: dict[str, Any] = {}
        self.history: list[tuple[str, str]] = []
        self.response: Answer | None = None

    # --- scopes --------------------------------------------------------------------------------

    def scope(self, actions: Json) -> str:
        """Run the actions of a scope in the order of their runAfter; return what it ended with."""
        waiting = dict(actions)
        for name in waiting:
            self.results.pop(name, None)
        while waiting:
            ready = [
                name
                for name, action in waiting.items()
                if all(before in self.results for before in action.get("runAfter", {}))
            ]
            if not ready:
                raise WorkflowError(f"these wait for each other: {sorted(waiting)}")
            for name in ready:
                self._finish(name, waiting.pop(name))
        return self._ended(actions)

    def _finish(self, name: str, action: Json) -> None:
        wanted = action.get("runAfter", {})
        runs = all(self.results[before].status in statuses for before, statuses in wanted.items())
        if not runs:
            self._skip(name, action)
            return
        try:
            result = self._run(action)
        except NobodyAnsweredError as error:
            result = Result(TIMED_OUT, error=str(error))
        except ExpressionError as error:
            result = Result(FAILED, error=str(error))
        self.results[name] = result
        self.history.append((name, result.status))

    def _skip(self, name: str, action: Json) -> None:
        self.results[name] = Result(SKIPPED)
        self.history.append((name, SKIPPED))
        for inner in _inner(action):
            for below, each in inner.items():
                self._skip(below, each)

    def _ended(self, actions: Json) -> str:
        """Sum up a scope by its last actions; a skipped one speaks for those before it."""
        before = {each for action in actions.values() for each in action.get("runAfter", {})}

        def failed(name: str) -> bool:
            status = self.results[name].status
            if status == SKIPPED:
                return any(failed(each) for each in actions[name].get("runAfter", {}))
            return status != SUCCEEDED

        last = [name for name in actions if name not in before]
        return FAILED if any(failed(name) for name in last) else SUCCEEDED

    # --- actions -------------------------------------------------------------------------------

    def _run(self, action: Json) -> Result:
        kind = action["type"]
        run = getattr(self, f"_run_{kind.lower()}", None)
        if run is None:
            raise WorkflowError(f"no action of type {kind}")
        result: Result = run(action)
        return result

    def _run_compose(self, action: Json) -> Result:
        return Result(SUCCEEDED, outputs=self._resolved(action["inputs"]))

    def _run_parsejson(self, action: Json) -> Result:
        content = self._resolved(action["inputs"]["content"])
        try:
            body = json.loads(content) if isinstance(content, str) else content
            check_schema(body, action["inputs"]["schema"], "content")
        except ValueError as error:
            return Result(FAILED, error=str(error))
        return Result(SUCCEEDED, outputs={"body": body})

    def _run_initializevariable(self, action: Json) -> Result:
        for each in action["inputs"]["variables"]:
            if each["name"] in self.variables:
                raise WorkflowError(f"variable {each['name']} is initialized twice")
            self._set(each["name"], self._resolved(each["value"]), each["type"])
        return Result(SUCCEEDED)

    def _run_setvariable(self, action: Json) -> Result:
        name = action["inputs"]["name"]
        if name not in self.variables:
            raise WorkflowError(f"variable {name} was never initialized")
        self._set(name, self._resolved(action["inputs"]["value"]), "string")
        return Result(SUCCEEDED)

    def _set(self, name: str, held: Any, kind: str) -> None:
        if kind != "string" or not isinstance(held, str):
            raise ExpressionError(f"variable {name} takes a text, not {held!r}")
        self.variables[name] = held

    def _run_select(self, action: Json) -> Result:
        found = []
        for each in self._resolved(action["inputs"]["from"]):
            self._item = each
            found.append(self._resolved(action["inputs"]["select"]))
        return Result(SUCCEEDED, outputs={"body": found})

    def _run_if(self, action: Json) -> Result:
        taken = (
            action["actions"] if self._holds(action["expression"]) else action["else"]["actions"]
        )
        skipped = action["else"]["actions"] if taken is action["actions"] else action["actions"]
        for name, each in skipped.items():
            self._skip(name, each)
        return Result(self.scope(taken))

    def _run_switch(self, action: Json) -> Result:
        found = self._resolved(action["expression"])
        taken = action["default"]["actions"]
        for case in action["cases"].values():
            if case["case"] == found:
                taken = case["actions"]
        for inner in _inner(action):
            if inner is not taken:
                for name, each in inner.items():
                    self._skip(name, each)
        return Result(self.scope(taken))

    def _run_until(self, action: Json) -> Result:
        limit = action["limit"]
        ends = self._engine.clock.now + seconds_of(limit["timeout"])
        status = SUCCEEDED
        for _ in range(limit["count"]):
            status = self.scope(action["actions"])
            if self._resolved(action["expression"]) is True or self._engine.clock.now >= ends:
                break
        # As documented: an iteration that fails ends nothing, the last one decides, and a loop that
        # reaches its limit ends well. What follows has to look for itself.
        return Result(status)

    def _run_http(self, action: Json) -> Result:
        inputs = self._resolved(action["inputs"])
        polls = "DisableAsyncPattern" not in action.get("operationOptions", "")
        answer = self._engine.http(inputs, polls=polls)
        outputs = {
            "statusCode": answer.status,
            "headers": dict(answer.headers),
            "body": answer.body,
        }
        good = answer.status < _FIRST_ERROR
        return Result(SUCCEEDED if good else FAILED, inputs=inputs, outputs=outputs)

    def _run_apiconnection(self, action: Json) -> Result:
        inputs = self._resolved(action["inputs"])
        body = self._engine.connect(inputs["path"], inputs)
        return Result(SUCCEEDED, inputs=inputs, outputs={"body": body})

    def _run_apiconnectionwebhook(self, action: Json) -> Result:
        inputs = self._resolved(action["inputs"])
        try:
            body = self._engine.connect(inputs["path"], inputs)
        except NobodyAnsweredError:
            self._engine.clock.sleep(seconds_of(action["limit"]["timeout"]))
            raise
        return Result(SUCCEEDED, inputs=inputs, outputs={"body": body})

    def _run_response(self, action: Json) -> Result:
        inputs = self._resolved(action["inputs"])
        if self.response is not None:
            raise WorkflowError("a run answers once")
        self.response = Answer(inputs["statusCode"], inputs.get("body"))
        return Result(SUCCEEDED, inputs=inputs)

    # --- expressions ---------------------------------------------------------------------------

    def _holds(self, condition: Json) -> bool:
        ((name, operands),) = condition.items()
        if name == "and":
            return all(self._holds(each) for each in operands)
        if name == "or":
            return any(self._holds(each) for each in operands)
        if name == "not":
            return not self._holds(operands)
        if name == "equals":
            left, right = self._resolved(operands)
            return bool(left == right)
        raise WorkflowError(f"no condition {name}")

    def _resolved(self, held: Any) -> Any:
        return resolve(held, self._functions())

    def _functions(self) -> dict[str, Function | Lazy]:
        return {
            **PURE,
            "parameters": self._engine.parameter,
            "variables": lambda name: self.variables[name],
            "triggerBody": lambda: self._trigger["body"],
            "triggerOutputs": lambda: self._trigger,
            "body": lambda name: self._outputs(name, "body"),
            "outputs": lambda name: self.results[name].outputs,
            "actions": lambda name: self.results[name].shown(),
            "item": lambda: self._item,
            "workflow": lambda: {"run": {"name": "08584000000000000000000000000CU00"}},
            "listCallbackUrl": lambda: "https://engine.example/callback",
        }

    def _outputs(self, name: str, part: str) -> Any:
        outputs = self.results[name].outputs
        return outputs.get(part) if isinstance(outputs, dict) else None


def _polling(answer: Answer) -> tuple[float, str]:
    location = answer.header("Location")
    if not location:
        raise ProtocolError("a 202 without Location: the engine has nothing to poll")
    if not urlsplit(location).netloc:
        raise ProtocolError(f"Location {location!r} is not absolute")
    named = answer.header("Retry-After")
    return (float(named) if named else DEFAULT_POLL_SECONDS), location


def _inner(action: Json) -> list[Json]:
    """List the groups of actions inside an action."""
    parts = [action, action.get("else", {}), action.get("default", {})]
    parts += action.get("cases", {}).values()
    return [each["actions"] for each in parts if "actions" in each]


def seconds_of(text: str) -> float:
    """Read an ISO 8601 length."""
    match = _LENGTH.fullmatch(text)
    if match is None or not any(match.groups()):
        raise WorkflowError(f"{text!r} is no length of time")
    days, hours, minutes, seconds = (int(each or 0) for each in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()


_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
}


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


def _encoded(text: str) -> str:
    return quote(text, safe="-_.!~*'()")


def _decoded(text: str) -> str:
    return base64.b64decode(text, validate=True).decode()


PURE: dict[str, Function | Lazy] = {
    "and": Lazy(lambda *parts: all(part() for part in parts)),
    "base64ToString": _decoded,
    "coalesce": Lazy(lambda *parts: next((p() for p in parts if p() is not None), None)),
    "concat": lambda *parts: "".join(str(part) for part in parts),
    "encodeURIComponent": _encoded,
    "equals": lambda left, right: left == right,
    "if": Lazy(lambda test, good, bad: good() if test() else bad()),
    "join": lambda parts, between: between.join(parts),
    "last": lambda held: held[-1],
    "length": len,
    "mod": lambda left, right: left % right,
    "not": lambda held: not held,
    "or": Lazy(lambda *parts: any(part() for part in parts)),
    "replace": lambda text, old, new: text.replace(old, new),
    "split": lambda text, between: text.split(between),
    "string": lambda held: held if isinstance(held, str) else json.dumps(held),
}

__all__ = ["Answer", "Call", "Clock", "Engine", "NobodyAnsweredError", "ProtocolError"]
