"""The approval workflow, run action by action: it carries decisions and makes none."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.model import AccessRequest, Approval, Status
from shared.use_cases.requests.notify import notify
from tests.logic_apps.engine import Answer, Call, Run
from tests.logic_apps.people import (
    ALICE,
    API,
    BOB,
    CAROL,
    NAMES,
    REQUEST,
    VM,
    People,
    ScriptedApp,
    engine,
)
from tests.world import World

NOTICE = {"event": "approvalRequested", "requestId": REQUEST, "isExtension": False}
CHANNELS = pytest.mark.parametrize("channel", ["outlook", "teams"])


def _run(app: ScriptedApp, people: People, channel: str, **notice: Any) -> Run:
    return engine("approval", app, people, channel).run({**NOTICE, **notice})


def test_without_a_channel_no_approver_is_asked() -> None:
    """The default asks no approver: people decide through the API, and the run ends at once."""
    app, people = ScriptedApp(), People()

    run = _run(app, people, "none")

    assert run.status == "Succeeded"
    assert run.ran("Ask_until_decided") == ["Skipped"]
    assert people.mails == people.cards == []
    assert app.votes == {}


@CHANNELS
@pytest.mark.parametrize("decision", ["Approve", "Deny"])
def test_a_decision_is_relayed_for_the_person_who_made_it(channel: str, decision: str) -> None:
    """The app hears who decided, not the workflow's own identity as the one who did."""
    app, people = ScriptedApp(), People((BOB, decision))

    run = _run(app, people, channel)

    assert run.status == "Succeeded"
    assert app.votes == {BOB: decision.lower()}
    assert app.status == {"Approve": "Initiating", "Deny": "Denied"}[decision]
    assert run.results["Relay_decision"].inputs["body"]["onBehalfOf"] == {
        "objectId": BOB,
        "name": NAMES[BOB],
    }


def test_a_comment_in_teams_is_kept() -> None:
    """An approver's comment goes into the record."""
    app, people = ScriptedApp(), People((BOB, "Deny"))

    run = _run(app, people, "teams")

    assert run.results["Relay_decision"].inputs["body"]["comment"] == "Deny it"


@CHANNELS
def test_every_approval_that_is_needed_is_asked_for(channel: str) -> None:
    """Where a policy wants two people, the second is asked after the first has answered."""
    app, people = ScriptedApp(needed=2), People((BOB, "Approve"), (CAROL, "Approve"))

    run = _run(app, people, channel)

    assert app.votes == {BOB: "approve", CAROL: "approve"}
    assert app.status == "Initiating"
    assert run.ran("Relay_decision") == ["Succeeded", "Succeeded"]


@CHANNELS
def test_a_decision_that_the_app_refuses_does_not_end_the_asking(channel: str) -> None:
    """The requestor approves their own request: the app says no, and others are asked."""
    app, people = ScriptedApp(), People((ALICE, "Approve"), (BOB, "Approve"))

    run = _run(app, people, channel)

    assert app.refused == [ALICE]
    assert app.votes == {BOB: "approve"}
    assert run.ran("Relay_decision") == ["Failed", "Succeeded"]
    assert run.status == "Succeeded"


@CHANNELS
def test_no_approver_answers(channel: str) -> None:
    """A question that times out is followed by a look at the request, which the app has ended."""
    app = ScriptedApp()
    people = People(None, then=lambda: setattr(app, "status", "Denied"))

    run = _run(app, people, channel)

    assert run.status == "Succeeded"
    assert app.votes == {}
    assert run.ran("Ask") == ["Failed"]
    assert run.ran("Relay_decision") == ["Skipped"]


@CHANNELS
def test_a_last_answer_is_never_used_twice(channel: str) -> None:
    """After an answer and then silence, nothing is relayed for the silence."""
    app = ScriptedApp(needed=2)
    people = People((BOB, "Approve"), None)

    run = _run(app, people, channel)

    assert app.votes == {BOB: "approve"}
    assert run.ran("Relay_decision")[:2] == ["Succeeded", "Skipped"]


def test_the_asking_ends() -> None:
    """Ten questions without a decision are enough: a loop that never ends sends mail for ever."""
    app, people = ScriptedApp(), People()

    run = _run(app, people, "outlook")

    assert len(people.mails) <= 10
    assert run.status == "Succeeded"


def test_what_was_decided_meanwhile_is_not_asked() -> None:
    """A notice can come late: the request itself says whether anybody is awaited."""
    app, people = ScriptedApp(status="Initiated"), People((BOB, "Approve"))

    run = _run(app, people, "outlook")

    assert people.mails == []
    assert run.ran("Ask_until_decided") == ["Skipped"]


@CHANNELS
def test_a_longer_end_is_asked_for_until_it_is_decided(channel: str) -> None:
    """An open request whose later end waits for two is asked about twice, and no third time.

    Its requestor's answer is none.
    """
    app = ScriptedApp(needed=2, status="Initiated")
    app.longer_end = "2026-11-22T18:00:00Z"
    people = People((ALICE, "Approve"), (BOB, "Approve"), (CAROL, "Approve"), (ALICE, "Deny"))

    run = _run(app, people, channel, isExtension=True)

    assert app.refused == [ALICE]
    assert app.votes == {BOB: "approve", CAROL: "approve"}
    assert run.ran("Relay_decision") == ["Failed", "Succeeded", "Succeeded"]
    assert run.status == "Succeeded"


