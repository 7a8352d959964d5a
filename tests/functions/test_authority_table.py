"""Every route, called by every type of caller: let in, or refused for exactly the right reason.

A cell says what becomes of a call:

    +     let in
    o     let in, and shown nothing that is another person's
    -     403, and the message names the row's action and scope
    i     403 for want of `initiate`
    401   not known: no token of this tenant
    app   403: an app decides nothing
    self  403: no requestor decides on their own request
    own   403: only who asked may
    404   there is nothing there, for anybody
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from local.hostile_tokens import other_issuer
from shared.domain.permissions import Action
from tests.functions.authority_app import (
    ROOT,
    Authority,
    GuardedApp,
    governed,
    known,
)
from tests.functions.web_app import Answer, route_names, route_of
from tests.world import DB, GROUP, POLICY, SOURCE, WEB, World

# Nine columns of app roles and none, five of the requestor and of apps, fifteen of Azure roles.
TABLE = """
route                 none tenant norole Request Approve Admin Read BreakGlass Relay \
    self bot botroles carrier carrier0 \
    owner contributor reader secadmin secreader vmcontributor least leastwide onevm nested mgroup many \
    conditional denied elsewhere
put_policy            401 401 - - - + - - -   - - - - -   + + - + - - - - - - + - - - -
get_policy            401 401 - + + + + + +   + - + + +   + + + + + - + + - + + + - - -
delete_policy         401 401 - - - + - - -   - - - - -   + + - + - - - - - - + - - - -
list_policies_of_subscription        401 401 - + + + + + +   + - + + +   + + + + + - - + - - + + - + -
list_policies_of_location            401 401 - + + + + + +   + - + + +   + + + + + - - + - - + + - + -
list_policies_of_group               401 401 - + + + + + +   + - + + +   + + + + + - + + - + + + - - -
list_policies_of_group_and_location  401 401 - + + + + + +   + - + + +   + + + + + - + + - + + + - - -
request_access        401 401 - + - - - + -   + - + + i   + + - + - - + + + + + + - - -
request_access:glass  401 401 i - i i i + i   - i - - i   - - i - i i - - - - - - i i i
request_access:other  401 401 - - - - - - +   - - - + i   - - - - - - - - - - - - - - -
request_access_short  401 401 - + - - - + -   + - + + i   + + - + - - + + + + + + - - -
get_request           401 401 - + + + + + +   + - + + +   + + + + + - + + - + + + - - -
list_requests         401 401 o + + + + + +   + o + + +   + + + + + o + + o + + + o o o
get_request:details   401 401 - o o + + o o   + - o o o   + + + + + - o o - o + + - - -
get_request:deciding  401 401 - o + + + o +   + - o + +   + + + + + - o o - o + + - - -
get_policy:details    401 401 - o o + + o o   + - o o o   + + + + + - o o - o + + - - -
list_requests:details 401 401 o o o + + o o   + o o o o   + + + + + o o o o o + + o o o
list_requests:me      401 401 o o + o o o o   o o o o o   + + o + o o o o o o + o o o o
approve_request       401 401 - - + - - - -   self app app + -   + + - + - - - - - - + - - - -
deny_request          401 401 - - + - - - -   self app app + -   + + - + - - - - - - + - - - -
revoke_request        401 401 - - - + - - -   + - - + -   + + - + - - - - - - + - - - -
revoke_all:vm         401 401 - - - + - - -   + - - + -   + + - + - - - - - - + - - - -
revoke_all:person     401 401 - - - + - - -   + - - + -   + + - + - - - - - - + - - - -
revoke_all:nothing    401 401 - - - + - - -   - - - + -   + + - + - - - - - - + - - - -
extend_request        401 401 own own own own own own own   + own own own own   own own own own own own own own own own own own own own own
get_activity          401 401 o o o + + o o   + o o o o   + + + + + o o o o o + + o + o
get_me                401 401 o + + + + + +   + o + + +   + + + + + + o + o o + + o + o
get_health            o o o o o + + o o   o o o o o   + + + + + o o o o o + + o + o
list_machines         401 401 - + + + + + +   + - + + +   + + + - - + - + - - + + - + -
get_cloud_metadata    + + + + + + + + +   + + + + +   + + + + + + + + + + + + + + +
get_openapi           + + + + + + + + +   + + + + +   + + + + + + + + + + + + + + +
ui_page               + + + + + + + + +   + + + + +   + + + + + + + + + + + + + + +
unknown_route         404 404 404 404 404 404 404 404 404   404 404 404 404 404   404 404 404 404 404 404 404 404 404 404 404 404 404 404 404
"""
BODY: dict[str, Any] = {
    "virtualMachines": [
        {
            "id": WEB,
            "ports": [{"number": 22, "duration": "PT10M", "allowedSourceAddressPrefix": SOURCE}],
        }
    ],
    "justification": "because",
}
SHORT: dict[str, Any] = {
    "virtualMachine": WEB,
    "ports": [22],
    "duration": "PT10M",
    "allowedSourceAddressPrefix": SOURCE,
}
POLICY_BODY = {
    "properties": {
        "virtualMachines": [
            {
                "id": WEB,
                "ports": [{"number": 22, "protocol": "TCP", "maxRequestAccessDuration": "PT1H"}],
            }
        ]
    }
}
PROVIDER = "providers/Microsoft.Security"
ALICE = known("alice", "Jit.Request", "Jit.Approve")
OWNER = {"objectId": known("owner").object_id, "name": "owner@contoso.example"}
NOROLE = {"objectId": known("norole").object_id, "name": "norole@contoso.example"}


@dataclass(frozen=True)
class Way:
    """How a route is called: in which world, what is named when it is refused, and what is seen."""

    method: str
    path: str
    action: Action | None = None
    scope: str = ""
    body: Any = None
    world: str = "governed"  # or waiting, open
    good: tuple[int, ...] = (200, 202)
    shows: Callable[[Any], bool] = bool
    is_html: bool = False


def _has_requests(body: Any) -> bool:
    return bool(body["value"])


def _has_details(body: Any) -> bool:
    """Tell whether a request, or each in a list, shows its justification and its sources."""
    requests = body.get("value") or body.get("properties", body).get("requests") or [body]
    texts = [json.dumps(request) for request in requests]
    shown = [("because" in text, SOURCE in text) for text in texts]
    assert all(reason is source for reason, source in shown)
    return all(reason for reason, _ in shown)


def _has_actions(body: Any) -> bool:
    return any(each["actions"] for each in body["permissions"])


WAYS: Mapping[str, Way] = {
    "put_policy": Way("PUT", POLICY, Action.WRITE, POLICY, POLICY_BODY),
    "get_policy": Way("GET", POLICY, Action.READ, POLICY),
    "delete_policy": Way("DELETE", POLICY, Action.DELETE, POLICY),
    "list_policies_of_subscription": Way(
        "GET", f"{ROOT}/{PROVIDER}/jitNetworkAccessPolicies", Action.READ, ROOT
    ),
    "list_policies_of_location": Way(
        "GET",
        f"{ROOT}/{PROVIDER}/locations/westeurope/jitNetworkAccessPolicies",
        Action.READ,
        ROOT,
    ),
    "list_policies_of_group": Way(
        "GET", f"{GROUP}/{PROVIDER}/jitNetworkAccessPolicies", Action.READ, GROUP
    ),
    "list_policies_of_group_and_location": Way(
        "GET",
        f"{GROUP}/{PROVIDER}/locations/westeurope/jitNetworkAccessPolicies",
        Action.READ,
        GROUP,
    ),
    "request_access": Way("POST", f"{POLICY}/initiate", Action.INITIATE, WEB, BODY),
    "request_access:glass": Way(
        "POST", f"{POLICY}/initiate", Action.BREAK_GLASS, WEB, {**BODY, "breakGlass": True}
    ),
    "request_access:other": Way(
        "POST", f"{POLICY}/initiate", Action.RELAY, ROOT, {**BODY, "onBehalfOf": OWNER}
    ),
    "request_access_short": Way("POST", "/api/requests", Action.INITIATE, WEB, SHORT),
    # A refusal names nothing of a request that the caller knows by its id alone.
    "get_request": Way("GET", "/api/requests/{id}", Action.READ, ROOT, world="open"),
    "list_requests": Way("GET", "/api/requests", world="open", shows=_has_requests),
    "approve_request": Way(
        "POST", "/api/requests/{id}/approve", Action.APPROVE, ROOT, {}, world="waiting"
    ),
    "deny_request": Way(
        "POST", "/api/requests/{id}/deny", Action.APPROVE, ROOT, {}, world="waiting"
    ),
    "revoke_request": Way(
        "POST", "/api/requests/{id}/revoke", Action.REVOKE, ROOT, {}, world="open"
    ),
    "revoke_all:vm": Way(
        "POST", "/api/revoke", Action.REVOKE, WEB, {"virtualMachine": WEB}, world="open"
    ),
    "revoke_all:person": Way(
        "POST",
        "/api/revoke",
        Action.REVOKE,
        ROOT,
        {"requestorObjectId": ALICE.object_id},
        world="open",
    ),
    "revoke_all:nothing": Way(
        "POST", "/api/revoke", Action.REVOKE, DB, {"virtualMachine": DB}, world="open"
    ),
    "extend_request": Way(
        "POST", "/api/requests/{id}/extend", body={"duration": "PT1H"}, world="open"
    ),
    "get_activity": Way("GET", "/api/activity", world="open", shows=_has_requests),
    "get_me": Way("GET", "/api/me", shows=_has_actions),
    "get_request:details": Way(
        "GET", "/api/requests/{id}", Action.READ, ROOT, world="open", shows=_has_details
    ),
    "get_request:deciding": Way(
        "GET", "/api/requests/{id}", Action.READ, ROOT, world="waiting", shows=_has_details
    ),
    "get_policy:details": Way("GET", POLICY, Action.READ, POLICY, world="open", shows=_has_details),
    "list_requests:details": Way("GET", "/api/requests", world="open", shows=_has_details),
    "list_requests:me": Way(
        "GET", "/api/requests?awaiting=me", world="waiting", shows=_has_requests
    ),
    "get_health": Way("GET", "/api/health", good=(200, 503), shows=lambda body: "overdue" in body),
    "list_machines": Way("GET", "/api/machines", Action.READ_VM, ROOT),
    "get_cloud_metadata": Way("GET", "/metadata/endpoints"),
    "get_openapi": Way("GET", "/api/openapi.json"),
    "ui_page": Way("GET", "/ui/", shows=lambda text: "<html" in text, is_html=True),
    "unknown_route": Way("GET", "/api/nothing"),
}


# A caller who holds the action at the app's scope and is denied it below is told where.
DENIED_BELOW = {
    **dict.fromkeys(("get_request", "get_request:details", "get_request:deciding"), POLICY),
    **dict.fromkeys(
        ("approve_request", "deny_request", "revoke_request", "revoke_all:person"), WEB
    ),
}


def _rows() -> dict[str, dict[str, str]]:
    (_, *columns), *lines = (line.split() for line in TABLE.strip().splitlines())
    return {name: dict(zip(columns, cells, strict=True)) for name, *cells in lines}


CELLS = [(row, column, cell) for row, cells in _rows().items() for column, cell in cells.items()]


def headers_of(guard: Authority, column: str) -> Mapping[str, str]:
    """Return the headers of the caller of a column."""
    if column[0].isupper():
        return guard.person(f"role-{column}", f"Jit.{column}")
    claims = guard.issuer.person_claims("owner", roles=["Jit.Admin"])
    special: Mapping[str, Mapping[str, str]] = {
        "none": {},
        "tenant": {"Authorization": f"Bearer {other_issuer(guard.issuer, claims)}"},
        "self": guard.person("alice", *ALICE.roles),
        "bot": guard.bot("bot"),
        "botroles": guard.bot("botroles", "Jit.Request", "Jit.Approve"),
        "carrier": guard.bot("carrier", "Jit.Relay"),
        "carrier0": guard.bot("carrier0", "Jit.Relay"),
    }
    return special[column] if column in special else guard.person(column)


def world_of(state: str) -> tuple[World, str]:
    """Return a world, and the id of Alice's request in it."""
    if state == "waiting":
        world = governed(approvers_needed=1)
        return world, world.ask(who=ALICE).id
    world = governed()
    return world, world.ask(who=ALICE).id if state == "open" else ""


