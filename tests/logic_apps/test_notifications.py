"""The notification sample, run action by action with the CloudEvents that the app posts."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.adapters.cloud_events import to_cloud_event
from shared.domain.notifications import EventType, Notification
from tests.logic_apps.engine import Engine
from tests.logic_apps.parts import Run
from tests.logic_apps.people import REQUEST, VM, definition

PAGE = "https://jit.contoso.example/ui/"
TEAMS = "/v1.0/teams/conversation/adaptivecard/poster/Flow bot/location/Channel"
SLACK = "/v2/chat.postMessage"
ALICE = "alice@contoso.example"
POSTED = definition("notifications")["parameters"]["types"]["defaultValue"]
DATA: dict[str, Any] = {
    "principal": "tenant/0b5e7a70",
    "principalName": ALICE,
    "requestId": REQUEST,
    "virtualMachine": VM,
    "port": 22,
    "sourceAddress": "203.0.113.7",
    "reason": "INC-4711",
    "endTimeUtc": "2026-11-22T15:00:00Z",
}


class Channel:
    """A channel of Teams or Slack that keeps what is posted, and may be away."""

    def __init__(self) -> None:
        self.posted: list[Any] = []
        self.is_away = False

    def __call__(self, inputs: Any) -> Any:
        """Keep a message."""
        if self.is_away:
            raise ConnectionError("the connector answers 502")
        assert inputs["method"] == "post"
        self.posted.append(inputs["body"])
        return {"id": "1"}


def event(event_type: str = "jit.closingSoon", subject: str = REQUEST, **data: Any) -> Any:
    """Return an event as the app posts it."""
    at = datetime(2026, 11, 22, 14, 45, tzinfo=UTC)
    found = to_cloud_event(
        Notification("A1", EventType.CLOSED, at, subject, data or DATA), "/jit/test1"
    )
    return {**json.loads(json.dumps(found)), "type": event_type}


def post(channel: Channel, where: str, body: Any, page: str = "") -> Run:
    """Run the workflow once with an event."""
    engine = Engine(
        definition("notifications"),
        {
            "$connections": {where: {"connectionId": f"/connections/{where}"}},
            "channel": where,
            "target": "the-channel",
            "teamsGroupId": "team",
            "pageUrl": page,
        },
        lambda call: pytest.fail(f"called {call.url}"),
        connectors={TEAMS: channel, SLACK: channel},
    )
    return engine.run(body)


def status_of(run: Run) -> int:
    """Return what the workflow answered."""
    assert run.response is not None
    return run.response.status


def text_of(channel: Channel, where: str) -> str:
    """Return what people read of the last message."""
    last = channel.posted[-1]
    if where == "slack":
        return str(last["text"])
    card = json.loads(last["messageBody"])
    lines = ["".join(run["text"] for run in row.get("inlines", [row])) for row in card["body"]]
    return "\n".join(lines)


each_channel = pytest.mark.parametrize("where", ["teams", "slack"])


@each_channel
def test_people_read_what_happened(where: str) -> None:
    """The message names type, person, machine, port, source, end and reason, with a link."""
    channel = Channel()
    run = post(channel, where, event(), PAGE)

    assert (run.status, status_of(run)) == ("Succeeded", 200)
    read = text_of(channel, where)
    for each in (
        "Access closes soon", f"Person: {ALICE}", "Machine: app-1", "Port: 22", "INC-4711",
        "Source: 203.0.113.7", "Until: 2026-11-22T15:00:00Z", f"{PAGE}#/requests/{REQUEST}",
    ):  # fmt: skip
        assert each in read


@each_channel
def test_the_message_goes_to_the_configured_channel(where: str) -> None:
    """Nothing in an event chooses where it is posted."""
    channel = Channel()
    post(channel, where, event(channel="elsewhere", target="elsewhere"))
    (body,) = channel.posted
    if where == "teams":
        assert body["recipient"] == {"groupId": "team", "channelId": "the-channel"}
    else:
        assert body["channel"] == "the-channel"


@each_channel
@pytest.mark.parametrize("event_type", [each.value for each in EventType])
def test_types_that_are_chosen_are_posted_under_a_title(where: str, event_type: str) -> None:
    """Every type has a title; one that is not chosen is accepted and posts nothing."""
    channel = Channel()
    run = post(channel, where, event(event_type))

    assert status_of(run) == 200
    assert len(channel.posted) == (event_type in POSTED)
    assert run.results["Title"].outputs != event_type
    if channel.posted:
        assert run.results["Title"].outputs in text_of(channel, where)


@each_channel
def test_an_event_with_few_fields_is_posted(where: str) -> None:
    """An exposure names its policy and neither person nor port; absent fields break nothing."""
    channel = Channel()
    run = post(
        channel,
        where,
        event("jit.exposed", "/subscriptions/s/policies/web", reason="port 22"),
        PAGE,
    )

    assert status_of(run) == 200
    read = text_of(channel, where)
    assert "Subject: web" in read
    assert "Reason: port 22" in read
    assert "#/requests/" not in read


@each_channel
def test_markup_in_an_event_is_shown_as_text(where: str) -> None:
    """A reason cannot call everybody in a channel, and cannot dress up as a link."""
    reason = "<!channel> <https://evil.example|click> [click](https://evil.example) & <b>"
    channel = Channel()
    post(channel, where, event(**{**DATA, "reason": reason}))

    if where == "slack":
        assert "<" not in text_of(channel, where)
        assert "&lt;!channel&gt;" in text_of(channel, where)
        return
    card = json.loads(channel.posted[-1]["messageBody"])
    plain = [row for row in card["body"] if row["type"] != "RichTextBlock"]
    assert "evil.example" not in json.dumps(plain)
    assert reason in text_of(channel, where)


@each_channel
def test_a_channel_that_is_away_has_the_app_repeat(where: str) -> None:
    """The answer is 503, so that the app sends the event again, under the same id."""
    channel = Channel()
    channel.is_away = True
    assert status_of(post(channel, where, event())) == 503

    channel.is_away = False
    assert status_of(post(channel, where, event())) == 200
    assert len(channel.posted) == 1


def test_a_body_that_is_no_event_starts_nothing() -> None:
    """The trigger's schema takes a CloudEvent and nothing else."""
    with pytest.raises(ValueError, match="missing"):
        post(Channel(), "teams", {"text": "hello"})


def test_people_are_known_by_id_where_there_is_no_name() -> None:
    """An event without a name shows the principal."""
    channel = Channel()
    post(channel, "slack", event(**{**DATA, "principalName": ""}))
    assert "Person: tenant/0b5e7a70" in text_of(channel, "slack")
