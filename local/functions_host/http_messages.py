"""HTTP requests and responses as the worker knows them."""

from collections.abc import Mapping
from http.cookies import SimpleCookie
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response

from local.functions_host.engine import Datum

_NO_BODY = (204, 304)


def request_path(request: Request) -> str:
    """Return the path as Kestrel gives it: decoded but for %2F, dot segments removed."""
    raw = request.scope["raw_path"].partition(b"?")[0].decode("latin-1")
    kept: list[str] = []
    for segment in raw.split("/")[1:]:
        text = _decoded(segment)
        if text == "..":
            del kept[-1:]
        elif text != ".":
            kept.append(text)
    return "/" + "/".join(kept)


async def to_datum(request: Request, path: str, parameters: Mapping[str, str]) -> Datum:
    """Return the request as the worker gets it (GrpcMessageConversionExtensions)."""
    query = request.scope["query_string"].decode("latin-1")
    url = f"{request.url.scheme}://{request.headers.get('host', '')}{quote(path, safe=_PATH)}"
    value = {
        "method": _string(request.method),
        "url": _string(f"{url}?{query}" if query else url),
        "headers": {name: _string(text) for name, text in _headers(request).items()},
        "params": {name: _string(text) for name, text in parameters.items()},
        "query": {name: _string(text) for name, text in _query(query).items()},
        "body": Datum(await _body(request), "bytes"),
    }
    return Datum(value, "http")


def to_response(returned: Datum | None) -> Response:
    """Return what the function answered."""
    if returned is None or returned.value is None:
        return Response(status_code=500)
    if returned.type == "string":
        return Response(returned.value, media_type="text/plain; charset=utf-8")
    if returned.type != "http":
        return Response(status_code=500)
    answer = returned.value
    status = int(answer["status_code"].value)
    body = b"" if status in _NO_BODY else answer["body"].value
    response = Response(body, status_code=status)
    for name, text in answer["headers"].items():
        response.headers[name] = text.value
    for cookies in answer["cookies"] or ():
        _set_cookies(response, cookies)
    return response


# What an escaped path may hold unescaped (PathString.ToUriComponent).
_PATH = "/%!$&'()*+,;=:@-._~"


def _decoded(segment: str) -> str:
    # An escaped slash stays escaped, so that it never splits a segment.
    pieces = segment.replace("%2F", "%2f").split("%2f")
    try:
        return "%2F".join(unquote_to_bytes(piece).decode() for piece in pieces)
    except UnicodeDecodeError:
        return segment


def _headers(request: Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _query(text: str) -> dict[str, str]:
    # Names are compared without regard to case, repeated values joined, empty ones dropped.
    spelling: dict[str, str] = {}
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        values.setdefault(spelling.setdefault(name.lower(), name), []).append(value)
    joined = {name: ",".join(found) for name, found in values.items()}
    return {name: value for name, value in joined.items() if value}


async def _body(request: Request) -> bytes:
    # The host reads a body only where Content-Length says that there is one: a chunked body
    # arrives empty.
    body = await request.body()
    length = request.headers.get("content-length", "")
    return body if length.isdigit() and int(length) > 0 else b""


def _set_cookies(response: Response, cookies: SimpleCookie) -> None:
    for morsel in cookies.values():
        response.headers.append("set-cookie", morsel.OutputString())


def _string(text: str) -> Datum:
    return Datum(text, "string")
