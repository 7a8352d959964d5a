"""The stand-in engine's loops, filters, variables and endings: no kinder than the real ones."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.logic_apps.engine import Answer, Call, Clock, Engine, Run, WorkflowError

Json = dict[str, Any]
TIMER: Json = {
    "every": {"type": "Recurrence", "recurrence": {"frequency": "Minute", "interval": 5}}
}
ONE_AT_A_TIME = {"concurrency": {"repetitions": 1}}


def engine(
    actions: Json, transport: Callable[[Call], Answer] = lambda _: Answer(200), **options: Any
) -> Engine:
    """Make an engine for some actions behind a timer."""
    return Engine({"triggers": TIMER, "actions": actions}, {}, transport, **options)


def flow(**actions: Json) -> Run:
    """Run some actions."""
    return engine(actions).run()


def compose(held: Any, **after: list[str]) -> Json:
    """Make a Compose action."""
    return {"type": "Compose", "inputs": held, "runAfter": after}


def initialize(name: str, type_name: str, held: Any, **after: list[str]) -> Json:
    """Make an InitializeVariable action."""
    variable = {"name": name, "type": type_name, "value": held}
    return {
        "type": "InitializeVariable",
        "inputs": {"variables": [variable]},
        "runAfter": after,
    }


def write(type_name: str, name: str, held: Any, **after: list[str]) -> Json:
    """Make a SetVariable or an AppendToArrayVariable action."""
    return {"type": type_name, "inputs": {"name": name, "value": held}, "runAfter": after}


def loop(items: Any, actions: Json, **more: Any) -> Json:
    """Make a Foreach action."""
    return {"type": "Foreach", "foreach": items, "actions": actions, "runAfter": {}, **more}


def test_a_recurring_workflow_runs_without_a_body() -> None:
    """A timer starts a run with nothing, at the distance it names."""
    machine = engine({"A": compose(1)})

    assert machine.interval == 300
    assert machine.run().status == "Succeeded"


def test_the_time_is_the_clock_s() -> None:
    """utcNow() is the start and what has passed since, in the form of the service."""
    clock = Clock()
    clock.sleep(61)
    start = datetime(2026, 11, 22, 12, tzinfo=UTC)

    run = engine({"A": compose("@utcNow()")}, clock=clock, start=start).run()

    assert run.results["A"].outputs == "2026-11-22T12:01:01.0000000Z"


def test_a_wait_lets_time_pass() -> None:
    """A Wait action counts in the unit that it names."""
    interval = {"count": 2, "unit": "Minute"}
    machine = engine({"A": {"type": "Wait", "inputs": {"interval": interval}, "runAfter": {}}})
    machine.run()

    assert machine.clock.now == 120


def test_a_query_keeps_what_its_condition_holds_for() -> None:
    """A Filter array action judges each item by itself."""
    query = {"from": [1, 2, 3], "where": "@greater(item(), 1)"}
    run = flow(A={"type": "Query", "inputs": query, "runAfter": {}})

    assert run.results["A"].outputs == {"body": [2, 3]}


@pytest.mark.parametrize(
    "query",
    [
        {"from": ["ab", "c"], "where": "@equals(substring(item(), 0, 2), 'ab')"},
        {"from": [1], "where": "@item()"},
        {"from": "@null", "where": "@true"},
        {"from": "text", "where": "@true"},
    ],
    ids=["one item fails", "no condition", "null", "no array"],
)
def test_a_query_fails_as_a_whole(query: Json) -> None:
    """One item that fails the condition's functions fails the action for all."""
    run = flow(A={"type": "Query", "inputs": query, "runAfter": {}})

    assert run.results["A"].status == "Failed"


