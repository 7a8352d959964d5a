"""Changes of policies: the right on every VM that is touched, and a record before each change."""

import csv
import io
from dataclasses import replace
from typing import Any

import pytest

from shared.domain.model import Policy, PolicyVm, Principal
from shared.domain.permissions import Action, Decision
from shared.ports import Row, RowChangedError
from shared.use_cases.policies import apply as protection
from shared.use_cases.policies import manage as policy_changes
from shared.use_cases.policies.manage import Changer
from tests.fakes import MemoryTable
from tests.functions.authority_app import Authority, GuardedApp, governed
from tests.functions.web_app import (
    ADDRESS,
    AS_ADMIN,
    WebApp,
    nothing_changes,
    policy_body,
    token,
)
from tests.world import DB, NSG_SUBNET, POLICY, SUBSCRIPTION, WEB, World, vm_id

MALLORY = token("mallory", "Jit.Admin")
STRICT: dict[str, Any] = {"approversNeeded": 2, "justificationRequired": True}


def changes(app: WebApp) -> list[dict[str, Any]]:
    """Read the changes of policies on record, oldest first."""
    query = "/api/activity?from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z"
    found: list[dict[str, Any]] = app.call("GET", query, who=AS_ADMIN).json["value"]
    return [each for each in found if each["operation"].startswith("policy")]


def put(app: WebApp, who: Any = AS_ADMIN, *vms: str, **properties: Any) -> Any:
    """PUT a policy."""
    return app.call("PUT", POLICY, policy_body(*vms, **properties), who=who)


# --- the right to write --------------------------------------------------------------------------


class _Partly:
    """An authorizer that gives one person rights at some scopes only."""

    def __init__(self, world: World, *scopes: str) -> None:
        self._world, self._scopes = world, scopes

    def __call__(self, principal: Principal, action: Action, scope: str) -> Decision:
        if "mallory" in principal.key:
            return Decision(scope.lower() in {each.lower() for each in self._scopes})
        return self._world.authorize(principal, action, scope)


@pytest.fixture
def partly(web: WebApp) -> WebApp:
    """Serve a policy over both VMs to a caller with rights on the policy and on one of them."""
    put(web)
    web.world.work()
    web.services = replace(web.services, authorize=_Partly(web.world, POLICY, WEB))
    return web


TOUCHING = [
    ("PUT", (WEB,), "removes"),
    ("PUT", (WEB, DB), "changes"),
    ("PUT", (WEB, vm_id("new")), "adds"),
]


@pytest.mark.parametrize(
    ("method", "vms", "what", "dry"),
    [
        *((*each, dry) for each in TOUCHING for dry in ("", "?dryRun=true")),
        ("DELETE", (), "removes", ""),
    ],
)
def test_a_vm_that_is_touched_needs_the_right_to_write(
    partly: WebApp, method: str, vms: tuple[str, ...], what: str, dry: str
) -> None:
    """A PUT or DELETE that adds, changes or removes a VM is 403 without the right on that VM."""
    body = policy_body(*vms, conditions={"approversNeeded": 0}) if vms else None
    with nothing_changes(partly.world):
        refused = partly.call(method, POLICY + dry, body, who=MALLORY)
    assert (refused.status, refused.error["code"]) == (403, "AuthorizationFailed"), what
    scope = vm_id("new") if what == "adds" else DB
    assert f"action '{Action.WRITE}' over scope '{scope}'" in refused.error["message"]
    assert len(changes(partly)) == 1


def test_a_right_on_each_vm_is_enough(partly: WebApp) -> None:
    """Rights on the policy and on each VM allow a PUT and a DELETE, without one on the group."""
    partly.services = replace(partly.services, authorize=_Partly(partly.world, POLICY, WEB, DB))
    assert put(partly, MALLORY, WEB).status == 200
    assert partly.call("DELETE", POLICY, who=MALLORY).status == 200


def test_a_vm_outside_the_scopes_by_now_does_not_keep_a_policy(web: WebApp) -> None:
    """After the app's scopes became narrower, an administrator can still delete the policy."""
    put(web)
    group = WEB[: WEB.index("/providers/")]
    web.services = replace(web.services, scopes=(f"{group}/providers/Microsoft.Security",))
    refused = put(web, AS_ADMIN, WEB)
    assert (refused.status, "outside the scopes" in refused.text) == (403, True)
    assert web.call("DELETE", POLICY, who=AS_ADMIN).status == 200


