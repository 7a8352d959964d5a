"""The contract of the queues, kept by those in memory and by Storage queues."""

import base64
import json
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.queue import QueueServiceClient

from local.azurite import Azurite, connection_string
from shared.adapters.queues import FIREWALLS, NAMES, POLICIES, REQUESTS, AzureQueues
from shared.ports import OutsideError, Queues
from tests.fakes import Clock, MemoryQueues

PATIENCE = 20.0
SUBJECT = "/subscriptions/5/it's \u00fc/x"
# What the host adds to a function's binding data: a key of the same name would be lost.
METADATA = {
    "id",
    "dequeuecount",
    "expirationtime",
    "insertiontime",
    "nextvisibletime",
    "popreceipt",
    "queuetrigger",
    "sys",
}
SENDS: dict[str, tuple[str, Callable[[Queues, str, timedelta], None]]] = {
    "request": (REQUESTS, lambda to, subject, delay: to.send_request(subject, delay=delay)),
    "firewall": (FIREWALLS, lambda to, subject, delay: to.send_firewall(subject, delay=delay)),
    "policy": (POLICIES, lambda to, subject, delay: to.send_policy(subject, delay=delay)),
}
NOW = timedelta(0)


class Bench(Protocol):
    """Queues in memory or in Azurite, with the messages that a worker would get."""

    @property
    def queues(self) -> Queues:
        """Return the queues under test."""
        ...

    def visible(self) -> list[tuple[str, str]]:
        """Name the visible messages by type and subject."""
        ...

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        ...


class MemoryBench:
    """The queues in memory."""

    def __init__(self) -> None:
        self._clock = Clock()
        self.queues = MemoryQueues(self._clock)

    def visible(self) -> list[tuple[str, str]]:
        """Name the messages to be had now."""
        return [(each.kind, each.subject) for each in self.queues.visible()]

    def wait(self, seconds: float) -> None:
        """Move the clock."""
        self._clock.advance(seconds)


class Watched(RequestsTransport):  # type: ignore[misc]  # its type is not known
    """Sends as ever, and keeps the addresses that messages were posted to."""

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[str] = []

    def send(self, request: Any, **options: Any) -> Any:
        """Note a post and send it."""
        if request.method == "POST":
            self.posted.append(request.url)
        return super().send(request, **options)

    def delays(self) -> list[int]:
        """Return the delays that were asked for, in seconds."""
        queries = [parse_qs(urlsplit(url).query) for url in self.posted]
        return [int(query.get("visibilitytimeout", ["0"])[0]) for query in queries]


