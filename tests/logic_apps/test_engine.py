"""The stand-in engine itself: what it asks of an API, and what it refuses to guess."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.logic_apps.engine import Answer, Engine, ProtocolError, WorkflowError, seconds_of
from tests.logic_apps.expressions import ExpressionError, Lazy, evaluate, resolve

LOCATION = "https://api.example/operations/1"


def _engine(answers: Iterator[Answer], action: dict[str, Any] | None = None) -> Engine:
    call = {
        "type": "Http",
        "inputs": {"method": "POST", "uri": "https://api.example/start", "body": {"a": 1}},
        "runAfter": {},
        **(action or {}),
    }
    return Engine(
        {
            "triggers": {"ask": {"type": "Request", "inputs": {"schema": {"type": "object"}}}},
            "actions": {"Call": call},
        },
        {},
        lambda _: next(answers),
    )


def _waiting(**headers: str) -> Answer:
    return Answer(202, None, {"Location": LOCATION, "Retry-After": "5", **headers})


def test_a_202_is_polled_until_something_else_comes() -> None:
    """Each poll is a GET of Location, no sooner than Retry-After; the last answer counts."""
    machine = _engine(iter([_waiting(), _waiting(), Answer(200, {"status": "Denied"})]))

    run = machine.run({})

    assert [(call.method, call.at) for call in machine.calls] == [
        ("POST", 0),
        ("GET", 5),
        ("GET", 10),
    ]
    assert run.results["Call"].outputs["body"] == {"status": "Denied"}


def test_without_retry_after_the_engine_waits_twenty_seconds() -> None:
    """The engine's own default."""
    machine = _engine(iter([Answer(202, None, {"Location": LOCATION}), Answer(200)]))

    machine.run({})

    assert machine.calls[1].at == 20


@pytest.mark.parametrize(
    "answer",
    [Answer(202), Answer(202, None, {"Location": "/operations/1"})],
    ids=["none", "relative"],
)
def test_a_202_without_an_absolute_location_is_refused(answer: Answer) -> None:
    """The real engine would have nothing to poll."""
    with pytest.raises(ProtocolError):
        _engine(iter([answer])).run({})


@pytest.mark.parametrize("change", [{"Retry-After": "6"}, {"Location": LOCATION + "0"}])
def test_each_202_has_the_same_headers(change: dict[str, str]) -> None:
    """The pattern says so; an API that changes them is caught."""
    with pytest.raises(ProtocolError, match="other headers"):
        _engine(iter([_waiting(), _waiting(**change)])).run({})


@pytest.mark.parametrize("status", [200, 201, 204, 400, 403, 404, 409])
def test_any_other_status_is_final(status: int) -> None:
    """Nothing but a 202 is polled, and only some failures are tried again."""
    machine = _engine(iter([_waiting(), Answer(status)]))

    run = machine.run({})

    assert len(machine.calls) == 2
    assert run.status == ("Succeeded" if status < 300 else "Failed")


def test_the_pattern_can_be_turned_off() -> None:
    """An action that does not want to wait takes the 202 as its answer."""
    machine = _engine(iter([_waiting()]), {"operationOptions": "DisableAsyncPattern"})

    run = machine.run({})

    assert run.results["Call"].outputs["statusCode"] == 202


@pytest.mark.parametrize("status", [408, 429, 500, 502, 599])
def test_passing_trouble_is_tried_again(status: int) -> None:
    """Four more attempts with the same body, at growing distance; then it is a failure."""
    machine = _engine(iter([Answer(status)] * 5))

    run = machine.run({})

    assert [call.body for call in machine.calls] == [{"a": 1}] * 5
    assert [call.at for call in machine.calls] == [0, 7, 21, 49, 105]
    assert run.status == "Failed"


def test_retry_after_is_waited_for() -> None:
    """An answer that names a time is not asked again before it."""
    machine = _engine(iter([Answer(429, None, {"retry-after": "60"}), Answer(200)]))

    machine.run({})

    assert machine.calls[1].at == 60


@pytest.mark.parametrize(
    ("name", "arrives"),
    [
        ("X-Idempotency", True),
        ("Accept", True),
        ("Content-Type", True),
        ("Content-Disposition", True),
        ("Accept-Language", False),
        ("Content-Length", False),
        ("Cookie", False),
        ("Host", False),
    ],
)
def test_some_headers_never_arrive(name: str, arrives: bool) -> None:
    """The HTTP action drops them, so an API cannot rely on them."""
    inputs = {"method": "GET", "uri": "https://api.example/", "headers": {name: "x"}}
    machine = _engine(iter([Answer(200)]), {"inputs": inputs})

    machine.run({})

    assert (name in machine.calls[0].headers) is arrives


