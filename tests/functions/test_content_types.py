"""The Content-Type that leaves the worker, after the library has added what it adds."""

from email.message import Message
from http import HTTPStatus
from typing import Any

import azure.functions as func
import pytest
from azure.functions.http import HttpResponseConverter

from functions.web import text_answer
from tests.functions.web_app import AS_ADMIN, WebApp


class Sent:
    """Keeps what the worker would send."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.responses: list[func.HttpResponse] = []
        kept = func.HttpResponse.get_body

        def get_body(response: func.HttpResponse) -> bytes:
            self.responses.append(response)
            return kept(response)

        monkeypatch.setattr(func.HttpResponse, "get_body", get_body)

    def content_type(self) -> str:
        """Return the header of the last answer as the worker writes it."""
        datum: Any = HttpResponseConverter.encode(self.responses[-1], expected_type=None)
        (written,) = (
            header.value
            for name, header in datum.value["headers"].items()
            if name.lower() == "content-type"
        )
        return str(written)


@pytest.mark.parametrize(
    ("path", "status", "content_type"),
    [
        ("/api/activity?format=csv", 200, "text/csv; charset=utf-8"),
        ("/api/activity", 200, "application/json; charset=utf-8"),
        ("/api/requests/unknown", 404, "application/json; charset=utf-8"),
        ("/api/openapi.json", 200, "application/json; charset=utf-8"),
        ("/nowhere", 404, "application/json; charset=utf-8"),
    ],
)
def test_an_answer_names_one_charset(
    web: WebApp, monkeypatch: pytest.MonkeyPatch, path: str, status: int, content_type: str
) -> None:
    """Each type of answer has one Content-Type with one charset."""
    sent = Sent(monkeypatch)
    assert web.call("GET", path, who=AS_ADMIN).status == status
    assert sent.content_type() == content_type


@pytest.mark.parametrize("media_type", ["text/csv", "text/plain", "application/json"])
def test_text_is_utf8_and_says_so_once(monkeypatch: pytest.MonkeyPatch, media_type: str) -> None:
    """A text answer of any media type is UTF-8 and has one charset."""
    sent = Sent(monkeypatch)
    response = text_answer(HTTPStatus.OK, "ä", media_type, {"X-Other": "kept"})
    assert response.get_body().decode() == "ä"
    assert response.headers["X-Other"] == "kept"
    parsed = Message()
    parsed["Content-Type"] = sent.content_type()
    assert parsed.get_params() == [(media_type, ""), ("charset", "utf-8")]