@CHANNELS
def test_people_are_told_that_it_is_a_longer_end(channel: str) -> None:
    """An approver sees the requested end, and that the access is open already."""
    app = ScriptedApp(status="Initiated")
    app.longer_end = "2026-11-22T18:00:00Z"
    people = People((BOB, "Deny"))

    _run(app, people, channel, isExtension=True)

    assert "longer access, until 2026-11-22T18:00:00Z" in json.dumps([people.mails, people.cards])


def test_a_late_notice_of_a_longer_end_asks_no_approver() -> None:
    """The request itself says whether a later end still waits, whatever the notice says."""
    app, people = ScriptedApp(status="Initiated"), People((BOB, "Approve"))

    run = _run(app, people, "teams", isExtension=True)

    assert people.cards == []
    assert run.ran("Ask_until_decided") == ["Skipped"]


def test_only_the_id_of_a_notice_is_used() -> None:
    """Requestor and reason are read from the app: a forged notice cannot dress a request up."""
    app, people = ScriptedApp(), People((BOB, "Deny"))

    _run(app, people, "outlook", requestor="ceo@contoso.example", justification="trust me")

    (mail,) = people.mails
    assert "ceo" not in json.dumps(mail)
    assert NAMES[ALICE] in mail["Body"]
    assert "INC-4711" in mail["Body"]
    assert VM.rpartition("/")[2] in mail["Body"]


@pytest.mark.parametrize("field", ["requestor", "justification"])
def test_a_mail_cannot_be_dressed_up(field: str) -> None:
    """Markup in a person's text or name arrives as text."""
    app, people = ScriptedApp(), People((BOB, "Deny"))
    hostile = "<a href='https://evil.example'>approve & go</a>"

    def api(call: Call) -> Answer:
        answer = app(call)
        return Answer(answer.status, {**answer.body, field: hostile}, answer.headers)

    engine("approval", api, people, "outlook").run(NOTICE)

    assert "<a href" not in people.mails[0]["Body"]
    assert "&lt;a href='https://evil.example'>approve &amp; go" in people.mails[0]["Body"]


def test_a_card_cannot_be_dressed_up() -> None:
    """Quotes in a justification do not break out of the card."""
    app, people = ScriptedApp(), People((BOB, "Deny"))
    app.justification = '"}], "actions": ['

    _run(app, people, "teams")

    (card,) = people.cards
    assert app.justification in json.dumps(card["body"], ensure_ascii=False).replace('\\"', '"')
    assert [each["title"] for each in card["actions"]] == ["Approve", "Deny"]
    assert card["recipient"] == {"groupId": "team", "channelId": "channel"}


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_passing_trouble_is_tried_again_with_the_same_body(status: int) -> None:
    """A decision is not lost because the app did not answer once."""
    app, people = ScriptedApp(), People((BOB, "Approve"))
    people = People(
        (BOB, "Approve"),
        then=lambda: app.trouble.extend([Answer(status, headers={"Retry-After": "9"})]),
    )
    machine = engine("approval", app, people, "teams")

    machine.run(NOTICE)

    first, second = (call for call in machine.calls if call.url.endswith("/approve"))
    assert first.body == second.body
    assert second.at - first.at >= 9
    assert app.votes == {BOB: "approve"}


def test_every_call_goes_to_the_app_and_carries_its_own_token() -> None:
    """The token is for our API, of the workflow's identity, and goes nowhere else."""
    app, people = ScriptedApp(needed=2), People((BOB, "Approve"), (CAROL, "Deny"))
    machine = engine("approval", app, people, "outlook")

    machine.run(NOTICE)

    assert machine.calls
    assert all(call.url.startswith(f"{API}/api/requests/{REQUEST}") for call in machine.calls)


@pytest.mark.parametrize("identifier", ["../policies", "a/b?c=d", "x#y"])
def test_an_id_stays_in_its_place(identifier: str) -> None:
    """Any text in place of an id is one segment of the path."""
    urls = []

    def app(call: Any) -> Answer:
        urls.append(call.url)
        return Answer(404, {"error": {"code": "RequestNotFound"}})

    run = engine("approval", app, People(), "teams").run({"requestId": identifier})

    assert run.status == "Failed"
    assert all(url.removeprefix(f"{API}/api/requests/").isascii() for url in urls)
    assert all(not set("/?#") & set(url.removeprefix(f"{API}/api/requests/")) for url in urls)


@pytest.mark.parametrize("body", [{}, {"requestId": ""}, {"requestId": 3}, {"requestId": "x" * 65}])
def test_a_notice_without_an_id_starts_nothing(body: Any) -> None:
    """The trigger's schema refuses what the app would never send."""
    with pytest.raises(ValueError, match="trigger"):
        engine("approval", ScriptedApp(), People(), "teams").run(body)


def test_what_the_app_sends_is_what_the_workflow_takes() -> None:
    """The app's own notice starts a run, and the id in it is the one that is read."""
    world = World()
    world.protect()
    asked = world.ask(work=False)
    now = world.clock()

    def wait(request: AccessRequest) -> AccessRequest:
        ports = tuple(replace(port, status=Status.PENDING_APPROVAL) for port in request.ports)
        return replace(request, ports=ports, approval=Approval(1, now + timedelta(hours=1)))

    world.services.requests.change(asked.id, wait)
    sent: list[dict[str, Any]] = []
    notify(world.services, sent.append, asked.id)
    urls = []

    def app(call: Any) -> Answer:
        urls.append(call.url)
        return Answer(200, {"status": "Denied", "virtualMachines": []})

    (notice,) = sent
    run = engine("approval", app, People(), "teams").run(notice)

    assert run.status == "Succeeded"
    assert urls == [f"{API}/api/requests/{asked.id}"]
