"""The queue listener on a queue in memory: what cannot be timed or counted from outside."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError

from local.functions_host.backoff import RandomizedExponentialBackoff
from local.functions_host.config import QueueOptions
from local.functions_host.queue_listener import QueueListener, QueueWatcher, poison_queue_name
from local.functions_host.queues import INVISIBLE, Message, Queue
from local.functions_host.trigger_metadata import queue_metadata

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
Execute = Callable[[Message], Awaitable[bool]]


class FakeQueue(Queue):
    """A queue in memory that notes what is asked of it."""

    def __init__(self, name: str, batches: Sequence[Sequence[Message] | Exception] = ()) -> None:
        self._name = name
        self._batches = list(batches)
        self.asked: list[str] = []

    @property
    def name(self) -> str:
        """Return the name."""
        return self._name

    async def receive(self, count: int) -> list[Message]:
        """Return the next batch; an exception among them is raised."""
        self.asked.append(f"receive {count}")
        batch = self._batches.pop(0) if self._batches else []
        if isinstance(batch, Exception):
            raise batch
        return list(batch)

    async def renew(self, message: Message) -> None:
        """Change the pop receipt, as storage does."""
        message.pop_receipt += "'"
        self.asked.append("renew")

    async def release(self, message: Message, after: timedelta) -> None:
        """Note it."""
        self.asked.append(f"release {message.id} after {after.total_seconds():g}")

    async def delete(self, message: Message) -> None:
        """Note it, with the receipt."""
        self.asked.append(f"delete {message.id} by {message.pop_receipt}")

    async def send_content(self, content: str) -> None:
        """Note it."""
        self.asked.append(f"send {content}")


def _message(name: str, *, dequeue_count: int = 1, text: str = "body") -> Message:
    return Message(name, text, text, True, "receipt", dequeue_count, NOW, NOW, NOW)


async def _succeed(_: Message) -> bool:
    return True


async def _fail(_: Message) -> bool:
    return False


async def _reached(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  what is watched is a plain list
        await asyncio.sleep(0.001)


def _listen(
    queue: FakeQueue,
    execute: Execute,
    *,
    poison: FakeQueue | None = None,
    renewal: timedelta = INVISIBLE / 2,
    until: Callable[[], bool],
    **options: Any,
) -> QueueWatcher:
    """Run a listener until the condition holds."""
    watcher = QueueWatcher()

    async def run() -> None:
        defaults = {"max_polling_interval": timedelta(milliseconds=5)}
        listener = QueueListener(
            queue, poison, QueueOptions(**{**defaults, **options}), execute, watcher
        )
        listener.renewal_interval = renewal
        running = asyncio.create_task(listener.run())
        async with asyncio.timeout(90):
            await _reached(until)
            await listener.stop()
            await running

    asyncio.run(run())
    return watcher


def test_back_off_doubles_up_to_the_maximum() -> None:
    """Empty looks wait 100 ms, then 100 ms + 2^n x 100 ms, and a message resets it."""
    backoff = RandomizedExponentialBackoff(timedelta(seconds=2), uniform=lambda _low, _high: 1.0)
    milliseconds = [
        round(backoff.next_delay(found_message=found).total_seconds() * 1000)
        for found in [False] * 8 + [True, False]
    ]
    assert milliseconds == [100, 200, 300, 500, 900, 1700, 2000, 2000, 100, 200]


def test_back_off_is_spread_by_a_fifth() -> None:
    """The growing part is spread between 0.8 and 1.2."""
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return high

    backoff = RandomizedExponentialBackoff(timedelta(minutes=1), uniform=uniform)
    backoff.next_delay(found_message=False)
    assert backoff.next_delay(found_message=False) == timedelta(milliseconds=220)
    assert asked == [(0.8, 1.2)]


def test_visibility_is_renewed_while_the_function_runs() -> None:
    """A long run keeps its message hidden, and deletes it by the newest receipt."""
    queue = FakeQueue("work", [[_message("m")]])

    async def slow(_: Message) -> bool:
        await _reached(lambda: queue.asked.count("renew") >= 3)
        return True

    renewal = timedelta(milliseconds=2)
    _listen(queue, slow, renewal=renewal, until=lambda: any("delete" in a for a in queue.asked))
    (deletion,) = [asked for asked in queue.asked if asked.startswith("delete")]
    assert deletion.count("'") == queue.asked.count("renew") >= 3


def test_visibility_timeout_is_for_failures() -> None:
    """host.json's visibilityTimeout hides a failed message, and nothing else."""
    queue, poison = FakeQueue("work", [[_message("m")]]), FakeQueue("work-poison")
    timeout = timedelta(seconds=7)
    _listen(
        queue,
        _fail,
        poison=poison,
        until=lambda: "release m after 7" in queue.asked,
        visibility_timeout=timeout,
    )
    assert poison.asked == []


