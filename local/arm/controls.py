"""The simulator's own controls, below /_sim."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.arm import bastion_sessions, firewall_access, firewall_control
from local.arm.faults import Faults
from local.arm.nsg import rule_from
from local.arm.simulator import CONCURRENCY, Settings, Simulator

Json = dict[str, Any]
Control = Callable[[Mapping[str, Any]], Json]


class Controls:
    """Log, reset, faults, access, edit, resources, quotas, firewalls, sessions and settings."""

    def __init__(self, sim: Simulator, estate: Mapping[str, Any], settings: Settings) -> None:
        self.sim = sim
        self.faults = Faults()
        self.log: list[Json] = []
        self._estate = estate
        self._settings = settings
        self._controls: Mapping[tuple[str, str], Control] = {
            ("GET", "log"): self._show_log,
            ("POST", "reset"): self._reset,
            ("GET", "faults"): self._show_faults,
            ("POST", "faults"): self._order_faults,
            ("GET", "access"): self._judge_access,
            ("POST", "edit"): self._edit,
            ("GET", "resources"): self._list_resources,
            ("GET", "quotas"): self._show_quotas,
            ("POST", "quotas"): self._set_quotas,
            ("GET", "firewalls"): lambda _given: firewall_control.show(self.sim),
            ("POST", "firewalls"): lambda given: firewall_control.set_switches(self.sim, given),
            ("GET", "sessions"): lambda given: bastion_sessions.show_sessions(self.sim, given),
            ("POST", "sessions"): lambda given: bastion_sessions.begin_sessions(self.sim, given),
            ("GET", "settings"): self._show_settings,
            ("POST", "settings"): self._set_settings,
        }

    async def answer(self, request: Request) -> Response:
        """Answer one control; a wrong one is a 400 that says why."""
        name = (request.method, request.path_params["control"])
        control = self._controls.get(name)
        if control is None:
            return _refusal(404, f"no control {' '.join(name)}")
        self.sim.settle()
        try:
            given = await _given(request)
            return JSONResponse(control(given))
        except (ValueError, TypeError, KeyError, AttributeError, re.error) as error:
            return _refusal(400, f"{type(error).__name__}: {error}")

    def _show_log(self, given: Mapping[str, Any]) -> Json:
        del given
        return {"calls": self.log}

    def _reset(self, given: Mapping[str, Any]) -> Json:
        """Replace everything, and bring switches back to where they stood at the start."""
        self.sim.load(given if "resources" in given else self._estate)
        self.sim.settings = replace(self._settings)
        self.sim.quotas.enabled = False
        self.faults.order([])
        self.log.clear()
        return {
            "resources": sum(1 for _ in self.sim.store.everything()) + len(self.sim.store.groups)
        }

    def _show_faults(self, given: Mapping[str, Any]) -> Json:
        del given
        return {"faults": self.faults.shown()}

    def _order_faults(self, given: Mapping[str, Any]) -> Json:
        self.faults.order(given["faults"])
        return {"faults": self.faults.shown()}

    def _judge_access(self, given: Mapping[str, Any]) -> Json:
        return firewall_access.answer(self.sim.store, given)

    def _edit(self, given: Mapping[str, Any]) -> Json:
        """Change things as a stranger would, settled at once and past all checks."""
        store = self.sim.store
        answer: Json = {}
        if "nsg" in given:
            group = store.group(given["nsg"])
            if group is None:
                raise ValueError(f"nsg: no network security group {given['nsg']!r}")
            rules = [rule_from(rule) for rule in given.get("put", [])]
            group.edit(rules, given.get("delete", []))
            answer["etag"] = group.etag
        for resource in given.get("resources", []):
            store.replace(resource)
        for resource_id in given.get("remove", []):
            store.remove(resource_id)
        store.link()
        return answer

    def _list_resources(self, given: Mapping[str, Any]) -> Json:
        """List the ids of all that exists, resource groups included."""
        del given
        store = self.sim.store
        ids = [each["id"] for each in store.everything()]
        ids += [group.group_id for group in store.groups.values()]
        return {"ids": sorted([*ids, *store.resource_groups.values()])}

    def _show_quotas(self, given: Mapping[str, Any]) -> Json:
        del given
        return {"enabled": self.sim.quotas.enabled}

    def _set_quotas(self, given: Mapping[str, Any]) -> Json:
        self.sim.quotas.enabled = bool(given["enabled"])
        self.sim.quotas.refill()
        return self._show_quotas(given)

    def _show_settings(self, given: Mapping[str, Any]) -> Json:
        del given
        settings = self.sim.settings
        return {
            "settle": settings.settle,
            "concurrency": settings.concurrency,
            "pageSize": settings.page_size,
            "normalise": settings.normalise,
        }

    def _set_settings(self, given: Mapping[str, Any]) -> Json:
        unknown = set(given) - {"settle", "concurrency", "pageSize", "normalise"}
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        now = self.sim.settings
        concurrency = given.get("concurrency", now.concurrency)
        if concurrency not in CONCURRENCY:
            raise ValueError(f"concurrency: {concurrency!r} is none of {', '.join(CONCURRENCY)}")
        self.sim.settings = replace(
            now,
            settle=float(given.get("settle", now.settle)),
            concurrency=concurrency,
            page_size=int(given.get("pageSize", now.page_size)),
            normalise=bool(given.get("normalise", now.normalise)),
        )
        return self._show_settings(given)


async def _given(request: Request) -> Mapping[str, Any]:
    if request.method == "GET":
        return dict(request.query_params)
    body = await request.body()
    given = json.loads(body) if body.strip() else {}
    if not isinstance(given, dict):
        raise TypeError("a JSON object is wanted")
    return given


def _refusal(status: int, message: str) -> Response:
    return JSONResponse({"error": {"code": "Control", "message": message}}, status)
