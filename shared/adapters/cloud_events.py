"""Send notifications as CloudEvents 1.0, to a signed webhook, an Event Grid topic or a Logic App.

With a key every notification is one POST, signed by the rules of Standard Webhooks. Without a key
the address has to be an Event Grid topic, which gets batches, or a Logic App's trigger, which gets
one POST each. Both get a token of the app's identity.
Redirects are not followed: token and signature reach the configured address alone.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from azure.core import PipelineClient
from azure.core.exceptions import AzureError
from azure.core.pipeline.policies import (
    BearerTokenCredentialPolicy,
    RedirectPolicy,
    UserAgentPolicy,
)
from azure.core.rest import HttpRequest, HttpResponse

from shared.domain.notifications import Notification
from shared.domain.times import format_ticks
from shared.ports import Clock, OutsideError, RejectedEventError

_TOPIC_HOSTS = (".eventgrid.azure.net", ".eventgrid.azure.us", ".eventgrid.azure.cn")
_WORKFLOW_HOSTS = (".logic.azure.com", ".logic.azure.us", ".logic.azure.cn")
_TOPIC_SCOPE = "https://eventgrid.azure.net/.default"
_TOPIC_QUERY = "api-version=2018-01-01"
_TOPIC_BATCH = 50  # far below 1 MB: the fields of an audit event are bounded
_KEY_PREFIX = "whsec_"
_MIN_KEY, _MAX_KEY = 24, 64  # bytes
_PATIENCE: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 15}
_OK, _FIRST_REDIRECT = 200, 300
_REJECTED = frozenset({400, 413, 422})


class CloudEvents:
    """A notification channel: a webhook where a key is given, a topic or a workflow otherwise.

    `audience` is what a workflow's trigger takes tokens for.
    """

    def __init__(  # noqa: PLR0913 - what a deployment configures, and two parts for tests
        self,
        url: str,
        key: str,
        source: str,
        new_credential: Callable[[], Any],
        *,
        audience: str = "",
        clock: Clock = lambda: datetime.now(UTC),
        transport: Any = None,
    ) -> None:
        self._url, self._key, self._source, self._clock = url, key, source, clock
        self._new_credential = new_credential
        host = urlsplit(url).hostname or ""
        self._is_workflow = not key and host.endswith(_WORKFLOW_HOSTS)
        self._is_topic = not key and host.endswith(_TOPIC_HOSTS)
        self._scope = _TOPIC_SCOPE if self._is_topic else f"{audience}/.default"
        self._transport = transport  # None: the one of azure-core
        self._client: PipelineClient[HttpRequest, HttpResponse] | None = None

    @property
    def batch_size(self) -> int:
        """Return how many notifications one call sends at most."""
        return _TOPIC_BATCH if self._is_topic else 1

    def send(self, notifications: Sequence[Notification]) -> None:
        """Send notifications in one call; raises RejectedEventError or OutsideError."""
        events = [to_cloud_event(each, self._source) for each in notifications]
        if self._is_topic:
            headers = {"Content-Type": "application/cloudevents-batch+json; charset=utf-8"}
            self._post(f"{self._url}?{_TOPIC_QUERY}", _bytes_of(events), headers)
            return
        for event in events:
            self._post(self._url, _bytes_of(event), self._headers(event))

    def _headers(self, event: Mapping[str, Any]) -> dict[str, str]:
        """Return the headers of one attempt; raises OutsideError without key, topic or workflow."""
        if self._is_workflow:
            # A workflow reads a body of another type as bytes.
            return {"Content-Type": "application/json; charset=utf-8"}
        if not self._key:
            raise OutsideError(
                "JIT_EVENTS_KEY is missing, and JIT_EVENTS_URL is no Event Grid topic and no "
                "trigger of a Logic App"
            )
        return self._webhook_headers(event)

    def _webhook_headers(self, event: Mapping[str, Any]) -> dict[str, str]:
        """Return the headers of one attempt. The timestamp is that of the attempt."""
        timestamp = int(self._clock().timestamp())
        signature = sign(self._key, str(event["id"]), timestamp, _bytes_of(event))
        return {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "webhook-id": str(event["id"]),
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature,
        }

    def _post(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        request = HttpRequest("POST", url, headers=headers, content=body)
        try:
            answer = self._pipeline().send_request(request, **_PATIENCE)
        except AzureError as error:
            raise OutsideError(f"the notification channel does not answer: {error}") from error
        if answer.status_code in _REJECTED:
            raise RejectedEventError(f"the notification channel answered {answer.status_code}")
        if not _OK <= answer.status_code < _FIRST_REDIRECT:
            raise OutsideError(f"the notification channel answered {answer.status_code}")

    def _pipeline(self) -> PipelineClient[HttpRequest, HttpResponse]:
        """Return the client. A webhook gets no token."""
        if self._client is None:
            credential = None if self._key else self._new_credential()
            tokens = [BearerTokenCredentialPolicy(credential, self._scope)] if credential else []
            user_agent = UserAgentPolicy("jit-vm-access")
            redirects = RedirectPolicy(permit_redirects=False)
            policies = [user_agent, redirects, *tokens]
            named = {"transport": self._transport} if self._transport else {}
            self._client = PipelineClient(self._url, policies=policies, **named)
        return self._client


def to_cloud_event(notification: Notification, source: str) -> dict[str, Any]:
    """Return a notification as a CloudEvent in JSON."""
    return {
        "specversion": "1.0",
        "id": notification.id,
        "source": source,
        "type": notification.type.value,
        "subject": notification.subject,
        "time": format_ticks(notification.at),
        "datacontenttype": "application/json",
        "data": dict(notification.data),
    }


def sign(key: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of id, timestamp and body; raises OutsideError without a usable key."""
    signed = b".".join((message_id.encode("ascii"), str(timestamp).encode("ascii"), body))
    code = hmac.new(_secret_of(key), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(code).decode('ascii')}"


def _secret_of(key: str) -> bytes:
    """Decode a key. A Key Vault reference that the platform could not resolve is none."""
    try:
        secret = base64.b64decode(key.removeprefix(_KEY_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not key.startswith(_KEY_PREFIX) or not _MIN_KEY <= len(secret) <= _MAX_KEY:
        raise OutsideError(
            "JIT_EVENTS_KEY is no key: whsec_ and the base64 of 24 to 64 bytes. A Key Vault "
            "reference that cannot be resolved arrives as its own text"
        )
    return secret


def _bytes_of(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=True).encode("ascii")