def call_as(guard: Authority, way: Way, column: str, world: World, request_id: str) -> Answer:
    """Call a route in a world as the caller of a column."""
    body = way.body
    if body is not None and way.method == "POST" and column.startswith("carrier"):
        body = {**body, "onBehalfOf": OWNER if column == "carrier" else NOROLE}
    app = GuardedApp(world, guard)
    path = way.path.replace("{id}", request_id)
    return app.call(way.method, path, body, who=headers_of(guard, column))


@pytest.mark.parametrize(("row", "column", "cell"), CELLS)
def test_a_call_is_let_in_or_refused_for_the_right_reason(
    guard: Authority, row: str, column: str, cell: str
) -> None:
    """The cell of this route and this caller."""
    way = WAYS[row]
    answer = call_as(guard, way, column, *world_of(way.world))
    if cell in {"+", "o"}:
        assert answer.status in way.good, answer.text
        if way.method == "GET":
            assert way.shows(answer.text if way.is_html else answer.json) is (cell == "+")
        return
    if cell == "401":
        assert (answer.status, answer.error["code"]) == (401, "AuthenticationFailed")
        assert "Bearer" in answer.headers["WWW-Authenticate"]
        return
    if cell == "404":
        assert (answer.status, answer.error["code"]) == (404, "NotFound")
        return
    assert answer.status == 403, answer.text
    if column == "denied" and row in DENIED_BELOW:
        way = replace(way, scope=DENIED_BELOW[row])
    _check_refusal(answer, way, cell)