def test_a_loop_runs_every_item_though_one_fails() -> None:
    """An iteration that fails stops no other, and fails the loop."""
    inner = {"Divide": compose("@mod(6, item())"), "After": compose(1, Divide=["Succeeded"])}
    run = flow(A=loop([4, 0, 5], inner, runtimeConfiguration=ONE_AT_A_TIME))

    assert run.ran("Divide") == ["Succeeded", "Failed", "Succeeded"]
    assert run.ran("After") == ["Succeeded", "Skipped", "Succeeded"]
    assert (run.results["A"].status, run.status) == ("Failed", "Failed")


@pytest.mark.parametrize("items", ["@null", "text", "@json", {"a": 1}])
def test_a_loop_over_no_array_fails(items: Any) -> None:
    """Null is no empty array."""
    assert flow(A=loop(items, {"B": compose(1)})).results["A"].status == "Failed"


def test_items_are_named_by_their_loop() -> None:
    """In a loop inside a loop, item() is the inner one's and items() tells them apart."""
    inner = loop(
        "@items('Outer')",
        {"Put": write("AppendToArrayVariable", "found", "@createArray(item(), items('Outer'))")},
        runtimeConfiguration=ONE_AT_A_TIME,
    )
    outer = loop([[1], [2]], {"Inner": inner}, runtimeConfiguration=ONE_AT_A_TIME)
    outer["runAfter"] = {"Found": ["Succeeded"]}

    run = flow(Found=initialize("found", "array", []), Outer=outer)

    assert run.variables["found"] == [[1, [1]], [2, [2]]]


def test_iterations_side_by_side_come_in_no_order() -> None:
    """The engine takes another order than the array's, so that no workflow relies on it."""
    seen: list[str] = []

    def answer(call: Call) -> Answer:
        seen.append(call.url)
        return Answer(200)

    get = {
        "type": "Http",
        "inputs": {"method": "GET", "uri": "@concat('https://x.example/', item())"},
        "runAfter": {},
    }
    engine({"A": loop(["1", "2"], {"Get": get})}, answer).run()
    assert seen == ["https://x.example/2", "https://x.example/1"]


def test_appends_of_iterations_side_by_side_can_be_lost() -> None:
    """The outcome is not promised; one entry is what always remains."""
    put = write("AppendToArrayVariable", "found", "@item()")
    several = loop([1, 2, 3], {"Put": put})
    several["runAfter"] = {"Found": ["Succeeded"]}

    run = flow(Found=initialize("found", "array", [0]), A=several)

    assert run.variables["found"] == [0, 1]


def test_a_variable_is_not_set_side_by_side() -> None:
    """Each iteration would read what another one wrote."""
    several = loop([1, 2], {"Put": write("SetVariable", "found", "@item()")})
    several["runAfter"] = {"Found": ["Succeeded"]}

    with pytest.raises(WorkflowError, match="side by side"):
        flow(Found=initialize("found", "integer", 0), A=several)


@pytest.mark.parametrize(
    ("type_name", "held"),
    [("string", 1), ("string", None), ("array", "a"), ("integer", "1"), ("boolean", 1)],
)
def test_a_variable_takes_its_own_type_alone(type_name: str, held: Any) -> None:
    """No value is turned into another type."""
    assert flow(A=initialize("a", type_name, held)).results["A"].status == "Failed"


def test_a_variable_is_not_set_from_itself() -> None:
    """The service refuses to save it."""
    change = write("SetVariable", "a", "@concat(variables('a'), 'x')", A=["Succeeded"])

    with pytest.raises(WorkflowError, match="itself"):
        flow(A=initialize("a", "string", ""), B=change)


def test_only_an_array_is_appended_to() -> None:
    """A text variable takes no items."""
    put = write("AppendToArrayVariable", "a", "x", A=["Succeeded"])

    with pytest.raises(WorkflowError, match="array"):
        flow(A=initialize("a", "string", ""), B=put)


def terminate(status: str, **after: list[str]) -> Json:
    """Make a Terminate action."""
    error = {"runError": {"code": "C", "message": "@concat('a', 'b')"}}
    inputs = {"runStatus": status, **(error if status == "Failed" else {})}
    return {"type": "Terminate", "inputs": inputs, "runAfter": after}


