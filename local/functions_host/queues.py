"""Storage queues as the host uses them."""

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.queue import LinearRetry, QueueClient, QueueServiceClient
from azure.storage.queue import QueueMessage as StoredMessage

from local.functions_host.config import ConfigError, MessageEncoding

_Result = TypeVar("_Result")

# QueueListener: fixed, whatever host.json says, and renewed while the function runs.
INVISIBLE = timedelta(minutes=10)
_GONE = (400, 404, 409)


@dataclass
class Message:
    """A received message; renewing it changes its pop receipt."""

    id: str
    content: str
    text: str
    is_decoded: bool
    pop_receipt: str
    dequeue_count: int
    inserted_at: datetime
    expires_at: datetime
    next_visible_at: datetime
    binding_error: str = ""


class Queue:
    """One queue, with the encoding that host.json asks for."""

    def __init__(
        self, client: QueueClient, encoding: MessageEncoding, executor: ThreadPoolExecutor
    ) -> None:
        self._client = client
        self._encoding = encoding
        self._executor = executor

    @property
    def name(self) -> str:
        """Return the queue's name."""
        return str(self._client.queue_name)

    async def receive(self, count: int) -> list[Message]:
        """Return at most so many messages, hidden from everybody else for ten minutes."""

        def receive() -> list[StoredMessage]:
            pages = self._client.receive_messages(
                messages_per_page=count,
                max_messages=count,
                visibility_timeout=int(INVISIBLE.total_seconds()),
            )
            return list(pages)

        return [self._message(stored) for stored in await self._run(receive)]

    async def renew(self, message: Message) -> None:
        """Hide the message for another ten minutes."""
        await self._hide(message, INVISIBLE)

    async def release(self, message: Message, after: timedelta) -> None:
        """Let others have the message after a while."""
        await self._hide(message, after)

    async def delete(self, message: Message) -> None:
        """Delete the message unless another listener took it over."""
        await self._ignoring_gone(
            lambda: self._client.delete_message(message.id, message.pop_receipt)
        )

    async def send(self, text: str | bytes) -> None:
        """Put a message on the queue, creating the queue where it does not exist."""
        data = text.encode() if isinstance(text, str) else text
        if self._encoding == "base64":
            await self.send_content(base64.b64encode(data).decode())
        else:
            await self.send_content(data.decode())

    async def send_content(self, content: str) -> None:
        """Put the content on the queue as it stands."""

        def send() -> None:
            try:
                self._client.send_message(content)
            except ResourceNotFoundError:
                self._create()
                self._client.send_message(content)

        await self._run(send)

    def _create(self) -> None:
        try:
            self._client.create_queue()
        except HttpResponseError as error:
            if error.status_code != 409:  # noqa: PLR2004  another listener created it
                raise

    async def _hide(self, message: Message, duration: timedelta) -> None:
        def update() -> None:
            changed = self._client.update_message(
                message.id,
                pop_receipt=message.pop_receipt,
                visibility_timeout=int(duration.total_seconds()),
            )
            message.pop_receipt = str(changed.pop_receipt)

        await self._ignoring_gone(update)

    async def _ignoring_gone(self, action: Callable[[], object]) -> None:
        # QueueProcessor: a pop receipt that no longer fits, a message or queue that is gone:
        # another listener has it, which is why delivery is only at least once.
        try:
            await self._run(action)
        except HttpResponseError as error:
            if error.status_code not in _GONE:
                raise

    async def _run(self, action: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, action)

    def _message(self, stored: StoredMessage) -> Message:
        content = str(stored.content)
        body = self._decoded(content)
        text, binding_error = _text(body or b"")
        return Message(
            id=str(stored.id),
            content=content,
            text=text,
            is_decoded=body is not None,
            binding_error=binding_error,
            pop_receipt=str(stored.pop_receipt),
            dequeue_count=int(stored.dequeue_count or 0),
            inserted_at=_instant(stored.inserted_on),
            expires_at=_instant(stored.expires_on),
            next_visible_at=_instant(stored.next_visible_on),
        )

    def _decoded(self, content: str) -> bytes | None:
        if self._encoding == "none":
            return content.encode()
        try:
            return base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            return None


class Connections:
    """Queues by the name of the app setting that says where they are."""

    def __init__(self, settings: Mapping[str, str], encoding: MessageEncoding) -> None:
        self._settings = settings
        self._encoding = encoding
        self._services: dict[str, QueueServiceClient] = {}
        self._executor = ThreadPoolExecutor(max_workers=8, thread_name_prefix="storage")

    def queue(self, connection: str, name: str) -> Queue:
        """Return the queue; names are lower-cased, as the host does."""
        service = self._services.get(connection)
        if service is None:
            service = self._services[connection] = self._connect(connection)
        client = service.get_queue_client(name.lower())
        return Queue(client, self._encoding, self._executor)

    def close(self) -> None:
        """Close the connections."""
        self._executor.shutdown(wait=True)
        for service in self._services.values():
            service.close()

    def _connect(self, connection: str) -> QueueServiceClient:
        retries = LinearRetry(backoff=1, retry_total=2)
        # WebJobs looks for the name with its own prefix first.
        for name in (f"AzureWebJobs{connection}", connection):
            if text := self._settings.get(name):
                return QueueServiceClient.from_connection_string(text, retry_policy=retries)
            if uri := self._service_uri(name):
                return QueueServiceClient(uri, credential=_identity(), retry_policy=retries)
        raise ConfigError(f"the app setting '{connection}' (a storage connection) is missing")

    def _service_uri(self, name: str) -> str | None:
        if uri := self._settings.get(f"{name}__queueServiceUri"):
            return uri
        account = self._settings.get(f"{name}__accountName")
        return f"https://{account}.queue.core.windows.net" if account else None


def _text(body: bytes) -> tuple[str, str]:
    """Return a message's text, or why no parameter can be bound to it."""
    try:
        return body.decode(), ""
    except UnicodeDecodeError as error:
        wrong = "".join(f"[{byte:02X}]" for byte in error.object[error.start : error.end])
        return "", (
            f"Unable to translate bytes {wrong} at index {error.start} from specified code page "
            "to Unicode."
        )


def _identity() -> Any:
    # Only an app without connection strings needs it, and it is slow to import.
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    return DefaultAzureCredential()


def _instant(value: datetime | None) -> datetime:
    if value is None:
        raise ValueError("the queue service left out a time")
    return value
