"""The host's HTTP side: the app's routes and the admin API."""

import json
import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from local.functions_host.engine import Function
from local.functions_host.host import FunctionsHost
from local.functions_host.kestrel import FrontEnd

_STARTED = time.monotonic()


def web_app(host: FunctionsHost) -> ASGIApp:
    """Return the ASGI app, behind what the platform does to every request."""

    async def status(_: Request) -> JSONResponse:
        # A broken app still reports Running; the errors are only in the log.
        uptime = int((time.monotonic() - _STARTED) * 1000)
        return JSONResponse({"state": "Running", "version": "4", "processUptime": uptime})

    async def functions(_: Request) -> JSONResponse:
        return JSONResponse([_described(function) for function in host.functions.values()])

    async def function_status(request: Request) -> Response:
        name = str(request.path_params["name"]).lower()
        if name not in host.functions:
            return Response(status_code=404)
        error = host.errors.get(name)
        return JSONResponse({"errors": [error]} if error else {})

    async def invoke(request: Request) -> Response:
        function = host.runnable(str(request.path_params["name"]))
        if function is None:
            return Response(status_code=404)
        text = _input(await request.body())
        if text is None or function.trigger_type == "httpTrigger":
            return Response(status_code=400)
        host.invoke_by_hand(function, text)
        return Response(status_code=202)

    routes = Starlette(
        routes=[
            Route("/admin/host/status", status),
            Route("/admin/functions", functions),
            Route("/admin/functions/{name}", invoke, methods=["POST"]),
            Route("/admin/functions/{name}/status", function_status),
            Route("/{path:path}", _AnyMethod(host)),
        ]
    )
    return FrontEnd(routes)


class _AnyMethod:
    """An ASGI app, so that Starlette leaves the method to the app's own routes."""

    def __init__(self, host: FunctionsHost) -> None:
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._host.serve(Request(scope, receive))
        await response(scope, receive, send)


def _described(function: Function) -> dict[str, Any]:
    return {
        "name": function.name,
        "language": "python",
        "config": {"bindings": [function.trigger, *function.others]},
    }


def _input(body: bytes) -> str | None:
    """Return the `input` of a request by hand; it is a string, or left out."""
    try:
        invocation = json.loads(body)
    except ValueError:
        return None
    if not isinstance(invocation, dict):
        return None
    text = invocation.get("input")
    return "" if text is None else text if isinstance(text, str) else None
