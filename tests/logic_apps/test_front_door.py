"""The front-door sample, run action by action: an approval first, then the request."""

import base64
import itertools
import json
from typing import Any

import pytest

from tests.logic_apps.engine import Answer, Run
from tests.logic_apps.people import (
    ALICE,
    API,
    BOB,
    NAMES,
    REQUEST,
    VM,
    People,
    ScriptedApp,
    definition,
    engine,
)

ACCESS_REQUEST = {
    "virtualMachine": VM,
    "ports": [22],
    "source": "203.0.113.7",
    "duration": "PT30M",
    "justification": "INC-4711",
}


def _token(**claims: Any) -> dict[str, str]:
    payload = {"oid": ALICE, "preferred_username": NAMES[ALICE], **claims}
    text = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return {"Authorization": f"Bearer e30.{text}.c2ln"}


def _run(app: ScriptedApp, people: People, channel: str = "teams", **asked: Any) -> Run:
    return engine("front-door", app, people, channel).run({**ACCESS_REQUEST, **asked}, _token())


def _answer(run: Run) -> Any:
    assert run.response is not None
    return run.response.body


def test_an_approved_request_opens() -> None:
    """An approver agrees, the app is asked on behalf of the person, the approval is relayed."""
    app, people = ScriptedApp(), People((BOB, "Approve"))

    run = _run(app, people)

    assert run.status == "Succeeded"
    assert app.asked is not None
    assert app.asked.on_behalf_of is not None
    assert app.asked.on_behalf_of.object_id == ALICE
    assert app.asked.virtual_machine == VM
    assert app.votes == {BOB: "approve"}
    assert _answer(run)["status"] == "Initiated"


@pytest.mark.parametrize("padding", ["", "x", "xx", "xxx"])
def test_the_person_is_the_one_the_token_names(padding: str) -> None:
    """With claims of any length, the person comes from the token that was checked."""
    app, people = ScriptedApp(), People((BOB, "Approve"))
    machine = engine("front-door", app, people, "teams")

    machine.run(ACCESS_REQUEST, _token(padding=padding))

    assert app.requestor == ALICE


def test_no_token_stays_in_the_run_history() -> None:
    """The trigger hides its outputs, and so does each action that reads the token from them."""
    workflow = definition("front-door")
    assert "outputs" in _hidden(workflow["triggers"]["ask"])
    reading = {
        name
        for name, action in workflow["actions"].items()
        if "['headers']" in json.dumps(action) or "outputs('Payload')" in json.dumps(action)
    }
    assert reading == {"Payload", "Claims"}
    assert all("inputs" in _hidden(workflow["actions"][name]) for name in reading)


def test_nothing_that_is_shown_holds_a_part_of_the_token() -> None:
    """Of a run's history, what is not hidden holds neither the token nor its claims' text."""
    headers = _token(secret="only-in-the-token")
    machine = engine("front-door", ScriptedApp(), People((BOB, "Approve")), "teams")

    run = machine.run(ACCESS_REQUEST, headers)

    workflow = definition("front-door")
    shown = {
        name: result
        for name, result in run.results.items()
        if not _hidden(workflow["actions"].get(name, {}))
    }
    told = repr([(result.inputs, result.outputs) for result in shown.values()])
    assert "Ask_in_teams" in shown
    assert "only-in-the-token" not in told
    assert all(part not in told for part in headers["Authorization"].split(".")[1:])


def _hidden(step: Any) -> set[str]:
    secure = step.get("runtimeConfiguration", {}).get("secureData", {})
    return set(secure.get("properties", []))


@pytest.mark.parametrize("channel", ["outlook", "teams"])
def test_approvers_see_what_they_approve(channel: str) -> None:
    """The machine with its resource group, ports, source, length and reason, as they were sent."""
    people = People((BOB, "Approve"))
    _run(ScriptedApp(), people, channel)
    told = json.dumps([people.mails, people.cards])
    for each in (VM, "[22]", "203.0.113.7", "PT30M", "INC-4711", NAMES[ALICE]):
        assert each in told


