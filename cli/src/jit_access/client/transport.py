"""Send calls through azure-core's pipeline: tokens, retries, timeouts, and nothing to other hosts."""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from azure.core import PipelineClient
from azure.core.exceptions import AzureError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import RetryPolicy, SansIOHTTPPolicy, UserAgentPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest, HttpResponse

from jit_access import __version__
from jit_access.client.errors import (
    Detail,
    UnexpectedAnswerError,
    UnreachableError,
    UnsafeAddressError,
    error_class_of,
)
from jit_access.client.json_models import Json
from jit_access.client.operations import FIRST_SENT, REPEAT_ID, Operation

_OPERATION = "jit_operation"
_TOO_MANY, _ERRORS_FROM, _SERVER_ERRORS = 429, 400, 500
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})

Token = Callable[[], str]


@dataclass(frozen=True)
class Limits:
    """How long a call may take and how often it is tried."""

    connect_seconds: float = 10.0
    read_seconds: float = 100.0
    retries: int = 3
    backoff_seconds: float = 0.5
    # A longer Retry-After is reported to the caller instead of slept through.
    longest_wait_seconds: float = 30.0


@dataclass(frozen=True)
class Repeat:
    """Names a call, so that the same call sent again leads to the same request.

    Without one each call gets an id of its own, which its retries keep. A caller who keeps the id
    to send the call again after a crash keeps the time of the first call with it.
    """

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    first_sent: datetime | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers that carry it."""
        if self.first_sent is None:
            return {REPEAT_ID: self.id}
        return {REPEAT_ID: self.id, FIRST_SENT: format_datetime(self.first_sent, usegmt=True)}


@dataclass(frozen=True)
class Answer:
    """An answer that is no error."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """Return the body; raises UnexpectedAnswerError if it is not JSON."""
        try:
            return json.loads(self.content)
        except ValueError:
            raise UnexpectedAnswerError(
                f"the service answered {self.status} with something that is not JSON; "
                "is this the address of the JIT service?"
            ) from None

    @property
    def retry_after(self) -> float:
        """Return the seconds to wait before the next call; 0 without any."""
        return _seconds(self.headers.get("Retry-After", ""))


class _Retries(RetryPolicy):  # type: ignore[type-arg]
    """Retry what may be repeated. A throttled call was not carried out, so it always may."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(
            retry_total=limits.retries,
            retry_backoff_factor=limits.backoff_seconds,
            retry_backoff_max=int(limits.longest_wait_seconds),
        )
        self._longest = limits.longest_wait_seconds

    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:
        """Tell whether a call is sent again after this answer."""
        status = response.http_response.status_code
        operation: Operation = response.context[_OPERATION]
        if status not in _RETRIED or operation.answer_for(status) is not None:
            return False
        if (self.get_retry_after(response) or 0.0) > self._longest:
            return False
        if status != _TOO_MANY and not operation.is_repeatable:
            return False
        return int(settings["total"]) > 0


class _NoteOperation(SansIOHTTPPolicy[HttpRequest, HttpResponse]):
    """Keep the operation where the other policies find it on each attempt."""

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        request.context[_OPERATION] = request.context.options.pop(_OPERATION)


class _Authorize(SansIOHTTPPolicy[HttpRequest, HttpResponse]):
    """Put the token on each attempt, so that a retry carries a fresh one."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        if request.context[_OPERATION].needs_token:
            request.http_request.headers["Authorization"] = f"Bearer {self._token()}"


class Transport:
    """Calls one service at one address."""

    def __init__(
        self, url: str, token: Token, *, limits: Limits | None = None, user_agent: str = ""
    ) -> None:
        chosen = limits or Limits()
        self.url = url.rstrip("/")
        require_safe(self.url)
        policies = [
            _NoteOperation(),
            UserAgentPolicy(base_user_agent=f"{user_agent} jit-access/{__version__}".strip()),
            _Retries(chosen),
            _Authorize(token),
        ]
        transport = RequestsTransport(
            connection_timeout=chosen.connect_seconds, read_timeout=chosen.read_seconds
        )
        self._pipeline: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(
            self.url, policies=policies, transport=transport
        )

    def close(self) -> None:
        """Close its connections."""
        self._pipeline.close()

    def send(
        self,
        operation: Operation,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        repeat: Repeat | None = None,
        conditions: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one call; raises ApiError for a refusal and UnreachableError for no answer."""
        request = HttpRequest(operation.method, self.address(path, query or {}), json=body)
        request.headers["Accept"] = ", ".join(operation.accepts)
        if REPEAT_ID in operation.headers:
            request.headers.update((repeat or Repeat()).headers())
        request.headers.update(conditions or {})
        answer = self._send(request, operation)
        if answer.status >= _ERRORS_FROM and operation.answer_for(answer.status) is None:
            raise _error_of(answer)
        return answer

    def address(self, path: str, query: Mapping[str, str]) -> str:
        """Return the address of a path, or a whole address of the same service as it is."""
        whole = urljoin(f"{self.url}/", path)
        if _origin(whole) != _origin(self.url):
            raise UnsafeAddressError(
                f"the service at {self.url} refers to another host, {whole}; "
                "the token is not sent there"
            )
        return f"{whole}?{urlencode(query)}" if query else whole

    def _send(self, request: HttpRequest, operation: Operation) -> Answer:
        methods = [operation.method] if operation.is_repeatable else []
        options: Json = {"retry_on_methods": methods, _OPERATION: operation}
        try:
            response = self._pipeline.send_request(request, **options)
            return Answer(response.status_code, response.headers, response.read())
        except AzureError as error:
            raise UnreachableError(f"no answer from {self.url}: {_cause_of(error)}") from error


def _cause_of(error: AzureError) -> str:
    """Return the operating system's words where there are any."""
    found = re.search(r"\[Errno -?\d+\] ([^')]+)", str(error.message))
    return found[1] if found else str(error.message)


def require_safe(url: str) -> None:
    """Raise UnsafeAddressError for an address over which a token would be readable."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return
    raise UnsafeAddressError(
        f"'{url}' is not an https:// address; http:// is used for this machine only"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port


def _error_of(answer: Answer) -> Exception:
    try:
        error = json.loads(answer.content)["error"]
        code, message = str(error["code"]), str(error["message"])
        details = tuple(
            Detail(str(line["code"]), str(line["message"]), str(line.get("target", "")))
            for line in error.get("details", ())
        )
    except (ValueError, KeyError, TypeError):
        return _error_without_envelope(answer)
    return error_class_of(answer.status, code)(
        message,
        status=answer.status,
        code=code,
        details=details,
        request_id=answer.headers.get("x-ms-request-id", ""),
        retry_after=answer.retry_after,
    )


def _error_without_envelope(answer: Answer) -> Exception:
    """Return the error for an answer that the platform or a proxy gave, not the app."""
    return error_class_of(answer.status, "")(
        f"the answer was {answer.status}, without an explanation of the JIT service; "
        "a proxy or the platform gave it",
        status=answer.status,
        code="",
        retry_after=answer.retry_after,
    )


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() else 0.0
