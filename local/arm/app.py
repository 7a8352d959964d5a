"""The simulator as an ASGI application: ARM at the root, its own controls below /_sim."""

import asyncio
import base64
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.arm import ids
from local.arm.controls import Controls
from local.arm.deployments import answer_graph
from local.arm.errors import ArmError
from local.arm.estate import read_estate
from local.arm.faults import Strike
from local.arm.front_door import NOT_SIMULATED, handle
from local.arm.simulator import Answer, Call, Settings, Simulator
from local.arm.trying import on_a_copy

DEFAULT_ESTATE = FilePath(__file__).parents[1] / "estate.json"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
DROPPED = 0
LOGGER = logging.getLogger("local.arm")
Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


def load_estate(*paths: FilePath) -> dict[str, Any]:
    """Read an estate from files; from none, the default one. Raises EstateError."""
    return read_estate(*(paths or (DEFAULT_ESTATE,)))


def create_app(
    estate: Mapping[str, Any] | None = None,
    *,
    clock: Clock = time.time,
    settings: Settings | None = None,
    sleep: Sleep = asyncio.sleep,
) -> Starlette:
    """Make the application; without an estate it has the default one."""
    estate = load_estate() if estate is None else estate
    settings = settings or Settings()
    controls = Controls(Simulator(estate, clock, replace(settings)), estate, settings)
    endpoint = Endpoint(controls, clock, sleep)
    return Starlette(
        routes=[
            Route("/_sim/{control}", controls.answer, methods=METHODS),
            Route("/v1.0/applications(uniqueName='{name}')", endpoint.graph, methods=METHODS),
            Route("/{path:path}", endpoint.answer, methods=METHODS),
        ]
    )


class Endpoint:
    """ARM as callers meet it: faults first, then the front door, and every call logged."""

    def __init__(self, controls: Controls, clock: Clock, sleep: Sleep) -> None:
        self._controls = controls
        self._clock = clock
        self._sleep = sleep

    async def graph(self, request: Request) -> Response:
        """Answer a call of Microsoft Graph for an application."""
        sim = self._controls.sim
        return _response(answer_graph(sim, request.method, request.path_params["name"]))

    async def answer(self, request: Request) -> Response:
        """Answer one call."""
        call = _call(request, await request.body())
        strike = self._controls.faults.strike(call)
        call = replace(call, faults=strike.manners)
        if strike.latency:
            await self._sleep(strike.latency)
        if "dropBefore" in strike.manners:
            self._log(call, DROPPED, strike)
            return await _drop(request)
        answer, unknown = self._carry_out(call, strike)
        if "dropAfter" in strike.manners:
            self._log(call, DROPPED, strike, answer.status)
            return await _drop(request)
        self._log(call, answer.status, strike, unknown=unknown)
        return _response(answer)

    def _carry_out(self, call: Call, strike: Strike) -> tuple[Answer, bool]:
        sim = self._controls.sim
        sim.settle()
        try:
            if strike.error is not None:
                raise strike.error
            subscription = ids.segment(call.raw_path, "subscriptions")
            if subscription is not None:
                sim.quotas.spend(subscription, call.caller, call.method, call.path.namespace)
            done = on_a_copy(sim, call) if "notTaken" in call.faults else handle(sim, call)
        except ArmError as error:
            answer = Answer(error.status, error.body, dict(error.headers), error.from_provider)
            return self._with_headers(call, answer), error.code == NOT_SIMULATED
        return self._with_headers(call, done), False

    def _with_headers(self, call: Call, answer: Answer) -> Answer:
        """Add the headers every answer has, in front of its own [recorded]."""
        from_gateway = "x-ms-failure-cause" in answer.headers
        correlation = call.request_id if from_gateway else str(uuid.uuid4())
        stamp = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y%m%dT%H%M%SZ")
        common = {
            "Cache-Control": "no-cache",
            "Pragma": "no-cache",
            "Expires": "-1",
            "x-ms-request-id": call.request_id,
            "x-ms-correlation-request-id": correlation,
            "x-ms-routing-request-id": f"WESTEUROPE:{stamp}:{correlation}",
            "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
            "X-Content-Type-Options": "nosniff",
        }
        if answer.body is not None:
            common["Content-Type"] = "application/json; charset=utf-8"
        if answer.indented:
            common["Server"] = "Microsoft-HTTPAPI/2.0"
            common["x-ms-arm-service-request-id"] = str(uuid.uuid4())
        subscription = ids.segment(call.raw_path, "subscriptions")
        if subscription is not None and not from_gateway:
            quotas = self._controls.sim.quotas
            common |= quotas.remaining(subscription, call.caller, call.method)
        return replace(answer, headers=common | answer.headers)

    def _log(
        self,
        call: Call,
        status: int,
        strike: Strike,
        meant: int | None = None,
        *,
        unknown: bool = False,
    ) -> None:
        entry: dict[str, Any] = {
            "at": datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds"),
            "method": call.method,
            "path": call.raw_path,
            "status": status,
            "caller": call.caller,
            "requestId": call.request_id,
        }
        if strike.faults:
            entry["faults"] = list(strike.faults)
        if meant is not None:
            entry["droppedStatus"] = meant
        if unknown:
            entry["unknown"] = True
        self._controls.log.append(entry)
        LOGGER.debug("%(method)s %(path)s %(status)s %(caller)s", entry)


def _call(request: Request, body: bytes) -> Call:
    raw_path = request.scope["path"]
    path = ids.parse(raw_path) or ids.Path(raw_path, "", (), ())
    return Call(
        method=request.method,
        raw_path=raw_path,
        path=path,
        query=dict(request.query_params),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        base_url=str(request.base_url).rstrip("/"),
        caller=caller_of(request.headers.get("authorization", "")),
    )


def caller_of(authorization: str) -> str:
    """Name the caller by its bearer token, unverified: a JWT's application or object, or NAME.

    The simulator is no gate; it only writes down who came.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return "anonymous"
    if token.startswith("local:"):
        return token.removeprefix("local:") or "anonymous"
    claims = _claims(token)
    named = (claims.get(name) for name in ("appid", "azp", "oid"))
    return next((str(value) for value in named if value), "anonymous")


def _claims(token: str) -> Mapping[str, Any]:
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}


async def _drop(request: Request) -> Response:
    """Close the connection without an answer; serve.py puts the transport within reach."""
    transport = request.scope.get("state", {}).get("transport")
    if transport is None:
        raise ConnectionAbortedError("dropped; this server gives no hold of the connection")
    transport.abort()
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response(status_code=204)


def _response(answer: Answer) -> Response:
    response = Response(answer.content(), answer.status)
    for name, value in answer.headers.items():
        response.headers[name] = value
    return response
