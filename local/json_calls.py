"""Call a part of the stack over HTTP, JSON in and out."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit


def call(method: str, url: str, body: object = None, *, seconds: float = 60) -> tuple[int, Any]:
    """Return the status and the answer's JSON, None where there is none."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=seconds)
    try:
        connection.request(
            method,
            parts.path + (f"?{parts.query}" if parts.query else ""),
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None
    finally:
        connection.close()
