"""The calls of a page or a command line: who am I, my requests, what awaits me, my own activity."""

from dataclasses import replace
from typing import Any

import pytest

from shared.domain.permissions import Decision
from tests.functions.web_app import (
    ADDRESS,
    AS_ADMIN,
    AS_ALICE,
    AS_BOB,
    AS_READER,
    Answer,
    WebApp,
    asking,
    nothing_changes,
    policy_body,
    token,
)
from tests.samples import OTHER_POLICY
from tests.world import DB, POLICY, SUBSCRIPTION, WEB

AS_CAROL = token("carol", "Jit.Approve")
AS_NOROLE = token("norole")
ROOT = f"/subscriptions/{SUBSCRIPTION}"


def protect(web: WebApp, **properties: Any) -> None:
    """Put both VMs under a policy."""
    web.call("PUT", POLICY, policy_body(**properties), who=AS_ADMIN)
    web.world.work()


def ask(web: WebApp, who: Any = AS_ALICE, vm: str = WEB, **fields: Any) -> str:
    """Request a port, and return the request's id."""
    body = {**asking(vm, **fields), "justification": "INC4711"}
    taken = web.call("POST", f"{POLICY}/initiate", body, who=who)
    assert taken.status == 202, taken.text
    web.world.work()
    return taken.headers["Location"].rpartition("/")[2]


def listed(web: WebApp, query: str, who: Any = AS_READER) -> list[str]:
    """Return the ids of the requests that a query finds."""
    answer = web.call("GET", f"/api/requests?{query}", who=who)
    assert answer.status == 200, answer.text
    return [request["id"] for request in answer.json["value"]]


# --- me ----------------------------------------------------------------------------------------


def test_me_says_who_calls_from_where_with_what(web: WebApp) -> None:
    """Name, object id, the address that the app sees, actions at each scope, and limits."""
    protect(web)
    ask(web)
    me = web.call("GET", "/api/me", who=AS_ALICE).json
    assert (me["name"], me["objectId"]) == ("alice@contoso.example", "alice-id")
    assert (me["tenantId"], me["isApp"], me["address"]) == ("tenant", False, ADDRESS)
    (held,) = me["permissions"]
    assert held["scope"] == ROOT
    assert [action.rpartition("/jitNetworkAccessPolicies/")[2] for action in held["actions"]] == [
        "initiate/action", "read", "Microsoft.Compute/virtualMachines/read",
    ]  # fmt: skip
    assert me["limits"] == {
        "minDuration": "PT5M",
        "maxDuration": "P1D",
        "widestSourcePrefixIpv4": 24,
        "widestSourcePrefixIpv6": 48,
        "portsPerRequest": 100,
        "openPorts": 1,
        "openPortsAllowed": 100,
    }


def test_me_at_a_scope(web: WebApp) -> None:
    """A caller may ask about one scope; a scope of others shows nothing held."""
    asked = web.call("GET", f"/api/me?scope={WEB}", who=AS_ALICE).json["permissions"]
    assert [(each["scope"], len(each["actions"])) for each in asked] == [(WEB, 3)]
    other = "/subscriptions/22222222-2222-4222-8222-222222222222"
    assert web.call("GET", f"/api/me?scope={other}", who=AS_ALICE).json["permissions"] == [
        {"scope": other, "actions": []}
    ]
    refused = web.call("GET", "/api/me?scope=web", who=AS_ALICE)
    assert (refused.status, refused.error["code"]) == (400, "InvalidScope")


def test_me_of_an_app_and_without_an_address(web: WebApp) -> None:
    """An app is named by its id; an address that cannot be told is null."""
    answer = web.call("GET", "/api/me", who=token("bot", app=True), headers={"X-Forwarded-For": ""})
    assert (answer.json["isApp"], answer.json["address"]) == (True, None)


