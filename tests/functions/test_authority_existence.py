"""Every route that names an object, called for one that exists and for one that does not."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from shared.store.keys import policy_key
from tests.functions.authority_app import ROOT, Authority, GuardedApp, governed, known
from tests.functions.test_authority_table import (
    CELLS,
    DENIED_BELOW,
    WAYS,
    call_as,
    world_of,
)
from tests.functions.web_app import Answer, nothing_changes
from tests.world import DB, POLICY, WEB, vm_id

NOWHERE = POLICY.replace("/default", "/nowhere")
UNKNOWN_REQUEST = f"{policy_key(POLICY)}-{'0' * 21}"
STRANGER = known("stranger-to-all").object_id
ALICE_ID = known("alice").object_id
NO_VM = vm_id("no-such-vm")


@dataclass(frozen=True)
class Missing:
    """A missing id for a route, and the answer to a permitted caller."""

    names: tuple[tuple[str, str], ...]
    status: int
    code: str = ""


_NO_POLICY = ((POLICY, NOWHERE), (WEB, NO_VM))
_REQUEST = Missing((), 404, "RequestNotFound")
MISSING = {
    "get_policy": Missing(_NO_POLICY, 404, "PolicyNotFound"),
    "delete_policy": Missing(_NO_POLICY, 204),
    "put_policy": Missing(_NO_POLICY, 200),
    "request_access": Missing(_NO_POLICY, 404, "PolicyNotFound"),
    "request_access:glass": Missing(_NO_POLICY, 404, "PolicyNotFound"),
    "request_access:other": Missing(_NO_POLICY, 403, "AuthorizationFailed"),
    "request_access_short": Missing(((WEB, NO_VM),), 404, "PolicyNotFound"),
    "get_request": _REQUEST,
    "approve_request": _REQUEST,
    "deny_request": _REQUEST,
    "revoke_request": _REQUEST,
    "extend_request": _REQUEST,
    "revoke_all:vm": Missing(((WEB, DB),), 200),
    "revoke_all:person": Missing(((ALICE_ID, STRANGER),), 200),
}
# Callers who may not read every request of the app; the others may know which exist.
READ_LITTLE = {
    "norole", "bot", "vmcontributor", "least", "onevm", "nested", "conditional", "elsewhere",
}  # fmt: skip
REFUSED = [
    (row, column)
    for row, column, cell in CELLS
    if row in MISSING
    and cell in {"-", "i", "own", "app"}
    and not (column == "denied" and row in DENIED_BELOW)
    and (row, column) != ("request_access:glass", "onevm")  # a role on this very VM
    and (row != "extend_request" or column in READ_LITTLE)
]
HOLDERS = ("Request", "Approve", "Admin", "BreakGlass", "owner", "contributor", "secadmin")


def _renamed(value: Any, names: tuple[tuple[str, str], ...]) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    for old, new in names if isinstance(value, str) else ():
        value = value.replace(old, new)
    return value


def _missing(guard: Authority, row: str, column: str) -> Answer:
    """Call a route for what does not exist."""
    way, names = WAYS[row], MISSING[row].names
    away = replace(way, path=_renamed(way.path, names), body=_renamed(way.body, names))
    world, _ = world_of(way.world)
    return call_as(guard, away, column, world, UNKNOWN_REQUEST)


@pytest.mark.parametrize(("row", "column"), REFUSED)
def test_what_is_missing_and_what_is_another_s_look_the_same(
    guard: Authority, row: str, column: str
) -> None:
    """A caller without permission gets one answer for both: status, code, message and details."""
    present = call_as(guard, WAYS[row], column, *world_of(WAYS[row].world))
    absent = _missing(guard, row, column)
    back = tuple((new, old) for old, new in MISSING[row].names)
    assert (absent.status, _renamed(absent.error, back)) == (present.status, present.error)


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (row, column)
        for row, column, cell in CELLS
        if row in MISSING and cell == "+" and column in HOLDERS
    ],
)
def test_a_permitted_caller_is_told_what_is_missing(
    guard: Authority, row: str, column: str
) -> None:
    """A caller who holds the action gets 404, or the answer of a call that finds nothing to do."""
    answer = _missing(guard, row, column)
    assert answer.status == MISSING[row].status, answer.text
    if MISSING[row].code:
        assert answer.error["code"] == MISSING[row].code


def test_a_request_for_a_vm_in_no_policy_tells_a_stranger_nothing(guard: Authority) -> None:
    """The justification pattern of a policy is not shown before the permission is checked."""
    world = governed(justification_required=True, justification_pattern="SECRET-[0-9]+")
    app = GuardedApp(world, guard)
    elsewhere = {"id": NO_VM, "ports": [{"number": 22, "duration": "PT10M"}]}
    for body in ({"virtualMachines": [elsewhere]}, {"virtualMachines": [{**elsewhere, "id": WEB}]}):
        with nothing_changes(world):
            refused = app.call("POST", f"{POLICY}/initiate", body, who=guard.person("norole"))
        assert (refused.status, refused.error["code"]) == (403, "AuthorizationFailed")
        assert "SECRET" not in refused.text


def test_every_vm_that_is_named_needs_the_permission(guard: Authority) -> None:
    """A VM in no policy beside one that is permitted is refused for the permission, not the policy."""
    app = GuardedApp(governed(), guard)
    ports = [{"number": 22, "duration": "PT10M", "allowedSourceAddressPrefix": "203.0.113.7"}]
    both = {"virtualMachines": [{"id": WEB, "ports": ports}, {"id": NO_VM, "ports": ports}]}
    refused = app.call("POST", f"{POLICY}/initiate", both, who=guard.person("onevm"))
    assert (refused.status, refused.error["code"]) == (403, "AuthorizationFailed")
    assert f"over scope '{NO_VM}'" in refused.error["message"]


@pytest.mark.parametrize("path", [POLICY, POLICY.replace("default", "a%20b")])
@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_an_unknown_caller_gets_401_before_the_path_is_judged(
    guard: Authority, method: str, path: str
) -> None:
    """A call without a token gets 401, also for a path that cannot be read."""
    assert GuardedApp(governed(), guard).call(method, path, "{").status == 401


@pytest.mark.parametrize("row", ["put_policy", "request_access", "request_access_short"])
def test_a_body_that_cannot_be_read_comes_before_the_permission(guard: Authority, row: str) -> None:
    """A stranger's broken body is 400, for what exists and for what does not."""
    for path in (WAYS[row].path, _renamed(WAYS[row].path, _NO_POLICY)):
        app = GuardedApp(governed(), guard)
        refused = app.call(WAYS[row].method, path, '{"a":', who=guard.person("norole"))
        assert refused.status == 400


