"""A small client of the simulator, for tests and tools: plain calls, and its controls."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

NEWEST = "2026-03-01"


@dataclass(frozen=True)
class Reply:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """Return the body as JSON, or None where there is none."""
        return json.loads(self.content) if self.content else None

    @property
    def code(self) -> str:
        """Return the error code."""
        return str(self.body["error"]["code"])

    @property
    def message(self) -> str:
        """Return the error message."""
        return str(self.body["error"]["message"])


class ArmClient:
    """Calls ARM, or the simulator's controls, over one connection."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        parts = urlsplit(url)
        connection_type = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._connection = connection_type(parts.netloc, timeout=30)
        self._token = token

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        api_version: str | None = NEWEST,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Reply:
        """Make one call; a path with a query, such as a nextLink's, is taken as it is."""
        asked = {**(query or {}), **({"api-version": api_version} if api_version else {})}
        target = quote(path, safe="/%().-_~'")
        if "?" in path:
            target = path
        elif asked:
            target = f"{target}?{urlencode(asked)}"
        return self._send(method, target.removeprefix(self.url), body, dict(headers or {}))

    def control(self, name: str, given: Mapping[str, Any] | None = None) -> Any:
        """Post to a control and return its answer."""
        return self._checked(self._send("POST", f"/_sim/{name}", given, {}))

    def ask(self, name: str, **query: object) -> Any:
        """Ask a control and return its answer."""
        asked = urlencode({key: str(value) for key, value in query.items()})
        return self._checked(self._send("GET", f"/_sim/{name}?{asked}", None, {}))

    def _checked(self, reply: Reply) -> Any:
        if reply.status >= http.HTTPStatus.BAD_REQUEST:
            raise ValueError(reply.message)
        return reply.body

    def _send(self, method: str, target: str, body: Any, headers: dict[str, str]) -> Reply:
        content = body if isinstance(body, bytes) else None
        if body is not None and content is None:
            content = json.dumps(body).encode()
        if content is not None:
            headers.setdefault("Content-Type", "application/json")
        if self._token is not None:
            headers.setdefault("Authorization", f"Bearer {self._token}")
        try:
            self._connection.request(method, target, content, headers)
            response = self._connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, named, response.read())
        except OSError:
            self._connection.close()
            raise
