"""The state of one run of a workflow: scopes, actions, variables and what expressions read."""

import json
from datetime import datetime, timedelta
from typing import Any, Protocol

from tests.logic_apps.expressions import ExpressionError, Function, resolve
from tests.logic_apps.functions import PURE, boolean, number, written
from tests.logic_apps.parts import (
    FAILED,
    SKIPPED,
    SUCCEEDED,
    TIMED_OUT,
    Answer,
    Clock,
    Json,
    NobodyAnsweredError,
    Result,
    TerminatedError,
    WorkflowError,
    check_schema,
    inner_actions,
    seconds_of,
)
from tests.logic_apps.variables import Variables

DEFAULT_UNTIL_COUNT, DEFAULT_UNTIL_TIMEOUT = 60, "PT1H"
DEFAULT_REPETITIONS = 20
MOST_ITEMS = 100_000
COMPARISONS = {
    name: PURE[name]
    for name in ("equals", "greater", "greaterOrEquals", "less", "lessOrEquals", "contains")
}
_FIRST_ERROR = 300


class Outside(Protocol):
    """The parts of the engine that a run uses."""

    clock: Clock
    start: datetime

    def parameter(self, name: str) -> Any:
        """Return a parameter's value."""

    def connect(self, path: str, inputs: Json) -> Any:
        """Call a connector."""

    def http(self, inputs: Json, *, polls: bool) -> Answer:
        """Make an HTTP action's calls."""


