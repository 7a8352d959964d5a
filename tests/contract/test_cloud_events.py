"""The requests to a webhook and an Event Grid topic, and the meaning of their answers."""

import base64
import hashlib
import hmac
import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Self

import pytest
from azure.core.credentials import AccessToken

from shared.adapters.cloud_events import CloudEvents, sign
from shared.domain.notifications import EventType, Notification
from shared.ports import OutsideError, RejectedEventError

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 11, 22, 13, 5, tzinfo=UTC)
CLOSED = Notification(
    "A1", EventType.CLOSED, datetime(2026, 11, 22, 13, tzinfo=UTC), "r1", {"reason": "für Müller"}
)
TOPIC = "https://topic.westeurope-1.eventgrid.azure.net/api/events"


class Webhook(http.server.ThreadingHTTPServer):
    """A server on the local machine that keeps what it is sent."""

    answer = 204

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        """Return the address to post to."""
        return f"http://127.0.0.1:{self.server_port}/hook?code=1"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        """Keep the request and answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append((self.path, headers, body))
        self.send_response(self.server.answer)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """Run a webhook."""
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Transport:
    """A transport that keeps requests and answers 200."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close nothing."""

    def send(self, request: Any, **_: Any) -> Any:
        """Keep a request."""
        self.sent.append(request)
        return SimpleNamespace(status_code=200, headers={}, request=request)


class Credential:
    """An identity that names the scope it was asked for."""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """Return a token."""
        return AccessToken(f"token for {scopes[0]}", 4_000_000_000)


def no_credential() -> Any:
    """Fail: a webhook gets no token."""
    raise AssertionError("a token was asked for")


def channel_to(webhook: Webhook, key: str = KEY) -> CloudEvents:
    """Return a channel to a webhook, at a fixed time."""
    return CloudEvents(webhook.url, key, "/jit/test1", no_credential, clock=lambda: NOW)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The published example of Standard Webhooks has its published signature."""
    assert (
        sign(KEY, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize(
    "key",
    [
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_",
        "whsec_ä",
        "whsec_not base64",
        f"whsec_{base64.b64encode(b'x' * 23).decode()}",
        f"whsec_{base64.b64encode(b'x' * 65).decode()}",
        "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s)",
    ],
)
def test_an_unusable_key_sends_nothing(webhook: Webhook, key: str) -> None:
    """A key of another form, or an unresolved reference, fails before anything is sent."""
    with pytest.raises(OutsideError, match="JIT_EVENTS_KEY is no key") as failure:
        channel_to(webhook, key).send([CLOSED])
    assert key.removeprefix("whsec_") not in str(failure.value) or key == "whsec_"
    assert webhook.received == []


def test_a_webhook_gets_a_signed_cloud_event(webhook: Webhook) -> None:
    """The signature covers id, timestamp and body as they arrive; the address is kept as it is."""
    channel = channel_to(webhook)
    channel.send([CLOSED])

    ((path, headers, body),) = webhook.received
    assert (channel.batch_size, path) == (1, "/hook?code=1")
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    secret = base64.b64decode(KEY[6:])
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert "authorization" not in headers
    assert json.loads(body) == {
        "specversion": "1.0",
        "id": "A1",
        "source": "/jit/test1",
        "type": "jit.closed",
        "subject": "r1",
        "time": "2026-11-22T13:00:00.0000000Z",
        "datacontenttype": "application/json",
        "data": {"reason": "für Müller"},
    }


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_rejected_notification_is_told_apart_from_an_outage(
    webhook: Webhook, status: int
) -> None:
    """These answers are about the content; a later notification may be accepted."""
    webhook.answer = status
    with pytest.raises(RejectedEventError, match=str(status)):
        channel_to(webhook).send([CLOSED])


@pytest.mark.parametrize("status", [302, 307, 401, 403, 404, 408, 410, 429, 500, 503])
def test_another_answer_is_an_outage(webhook: Webhook, status: int) -> None:
    """Every other answer than 2xx is tried again by the next run; redirects are not followed."""
    webhook.answer = status
    with pytest.raises(OutsideError, match=str(status)):
        channel_to(webhook).send([CLOSED])
    assert len(webhook.received) == 1


def test_a_webhook_that_is_away_is_an_outage() -> None:
    """A refused connection raises OutsideError."""
    channel = CloudEvents("http://127.0.0.1:9/hook", KEY, "/jit/test1", no_credential)
    with pytest.raises(OutsideError, match="does not answer"):
        channel.send([CLOSED])


def test_a_topic_gets_a_batch_and_a_token_of_event_grid() -> None:
    """Without a key the batch goes to the topic with a token for Event Grid, unsigned."""
    transport = Transport()
    channel = CloudEvents(TOPIC, "", "/jit/test1", Credential, transport=transport)
    channel.send([CLOSED, CLOSED])

    (request,) = transport.sent
    assert request.url == f"{TOPIC}?api-version=2018-01-01"
    assert request.headers["Content-Type"].startswith("application/cloudevents-batch+json")
    assert (
        request.headers["Authorization"] == "Bearer token for https://eventgrid.azure.net/.default"
    )
    assert "webhook-signature" not in request.headers
    assert [event["id"] for event in json.loads(request.content)] == ["A1", "A1"]
    assert channel.batch_size > 1


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/jit",
        "https://eventgrid.azure.net.example.com/api/events",
        "https://example.com/.eventgrid.azure.net",
    ],
)
def test_no_token_goes_to_a_host_that_is_no_topic(url: str) -> None:
    """Without a key another host than a topic's gets no request and no token."""
    transport = Transport()
    channel = CloudEvents(url, "", "/jit/test1", no_credential, transport=transport)
    with pytest.raises(OutsideError, match="no Event Grid topic"):
        channel.send([CLOSED])
    assert transport.sent == []


def test_a_workflow_gets_each_event_by_itself_with_a_token_for_its_trigger() -> None:
    """A Logic App's trigger gets plain JSON and a token for the configured audience."""
    transport = Transport()
    url = "https://prod-7.westeurope.logic.azure.com:443/workflows/w/triggers/event/paths/invoke"
    channel = CloudEvents(
        url, "", "/jit/test1", Credential, audience="api://jit", transport=transport
    )
    channel.send([CLOSED])

    (request,) = transport.sent
    assert channel.batch_size == 1
    assert request.url == url
    assert request.headers["Authorization"] == "Bearer token for api://jit/.default"
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(request.content)["type"] == "jit.closed"


def test_no_token_goes_to_a_host_that_only_looks_like_a_workflow() -> None:
    """A host that ends otherwise, or a webhook with a key, is asked without a token."""
    for host in ("logic.azure.com.evil.example", "xlogic.azure.com.example"):
        channel = CloudEvents(f"https://{host}/", "", "/jit/test1", no_credential)
        with pytest.raises(OutsideError, match="JIT_EVENTS_KEY is missing"):
            channel.send([CLOSED])