@pytest.mark.parametrize(
    ("decision", "status"),
    [
        (Decision(False, ("no answer",), failed_check=True), 503),
        (Decision(False, ("too many",), failed_check=True, retry_after=30), 429),
    ],
)
def test_me_never_guesses(web: WebApp, decision: Decision, status: int) -> None:
    """A check that could not be made is an error, and not a right that is missing."""
    web.services = replace(web.services, authorize=lambda *_: decision)
    assert web.call("GET", "/api/me", who=AS_ALICE).status == status


def test_me_looks_at_a_bounded_number_of_scopes(web: WebApp) -> None:
    """An installation of many scopes costs one call no more than ten scopes' reads."""
    web.services = replace(web.services, scopes=(ROOT,) * 30)
    assert len(web.call("GET", "/api/me", who=AS_ALICE).json["permissions"]) == 10


# --- requests ----------------------------------------------------------------------------------


def test_filters_in_the_query(web: WebApp) -> None:
    """mine, status, vm, policy and time narrow the list, in any letter case."""
    protect(web)
    old = ask(web, duration="PT5M")
    web.world.pass_time(60)
    new = ask(web, AS_BOB, DB)
    assert listed(web, "") == [new, old]
    assert listed(web, "MINE=TRUE", AS_ALICE) == [old]
    assert listed(web, "mine=false", AS_ALICE) == [new, old]
    assert listed(web, "status=initiated") == [new]
    assert listed(web, f"vm={WEB}/") == [old]
    assert listed(web, "from=2026-11-22T14:30:00Z") == [new]
    assert listed(web, "to=2026-11-22T14:30:00Z") == [old]
    assert listed(web, "policy=default&status=Revoked") == [old]
    assert listed(web, f"policy={OTHER_POLICY}") == []


@pytest.mark.parametrize(
    "query",
    ["mine=maybe", "awaiting=you", "status=Open", "vm=web", "from=today", "to=1", f"vm={POLICY}"],
)
def test_a_filter_that_is_not_read_is_refused(web: WebApp, query: str) -> None:
    """A misspelt filter must not show everything."""
    refused = web.call("GET", f"/api/requests?{query}", who=AS_READER)
    assert (refused.status, refused.error["code"]) == (400, "InvalidQueryParameter")


def test_pages_lead_to_the_oldest_request(web: WebApp) -> None:
    """The link to the next page keeps the filters, and the last page has none."""
    protect(web)
    made = []
    for _ in range(101):
        made.append(ask(web, duration="PT5M"))
        web.world.pass_time(7)
    with nothing_changes(web.world):
        first = web.call("GET", "/api/requests?status=Revoked", who=AS_READER).json
        rest = web.call("GET", first["nextLink"], who=AS_READER).json
    assert "status=Revoked" in first["nextLink"]
    assert [each["id"] for each in [*first["value"], *rest["value"]]] == made[::-1]
    assert "nextLink" not in rest


def test_what_awaits_me(web: WebApp) -> None:
    """An approver finds what waits, can approve it, and then finds it no more."""
    protect(web, conditions={"approversNeeded": 1})
    waiting = ask(web)
    assert listed(web, "awaiting=me", AS_CAROL) == [waiting]
    assert listed(web, "awaiting=me", AS_ALICE) == []
    shown = web.call("GET", f"/api/requests/{waiting}", who=AS_CAROL).json
    assert shown["can"] == ["approve", "deny"]
    assert shown["justification"] == "INC4711"
    web.call("POST", f"/api/requests/{waiting}/approve", {}, who=AS_CAROL)
    assert listed(web, "awaiting=me", AS_CAROL) == []


