"""Changes that Kestrel and the platform's front end make to a request before its function."""

import re
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import h11
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

# KestrelServerLimits.MaxRequestLineSize, the line's end included, and MaxRequestHeadersTotalSize.
MAX_REQUEST_LINE = 8192
MAX_HEADERS = 32768
SERVER = [("server", "Kestrel")]
# More than both limits, so that the limits decide and not the parser's buffer.
_LINGER_SECONDS = 1
PARSER_BUFFER = 2 * (MAX_REQUEST_LINE + MAX_HEADERS)
_WEBHOOK = re.compile(r"/runtime/webhooks/.+", re.IGNORECASE)
_CLOSING = frozenset({HTTPStatus.REQUEST_URI_TOO_LONG, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE})
_NO_LENGTH = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class KestrelProtocol(H11Protocol):
    """Refuses malformed requests at once, with an empty body, and closes the connection."""

    _is_refused = False

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the parser; read and drop those that follow a refusal.

        A connection that is closed with bytes unread is reset, and the client may lose the answer.
        """
        if not self._is_refused:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  the real host says no reason
        """Answer a request that the parser refused, and end the function's read of its body."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        under_way = cycle if cycle is not None and not cycle.response_complete else None
        if under_way is not None:
            under_way.disconnected = True
            under_way.message_event.set()
        if under_way is None or not under_way.response_started:
            self.transport.write(_refusal(_parser_status(self.conn)))
        self._is_refused = True
        self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)


class FrontEnd:
    """Answers requests that no function gets, appends the caller's address, answers in chunks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        status = _early_answer(scope)
        if status is not None:
            await _send_empty(status, send)
            return
        _append_forwarded_for(scope)
        try:
            await self._app(scope, receive, _Chunked(send))
        except ClientDisconnect:
            # The body broke off or was refused, and the answer is given already.
            return


class _Chunked:
    """Sends an answer as Kestrel does: in chunks, or with a length of 0."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message = {}

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start:
            has_body = bool(message.get("body")) or message.get("more_body", False)
            await self._send({**self._start, "headers": _framed(self._start, has_body=has_body)})
            self._start = {}
        await self._send(message)


def _framed(start: Message, *, has_body: bool) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
    if not has_body and start["status"] not in _NO_LENGTH:
        kept.append((b"content-length", b"0"))
    return kept


def _early_answer(scope: Scope) -> HTTPStatus | None:
    """Return the status of an answer that the host gives by itself."""
    if _request_line(scope) > MAX_REQUEST_LINE:
        return HTTPStatus.REQUEST_URI_TOO_LONG
    if (
        sum(len(name) + len(value) + len(": \r\n") for name, value in scope["headers"])
        > MAX_HEADERS
    ):
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    names = {name.lower() for name, _ in scope["headers"]}
    if scope["method"] == "OPTIONS" and b"origin" in names:
        return HTTPStatus.NO_CONTENT
    if _WEBHOOK.fullmatch(scope["path"]):
        return HTTPStatus.NOT_FOUND
    return None


def _request_line(scope: Scope) -> int:
    """Return the length of the request line, its end included."""
    query = scope["query_string"]
    target = len(scope["raw_path"]) + (len(query) + 1 if query else 0)
    return len(scope["method"]) + 1 + target + len(" HTTP/1.1\r\n")


def _append_forwarded_for(scope: Scope) -> None:
    """Append the address and port of the caller, as the platform's front end does."""
    client = scope.get("client")
    if client is None:
        return
    host, port = client
    hop = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    sent = [value for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]
    others = [pair for pair in scope["headers"] if pair[0].lower() != b"x-forwarded-for"]
    scope["headers"] = [*others, (b"x-forwarded-for", b", ".join([*sent, hop.encode()]))]


async def _send_empty(status: HTTPStatus, send: Send) -> None:
    headers = [] if status in _NO_LENGTH else [(b"content-length", b"0")]
    if status in _CLOSING:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _parser_status(connection: Any) -> HTTPStatus:
    """Return the status for a request that the parser refused: too long, or malformed."""
    unread = connection.trailing_data[0]
    if connection.their_state is not h11.ERROR or len(unread) <= MAX_HEADERS:
        return HTTPStatus.BAD_REQUEST
    if b"\n" not in unread[:MAX_REQUEST_LINE]:
        return HTTPStatus.REQUEST_URI_TOO_LONG
    return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


def _refusal(status: HTTPStatus) -> bytes:
    lines = (
        f"HTTP/1.1 {int(status)} {status.phrase}",
        "Content-Length: 0",
        "Connection: close",
        f"Date: {formatdate(usegmt=True)}",
        f"Server: {SERVER[0][1]}",
    )
    return "\r\n".join((*lines, "", "")).encode("ascii")
