"""The simulator as an ASGI application: EC2 and STS at the root, its own controls below /_sim."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.aws import access
from local.aws.checks import expand
from local.aws.endpoint import Endpoint
from local.aws.estate import load_estate
from local.aws.simulator import Simulator
from local.aws.sts import Keys, TokenService, Trust
from local.aws.values import Region, Rule

Json = dict[str, Any]


def create_app(
    estate: Mapping[str, Any] | None = None,
    *,
    trusts: tuple[Trust, ...] = (),
    keys: Keys | None = None,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """Make the application; without an estate it has the default one."""
    simulator = Simulator(load_estate() if estate is None else estate, clock)
    simulator.keeps_history = True
    tokens = (
        TokenService(trusts, keys, lambda: datetime.fromtimestamp(clock(), UTC)) if keys else None
    )
    endpoint = Endpoint(simulator, tokens)
    controls = Controls(endpoint, load_estate() if estate is None else estate)

    async def answer(request: Request) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        given = endpoint.answer(await request.body(), headers)
        if given.latency:
            await asyncio.sleep(given.latency)
        if given.dropped:
            return await _drop(request)
        return Response(given.text, given.status, media_type="text/xml")

    app = Starlette(
        routes=[
            Route("/_sim/{control}", controls.answer, methods=["GET", "POST"]),
            Route("/", answer, methods=["POST"]),
        ]
    )
    app.state.endpoint = endpoint
    return app


async def _drop(request: Request) -> Response:
    """Close the connection without an answer."""
    transport = request.scope.get("state", {}).get("transport")
    if transport is None:
        raise ConnectionAbortedError("dropped; this server gives no hold of the connection")
    transport.abort()
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response(status_code=204)


class Controls:
    """Log, reset, faults, access, edit and settings."""

    def __init__(self, endpoint: Endpoint, estate: Mapping[str, Any]) -> None:
        self._endpoint = endpoint
        self._estate = estate
        self._controls: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], Json]] = {
            ("GET", "log"): lambda _: {"calls": self._endpoint.log},
            ("POST", "reset"): self._reset,
            ("GET", "faults"): lambda _: {"faults": self._endpoint.faults.shown()},
            ("POST", "faults"): self._order_faults,
            ("GET", "access"): self._judge_access,
            ("GET", "rules"): self._rules,
            ("POST", "edit"): self._edit,
            ("POST", "settings"): self._set,
        }

    async def answer(self, request: Request) -> Response:
        """Answer one control; a wrong one is a 400 that says why."""
        control = self._controls.get((request.method, request.path_params["control"]))
        if control is None:
            return JSONResponse({"error": {"code": "Control", "message": "no such control"}}, 404)
        self._endpoint.simulator.settle()
        try:
            body = await request.body()
            given = (
                dict(request.query_params) if request.method == "GET" else json.loads(body or b"{}")
            )
            return JSONResponse(control(given))
        except (ValueError, TypeError, KeyError) as error:
            message = f"{type(error).__name__}: {error}"
            return JSONResponse({"error": {"code": "Control", "message": message}}, 400)

    def _reset(self, given: Mapping[str, Any]) -> Json:
        """Replace everything and take all faults back."""
        simulator = self._endpoint.simulator
        simulator.load(given if "regions" in given else self._estate)
        simulator.keeps_history, simulator.throttles, simulator.page_size = True, False, 0
        self._endpoint.faults.order([])
        self._endpoint.log.clear()
        return {"regions": sorted(simulator.regions)}

    def _order_faults(self, given: Mapping[str, Any]) -> Json:
        self._endpoint.faults.order(given["faults"])
        return {"faults": self._endpoint.faults.shown()}

    def _region(self, given: Mapping[str, Any]) -> Region:
        regions = self._endpoint.simulator.regions
        if "region" in given:
            return regions[given["region"]]
        holding = (r for r in regions.values() if given.get("instance") in r.instances)
        found = next(holding, None)
        if found is None:
            raise ValueError(f"no instance {given.get('instance')!r} in any region")
        return found

    def _judge_access(self, given: Mapping[str, Any]) -> Json:
        return access.answer(self._region(given), given)

    def _rules(self, given: Mapping[str, Any]) -> Json:
        """Return the rules of a group as its owner reads them, ids apart, in a fixed order."""
        group_id = str(given["group"])
        regions = self._endpoint.simulator.regions.values()
        region = next(each for each in regions if group_id in each.groups)
        shown = [
            {"rule": list(astuple(each.identity)), "text": each.description, "tags": each.tags}
            for each in region.groups[group_id].rules.values()
        ]
        return {"rules": sorted(shown, key=str)}

    def _edit(self, given: Mapping[str, Any]) -> Json:
        """Change a region as its owner would, past all checks of the caller."""
        region = self._region(given)
        for group_id, permissions in given.get("authorize", {}).items():
            edit_rules(self._endpoint.simulator, region, group_id, permissions)
        for group_id, tags in given.get("tags", {}).items():
            region.groups[group_id].tags.update(tags)
        for interface_id, groups in given.get("attach", {}).items():
            region.interfaces[interface_id].groups = list(groups)
        for rule_id in given.get("revoke", []):
            rule = region.rule(rule_id)
            if rule is not None:
                del region.groups[rule.group_id].rules[rule_id]
        return {"region": region.name}

    def _set(self, given: Mapping[str, Any]) -> Json:
        simulator = self._endpoint.simulator
        simulator.page_size = int(given.get("pageSize", simulator.page_size))
        simulator.throttles = bool(given.get("throttles", simulator.throttles))
        return {"pageSize": simulator.page_size, "throttles": simulator.throttles}


def edit_rules(
    simulator: Simulator, region: Region, group_id: str, permissions: list[Mapping[str, Any]]
) -> None:
    """Add rules to a group as its owner would."""
    group = region.groups[group_id]
    for permission in permissions:
        for identity, text in expand(region, [permission], egress=bool(permission.get("Egress"))):
            present = group.find(identity)
            rule_id = present.id if present else simulator.ids.new("sgr")
            tags = dict(permission.get("Tags", {}))
            group.rules[rule_id] = Rule(rule_id, group_id, identity, text, tags)


__all__ = ["Controls", "create_app", "edit_rules"]