class AzureBench:
    """Storage queues on Azurite."""

    def __init__(self, storage: str) -> None:
        self.transport = Watched()
        self._service = QueueServiceClient.from_connection_string(storage)
        self.queues = AzureQueues(
            QueueServiceClient.from_connection_string(storage, transport=self.transport)
        )
        self.queues.create()
        for name in NAMES:
            self._service.get_queue_client(name).clear_messages()

    def visible(self) -> list[tuple[str, str]]:
        """Name the messages to be had now."""
        return [
            (subject_type, subject)
            for queue, _ in SENDS.values()
            for text in self.texts(queue)
            for subject_type, subject in json.loads(base64.b64decode(text)).items()
        ]

    def texts(self, queue: str) -> list[str]:
        """Return what lies on a queue, as it lies there."""
        client = self._service.get_queue_client(queue)
        return [str(message.content) for message in client.peek_messages(max_messages=32)]

    def wait(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """Run an Azurite whose queues no other test uses."""
    with Azurite() as azurite:
        yield azurite.connection_string


@pytest.fixture
def real(storage: str) -> AzureBench:
    """Give empty queues in Azurite."""
    return AzureBench(storage)


@pytest.fixture(params=["memory", "azure"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """Give empty queues, in memory and in Azurite."""
    if request.param == "memory":
        return MemoryBench()
    found: AzureBench = request.getfixturevalue("real")
    return found


def test_each_message_goes_to_its_own_queue_with_its_key(bench: Bench) -> None:
    """A message is visible at once, with its subject unchanged."""
    for subject_type, (_, send) in SENDS.items():
        send(bench.queues, f"{subject_type} {SUBJECT}", NOW)
    assert sorted(bench.visible()) == sorted(
        (subject_type, f"{subject_type} {SUBJECT}") for subject_type in SENDS
    )


def test_a_message_may_come_twice(bench: Bench) -> None:
    """Nothing is deduplicated: every send is a message."""
    bench.queues.send_request("same")
    bench.queues.send_request("same")
    assert bench.visible() == [("request", "same")] * 2


@pytest.mark.parametrize("subject_type", SENDS)
def test_a_delayed_message_is_not_seen_before_its_second(bench: Bench, subject_type: str) -> None:
    """It is hidden at first and comes by itself."""
    _, send = SENDS[subject_type]
    send(bench.queues, "later", timedelta(seconds=1))
    assert bench.visible() == []
    sent = time.monotonic()
    while not bench.visible():
        assert time.monotonic() - sent < PATIENCE
        bench.wait(0.1)
    assert bench.visible() == [(subject_type, "later")]


@pytest.mark.parametrize("subject_type", SENDS)
def test_a_message_is_base64_of_one_json_object(real: AzureBench, subject_type: str) -> None:
    """The form the host's trigger expects, with one key and nothing else in it."""
    queue, send = SENDS[subject_type]
    send(real.queues, SUBJECT, NOW)
    (text,) = real.texts(queue)
    assert json.loads(base64.b64decode(text, validate=True)) == {subject_type: SUBJECT}


def test_no_key_is_one_that_the_host_uses(real: AzureBench) -> None:
    """A message's top-level keys never meet the names of the trigger's metadata."""
    for _, send in SENDS.values():
        send(real.queues, "x", NOW)
    assert METADATA.isdisjoint(subject_type for subject_type, _ in real.visible())


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [(0.0, 0), (-5.0, 0), (0.001, 1), (1.0, 1), (1.2, 2), (59.999, 60), (60.0, 60)],
)
def test_a_delay_is_rounded_up(real: AzureBench, delay: float, seconds: int) -> None:
    """No request comes back before its time, and a time that has passed is now."""
    real.queues.send_request("x", delay=timedelta(seconds=delay))
    assert real.transport.delays() == [seconds]


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [(0.0, 0), (-5.0, 0), (0.999, 0), (1.0, 1), (1.2, 1), (59.999, 59), (60.0, 60)],
)
def test_who_closes_comes_early_rather_than_late(
    real: AzureBench, delay: float, seconds: int
) -> None:
    """A queue counts in whole seconds, and no port is left open for the rest of one."""
    real.queues.send_firewall("x", delay=timedelta(seconds=delay))
    assert real.transport.delays() == [seconds]


def test_requests_on_their_way_are_counted(bench: Bench) -> None:
    """Hidden ones as well, and nothing else that is on a queue."""
    assert bench.queues.requested() == 0
    bench.queues.send_request("one")
    bench.queues.send_request("later", delay=timedelta(minutes=1))
    bench.queues.send_firewall("a firewall")
    assert bench.queues.requested() == 2


def test_poison_is_counted_over_all_queues(real: AzureBench) -> None:
    """A poison queue that was never needed hides nothing on another."""
    assert real.queues.poisoned() == 0
    poison = real._service.create_queue(f"{POLICIES}-poison")
    try:
        poison.send_message("one")
        poison.send_message("two")
        assert real.queues.poisoned() == 2
    finally:
        poison.delete_queue()


@pytest.mark.parametrize("subject_type", SENDS)
def test_a_missing_queue_is_an_error(storage: str, subject_type: str) -> None:
    """A message that was not taken is never passed over."""
    name, send = SENDS[subject_type]
    bench = AzureBench(storage)
    bench._service.delete_queue(name)
    try:
        with pytest.raises(OutsideError):
            send(bench.queues, uuid.uuid4().hex, NOW)
    finally:
        bench.queues.create()


@pytest.mark.parametrize("subject_type", SENDS)
def test_unreachable_storage_is_an_error(subject_type: str) -> None:
    """Without a server at the address, the sender gets an error."""
    _, send = SENDS[subject_type]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and no process listens
        port = taken.getsockname()[1]
        service = QueueServiceClient.from_connection_string(
            connection_string(port, port, port), retry_total=0
        )
        with pytest.raises(OutsideError):
            send(AzureQueues(service), "x", NOW)


def test_the_queues_are_made_once(real: AzureBench) -> None:
    """Making them twice is fine, and what lies on them stays."""
    real.queues.send_policy("kept")
    real.queues.create()
    assert real.visible() == [("policy", "kept")]