class State:
    """The state of one run."""

    def __init__(self, engine: Outside, trigger: Json) -> None:
        self._engine = engine
        self._trigger = trigger
        self._items: list[Any] = []
        self._loops: list[tuple[Json, Any]] = []
        self._named: dict[str, Json] = {}
        self._variables = Variables()
        self.results: dict[str, Result] = {}
        self.history: list[tuple[str, str]] = []
        self.response: Answer | None = None

    @property
    def variables(self) -> dict[str, Any]:
        """Return the variables' values."""
        return self._variables.values

    # --- scopes --------------------------------------------------------------------------------

    def scope(self, actions: Json) -> str:
        """Run the actions of a scope in the order of their runAfter; return what it ended with."""
        waiting = dict(actions)
        for name in waiting:
            self.results.pop(name, None)
        self._named |= actions
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
        except (NobodyAnsweredError, TimeoutError) as error:
            result = Result(TIMED_OUT, error=str(error))
        except (ExpressionError, OSError) as error:
            result = Result(FAILED, error=str(error))
        self.results[name] = result
        self.history.append((name, result.status))

    def _skip(self, name: str, action: Json) -> None:
        self.results[name] = Result(SKIPPED)
        self.history.append((name, SKIPPED))
        for inner in inner_actions(action):
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
        action_type = action["type"]
        run = getattr(self, f"_run_{action_type.lower()}", None)
        if run is None:
            raise WorkflowError(f"no action of type {action_type}")
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
            held = self._resolved(each["value"])
            self._variables.initialize(each["name"], each["type"], held)
        return Result(SUCCEEDED)

    def _run_setvariable(self, action: Json) -> Result:
        inputs = action["inputs"]
        self._variables.set(inputs["name"], self._resolved(inputs["value"]), inputs)
        return Result(SUCCEEDED)

    def _run_appendtoarrayvariable(self, action: Json) -> Result:
        inputs = action["inputs"]
        self._variables.append(inputs["name"], self._resolved(inputs["value"]))
        return Result(SUCCEEDED)

    def _run_select(self, action: Json) -> Result:
        select = action["inputs"]["select"]
        found = [held for _, held in self._for_each_item(action["inputs"]["from"], select)]
        return Result(SUCCEEDED, outputs={"body": found})

    def _run_query(self, action: Json) -> Result:
        where = action["inputs"]["where"]
        judged = self._for_each_item(action["inputs"]["from"], where)
        found = [item for item, held in judged if boolean(held)]
        return Result(SUCCEEDED, outputs={"body": found})

    def _for_each_item(self, source: Any, wanted: Any) -> list[tuple[Any, Any]]:
        """Resolve something for each item of an array; one that fails, fails them all."""
        found = []
        for item in self._array(source):
            self._items.append(item)
            try:
                found.append((item, self._resolved(wanted)))
            finally:
                self._items.pop()
        return found

    def _array(self, source: Any) -> list[Any]:
        held = self._resolved(source)
        if not isinstance(held, list) or len(held) > MOST_ITEMS:
            raise ExpressionError(f"an array of at most {MOST_ITEMS} items is wanted")
        return held

    def _run_if(self, action: Json) -> Result:
        other = action.get("else", {}).get("actions", {})
        holds = self._holds(action["expression"])
        taken, skipped = (action["actions"], other) if holds else (other, action["actions"])
        for name, each in skipped.items():
            self._skip(name, each)
        return Result(self.scope(taken))

    def _run_switch(self, action: Json) -> Result:
        found = self._resolved(action["expression"])
        taken = action.get("default", {}).get("actions", {})
        for case in action["cases"].values():
            if case["case"] == found:
                taken = case["actions"]
        for inner in inner_actions(action):
            if inner is not taken:
                for name, each in inner.items():
                    self._skip(name, each)
        return Result(self.scope(taken))

    def _run_until(self, action: Json) -> Result:
        limit = action.get("limit", {})
        ends = self._engine.clock.now + seconds_of(limit.get("timeout", DEFAULT_UNTIL_TIMEOUT))
        status = SUCCEEDED
        for _ in range(limit.get("count", DEFAULT_UNTIL_COUNT)):
            status = self.scope(action["actions"])
            if boolean(self._resolved(action["expression"])) or self._engine.clock.now >= ends:
                break
        # As documented: an iteration that fails ends nothing, the last one decides, and a loop that
        # reaches its limit ends well. The next action has to check the limit itself.
        return Result(status)

    def _run_foreach(self, action: Json) -> Result:
        items = self._array(action["foreach"])
        given = action.get("runtimeConfiguration", {}).get("concurrency", {})
        side_by_side = given.get("repetitions", DEFAULT_REPETITIONS) > 1
        if action.get("operationOptions") == "Sequential" or not side_by_side:
            statuses = [self._iterate(action, item) for item in items]
        else:
            statuses = self._race(action, items)
        return Result(FAILED if FAILED in statuses else SUCCEEDED)

    def _race(self, action: Json, items: list[Any]) -> list[str]:
        """Run iterations side by side: no order is promised, so it is not the array's."""
        statuses = []
        with self._variables.side_by_side() as race:
            for item in reversed(items):
                with race.iteration():
                    statuses.append(self._iterate(action, item))
        return statuses

    def _iterate(self, action: Json, item: Any) -> str:
        """Run one iteration; one that fails stops no other."""
        self._items.append(item)
        self._loops.append((action, item))
        try:
            return self.scope(action["actions"])
        finally:
            self._items.pop()
            self._loops.pop()

    def _loop_item(self, name: str) -> Any:
        """Return the current item of a loop around the expression."""
        for action, item in reversed(self._loops):
            if action is self._named.get(name):
                return item
        raise WorkflowError(f"items('{name}') outside of that loop")

    def _run_wait(self, action: Json) -> Result:
        interval = self._resolved(action["inputs"]["interval"])
        seconds = {"Second": 1, "Minute": 60, "Hour": 3600}[interval["unit"]]
        self._engine.clock.sleep(seconds * number(interval["count"]))
        return Result(SUCCEEDED)

    def _run_terminate(self, action: Json) -> Result:
        inputs = self._resolved(action["inputs"])
        status = inputs["runStatus"]
        if status not in {"Succeeded", "Failed", "Cancelled"}:
            raise WorkflowError(f"a run cannot end as {status}")
        if "runError" in inputs and status != "Failed":
            raise WorkflowError("only a run that fails has an error")
        raise TerminatedError(status, inputs.get("runError", {}))

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

    def _holds(self, condition: Any) -> bool:
        if isinstance(condition, str):
            return boolean(self._resolved(condition))
        ((name, operands),) = condition.items()
        if name in {"and", "or"}:
            # All are evaluated: one that fails is not hidden by one that decides.
            found = [self._holds(each) for each in operands]
            return all(found) if name == "and" else any(found)
        if name == "not":
            return not self._holds(operands)
        if name not in COMPARISONS:
            raise WorkflowError(f"no condition {name}")
        left, right = self._resolved(operands)
        return bool(COMPARISONS[name](left, right))

    def _resolved(self, held: Any) -> Any:
        return resolve(held, self._functions())

    def _functions(self) -> dict[str, Function]:
        return {
            **PURE,
            "parameters": self._engine.parameter,
            "variables": self._variables.read,
            "triggerBody": lambda: self._trigger["body"],
            "triggerOutputs": lambda: self._trigger,
            "body": lambda name: self._outputs(name, "body"),
            "outputs": lambda name: self._result(name).outputs,
            "actions": lambda name: self._result(name).shown(),
            "item": lambda: self._items[-1],
            "items": self._loop_item,
            "utcNow": self._now,
            "workflow": lambda: {"run": {"name": "08584000000000000000000000000CU00"}},
            "listCallbackUrl": lambda: "https://engine.example/callback",
        }

    def _outputs(self, name: str, part: str) -> Any:
        outputs = self._result(name).outputs
        return outputs.get(part) if isinstance(outputs, dict) else None

    def _result(self, name: str) -> Result:
        """Return an action's result; the service refuses a reference that nothing orders."""
        if name not in self.results:
            raise WorkflowError(f"{name} has not run when it is referred to")
        return self.results[name]

    def _now(self) -> str:
        return written(self._engine.start + timedelta(seconds=self._engine.clock.now))
