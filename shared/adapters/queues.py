"""Storage queues: one message shape each, keys only."""

import json
import math
from datetime import timedelta
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.queue import (
    LinearRetry,
    QueueClient,
    QueueServiceClient,
    TextBase64EncodePolicy,
)

from shared.adapters.transport import make_transport
from shared.ports import OutsideError

REQUESTS, FIREWALLS, POLICIES = "jit-requests", "jit-firewalls", "jit-policies"
NOTICES = "jit-notices"
NAMES = (REQUESTS, FIREWALLS, POLICIES, NOTICES)
_NOW = timedelta(0)
_CONNECT_SECONDS, _READ_SECONDS = 20, 60  # as the SDK waits


class AzureQueues:
    """The app's queues. The top-level keys are none that the host uses as metadata."""

    def __init__(self, service: QueueServiceClient) -> None:
        self._service = service
        self._clients: dict[str, QueueClient] = {}

    @classmethod
    def connect(cls, connection: str, credential: TokenCredential | None) -> "AzureQueues":
        """Connect by connection string (local) or by account address and identity (Azure)."""
        transport = make_transport(connect_seconds=_CONNECT_SECONDS, read_seconds=_READ_SECONDS)
        options: dict[str, Any] = {"transport": transport, "retry_policy": _retries()}
        if credential is None:
            return cls(QueueServiceClient.from_connection_string(connection, **options))
        return cls(QueueServiceClient(connection, credential=credential, **options))

    def create(self) -> None:
        """Make the queues that are missing; infra makes them in Azure, the local stack here."""
        present = {queue.name for queue in self._service.list_queues()}
        for name in NAMES:
            if name not in present:
                self._service.create_queue(name)

    def send_request(self, request_id: str, *, delay: timedelta = _NOW) -> None:
        """Ask for open_access."""
        self._send(REQUESTS, {"request": request_id}, math.ceil(delay.total_seconds()))

    def send_firewall(self, firewall_id: str, *, delay: timedelta = _NOW) -> None:
        """Ask for converge_firewall.

        Rounded down to the queue's whole seconds: who comes early waits for the moment, and who
        comes late has left a port open.
        """
        self._send(FIREWALLS, {"firewall": firewall_id}, math.floor(delay.total_seconds()))

    def send_policy(self, policy_id: str, *, delay: timedelta = _NOW) -> None:
        """Ask for apply_policy."""
        self._send(POLICIES, {"policy": policy_id}, math.ceil(delay.total_seconds()))

    def send_notice(self, request_id: str) -> None:
        """Have approvers told."""
        self._send(NOTICES, {"request": request_id}, 0)

    def requested(self) -> int:
        """Count the requests on their way; a queue tells it about, and hidden ones with them."""
        return self._count(REQUESTS)

    def poisoned(self) -> int:
        """Count the messages on the poison queues; the host makes those when it needs them."""
        return sum(self._count(f"{name}-poison") for name in NAMES)

    def _count(self, queue: str) -> int:
        try:
            return self._client(queue).get_queue_properties().approximate_message_count or 0
        except ResourceNotFoundError:
            return 0
        except AzureError as error:
            raise OutsideError(str(error)) from error

    def _send(self, queue: str, message: dict[str, str], delay: int) -> None:
        try:
            self._client(queue).send_message(json.dumps(message), visibility_timeout=max(0, delay))
        except AzureError as error:
            raise OutsideError(str(error)) from error

    def _client(self, queue: str) -> QueueClient:
        if queue not in self._clients:
            self._clients[queue] = self._service.get_queue_client(
                queue,
                # What the host's queue trigger expects (host.json messageEncoding, its default).
                message_encode_policy=TextBase64EncodePolicy(),
            )
        return self._clients[queue]


def _retries() -> LinearRetry:
    """Give up soon: the SDK's own patience is a minute, and a caller waits for the answer.

    A message that is not sent is not lost: the due row leads the sweep to it.
    """
    return LinearRetry(backoff=1, retry_total=2)
