"""The HTTP triggers over a world of fakes: routed, called and answered without a host."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import azure.functions as func

from function_app import app as function_app
from shared.bootstrap import App, using
from shared.domain.errors import NotAuthenticatedError
from shared.domain.model import Principal
from shared.ports import Listed
from shared.settings import Settings
from tests.world import DB, SUBSCRIPTION, WEB, World

HOST = "https://jit.example"
TENANT = "8a1f9d4e-3f5c-5d1b-9a64-7d2f0c6b1e01"
ADDRESS = "203.0.113.7"
_PARAMETER = re.compile(r"\\\{(\\\*)?(\w+)\\\}")


def token(name: str, *roles: str, app: bool = False) -> dict[str, str]:
    """Return the headers of a caller whom the test's verifier believes."""
    principal_type = "app" if app else "person"
    return {"Authorization": f"Bearer {principal_type};{name};{','.join(roles)}"}


AS_ADMIN = token("admin", "Jit.Admin", "Jit.Request")
AS_ALICE = token("alice", "Jit.Request")
AS_BOB = token("bob", "Jit.Request")
AS_READER = token("rita", "Jit.Read")
AS_PIPELINE = token("pipeline", "Jit.Admin", "Jit.Request", app=True)


@dataclass(frozen=True)
class Answer:
    """An answer to a caller."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """Return the body's JSON."""
        return json.loads(self.text)

    @property
    def error(self) -> Any:
        """Return the error of the envelope."""
        return self.json["error"]


@dataclass
class MemoryInventory:
    """The lists of a world."""

    world: World
    reads: list[tuple[str, ...]] = field(default_factory=list)

    def read(self, places: tuple[str, ...]) -> Listed:
        """Read everything there is."""
        self.reads.append(places)
        firewalls = {key: self.world.firewall.read(key) for key in self.world.firewall.groups}
        return Listed(tuple(self.world.machines.machines.values()), firewalls)


class WebApp(App):
    """The app as the triggers see it, over a world of fakes."""

    def __init__(self, world: World) -> None:
        super().__init__(
            Settings.model_validate(
                {
                    "deployment_id": "test1",
                    "tenant_id": TENANT,
                    "audience": ("api://jit",),
                    "scopes": (f"/subscriptions/{SUBSCRIPTION}",),
                    "calls_per_minute": 10_000,
                    "machines_cache_seconds": 0,
                }
            )
        )
        self.world = world
        self.services = world.services
        self.inventory = MemoryInventory(world)

    def verify(self, authorization: str | None) -> Principal:
        """Believe the tokens of this file."""
        if not authorization:
            raise NotAuthenticatedError("A bearer token is needed.")
        principal_type, name, roles = authorization.removeprefix("Bearer ").split(";")
        is_app = principal_type == "app"
        shown = "" if is_app else f"{name}@contoso.example"
        held = frozenset(filter(None, roles.split(",")))
        return Principal("tenant", f"{name}-id", shown, is_app=is_app, roles=held)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        who: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request; a body that is no text is written as JSON."""
        text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
        return self.send(method, path, text.encode(), {**(who or {}), **(headers or {})})

    def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send bytes."""
        parts = urlsplit(path)
        handler, route_params = _match(method, parts.path)
        request = func.HttpRequest(
            method=method,
            url=path if parts.netloc else HOST + path,
            headers={"X-Forwarded-For": f"{ADDRESS}:50123", **headers},
            params=dict(parse_qsl(parts.query)),
            route_params=route_params,
            body=body,
        )
        with using(self):
            response = handler(request)
        return Answer(
            response.status_code, response.get_body().decode(), dict(response.headers.items())
        )


Handler = Callable[[func.HttpRequest], func.HttpResponse]


@dataclass(frozen=True)
class _Route:
    pattern: re.Pattern[str]
    methods: frozenset[str]
    handler: Handler


def _match(method: str, path: str) -> tuple[Handler, dict[str, str]]:
    """Find a function as the host does: letter case is ignored, names decide the order."""
    for route in _routes():
        found = route.pattern.fullmatch(unquote(path).strip("/"))
        if found and method in route.methods:
            return route.handler, found.groupdict()
    raise AssertionError(f"no route takes {method} {path}")


@cache
def _routes() -> list[_Route]:
    return [route for _, route in sorted(_named_routes(), key=lambda each: each[0])]


def route_names() -> set[str]:
    """Return the names of the functions that take HTTP calls."""
    return {name for name, _ in _named_routes()}


def route_of(method: str, path: str) -> str:
    """Name the function that takes a call."""
    handler, _ = _match(method, path)
    return next(name for name, route in _named_routes() if route.handler is handler)


@cache
def _named_routes() -> list[tuple[str, _Route]]:
    return list(_declared())  # the app gives its functions once


def _declared() -> Iterator[tuple[str, _Route]]:
    for name, template, methods, handler in http_functions():
        pattern = _PARAMETER.sub(
            lambda found: f"(?P<{found[2]}>{'.*' if found[1] else '[^/]+'})", re.escape(template)
        )
        # A rest of the path may be empty, and its slash missing: `ui/{*path}` takes /ui as well.
        pattern = re.sub(r"/(\(\?P<\w+>\.\*\))", r"(?:/\1)?", pattern)
        yield name, _Route(re.compile(pattern, re.IGNORECASE), methods, handler)


@cache
def http_functions() -> tuple[tuple[str, str, frozenset[str], Handler], ...]:
    """Return the name, route, methods and handler of every HTTP trigger."""
    # The library hands its functions out once; a second time it takes them for duplicates.
    function_app.functions_bindings = {}
    functions = function_app.get_functions()
    function_app.functions_bindings = {}
    found = []
    for function in functions:
        trigger = function.get_trigger()
        if trigger is not None and trigger.type == "httpTrigger":
            told = trigger.get_dict_repr()
            methods = frozenset(str(getattr(m, "value", m)).upper() for m in told["methods"])
            handler = function.get_user_function()
            name = str(function.get_function_name())
            found.append((name, str(told["route"]), methods, handler))
    return tuple(found)


@contextmanager
def nothing_changes(world: World) -> Iterator[None]:
    """Fail where a row, a message or a rule was written meanwhile; a refusal goes on record."""
    before = _everything(world)
    yield
    assert _everything(world) == before


def _everything(world: World) -> tuple[Any, ...]:
    kept = [table for table in world.tables.all() if table is not world.tables.activity]
    rows = [dict(table.rows) for table in kept]
    rules = {key: dict(rules) for key, rules in world.firewall.groups.items()}
    return rows, [*world.queues.waiting], rules


def policy_body(
    *vms: str, ports: tuple[int, ...] = (22, 3389), **properties: Any
) -> dict[str, Any]:
    """Make the body of a policy PUT."""
    rules = [
        {
            "number": port,
            "protocol": "TCP",
            "allowedSourceAddressPrefix": "*",
            "maxRequestAccessDuration": "PT3H",
        }
        for port in ports
    ]
    listed = [{"id": vm, "ports": rules} for vm in vms or (WEB, DB)]
    return {"kind": "Basic", "properties": {"virtualMachines": listed, **properties}}


def asking(vm: str = WEB, port: int = 22, **fields: Any) -> dict[str, Any]:
    """Make the body of an initiate for one port, an hour long unless it says otherwise."""
    given = {"allowedSourceAddressPrefix": "203.0.113.7", **fields}
    if "endTimeUtc" not in given:
        given.setdefault("duration", "PT1H")
    sent = {name: value for name, value in given.items() if value is not None}
    return {"virtualMachines": [{"id": vm, "ports": [{"number": port, **sent}]}]}