def test_limits_of_the_installation_are_not_told_to_a_stranger(guard: Authority) -> None:
    """A PUT beyond the limits is 403 to a stranger and 400 with the limits to an administrator."""
    app = GuardedApp(governed(), guard)
    rule = {"number": 22, "protocol": "TCP", "maxRequestAccessDuration": "PT1M"}
    body = {"properties": {"virtualMachines": [{"id": WEB, "ports": [rule]}]}}
    assert app.call("PUT", POLICY, body, who=guard.person("norole")).status == 403
    told = app.call("PUT", POLICY, body, who=guard.person("owner"))
    assert (told.status, told.error["details"][0]["code"]) == (400, "InvalidDuration")


def test_revoking_all_of_a_person_names_no_vm_to_a_stranger(guard: Authority) -> None:
    """The refusal names the app's scope, whether the person has access somewhere or not."""
    world, _ = world_of("open")
    app = GuardedApp(world, guard)
    body = {"requestorObjectId": ALICE_ID}
    refused = app.call("POST", "/api/revoke", body, who=guard.person("norole"))
    assert refused.status == 403
    assert "virtualMachines" not in refused.text
    assert f"over scope '{ROOT}'" in refused.error["message"]


def test_revoking_all_on_a_vm_shows_no_other_spelling_of_it(guard: Authority) -> None:
    """The refusal repeats the id as the caller wrote it, whether the VM has an open access or not."""
    world, _ = world_of("open")
    app = GuardedApp(world, guard)
    named = WEB.replace("/web", "/WEB")
    refused = app.call("POST", "/api/revoke", {"virtualMachine": named}, who=guard.person("norole"))
    assert f"over scope '{named}'" in refused.error["message"]
    assert WEB not in refused.text


@pytest.mark.parametrize(
    "scope",
    [
        "/subscriptions/22222222-2222-4222-8222-222222222222",
        ROOT,
        f"{ROOT}/resourceGroups/elsewhere-too",
    ],
)
def test_a_scope_to_list_tells_a_stranger_no_setting(guard: Authority, scope: str) -> None:
    """A scope outside the app's and one inside it get the same refusal, which names no other."""
    app = GuardedApp(governed(), guard)
    refused = app.call("GET", f"/api/machines?scope={scope}", who=guard.person("norole"))
    assert (refused.status, refused.error["code"]) == (403, "AuthorizationFailed")
    assert [each["message"] for each in refused.error["details"]] == [
        f"'Microsoft.Compute/virtualMachines/read' is not held at {scope}"
    ]
    assert refused.text.count("/subscriptions/") == refused.text.count(scope)


@pytest.mark.parametrize(
    "key", ["live%7Cx", "live%7C0000-0", "repeat%7Cx-1", "a", "-", "x-", "%7C", "live%7Cvm-..%5C"]
)
@pytest.mark.parametrize("verb", ["", "/approve", "/deny", "/revoke", "/extend"])
def test_a_key_of_another_row_is_no_request_id(guard: Authority, key: str, verb: str) -> None:
    """An id that is no request's is 404 on every route that takes one, and never a fault."""
    world, request_id = world_of("open")
    app = GuardedApp(world, guard)
    live = next(partition for partition, _ in world.tables.requests.rows if "live|" in partition)
    body = {"duration": "PT1H"} if verb == "/extend" else {}
    for each in (key, f"{live}-{request_id}".replace("|", "%7C")):
        answer = app.call(
            "POST" if verb else "GET",
            f"/api/requests/{each}{verb}",
            body if verb else None,
            who=guard.person("owner"),
        )
        assert (answer.status, answer.error["code"]) == (404, "RequestNotFound"), answer.text
    assert not world.telemetry.named("jit.http.failed")
