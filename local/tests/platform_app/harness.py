r"""The platform app running on a functions host, and what its tests need.

By default the host is the local one, on a fresh stack. The same tests run against any other host,
Azure Functions Core Tools for one, that serves this folder's app:

    python -m local up --without-host --app local/tests/platform_app
    (cd local/tests/platform_app && PLATFORM_QUEUE=platform-work func start)
    JIT_PLATFORM_BASE_URL=http://127.0.0.1:7071 \
    JIT_PLATFORM_STORAGE=<"storage" of .stack/stack.json> pytest local/tests -k functions_host
"""

import base64
import contextlib
import http.client
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient, QueueServiceClient

from local.stack import Stack

APP = Path(__file__).parent
MAX_DEQUEUE_COUNT = 3  # as in this folder's host.json
_PATIENCE = 30.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body's JSON."""
        return json.loads(self.body)


class Platform:
    """The running platform app."""

    def __init__(self, url: str, storage: str, log: Path | None = None) -> None:
        self.url = url
        self.storage = storage
        self._log = log
        self._queues = QueueServiceClient.from_connection_string(storage)
        for name in ("platform-seen", "platform-work"):
            with contextlib.suppress(ResourceExistsError):
                self._queues.create_queue(name)
        self._seen: list[dict[str, Any]] = []

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request; a body that is not bytes goes in chunks."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())

    def read_log(self) -> str:
        """Return the host's log; skips the test where the host is another's."""
        if self._log is None:
            pytest.skip("the log of a host that was started elsewhere cannot be read")
        return self._log.read_text(encoding="utf-8")

    def queue(self, name: str) -> QueueClient:
        """Return a queue's client, which neither encodes nor decodes."""
        return self._queues.get_queue_client(name)

    def queue_names(self) -> list[str]:
        """Return the names of all queues."""
        return [str(queue.name) for queue in self._queues.list_queues()]

    def enqueue(self, **order: object) -> str:
        """Give the work function an order and return the name it goes by."""
        name = str(uuid.uuid4())
        answer = self.call("POST", "/enqueue", body=json.dumps({"name": name, **order}).encode())
        assert answer.status == http.client.ACCEPTED
        return name

    def seen(self, function: str, text: str = "") -> list[dict[str, Any]]:
        """Return what the function recorded so far on a message that contains the text."""
        self._collect()
        return [
            one
            for one in self._seen
            if one["function"] == function and text in str(one.get("body", ""))
        ]

    def wait_for(self, function: str, text: str = "", *, count: int = 1) -> list[dict[str, Any]]:
        """Return the function's records once there are so many."""
        until(lambda: len(self.seen(function, text)) >= count, f"{count} x {function} on {text}")
        return self.seen(function, text)

    def _collect(self) -> None:
        queue = self.queue("platform-seen")
        while batch := list(queue.receive_messages(max_messages=32, messages_per_page=32)):
            for message in batch:
                self._seen.append(json.loads(base64.b64decode(message.content)))
                queue.delete_message(message)


def until(condition: Callable[[], object], what: str, *, seconds: float = _PATIENCE) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def running_platform() -> Iterator[Platform]:
    """Run the platform app, or find it running where the environment says."""
    if url := os.environ.get("JIT_PLATFORM_BASE_URL"):
        yield Platform(url, os.environ["JIT_PLATFORM_STORAGE"])
        return
    with tempfile.TemporaryDirectory() as directory, platform_stack(Path(directory)) as stack:
        yield Platform(stack.api, stack.storage, stack.host_log)


def platform_stack(directory: Path, **environment: str) -> Stack:
    """Return a stack that runs the platform app."""
    directory.mkdir(parents=True, exist_ok=True)
    estate = directory / "estate.json"
    estate.write_text('{"resources": []}', encoding="utf-8")
    return Stack(
        app=APP,
        estate=estate,
        directory=directory,
        environment={"PLATFORM_QUEUE": "Platform-Work", **environment},
    )