def test_terminate_ends_the_run_with_its_error() -> None:
    """Nothing runs after it, and the run has the status and the error that it names."""
    run = flow(A=terminate("Failed"), B=compose(1, A=["Succeeded"]))

    assert (run.status, run.error) == ("Failed", {"code": "C", "message": "ab"})
    assert run.ran("B") == []


@pytest.mark.parametrize("status", ["Succeeded", "Cancelled"])
def test_terminate_ends_a_run_well_too(status: str) -> None:
    """A failure before it does not count any more."""
    run = flow(A=compose("@int('x')"), B=terminate(status, A=["Failed"]))

    assert run.status == status


@pytest.mark.parametrize("type_name", ["Foreach", "Until"])
def test_terminate_stands_in_no_loop(type_name: str) -> None:
    """The service refuses to save it, in a scope inside of the loop as well."""
    inner = {
        "If": {
            "type": "If",
            "expression": {"equals": [1, 1]},
            "actions": {"T": terminate("Failed")},
            "runAfter": {},
        }
    }
    around = {"type": type_name, "foreach": [1], "expression": "@true", "actions": inner}

    with pytest.raises(WorkflowError, match="Terminate"):
        flow(A={**around, "runAfter": {}})


def test_a_variable_is_initialized_at_the_top_only() -> None:
    """The service refuses to save one in a scope."""
    with pytest.raises(WorkflowError, match="outside of every scope"):
        flow(A=loop([1], {"B": initialize("a", "string", "")}))


def test_what_stands_in_a_loop_is_not_referred_to_from_outside() -> None:
    """No iteration of a Foreach is meant by its name alone."""
    with pytest.raises(WorkflowError, match="inside another loop"):
        flow(A=loop([1], {"B": compose(1)}), C=compose("@outputs('B')", A=["Succeeded"]))


@pytest.mark.parametrize(
    ("actions", "match"),
    [
        ({"A": compose("@outputs('Nothing')")}, "no action"),
        ({"A": compose("@concat('" + "x" * 8192 + "')")}, "an expression of"),
        ({"A": loop([], {}, runtimeConfiguration={"concurrency": {"repetitions": 51}})}, "50"),
        ({"A": {"type": "Until", "limit": {"count": 5001}, "actions": {}}}, "5000"),
        ({"A": loop([], {"A": compose(1)})}, "two actions"),
    ],
)
def test_what_the_service_would_not_save_is_refused(actions: Json, match: str) -> None:
    """A definition is checked before anything of it runs."""
    with pytest.raises(WorkflowError, match=match):
        engine(actions)


def test_actions_are_nested_eight_deep_at_most() -> None:
    """A ninth level is refused."""
    actions: Json = {"L": compose(1)}
    for level in range(9):
        actions = {f"L{level}": loop([1], actions)}

    with pytest.raises(WorkflowError, match="8 is the limit"):
        engine(actions)


def _until(**limit: Any) -> Json:
    wait = {"type": "Wait", "inputs": {"interval": {"count": 1, "unit": "Minute"}}}
    return {
        "type": "Until",
        "expression": "@equals(1, 2)",
        "actions": {"Wait": {**wait, "runAfter": {}}},
        "runAfter": {},
        **({"limit": limit} if limit else {}),
    }


@pytest.mark.parametrize(
    ("limit", "rounds"),
    [({}, 60), ({"count": 5000, "timeout": "PT10M"}, 10), ({"count": 3}, 3)],
    ids=["the defaults", "its time", "its count"],
)
def test_a_loop_ends_well_at_its_limit(limit: Json, rounds: int) -> None:
    """Sixty rounds and one hour unless told otherwise, and nothing says that it was the limit."""
    run = flow(A=_until(**limit))

    assert len(run.ran("Wait")) == rounds
    assert run.results["A"].status == "Succeeded"


