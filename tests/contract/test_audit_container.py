"""The container of the audit record as `jit` reads it: from Azurite, and from scripted answers."""

import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Self

import pytest

from jit_access.audit.blobs import Container, ContainerError
from local.azurite import Azurite
from shared.adapters.audit_blobs import AppendBlobs
from tests.contract.test_audit_blobs import container_url

PAGE = (
    "<EnumerationResults><Blobs><Blob><Name>{name}</Name></Blob></Blobs>"
    "<NextMarker>{marker}</NextMarker></EnumerationResults>"
)


class Store:
    """A server that answers GET by a script, and keeps what it was asked."""

    def __init__(self, script: Callable[[str], tuple[int, str]]) -> None:
        asked: list[tuple[str, str]] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.path, self.headers.get("Authorization", "")))
                status, body = script(self.path)
                self.send_response(status)
                self.send_header("x-ms-error-code", "AuthorizationFailure")
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self.asked = asked
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/audit"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Run Azurite."""
    with Azurite(log=tmp_path_factory.mktemp("azurite") / "log") as running:
        yield running


def test_the_files_that_the_app_wrote_are_read(azurite: Azurite) -> None:
    """Every file of the chosen deployment is read whole, and no other one."""
    url = container_url(azurite, "audit-read")
    blobs = AppendBlobs(url, None)
    for name, content in (("one/2026-11-22.jsonl", b"a\n"), ("two/2026-11-22.jsonl", b"b\n")):
        blobs.create(name)
        blobs.append(name, 0, content)

    container = Container(url, None)
    assert container.read("two") == {"two/2026-11-22.jsonl": b"b\n"}
    assert set(container.read("")) == {"one/2026-11-22.jsonl", "two/2026-11-22.jsonl"}
    assert not container.is_immutable()


def test_every_page_is_read_with_a_token() -> None:
    """A list of several pages is followed by its marker, and each call bears the token."""

    def answer(path: str) -> tuple[int, str]:
        if "comp=list" not in path:
            return 200, "line\n"
        more = "marker" not in path
        name = "d/2026-11-22.jsonl" if more else "d/2026-11-23.jsonl"
        return 200, PAGE.format(name=name, marker="more" if more else "")

    with Store(answer) as store:
        found = Container(store.url, lambda: "secret").read("d")

    assert found == {"d/2026-11-22.jsonl": b"line\n", "d/2026-11-23.jsonl": b"line\n"}
    assert {token for _, token in store.asked} == {"Bearer secret"}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (403, "", "403 AuthorizationFailure"),
        (307, "", "307"),
        (200, "no list", "no list of blobs"),
    ],
)
def test_what_is_no_list_is_an_error(status: int, body: str, expected: str) -> None:
    """A refusal, a redirect or another text is never an empty record; a token follows no redirect."""
    with Store(lambda _: (status, body)) as store:
        with pytest.raises(ContainerError, match=expected):
            Container(store.url, lambda: "secret").read("")
        assert all("/elsewhere" not in path for path, _ in store.asked)
