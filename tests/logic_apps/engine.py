"""A stand-in for the Logic Apps engine: runs a workflow definition action by action.

It does what our workflows use, as Microsoft documents it, and holds the API to its side of
the bargain: a 202 needs an absolute `Location`, each further 202 the same headers, any other
status is final; 408, 429, 5xx and broken connections are tried again with the same body; some
headers never arrive. It refuses an action that it does not know, and takes the harsher choice
where the documents leave one. That the real engine behaves so was not seen on live Azure.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from tests.logic_apps.parts import (
    Answer,
    Call,
    Clock,
    Connector,
    Json,
    NobodyAnsweredError,
    ProtocolError,
    Run,
    TerminatedError,
    Transport,
    WorkflowError,
    check_schema,
    seconds_of,
)
from tests.logic_apps.state import State
from tests.logic_apps.validation import check_definition

DEFAULT_POLL_SECONDS = 20.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RETRIED = frozenset({408, 429, *range(500, 600)})
_ACCEPTED = 202
# Headers that the HTTP action drops from what it sends.
_DROPPED = re.compile(
    r"accept-.+|allow|content-(?!disposition$|encoding$|type$).+|cookie|host|connection|expect"
    r"|last-modified|transfer-encoding|via|warning|www-authenticate",
    re.IGNORECASE,
)


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
        start: datetime = _EPOCH,
    ) -> None:
        check_definition(definition)
        self._definition = definition
        self._parameters = self._given(parameters)
        self._transport = transport
        self._connectors = connectors or {}
        self._token = token
        self.clock = clock or Clock()
        self._sleep = sleep or self.clock.sleep
        self.start = start
        self.calls: list[Call] = []

    def run(self, body: Any = None, headers: Mapping[str, str] | None = None) -> Run:
        """Fire the one trigger and run to the end; a body that breaks its schema starts nothing."""
        ((_, trigger),) = self._definition["triggers"].items()
        if trigger["type"] == "Recurrence":
            return self._run({})
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
        return self._run(outputs)

    def _run(self, trigger: Json) -> Run:
        state = State(self, trigger)
        error = None
        try:
            status = state.scope(self._definition["actions"])
        except TerminatedError as ended:
            status, error = ended.status, ended.error
        return Run(status, state.results, state.variables, state.response, state.history, error)

    @property
    def interval(self) -> float:
        """Return the seconds between two runs of a recurring workflow."""
        ((_, trigger),) = self._definition["triggers"].items()
        named = trigger["recurrence"]
        return float(
            {"Second": 1, "Minute": 60, "Hour": 3600}[named["frequency"]] * named["interval"]
        )

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
            sent = None if text is None else json.loads(text)
            call = Call(self.clock.now, method, url, dict(headers), sent)
            named = 0.0
            try:
                answer = self._send(call)
                if answer.status not in _RETRIED or attempt == count:
                    return answer
                named = float(answer.header("Retry-After") or 0)
            except OSError:
                if attempt == count:
                    raise
            doubled = pause * 2**attempt if policy.get("type") != "fixed" else pause
            if "maximumInterval" in policy:
                doubled = min(doubled, seconds_of(policy["maximumInterval"]))
            self._sleep(max(named, doubled))
        raise AssertionError("unreachable")

    def _send(self, call: Call) -> Answer:
        """Make one call; its answer's body is what comes through as JSON, whatever Python gave."""
        self.calls.append(call)
        answer = self._transport(call)
        return replace(answer, body=json.loads(json.dumps(answer.body)))


def _polling(answer: Answer) -> tuple[float, str]:
    location = answer.header("Location")
    if not location:
        raise ProtocolError("a 202 without Location: the engine has nothing to poll")
    if not urlsplit(location).netloc:
        raise ProtocolError(f"Location {location!r} is not absolute")
    named = answer.header("Retry-After")
    return (float(named) if named else DEFAULT_POLL_SECONDS), location


__all__ = [
    "Answer",
    "Call",
    "Clock",
    "Engine",
    "NobodyAnsweredError",
    "ProtocolError",
    "Run",
    "WorkflowError",
    "seconds_of",
]