def test_a_loop_s_condition_is_true_or_false() -> None:
    """A text is no end of a loop."""
    run = flow(A={**_until(), "expression": "@concat('true')"})

    assert run.results["A"].status == "Failed"


@pytest.mark.parametrize("status", ["Failed", "Skipped", "TimedOut"])
def test_what_runs_after_each_end_of_an_action(status: str) -> None:
    """An action runs after the ends that it names, and is skipped after any other."""

    def answer(_: Call) -> Answer:
        raise TimeoutError if status == "TimedOut" else ConnectionResetError

    get = {"type": "Http", "inputs": {"method": "GET", "uri": "https://x.example"}}
    run = engine(
        {
            "A": {**get, "runAfter": {}},
            "B": compose(1, A=["Succeeded"]),
            "Failed": compose(1, A=["Failed"]),
            "TimedOut": compose(1, A=["TimedOut"]),
            "Skipped": compose(1, B=["Skipped"]),
        },
        answer,
    ).run()

    assert run.ran(status) == ["Succeeded"]
    assert run.ran("B") == ["Skipped"]
    assert {run.ran("Failed")[0], run.ran("TimedOut")[0]} == {"Succeeded", "Skipped"}


def test_a_body_is_what_comes_through_as_json() -> None:
    """An app that is played in Python gives the workflow what a real one would: a tuple is a list."""
    get = {"type": "Http", "inputs": {"method": "GET", "uri": "https://x.example"}}
    actions = {"A": {**get, "runAfter": {}}, "B": loop("@body('A')", {"C": compose("@item()")})}
    actions["B"]["runAfter"] = {"A": ["Succeeded"]}

    run = engine(actions, lambda _: Answer(200, (1, 2))).run()

    assert len(run.ran("C")) == 2


def test_a_connection_that_breaks_is_tried_again() -> None:
    """A broken connection is passing trouble, as a 503 is."""
    answers: Iterator[Exception | Answer] = iter([ConnectionResetError(), Answer(200, {"a": 1})])

    def answer(_: Call) -> Answer:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    get = {"type": "Http", "inputs": {"method": "GET", "uri": "https://x.example"}}
    machine = engine({"A": {**get, "runAfter": {}}}, answer)

    assert machine.run().results["A"].outputs["body"] == {"a": 1}
    assert len(machine.calls) == 2


def test_a_pause_between_tries_has_a_longest() -> None:
    """A policy's maximumInterval bounds the doubling, and Retry-After counts where it is longer."""
    policy = {"type": "exponential", "count": 3, "interval": "PT10S", "maximumInterval": "PT15S"}
    get = {"method": "GET", "uri": "https://x.example", "retryPolicy": policy}
    answers = iter([Answer(503), Answer(503), Answer(429, None, {"Retry-After": "40"})])
    machine = engine(
        {"A": {"type": "Http", "inputs": get, "runAfter": {}}},
        lambda _: next(answers, Answer(200)),
    )

    machine.run()

    assert [call.at for call in machine.calls] == [0, 10, 25, 65]


@pytest.mark.parametrize(
    "condition",
    [
        {"equals": [1, 1]},
        {"greater": [2, 1]},
        {"not": {"less": ["b", "a"]}},
        {"or": [{"equals": [1, 2]}, {"lessOrEquals": [1, 1]}]},
        "@equals(1, 1)",
    ],
)
def test_a_condition_takes_its_branch(condition: Any) -> None:
    """A condition is an object of comparisons, or one expression; an else is not needed."""
    either = {"type": "If", "expression": condition, "actions": {"B": compose(1)}, "runAfter": {}}

    assert flow(A=either).ran("B") == ["Succeeded"]


def test_a_condition_that_fails_is_not_hidden() -> None:
    """All parts of an or are evaluated, those behind the one that decides too."""
    parts = [{"equals": [1, 1]}, {"equals": ["@int('x')", 1]}]
    either = {"type": "If", "expression": {"or": parts}, "actions": {}, "runAfter": {}}

    assert flow(A=either).results["A"].status == "Failed"