def test_an_answer_says_what_its_reader_can_do(web: WebApp) -> None:
    """Object id, abilities, the latest end, and the state on each firewall."""
    protect(web)
    request = web.call("GET", f"/api/requests/{ask(web)}", who=AS_ALICE).json
    assert request["requestorObjectId"] == "alice-id"
    assert request["can"] == ["revoke", "extend"]
    assert request["latestEndTimeUtc"] == "2026-11-22T17:00:00Z"
    (port,) = request["virtualMachines"][0]["ports"]
    assert [each["name"] for each in port["firewalls"]] == ["nic-nsg", "subnet-nsg"]
    assert {(each["state"], each["reason"]) for each in port["firewalls"]} == {("Open", None)}
    assert all(each["openedAt"] and each["closedAt"] is None for each in port["firewalls"])


def test_a_closed_port_says_why_on_each_firewall(web: WebApp) -> None:
    """A revoked port is closing, then closed, with the reason and the time."""
    protect(web)
    path = f"/api/requests/{ask(web)}"
    revoked = web.call("POST", f"{path}/revoke", {}, who=AS_ALICE).json
    states = {
        (each["state"], each["reason"])
        for each in revoked["virtualMachines"][0]["ports"][0]["firewalls"]
    }
    assert states == {("Closing", "UserManuallyRevoked")}
    assert revoked["can"] == []
    web.world.work()
    closed = web.call("GET", path, who=AS_ALICE).json
    (first, _) = closed["virtualMachines"][0]["ports"][0]["firewalls"]
    assert (first["state"], first["closedAt"] is not None) == ("Closed", True)
    assert closed["latestEndTimeUtc"] is None


def test_other_people_s_reasons_and_addresses_are_not_shown(web: WebApp) -> None:
    """A requestor sees who has access to what until when, and nothing else of others."""
    protect(web)
    ask(web)
    for path in (
        "/api/requests",
        POLICY,
        POLICY.partition("/locations")[0] + "/jitNetworkAccessPolicies",
    ):
        for who, shown in ((AS_BOB, False), (AS_READER, True), (AS_ALICE, True)):
            text = web.call("GET", path, who=who).text
            assert ("INC4711" in text, ADDRESS in text) == (shown, shown), (path, who)
            assert "alice@contoso.example" in text


def test_the_answer_to_revoke_all_shows_no_more(web: WebApp) -> None:
    """An administrator who closes all access on a VM reads the details; the answer is filtered."""
    protect(web)
    ask(web)
    told: Answer = web.call("POST", "/api/revoke", {"virtualMachine": WEB}, who=AS_ADMIN)
    assert told.json["value"][0]["justification"] == "INC4711"


# --- activity and machines ---------------------------------------------------------------------


def test_a_requestor_reads_their_own_activity(web: WebApp) -> None:
    """Without the right to read the activity a caller is shown what concerns the caller."""
    protect(web, conditions={"approversNeeded": 1})
    mine, other = ask(web), ask(web, AS_BOB, DB)
    for each in (mine, other):
        web.call("POST", f"/api/requests/{each}/approve", {"comment": "ok"}, who=AS_CAROL)
    web.world.work()
    events = web.call("GET", "/api/activity", who=AS_ALICE).json["value"]
    assert {event["requestId"] for event in events} == {mine}
    assert {"requested", "approved", "opened"} <= {event["operation"] for event in events}
    others = [event for event in events if event["principal"] != "tenant/alice-id"]
    assert others
    assert all("sourceAddress" not in event for event in others)
    decided = web.call("GET", "/api/activity", who=AS_CAROL).json["value"]
    assert {event["operation"] for event in decided} == {"approved"}
    assert web.call("GET", "/api/activity", who=AS_NOROLE).json == {"value": []}
    everything = web.call("GET", "/api/activity", who=AS_READER).json["value"]
    assert {mine, other} <= {event.get("requestId") for event in everything}


def test_machines_have_their_addresses(web: WebApp) -> None:
    """Each private address of a VM is listed once."""
    machines = web.call("GET", "/api/machines", who=AS_READER).json["value"]
    found = {each["id"]: each["privateIpAddresses"] for each in machines}
    assert found == {WEB: ["10.0.0.4"], DB: ["10.0.0.5"]}