def test_an_action_the_engine_does_not_know_is_refused() -> None:
    """A guess would be a test of nothing."""
    with pytest.raises(WorkflowError, match="JavaScriptCode"):
        _engine(iter([]), {"type": "JavaScriptCode"}).run({})


def test_an_address_has_to_be_absolute() -> None:
    """An HTTP action without a host calls no server."""
    inputs = {"method": "GET", "uri": "/api/requests"}

    with pytest.raises(WorkflowError, match="absolute"):
        _engine(iter([]), {"inputs": inputs}).run({})


def _flow(actions: dict[str, Any]) -> Any:
    trigger = {"ask": {"type": "Request", "inputs": {"schema": {"type": "object"}}}}
    return Engine({"triggers": trigger, "actions": actions}, {}, lambda _: Answer(500)).run({})


def _compose(held: Any, **after: list[str]) -> dict[str, Any]:
    return {"type": "Compose", "inputs": held, "runAfter": after}


def test_a_failure_skips_what_comes_after_it_and_fails_the_run() -> None:
    """A failure that no later action handles fails the run."""
    run = _flow({"A": _compose("@triggerBody()['nothing']"), "B": _compose(1, A=["Succeeded"])})

    assert (run.ran("A"), run.ran("B"), run.status) == (["Failed"], ["Skipped"], "Failed")


def test_a_failure_that_is_waited_for_is_handled() -> None:
    """An action that runs after a failure handles it."""
    run = _flow({"A": _compose("@triggerBody()['nothing']"), "B": _compose(1, A=["Failed"])})

    assert (run.ran("B"), run.status) == (["Succeeded"], "Succeeded")


def test_actions_that_wait_for_each_other_are_refused() -> None:
    """The service would refuse to save them."""
    with pytest.raises(WorkflowError, match="wait for each other"):
        _flow({"A": _compose(1, B=["Succeeded"]), "B": _compose(1, A=["Succeeded"])})


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("concat('a', 'it''s', 3)", "ait's3"),
        ("f()['x']", 1),
        ("f()?['nothing']", None),
        ("f()?['nothing']?['more']", None),
        ("f()['list'][1]", "b"),
        ("if(true, 1, f()['nothing'])", 1),
    ],
)
def test_expressions(expression: str, value: Any) -> None:
    """Calls, texts with quotes, indexes with and without forgiveness, a choice evaluated lazily."""
    functions: dict[str, Any] = {
        "concat": lambda *parts: "".join(map(str, parts)),
        "f": lambda: {"x": 1, "list": ["a", "b"]},
        "if": Lazy(lambda test, good, bad: good() if test() else bad()),
    }

    assert evaluate(expression, functions) == value


@pytest.mark.parametrize(
    "expression", ["f(", "f()]", "f()['x'", "g()", "'a", "f()['y']", "f() f()"]
)
def test_expressions_that_fail(expression: str) -> None:
    """An unreadable expression, or one that selects a missing member, is an error."""
    with pytest.raises(ExpressionError):
        evaluate(expression, {"f": lambda: {"x": 1}})


def test_texts_with_expressions() -> None:
    """An expression alone keeps its type, one inside a text becomes text, a doubled sign is one."""
    functions = {"f": lambda: 7}
    held = {"alone": "@f()", "within": "a@{f()}b", "sign": "@@f()", "list": ["@{f()}"]}

    assert resolve(held, functions) == {
        "alone": 7,
        "within": "a7b",
        "sign": "@f()",
        "list": ["7"],
    }


@pytest.mark.parametrize(("text", "seconds"), [("PT8H", 28800), ("P1DT1S", 86401), ("PT5S", 5)])
def test_lengths_of_time(text: str, seconds: float) -> None:
    """ISO 8601, as limits and retry policies have it."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("statuses", "ended", "tries"),
    [
        ([400, 200], "Succeeded", 2),
        ([400, 400, 400], "Failed", 3),
        ([202, 202, 202], "Succeeded", 3),
    ],
    ids=["one fails", "the last fails", "the limit is reached"],
)
def test_a_loop_ends_as_its_last_round_does(statuses: list[int], ended: str, tries: int) -> None:
    """A round that fails is followed by another; a loop that reaches its limit ends well."""
    answers = iter([Answer(status) for status in statuses])
    loop = {
        "type": "Until",
        "expression": "@equals(outputs('Look')?['statusCode'], 200)",
        "limit": {"count": 3, "timeout": "PT1H"},
        "actions": {
            "Look": {
                "type": "Http",
                "inputs": {"method": "GET", "uri": "https://api.example/look"},
                "runAfter": {},
                "operationOptions": "DisableAsyncPattern",
            }
        },
        "runAfter": {},
    }
    machine = _engine(answers, {})
    machine._definition["actions"] = {"Wait": loop}

    run = machine.run({})

    assert run.results["Wait"].status == ended
    assert len(run.ran("Look")) == tries
