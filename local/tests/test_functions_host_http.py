"""The functions host answers HTTP as the platform does (see platform_app/harness.py)."""

import json
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from local.tests.platform_app.harness import Platform, running_platform


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """Run the platform app."""
    with running_platform() as running:
        yield running


def test_routes_match_whatever_the_letter_case(platform: Platform) -> None:
    """A route matches in any letter case, and its parameters keep the caller's."""
    path = "/SUBSCRIPTIONS/AbC/Providers/microsoft.SAMPLE/items/MyName"
    answer = platform.call("GET", path)
    assert answer.status == 200
    assert answer.json["route"] == {"subscription": "AbC", "name": "MyName"}
    assert answer.json["url"].endswith(path)


def test_query_reaches_the_function(platform: Platform) -> None:
    """The query stays in the URL; repeated values are joined and empty ones dropped."""
    answer = platform.call("GET", "/echo?api-version=1&a=1&a=2&empty=&none&text=x+y%26z")
    assert answer.json["params"] == {"api-version": "1", "a": "1,2", "text": "x y&z"}
    assert answer.json["url"].endswith("?api-version=1&a=1&a=2&empty=&none&text=x+y%26z")


@pytest.mark.parametrize(
    ("path", "status", "route"),
    [
        ("/numbers/12", 200, {"number": "12"}),
        ("/numbers/twelve", 404, None),
        ("/maybe", 200, {}),
        ("/maybe/", 200, {}),
        ("/maybe/x", 200, {"part": "x"}),
        ("/maybe/x/y", 404, None),
        ("/numbers//", 404, None),
        ("/subscriptions//providers/Microsoft.Sample/items/x", 404, None),
    ],
)
def test_route_templates(
    platform: Platform, path: str, status: int, route: dict[str, str] | None
) -> None:
    """Constraints, optional parameters and empty segments decide whether a route fits."""
    answer = platform.call("GET", path)
    assert answer.status == status
    assert route is None or answer.json["route"] == route


def test_escaped_slash_does_not_split_a_segment(platform: Platform) -> None:
    """A parameter is decoded except for its slashes."""
    path = "/subscriptions/s/providers/Microsoft.Sample/items/a%20b%2Fc"
    assert platform.call("GET", path).json["route"]["name"] == "a b%2Fc"


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_wrong_method_is_a_bare_404(platform: Platform, method: str) -> None:
    """A method that no route lists gets the host's own 404, never 405."""
    answer = platform.call(method, "/subscriptions/s/providers/Microsoft.Sample/items/x")
    assert (answer.status, answer.body) == (404, b"")


def test_unknown_path_is_a_bare_404(platform: Platform) -> None:
    """A path that no route takes gets the host's own 404."""
    answer = platform.call("GET", "/absent/home")
    assert (answer.status, answer.body) == (404, b"")


def test_root_is_the_host_s_own(platform: Platform) -> None:
    """The root that no function takes has no content where the home page is disabled."""
    assert platform.call("GET", "/").status == 204


def test_routes_are_tried_in_the_order_of_the_function_names(platform: Platform) -> None:
    """The first function by name wins, even where a later one fits literally."""
    assert platform.call("GET", "/order/literal").json == {"function": "order_a_parameter"}


def test_catch_all_of_the_last_name_takes_the_rest_only(platform: Platform) -> None:
    """A catch-all whose function sorts last takes what no other route takes, methods included."""
    assert platform.call("GET", "/zz/known").json == {"function": "known"}
    for method, path in (("POST", "/zz/known"), ("GET", "/zz/a/b"), ("GET", "/ZZ")):
        answer = platform.call(method, path)
        assert (answer.status, answer.json["error"]["code"]) == (404, "NotFound")


def test_headers_arrive_with_lower_case_names(platform: Platform) -> None:
    """The worker gets lower-cased header names and untouched values."""
    answer = platform.call("GET", "/echo", headers={"X-Request-ID": "AbC"})
    assert answer.json["headers"]["x-request-id"] == "AbC"