@pytest.mark.parametrize("who", ["relay", "relayed person", "app"])
def test_apps_need_the_right_as_people_do(guard: Authority, who: str) -> None:
    """A relay, and an app with another role, change no policy."""
    app = GuardedApp(governed(), guard)
    headers = {
        "relay": guard.bot("relay", "Jit.Relay"),
        "relayed person": guard.person("rita", "Jit.Relay", "Jit.Request"),
        "app": guard.bot("app", "Jit.Request", "Jit.Approve"),
    }[who]
    for method, body in (("PUT", policy_body(WEB)), ("DELETE", None)):
        with nothing_changes(app.world):
            assert app.call(method, POLICY, body, who=headers).status == 403


# --- the record ----------------------------------------------------------------------------------


def test_a_policy_weakened_and_restored_leaves_both_changes_with_names(web: WebApp) -> None:
    """Within one minute: who, from where, the fields and the digests of both sides, in order."""
    put(web, conditions=STRICT)
    web.world.clock.advance(20)
    put(web, MALLORY, conditions={**STRICT, "approversNeeded": 0})
    web.world.clock.advance(20)
    put(web, MALLORY, conditions=STRICT)
    created, weakened, restored = changes(web)
    assert created["operation"] == "policyCreated"
    for event in (weakened, restored):
        assert event["operation"] == "policyChanged"
        assert event["principalName"] == "mallory@contoso.example"
        assert event["principal"] == "tenant/mallory-id"
        assert event["sourceAddress"] == ADDRESS
        assert event["policyId"] == POLICY
    assert weakened["changes"] == "conditions.approversNeeded: 2 -> 0"
    assert restored["changes"] == "conditions.approversNeeded: 0 -> 2"
    assert created["newDigest"] == weakened["oldDigest"] == restored["newDigest"]
    assert weakened["newDigest"] == restored["oldDigest"] != weakened["oldDigest"]
    events = web.world.telemetry.named("jit.policy.changed")
    assert [each["principal_name"] for each in events[1:]] == ["mallory@contoso.example"] * 2
    assert events[1]["changes"] == weakened["changes"]


def test_a_put_that_changes_nothing_records_nothing(web: WebApp) -> None:
    """Neither the same body again, nor one without conditions, nor an id in another case."""
    put(web, conditions=STRICT)
    web.world.work()
    web.world.clock.advance(3600)
    assert put(web, conditions=STRICT).status == 200
    assert put(web).status == 200
    assert put(web, AS_ADMIN, WEB.upper().replace("/SUBSCRIPTIONS", "/subscriptions"), DB).status
    assert [each["operation"] for each in changes(web)] == ["policyCreated"]


def test_usual_ports_that_were_filled_in_are_no_change(web: WebApp) -> None:
    """A VM named without ports gets the usual ones; the same PUT again changes nothing."""
    body = {"properties": {"virtualMachines": [{"id": WEB}]}}
    for _ in range(2):
        assert web.call("PUT", POLICY, body, who=AS_ADMIN).status == 200
        web.world.work()
        web.world.clock.advance(60)
    assert len(changes(web)) == 1


def test_a_deletion_is_on_record_with_its_protections(web: WebApp) -> None:
    """The VMs and their rules; a DELETE of what does not exist records nothing."""
    put(web, AS_ADMIN, WEB, conditions=STRICT)
    web.world.work()
    web.world.clock.advance(1)
    assert web.call("DELETE", POLICY, who=MALLORY).status == 200
    web.world.work()
    assert web.call("DELETE", POLICY, who=MALLORY).status == 204
    _, deleted = changes(web)
    assert (deleted["operation"], deleted["virtualMachine"]) == ("policyDeleted", WEB)
    assert "newDigest" not in deleted
    web.world.clock.advance(1)
    assert f"virtualMachines[{WEB.lower()}]: listed -> none" in deleted["changes"]
    put(web, AS_ADMIN, WEB)
    assert [each["operation"] for each in changes(web)][2:] == ["policyCreated"]


