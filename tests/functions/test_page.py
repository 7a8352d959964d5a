"""The page is served by the app: cached by content, compressed, and closed to foreign code."""

import gzip
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest

from functions import http_page
from shared.bootstrap import using
from tests.functions.web_app import WebApp

ROOT = Path(__file__).parents[2]
OWN_BUDGET = 30_000
WHOLE_BUDGET = 115_000


def _get(path: str, headers: dict[str, str] | None = None) -> func.HttpResponse:
    request = func.HttpRequest(
        "GET",
        f"http://localhost/ui/{path}",
        headers=headers or {},
        route_params={"path": path} if path else {},
        body=b"",
    )
    handler: Any = http_page.ui_page
    response: func.HttpResponse = handler(request)
    return response


@pytest.fixture(autouse=True)
def _app(web: WebApp) -> Iterator[None]:
    http_page._index.cache_clear()
    with using(web):
        yield
    http_page._index.cache_clear()


def test_the_index_is_looked_up_each_time_and_names_files_by_content() -> None:
    """The index is no-cache with an ETag; each file that it names is served as immutable."""
    index = _get("")
    assert index.headers["Cache-Control"] == "no-cache"
    named = re.findall(r'(?:href|src)="/ui/([^"]+)"', index.get_body().decode())
    assert len(named) >= 4
    for path in named:
        answer = _get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
    again = _get("", {"If-None-Match": index.headers["ETag"]})
    assert (again.status_code, again.get_body()) == (304, b"")


def test_a_file_is_sent_compressed_to_a_caller_that_takes_it() -> None:
    """With `Accept-Encoding: gzip` the content arrives compressed, and is the same."""
    path = f"{http_page.content_hash()}/app.js"
    zipped = _get(path, {"Accept-Encoding": "gzip, br"})
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped.get_body()) == (ROOT / "web" / "app.js").read_bytes()
    assert _get(path).get_body() == (ROOT / "web" / "app.js").read_bytes()


@pytest.mark.parametrize(
    "path", ["app.js", "0000000000000000/app.js", "{hash}/../host.json", "{hash}/index.html"]
)
def test_nothing_but_the_files_of_the_page_is_served(path: str) -> None:
    """An unknown hash, a path out of web/ and a file without a hash are 404."""
    assert _get(path.replace("{hash}", http_page.content_hash())).status_code == 404


def test_every_answer_keeps_foreign_code_out() -> None:
    """Scripts and styles come from the app alone, Trusted Types are required, no frame is let."""
    for path in ("", f"{http_page.content_hash()}/app.js", "nothing"):
        policy = _get(path).headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert "connect-src 'self' https://login.microsoftonline.com;" in policy
        assert "unsafe" not in policy
    text = (ROOT / "web" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)


def test_the_settings_of_the_page_are_json_in_an_attribute() -> None:
    """The page reads its client id, authority and scope without another call."""
    text = _get("").get_body().decode()
    found = json.loads(unescape(re.findall(r'data-settings="([^"]*)"', text)[0]))
    assert set(found) == {"clientId", "authority", "authorityMetadata", "scope", "base"}
    assert found["scope"].endswith("/user_impersonation")


def test_the_root_leads_to_the_page(web: WebApp) -> None:
    """`GET /` redirects to the page; any other method stays unknown."""
    answer = web.call("GET", "/")
    assert answer.status == 302
    assert answer.headers["Location"].endswith("/ui/")
    assert web.call("POST", "/").status == 404


def test_no_markup_is_ever_parsed() -> None:
    """No module of the page uses an interface of the browser that turns text into markup."""
    for path in (ROOT / "web").glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function",
            path.read_text(encoding="utf-8"),
        ), path.name


def test_the_page_is_small() -> None:
    """Compressed, our own code is at most 30 kB, and everything at most 115 kB."""
    sizes = {name: len(file.zipped) for name, file in http_page.files().items()}
    own = sum(size for name, size in sizes.items() if not name.startswith("vendor/"))
    assert own <= OWN_BUDGET
    assert sum(sizes.values()) <= WHOLE_BUDGET


def test_the_vendored_library_is_that_of_the_lock_file() -> None:
    """The files in web/vendor are byte for byte those of the locked npm package."""
    lock = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))
    package = ROOT / "node_modules" / "@azure" / "msal-browser"
    locked = lock["packages"]["node_modules/@azure/msal-browser"]["version"]
    installed = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    assert installed == locked
    vendor = ROOT / "web" / "vendor"
    assert (vendor / "msal-browser.min.js").read_bytes() == (
        package / "lib" / "msal-browser.min.js"
    ).read_bytes()
    assert (vendor / "msal-browser.LICENSE.txt").read_bytes() == (package / "LICENSE").read_bytes()