def test_message_seen_too_often_is_poison_without_a_run() -> None:
    """A message beyond maxDequeueCount, its last run was cut off, is moved and never run."""
    queue = FakeQueue("work", [[_message("m", dequeue_count=6)]])
    poison = FakeQueue("work-poison")
    ran: list[Message] = []

    async def execute(message: Message) -> bool:
        ran.append(message)
        return True

    _listen(queue, execute, poison=poison, until=lambda: "delete m by receipt" in queue.asked)
    assert poison.asked == ["send body"]
    assert ran == []


def test_last_failure_is_poison() -> None:
    """A failure at maxDequeueCount is moved at once: first the copy, then the deletion."""
    queue = FakeQueue("work", [[_message("m", dequeue_count=5)]])
    poison = FakeQueue("work-poison")
    _listen(queue, _fail, poison=poison, until=lambda: "delete m by receipt" in queue.asked)
    assert poison.asked == ["send body"]
    assert not any(asked.startswith("release") for asked in queue.asked)


def test_failure_on_a_poison_queue_is_left_hidden() -> None:
    """Without a poison queue a failed message is neither released nor deleted."""
    queue = FakeQueue("work-poison", [[_message("m", dequeue_count=9)], [_message("n")]])
    _listen(queue, _fail, until=lambda: len(queue.asked) > 3)
    assert set(queue.asked) == {"receive 16"}


def test_next_batch_comes_at_the_threshold() -> None:
    """At most batchSize + newBatchThreshold run; the next batch comes when few enough do."""
    batches = [[_message(f"{batch}{one}") for one in range(4)] for batch in range(5)]
    queue = FakeQueue("work", batches)
    running, most = 0, 0
    done: list[str] = []

    async def execute(message: Message) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        # The last of a batch runs until the next batch has begun.
        await _reached(lambda: running > 1 or len(done) == 19)
        running -= 1
        done.append(message.id)
        return True

    _listen(queue, execute, until=lambda: len(done) == 20, batch_size=4, new_batch_threshold=1)
    assert most == 5


def test_storage_that_is_away_is_waited_for() -> None:
    """A failed look is a look that found nothing."""
    queue = FakeQueue("work", [ServiceRequestError("refused"), OSError("reset"), [_message("m")]])
    _listen(queue, _succeed, until=lambda: "delete m by receipt" in queue.asked)


def test_failure_of_the_host_itself_spares_the_other_messages() -> None:
    """An unexpected error at one message leaves the listener and the others at work."""
    queue = FakeQueue("work", [[_message("bad"), _message("good")], [_message("later")]])

    async def execute(message: Message) -> bool:
        if message.id == "bad":
            raise LookupError("a bug in the host")
        return True

    _listen(queue, execute, until=lambda: "delete later by receipt" in queue.asked)
    assert "delete good by receipt" in queue.asked


def test_output_in_this_process_wakes_the_listener() -> None:
    """A notified listener looks at once, whatever the back-off."""

    async def run() -> None:
        queue, watcher = FakeQueue("work"), QueueWatcher()
        options = QueueOptions(max_polling_interval=timedelta(hours=1))
        listener = QueueListener(queue, None, options, _succeed, watcher)
        listener._backoff = RandomizedExponentialBackoff(
            timedelta(hours=1), minimum=timedelta(hours=1)
        )
        running = asyncio.create_task(listener.run())
        async with asyncio.timeout(90):
            for looks in (1, 2, 3):
                await _reached(lambda: len(queue.asked) >= looks)  # noqa: B023  used at once
                await asyncio.sleep(0.005)
                assert len(queue.asked) == looks
                watcher.notify("work")
            await listener.stop()
            await running

    asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "poison"),
    [
        ("jobs", "jobs-poison"),
        ("jobs-poison", None),
        ("q" * 57, None),
        ("q" * 56, "q" * 56 + "-poison"),
    ],
)
def test_poison_queue_names(name: str, poison: str | None) -> None:
    """Poison queues and queues with too long a name have no poison queue."""
    assert poison_queue_name(name) == poison


def test_payload_is_merged_over_the_metadata() -> None:
    """Top-level properties replace metadata in any letter case; lists and null are left out."""
    payload = {"ID": "mine", "popReceipt": None, "dequeueCount": [1], "n": 2, "o": {"a": 1}}
    metadata = queue_metadata(_message("m", text=json.dumps(payload)))
    assert {name: (datum.value, datum.type) for name, datum in metadata.items()} == {
        "QueueTrigger": (json.dumps(payload), "string"),
        "Id": ("mine", "string"),
        "PopReceipt": ("receipt", "string"),
        "DequeueCount": ("1", "json"),
        "InsertionTime": ('"2026-11-22T12:00:00+00:00"', "json"),
        "ExpirationTime": ('"2026-11-22T12:00:00+00:00"', "json"),
        "NextVisibleTime": ('"2026-11-22T12:00:00+00:00"', "json"),
        "n": ("2", "string"),
        "o": ('{"a":1}', "json"),
    }