def test_a_change_is_found_by_each_vm_it_touches(web: WebApp) -> None:
    """The filter by VM shows the changes of a policy that lists several."""
    put(web)
    web.world.clock.advance(1)
    put(web, MALLORY, WEB)
    query = "/api/activity?from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z&virtualMachine="
    for vm, count in ((DB, 2), (WEB, 1), (vm_id("other"), 0)):
        found = web.call("GET", query + vm.upper(), who=AS_ADMIN).json["value"]
        assert len(found) == count


def test_the_address_of_a_firewall_is_a_field_of_its_vm(web: WebApp) -> None:
    """A change of `publicIpAddress` alone is on record with both addresses."""
    for address in ("203.0.113.8", "203.0.113.9"):
        body = policy_body(WEB)
        body["properties"]["virtualMachines"][0]["publicIpAddress"] = address
        web.world.clock.advance(1)
        assert web.call("PUT", POLICY, body, who=AS_ADMIN).status == 200
    name = f"virtualMachines[{WEB.lower()}].publicIpAddress"
    assert changes(web)[-1]["changes"] == f"{name}: 203.0.113.8 -> 203.0.113.9"


def test_a_dry_run_and_a_refusal_record_no_change(web: WebApp) -> None:
    """Only what is about to be stored is a change."""
    assert web.call("PUT", f"{POLICY}?dryRun=true", policy_body(), who=AS_ADMIN).status == 200
    assert put(web, token("norole")).status == 403
    assert changes(web) == []


def test_csv_shows_what_changed(web: WebApp) -> None:
    """The columns are those of the JSON answer, and no cell is run by a spreadsheet."""
    put(web, conditions={"justificationPattern": "=1[0-9]"})
    query = "/api/activity?format=csv&from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z"
    text = web.call("GET", query, who=AS_ADMIN).text
    (row,) = [each for each in csv.DictReader(io.StringIO(text)) if each["newDigest"]]
    assert row["operation"] == "policyCreated"
    assert "conditions.justificationPattern: none -> =1[0-9]" in row["changes"]
    assert not row["changes"].startswith("=")


