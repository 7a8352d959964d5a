"""Poll a queue and run its function once per message."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from azure.core.exceptions import AzureError

from local.functions_host.backoff import RandomizedExponentialBackoff
from local.functions_host.config import QueueOptions
from local.functions_host.queues import INVISIBLE, Message, Queue

log = logging.getLogger("functions_host.queue")

_POISON = "-poison"
_MAX_NAME = 63
_STORAGE_ERRORS = (AzureError, OSError)


class QueueWatcher:
    """Wakes the listeners of a queue when this process has put something on it."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Event]] = {}

    def register(self, queue_name: str) -> asyncio.Event:
        """Return an event that is set when the queue gets a message from this process."""
        event = asyncio.Event()
        self._waiting.setdefault(queue_name, []).append(event)
        return event

    def notify(self, queue_name: str) -> None:
        """Wake the queue's listeners."""
        for event in self._waiting.get(queue_name, ()):
            event.set()


def poison_queue_name(queue_name: str) -> str | None:
    """Return the name of the poison queue; a poison queue has none, nor has too long a name."""
    name = queue_name + _POISON
    return None if queue_name.endswith(_POISON) or len(name) > _MAX_NAME else name


class QueueListener:
    """The host's QueueListener and QueueProcessor for one function."""

    def __init__(
        self,
        queue: Queue,
        poison: Queue | None,
        options: QueueOptions,
        execute: Callable[[Message], Awaitable[bool]],
        watcher: QueueWatcher,
    ) -> None:
        self._queue = queue
        self._poison = poison
        self._options = options
        self._execute = execute
        self._watcher = watcher
        self._woken = watcher.register(queue.name)
        self._backoff = RandomizedExponentialBackoff(options.max_polling_interval)
        self._found_message = False
        self._is_stopping = False
        self._processing: set[asyncio.Task[None]] = set()
        self.renewal_interval: timedelta = INVISIBLE / 2

    async def run(self) -> None:
        """Poll until stopped."""
        while not self._is_stopping:
            self._woken.clear()
            batch = await self._receive()
            for message in batch:
                self._processing.add(asyncio.create_task(self._process(message)))
            if batch:
                self._found_message = True
                await self._wait_for_threshold()
            else:
                await self._wait_for_messages()

    async def stop(self) -> None:
        """Take no more messages and finish those at hand."""
        self._is_stopping = True
        self._woken.set()
        if self._processing:
            await asyncio.wait(self._processing)

    async def _receive(self) -> list[Message]:
        try:
            return await self._queue.receive(self._options.batch_size)
        except _STORAGE_ERRORS as error:
            # A queue that does not exist yet, or a storage that is away, is waited for.
            log.debug("Queue '%s' cannot be read: %s", self._queue.name, error)
            return []

    async def _wait_for_messages(self) -> None:
        delay = self._backoff.next_delay(found_message=self._found_message)
        self._found_message = False
        if self._is_stopping:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), delay.total_seconds())

    async def _wait_for_threshold(self) -> None:
        self._processing = {task for task in self._processing if not task.done()}
        while len(self._processing) > self._options.new_batch_threshold:
            _, self._processing = await asyncio.wait(
                self._processing, return_when=asyncio.FIRST_COMPLETED
            )

    async def _process(self, message: Message) -> None:
        try:
            if not message.is_decoded or message.dequeue_count > self._options.max_dequeue_count:
                await self._move_to_poison(message)
            else:
                succeeded = await self._execute_renewing(message)
                await self._complete(message, succeeded=succeeded)
        except _STORAGE_ERRORS as error:
            # The message comes again when its invisibility ends.
            log.warning("Message %s of '%s': %s", message.id, self._queue.name, error)
        except Exception:
            log.exception("Message %s of '%s' failed in the host", message.id, self._queue.name)

    async def _execute_renewing(self, message: Message) -> bool:
        finished = asyncio.Event()
        renewing = asyncio.create_task(self._renew_until(finished, message))
        try:
            return await self._execute(message)
        finally:
            finished.set()
            # Never cancelled: a renewal under way changes the pop receipt.
            await renewing

    async def _renew_until(self, finished: asyncio.Event, message: Message) -> None:
        while True:
            try:
                await asyncio.wait_for(finished.wait(), self.renewal_interval.total_seconds())
            except TimeoutError:
                with contextlib.suppress(*_STORAGE_ERRORS):
                    await self._queue.renew(message)
            else:
                return

    async def _complete(self, message: Message, *, succeeded: bool) -> None:
        if succeeded:
            await self._queue.delete(message)
        elif self._poison is None:
            # Left invisible for the rest of the ten minutes, so that it cannot spin.
            return
        elif message.dequeue_count >= self._options.max_dequeue_count:
            await self._move_to_poison(message)
        else:
            await self._queue.release(message, self._options.visibility_timeout)

    async def _move_to_poison(self, message: Message) -> None:
        if self._poison is None:
            return
        log.warning(
            "Message has reached MaxDequeueCount of %s. Moving message to queue '%s'. Id: %s",
            self._options.max_dequeue_count,
            self._poison.name,
            message.id,
        )
        await self._poison.send_content(message.content)
        self._watcher.notify(self._poison.name)
        await self._queue.delete(message)
