"""Queue triggers and outputs behave as the platform's (see platform_app/harness.py)."""

import base64
import contextlib
import json
import time
import uuid
from collections.abc import Iterator

import pytest
from azure.core.exceptions import ResourceExistsError

from local.tests.platform_app.harness import (
    MAX_DEQUEUE_COUNT,
    Platform,
    running_platform,
    until,
)


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """Run the platform app."""
    with running_platform() as running:
        yield running


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _count(platform: Platform, queue: str) -> int:
    """Return how many messages the queue holds, hidden ones included."""
    if queue not in platform.queue_names():
        return 0
    return platform.queue(queue).get_queue_properties().approximate_message_count or 0


def test_message_runs_the_function_once(platform: Platform) -> None:
    """A message that succeeds is handed over once, with its metadata, and deleted."""
    name = platform.enqueue()
    platform.wait_for("work done", name)
    (seen,) = platform.seen("work", name)
    assert seen["count"] == 1
    assert str(uuid.UUID(seen["id"])) == seen["id"]
    until(lambda: _count(platform, "platform-work") == 0, "the message is deleted")


def test_failed_message_is_tried_again(platform: Platform) -> None:
    """A failed message comes back at once, counted, and is done when it succeeds."""
    name = platform.enqueue(do="fail", times=1)
    platform.wait_for("work done", name)
    assert [seen["count"] for seen in platform.seen("work", name)] == [1, 2]
    assert platform.seen("work_poison", name) == []


@pytest.mark.parametrize("do", ["fail", "return"])
def test_message_that_keeps_failing_is_poison(platform: Platform, do: str) -> None:
    """After maxDequeueCount failures the same body is on the poison queue, once.

    A value returned without a $return binding is a failure too.
    """
    name = platform.enqueue(do=do)
    (given_up,) = platform.wait_for("work_poison", name)
    attempts = [seen["count"] for seen in platform.seen("work", name)]
    assert attempts == list(range(1, MAX_DEQUEUE_COUNT + 1))
    assert json.loads(given_up["body"])["name"] == name
    assert given_up["count"] == 1
    until(lambda: _count(platform, "platform-work") == 0, "the original is deleted")


def test_poison_queue_has_no_poison_queue(platform: Platform) -> None:
    """A message that fails on a poison queue stays hidden there and is not tried again soon."""
    name = platform.enqueue(do="fail", note="fail in poison")
    platform.wait_for("work_poison", name)
    done = platform.enqueue()
    platform.wait_for("work done", done)
    assert len(platform.seen("work_poison", name)) == 1
    assert _count(platform, "platform-work-poison") > 0
    assert "platform-work-poison-poison" not in platform.queue_names()


def test_text_that_is_not_base64_is_poison_unseen(platform: Platform) -> None:
    """A producer that forgot the encoding gets its text on the poison queue, never run."""
    name = f"not base64: {uuid.uuid4()}"
    before = _count(platform, "platform-work-poison")
    platform.queue("platform-work").send_message(name)
    # It is no better encoded there, and a poison queue has no poison queue: it stays hidden.
    until(lambda: _count(platform, "platform-work-poison") > before, "it is given up")
    assert platform.seen("work", name) == []
    assert platform.seen("work_poison", name) == []


@pytest.mark.parametrize("key", ["id", "ID", "Id"])
def test_payload_overrides_the_message_id(platform: Platform, key: str) -> None:
    """The trap: a top-level `id` in the payload, in any letter case, replaces msg.id."""
    name = platform.enqueue(**{key: "mine"})
    (seen,) = platform.wait_for("work", name)
    assert seen["id"] == "mine"


@pytest.mark.parametrize(
    "payload",
    [
        {"dequeueCount": "abc"},
        {"DEQUEUECOUNT": True},
        {"expirationTime": "soon"},
        {"insertionTime": "yesterday"},
        {"nextVisibleTime": "later"},
    ],
)
def test_payload_that_spoils_the_metadata_never_runs(
    platform: Platform, payload: dict[str, object]
) -> None:
    """The trap: a top-level key that cannot be read as metadata fails every attempt.

    Those of the poison handler as well: the message stays on the poison queue, invisible to all.
    """
    before = _count(platform, "platform-work-poison")
    name = platform.enqueue(**payload)
    until(lambda: _count(platform, "platform-work-poison") > before, "it is given up")
    until(lambda: _count(platform, "platform-work") == 0, "the original is deleted")
    assert platform.seen("work", name) == platform.seen("work_poison", name) == []