def _check_refusal(answer: Answer, way: Way, cell: str) -> None:
    told, code = answer.error["message"], answer.error["code"]
    if cell in {"app", "self"}:
        assert code == "ApproverNotAllowed"
        assert {"app": "an app cannot approve", "self": "their own request"}[cell] in told
    elif cell == "own":
        assert (code, told) == (
            "AuthorizationFailed", "Only who asked for the access can extend it."
        )  # fmt: skip
    else:
        action, scope = (Action.INITIATE, WEB) if cell == "i" else (way.action, way.scope)
        assert code == "AuthorizationFailed"
        assert f"action '{action}' over scope '{scope}'" in told


def test_every_route_has_its_row() -> None:
    """A route that is added without one fails here; so does a way of calling without cells."""
    assert {row.partition(":")[0] for row in _rows()} == route_names()
    assert set(WAYS) == set(_rows())


def test_every_route_is_called_at_its_own_function() -> None:
    """No row tests another route than it says."""
    called = {row: route_of(way.method, way.path.partition("?")[0]) for row, way in WAYS.items()}
    assert called == {row: row.partition(":")[0] for row in WAYS}


def test_a_role_below_the_policies_reads_no_person_s_activity() -> None:
    """A caller whose documented role allows the call sees no more than that; a reader sees all."""
    cells = _rows()["get_activity"]
    assert (cells["leastwide"], cells["reader"], cells["secreader"]) == ("o", "+", "+")


def test_the_actions_are_defender_s() -> None:
    """Roles that people already hold are understood: the names are Microsoft's."""
    base = "Microsoft.Security/locations/jitNetworkAccessPolicies"
    assert [action.value for action in list(Action)[:5]] == [
        *(f"{base}/{verb}" for verb in ("initiate/action", "read", "write", "delete")),
        "Microsoft.Compute/virtualMachines/read",
    ]