def test_easy_auth_headers_pass_where_easy_auth_is_off(platform: Platform) -> None:
    """Without platform authentication anybody can send its headers: they prove nothing."""
    answer = platform.call("GET", "/echo", headers={"X-MS-CLIENT-PRINCIPAL-ID": "me"})
    assert answer.json["headers"]["x-ms-client-principal-id"] == "me"


def test_body_with_a_length_arrives(platform: Platform) -> None:
    """A body that says how long it is arrives whole."""
    text = json.dumps({"text": "ä" * 1000}).encode()
    assert platform.call("POST", "/echo", body=text).json["body"] == text.decode()


def test_chunked_body_arrives_empty(platform: Platform) -> None:
    """The host reads a body only where Content-Length says there is one."""
    answer = platform.call("POST", "/echo", body=iter([b"one", b"two"]))
    assert answer.json["headers"]["transfer-encoding"] == "chunked"
    assert answer.json["body"] == ""


@pytest.mark.parametrize("case", ["none", "dict", "error"])
def test_what_is_no_response_is_500(platform: Platform, case: str) -> None:
    """None, a dict or an exception instead of a response is a 500 without details."""
    answer = platform.call("GET", f"/answer/{case}")
    assert answer.status == 500
    assert b"on purpose" not in answer.body


def test_text_is_an_answer(platform: Platform) -> None:
    """A function may return a text."""
    answer = platform.call("GET", "/answer/text")
    assert (answer.status, answer.body) == (200, b"plain text")


def test_204_has_no_body(platform: Platform) -> None:
    """A status without a body goes out without one."""
    answer = platform.call("GET", "/answer/empty")
    assert (answer.status, answer.body) == (204, b"")


def test_headers_reach_the_client(platform: Platform) -> None:
    """Status, Location, Retry-After and cookies are the function's."""
    answer = platform.call("GET", "/answer/headers")
    assert answer.status == 202
    assert answer.headers["location"] == "http://example.test/1"
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["set-cookie"].startswith("a=b")
    assert answer.headers["content-type"].startswith("application/json")


def test_threads_run_functions_side_by_side(platform: Platform) -> None:
    """PYTHON_THREADPOOL_THREAD_COUNT (80 in the stack) many functions run at once."""
    began = time.monotonic()
    with ThreadPoolExecutor(max_workers=24) as threads:
        calls = [threads.submit(platform.call, "GET", "/answer/slow?seconds=1") for _ in range(24)]
        assert {call.result().status for call in calls} == {200}
    # On the default number of threads, 6 on two cores, it takes at least 4 s.
    assert time.monotonic() - began < 3.5


def test_host_reports_its_state(platform: Platform) -> None:
    """The host says Running, also while the listener of one function cannot start."""
    answer = platform.call("GET", "/admin/host/status")
    assert (answer.status, answer.json["state"]) == (200, "Running")


@pytest.mark.parametrize(
    ("function", "body", "status"),
    [
        ("no_such_function", b'{"input": ""}', 404),
        ("yearly", b"not json", 400),
        ("yearly", b'{"input": {}}', 400),
        ("YEARLY", b'{"input": ""}', 202),
        ("yearly", b"{}", 202),
    ],
)
def test_running_by_hand(platform: Platform, function: str, body: bytes, status: int) -> None:
    """A call to the admin API runs a known function with a text as input."""
    headers = {"Content-Type": "application/json"}
    answer = platform.call("POST", f"/admin/functions/{function}", body=body, headers=headers)
    assert answer.status == status


# The real host on a developer's machine has no front end before it.
behind_a_front_end = pytest.mark.skipif(
    "JIT_PLATFORM_BASE_URL" in os.environ, reason="this host has no front end of the platform"
)


def _raw(platform: Platform, request: bytes) -> tuple[bytes, float]:
    """Send bytes as they are; return what came until the host closed, and the seconds it took."""
    address = urlsplit(platform.url)
    began = time.monotonic()
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer, time.monotonic() - began


@behind_a_front_end
@pytest.mark.parametrize("sent", [None, "203.0.113.9", "10.0.0.1, 203.0.113.9:4711"])
def test_the_caller_s_address_is_appended(platform: Platform, sent: str | None) -> None:
    """The platform's front end appends the caller's address and port to X-Forwarded-For."""
    headers = {"X-Forwarded-For": sent} if sent else {}
    seen = platform.call("GET", "/echo", headers=headers).json["headers"]["x-forwarded-for"]
    *before, own = seen.split(", ")
    assert ", ".join(before) == (sent or "")
    address, _, port = own.partition(":")
    assert address == "127.0.0.1"
    assert port.isdigit()