def test_the_event_is_stored_before_the_change(
    web: WebApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the policy is written its event stands; where the event cannot be stored, nothing is."""
    put(web)
    seen: list[int] = []
    real = web.world.tables.policies.replace

    def watched(row: Row) -> str:
        if row.key.startswith("policy|"):
            seen.append(len(changes(web)))
        return real(row)

    monkeypatch.setattr(web.world.tables.policies, "replace", watched)
    put(web, MALLORY, WEB)
    assert seen == [2]

    def broken(row: Row) -> str:
        raise OSError(row.key)

    monkeypatch.setattr(web.world.tables.activity, "insert", broken)
    before = web.world.policy()
    assert web.call("DELETE", POLICY, who=MALLORY).status == 500
    assert put(web, MALLORY, DB).status == 500
    assert web.world.policy() == before


@pytest.mark.parametrize("creates", [True, False])
def test_a_crash_between_the_event_and_the_change_is_repeatable(
    web: WebApp, monkeypatch: pytest.MonkeyPatch, *, creates: bool
) -> None:
    """The caller repeats the PUT a while later: it takes effect, under one and the same event."""
    if not creates:
        put(web)
    before = len(changes(web))
    table = web.world.tables.policies
    name = "insert" if creates else "replace"
    real = getattr(table, name)

    def crash(row: Row) -> str:
        if row.key.startswith("policy|"):
            raise OSError("the worker was killed")
        return str(real(row))

    monkeypatch.setattr(table, name, crash)
    assert put(web, MALLORY, WEB).status == 500
    monkeypatch.setattr(table, name, real)
    web.world.clock.advance(40)
    assert put(web, MALLORY, WEB).status == 200
    assert len(changes(web)) == before + 1
    assert [vm.id for vm in web.world.policy().vms] == [WEB]


def test_the_same_change_later_is_another_event(web: WebApp) -> None:
    """Weaken, restore, weaken by one person within a minute: three events, and not two."""
    put(web, conditions=STRICT)
    for needed in (0, 2, 0):
        web.world.clock.advance(5)
        put(web, MALLORY, conditions={**STRICT, "approversNeeded": needed})
    assert [each["changes"][-6:] for each in changes(web)[1:]] == ["2 -> 0", "0 -> 2", "2 -> 0"]


def test_a_change_that_another_writer_overtook_is_recorded_against_what_it_replaced(
    web: WebApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write fails by its etag: rights and event are made anew for the policy that stands."""
    put(web, conditions=STRICT)
    table: MemoryTable = web.world.tables.policies
    real = table.replace
    overtaken: list[bool] = []

    def overtake(row: Row) -> str:
        if row.key.startswith("policy|") and not overtaken:
            overtaken.append(True)
            put(web, AS_ADMIN, WEB, conditions=STRICT)
            web.world.clock.advance(1)
            raise RowChangedError(row.key)
        return real(row)

    monkeypatch.setattr(table, "replace", overtake)
    put(web, MALLORY, conditions={**STRICT, "approversNeeded": 0})
    newest = changes(web)[-1]
    assert newest["principalName"] == "mallory@contoso.example"
    assert "approversNeeded: 2 -> 0" in newest["changes"]
    assert f"virtualMachines[{DB.lower()}]: none -> listed" in newest["changes"]


def test_two_creations_at_once_are_two_events(web: WebApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second finds the first's policy: it replaces that one, with the rights it needs."""
    table = web.world.tables.policies
    real = table.get
    once: list[bool] = []

    def late(partition: str, key: str) -> Row | None:
        found = real(partition, key)
        if key.startswith("policy|") and not once:
            once.append(True)
            put(web, AS_ADMIN, WEB)
            web.world.clock.advance(1)
        return found

    monkeypatch.setattr(table, "get", late)
    assert put(web, MALLORY, DB).status == 200
    by_mallory = [each for each in changes(web) if "mallory" in each["principal"]]
    assert {each["operation"] for each in by_mallory} == {"policyCreated", "policyChanged"}
    (changed,) = [each for each in by_mallory if each["operation"] == "policyChanged"]
    assert f"virtualMachines[{WEB.lower()}]: listed -> none" in changed["changes"]
    assert [vm.id for vm in web.world.policy().vms] == [DB]


def test_a_relay_that_carries_a_change_is_on_record(web: WebApp) -> None:
    """The person and the app, each by its own key."""
    relay = Principal("tenant", "relay-id", is_app=True, app_id="relay")
    admin = Principal("tenant", "erin-id", roles=frozenset({"Jit.Admin"}), app_id="erin-app")
    policy = Policy(POLICY, "westeurope", (PolicyVm(WEB),))
    policy_changes.write_policy(web.services, Changer(admin, ADDRESS, relay), policy)
    (event,) = changes(web)
    assert (event["principal"], event["relayedBy"]) == (admin.key, relay.key)
    assert event["principalName"] == "erin-app"


def test_a_note_that_cannot_be_read_hides_no_change(web: WebApp) -> None:
    """A damaged note beside the policy is reported, and the change is recorded."""
    put(web)
    rows = web.world.tables.policies.rows
    place = next(place for place in rows if place[1].startswith("change|"))
    rows[place] = replace(rows[place], values={"kind": "change", "doc": "{"})
    put(web, MALLORY, WEB)
    assert len(changes(web)) == 2
    assert web.world.telemetry.named("jit.row.unreadable")


def test_the_text_of_a_change_is_bounded(web: WebApp) -> None:
    """Conditions come first, then what loses protection; the rest is counted."""
    put(web, conditions=STRICT)
    web.world.clock.advance(1)
    many = [vm_id(f"vm-{number:03}-{'x' * 40}") for number in range(400)]
    body = policy_body(*many, conditions={"justificationPattern": "x" * 200})
    assert web.call("PUT", POLICY, body, who=MALLORY).status == 200
    text = changes(web)[-1]["changes"]
    assert len(text) < 8200
    assert text.startswith("conditions.approversNeeded: 2 -> 0; ")
    assert f"virtualMachines[{WEB.lower()}]: listed -> none" in text
    assert text.endswith(" more")


def test_lists_and_reports_never_take_a_note_for_a_policy(web: WebApp) -> None:
    """The note of the last change lies beside the policy and is none of its rows."""
    put(web)
    web.world.work()
    assert len(protection.list_policies(web.services, SUBSCRIPTION)) == 1
    assert len(web.services.policies.vm_rows(POLICY)) == 2
    assert web.world.firewall.ours(NSG_SUBNET)