def test_other_keys_are_harmless(platform: Platform) -> None:
    """Names of one's own, lists, null and nested keys leave the metadata alone."""
    payload = {"request_id": "r", "dequeueCount": None, "id": ["x"], "inner": {"id": "y"}}
    name = platform.enqueue(**payload)
    (seen,) = platform.wait_for("work", name)
    assert str(uuid.UUID(seen["id"])) == seen["id"]
    assert seen["count"] == 1


def test_output_is_base64_on_a_queue_made_on_demand(platform: Platform) -> None:
    """An output binding encodes as host.json says and creates the queue."""
    text = f"kept: {uuid.uuid4()}"
    assert platform.call("POST", "/keep", body=text.encode()).status == 202
    assert _encoded(text) in _kept(platform)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"b": {"a": [1, 2.5, "ä"]}, "c": None}, None),
        ({}, "{}"),
        ([{"one": 1}], '{\n  "one": 1\n}'),
        ([True], "True"),
    ],
)
def test_json_output_is_written_again_indented(
    platform: Platform, value: object, written: str | None
) -> None:
    """A JSON object in a queue output binding is sent indented, as JToken.ToString() writes it."""
    expected = written or json.dumps(value, indent=2, ensure_ascii=False)
    assert platform.call("POST", "/keep", body=json.dumps(value).encode()).status == 202
    assert _encoded(expected) in _kept(platform)


def test_output_in_braces_that_is_no_json_is_not_sent(platform: Platform) -> None:
    """A text in braces that cannot be read as JSON fails the request."""
    assert platform.call("POST", "/keep", body=b"{not json}").status == 500


@pytest.mark.parametrize("body", [b"\xff\xfe", b'{"name": "\xe9"}', b"caf\xc3"])
def test_message_that_is_not_utf8_never_runs_and_is_poison(platform: Platform, body: bytes) -> None:
    """A message that is no UTF-8 fails to bind at every try, and ends on the poison queue.

    The function of the poison queue cannot bind it either, so the message stays there.
    """
    before = _count(platform, "platform-work-poison")
    runs = len(platform.seen("work"))
    log = platform.read_log()
    platform.queue("platform-work").send_message(base64.b64encode(body).decode())
    until(lambda: _count(platform, "platform-work-poison") > before, "it is given up")
    until(lambda: _count(platform, "platform-work") == 0, "the original is deleted")
    assert len(platform.seen("work")) == runs
    failed = platform.read_log().removeprefix(log)
    assert failed.count("Functions.work. Exception binding parameter 'msg'") == MAX_DEQUEUE_COUNT
    assert "Unable to translate bytes" in failed


def test_output_list_is_one_message_each(platform: Platform) -> None:
    """A list, and a text that is a JSON list, become one message per item."""
    names = [str(uuid.uuid4()) for _ in range(3)]
    platform.call("POST", "/enqueue/many", body="\n".join(names).encode())
    for name in names:
        platform.wait_for("work done", name)
    platform.call("POST", "/keep", body=json.dumps(names).encode())
    assert {_encoded(name) for name in names} <= set(_kept(platform))


def test_accepted_means_enqueued(platform: Platform) -> None:
    """An output that cannot be written fails the request: no 202 without the message."""
    too_large = b"x" * 60_000  # 80,000 in base64; a message holds 64 KiB
    assert platform.call("POST", "/keep", body=too_large).status == 500


def test_queue_that_comes_later_is_listened_to(platform: Platform) -> None:
    """A listener waits for a queue that does not exist yet."""
    name = str(uuid.uuid4())
    with contextlib.suppress(ResourceExistsError):
        platform.queue("platform-late").create_queue()
    platform.queue("platform-late").send_message(_encoded(name))
    platform.wait_for("late", name)


def test_a_batch_runs_side_by_side(platform: Platform) -> None:
    """Messages of a batch do not wait for one another."""
    began = time.monotonic()
    names = [platform.enqueue(sleep=1) for _ in range(8)]
    for name in names:
        platform.wait_for("work done", name)
    assert time.monotonic() - began < 6


def test_queue_function_by_hand(platform: Platform) -> None:
    """The admin API runs a queue function on a text, without any queue."""
    name = str(uuid.uuid4())
    body = json.dumps({"input": json.dumps({"name": name})}).encode()
    headers = {"Content-Type": "application/json"}
    answer = platform.call("POST", "/admin/functions/work", body=body, headers=headers)
    assert answer.status == 202
    platform.wait_for("work done", name)


def _kept(platform: Platform) -> list[str]:
    messages = platform.queue("platform-kept").peek_messages(max_messages=32)
    return [str(message.content) for message in messages]