def test_answers_come_in_chunks_from_kestrel(platform: Platform) -> None:
    """An answer with a body is chunked and has no length; one without says that it is empty."""
    full = platform.call("GET", "/echo").headers
    assert (full["transfer-encoding"], full["server"]) == ("chunked", "Kestrel")
    assert "content-length" not in full
    empty = platform.call("GET", "/absent/home").headers
    assert (empty["content-length"], empty["server"]) == ("0", "Kestrel")
    none = platform.call("GET", "/answer/empty").headers
    assert not {"content-length", "transfer-encoding"} & set(none)


@pytest.mark.parametrize("path", ["/echo", "/zz/x", "/absent/home", "/admin/host/status"])
def test_preflight_is_answered_by_the_host(platform: Platform, path: str) -> None:
    """OPTIONS with an Origin never reaches a function: 204, empty, nothing allowed."""
    headers = {"Origin": "https://example.test", "Access-Control-Request-Method": "POST"}
    answer = platform.call("OPTIONS", path, headers=headers)
    assert (answer.status, answer.body) == (204, b"")
    assert not any(name.startswith("access-control-") for name in answer.headers)


def test_options_without_an_origin_reaches_the_function(platform: Platform) -> None:
    """OPTIONS that no browser sent is a method like others."""
    assert platform.call("OPTIONS", "/echo").json["method"] == "OPTIONS"


@pytest.mark.parametrize("path", ["/runtime/webhooks/x", "/Runtime/WebHooks/queue/y?code=1"])
def test_webhooks_are_the_host_s_own(platform: Platform, path: str) -> None:
    """A path under /runtime/webhooks that no extension takes is the host's own 404."""
    for method in ("GET", "POST"):
        answer = platform.call(method, path)
        assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize("length", [8192, 20_000, 70_000, 200_000])
@pytest.mark.parametrize("where", ["/zz/", "/echo?x="])
def test_long_url_is_414(platform: Platform, where: str, length: int) -> None:
    """A request line over 8 KB is refused with an empty 414, and the connection closed."""
    line = f"GET {where}".encode()
    line += b"a" * (length + 1 - len(line) - len(b" HTTP/1.1\r\n")) + b" HTTP/1.1\r\n"
    answer, _ = _raw(platform, line + b"Host: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 414 ")
    assert body == b""


def test_url_of_8_kb_is_taken(platform: Platform) -> None:
    """A request line of 8,192 bytes, its end included, reaches the function."""
    line = b"GET /echo?x="
    line += b"a" * (8192 - len(line) - len(b" HTTP/1.1\r\n")) + b" HTTP/1.1\r\n"
    answer, _ = _raw(platform, line + b"Host: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n",
        b"-1\r\nabc\r\n",
        b"3\r\nabcdef\r\n0\r\n\r\n",
        b"fffffffffffffffffffffff\r\n",
        b"3 x\r\n",
    ],
)
@pytest.mark.parametrize("path", [b"/echo", b"/zz/x", b"/admin/functions/yearly"])
def test_malformed_chunked_body_is_400_at_once(
    platform: Platform, path: bytes, body: bytes
) -> None:
    """A chunked body that is none is refused with an empty 400, promptly."""
    head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer, seconds = _raw(platform, head + body)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert seconds < 5


def test_malformed_request_line_is_400(platform: Platform) -> None:
    """A first line that is no request line is refused with an empty 400."""
    answer, _ = _raw(platform, b"nonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("length", [33_000, 100_000, 300_000])
def test_headers_over_32_kb_are_431(platform: Platform, length: int) -> None:
    """More headers than Kestrel takes are refused with an empty 431."""
    long = b"X-Long: " + b"a" * length
    answer, _ = _raw(platform, b"GET /echo HTTP/1.1\r\nHost: x\r\n" + long + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert answer.endswith(b"\r\n\r\n")