def test_markup_in_what_is_sent_is_shown_as_text() -> None:
    """In a mail it is escaped; in a card it stands in text runs, which read no markup."""
    reason = "<b>go</b> [click](https://evil.example)"
    people = People((BOB, "Deny"), (BOB, "Deny"))
    for channel in ("outlook", "teams"):
        _run(ScriptedApp(), people, channel, justification=reason, source="<i>203.0.113.7")
    (mail,), (card,) = people.mails, people.cards
    assert "<b>" not in mail["Body"]
    assert "<i>" not in mail["Body"]
    plain = [part for part in card["body"] if part["type"] != "RichTextBlock"]
    assert "evil.example" not in json.dumps(plain)
    assert reason in json.dumps(card["body"])


@pytest.mark.parametrize("field", ["onBehalfOf", "requestor", "oid"])
def test_a_body_cannot_name_a_person(field: str) -> None:
    """A field that would say who asks is refused, not ignored."""
    with pytest.raises(ValueError, match="unknown"):
        _run(ScriptedApp(), People((BOB, "Approve")), **{field: BOB})


def test_a_source_has_to_be_named() -> None:
    """The workflow's own address is not where anybody sits."""
    asked = {name: each for name, each in ACCESS_REQUEST.items() if name != "source"}

    with pytest.raises(ValueError, match="missing"):
        engine("front-door", ScriptedApp(), People(), "teams").run(asked, _token())


def test_a_refused_request_never_reaches_the_app() -> None:
    """A request that was turned down reaches no firewall."""
    app, people = ScriptedApp(), People((BOB, "Deny"))
    machine = engine("front-door", app, people, "teams")

    run = machine.run(ACCESS_REQUEST, _token())

    assert machine.calls == []
    assert _answer(run) == {"status": "Denied"}


def test_silence_is_a_refusal() -> None:
    """Without an answer in time, nothing is asked for."""
    app, people = ScriptedApp(), People(None)
    machine = engine("front-door", app, people, "outlook")

    run = machine.run(ACCESS_REQUEST, _token())

    assert machine.calls == []
    assert _answer(run)["status"] == "Denied"


def test_one_s_own_approval_counts_for_nothing() -> None:
    """The app refuses it, and the request waits for another approver until its time is over."""
    app, people = ScriptedApp(), People((ALICE, "Approve"))
    machine = engine("front-door", app, people, "teams")
    polls = 0

    def api(call: Any) -> Answer:
        nonlocal polls
        polls += call.method == "GET"
        if polls > 3:
            app.status = "Denied"
        return app(call)

    machine._transport = api
    run = machine.run(ACCESS_REQUEST, _token())

    assert app.votes == {}
    assert app.refused == [ALICE]
    assert _answer(run)["status"] == "Denied"


def test_without_a_channel_the_app_s_own_approval_decides() -> None:
    """The front door may leave the asking to the app: it relays the request and waits."""
    app, people = ScriptedApp(status="Initiating"), People()

    run = _run(app, people, "none")

    assert _answer(run)["status"] == "Initiated"
    assert run.ran("Relay_approval") == ["Skipped"]


def test_polls_come_no_sooner_than_they_may() -> None:
    """The engine waits for Retry-After before each poll of Location."""
    app, people = ScriptedApp(), People((BOB, "Approve"))
    app.polls_until_open = 4
    machine = engine("front-door", app, people, "teams")

    machine.run(ACCESS_REQUEST, _token())

    polls = [call for call in machine.calls if call.method == "GET"]
    assert len(polls) == 4
    assert {call.url for call in polls} == {f"{API}/api/requests/{REQUEST}"}
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(polls)]
    assert min(gaps) >= 2


def test_a_refusal_of_the_app_is_told() -> None:
    """A policy that does not allow it: the caller hears that it failed, and the run shows why."""
    people = People((BOB, "Approve"))
    refusal = Answer(400, {"error": {"code": "RequestNotWithinPolicy", "message": "no"}})
    machine = engine("front-door", lambda _: refusal, people, "teams")

    run = machine.run(ACCESS_REQUEST, _token())

    assert run.response is not None
    assert run.response.status == 502
    assert run.results["Ask_the_app"].outputs["body"]["error"]["code"] == "RequestNotWithinPolicy"


def test_a_failed_opening_is_told() -> None:
    """The status of a request reaches the caller in every case."""
    app, people = ScriptedApp(status="Failed"), People()

    run = _run(app, people, "none")

    assert _answer(run)["status"] == "Failed"
