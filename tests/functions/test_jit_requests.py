"""initiate at Microsoft's path, in Microsoft's words, through a request's whole life."""

import json
from typing import Any

import pytest

from shared.firewalls.nsg.model import Access
from tests.functions.web_app import (
    ADDRESS,
    AS_ADMIN,
    AS_ALICE,
    AS_BOB,
    AS_PIPELINE,
    AS_READER,
    HOST,
    WebApp,
    asking,
    policy_body,
)
from tests.world import DB, NSG_NIC, POLICY, WEB, vm_id

INITIATE = f"{POLICY}/initiate?api-version=2020-01-01"


@pytest.fixture(autouse=True)
def _policy(web: WebApp) -> None:
    web.call("PUT", POLICY, policy_body(), who=AS_ADMIN)
    web.world.work()


def listed(web: WebApp) -> list[Any]:
    """Return what the policy says of its requests."""
    requests: list[Any] = web.call("GET", POLICY, who=AS_ADMIN).json["properties"]["requests"]
    return requests


def fates(web: WebApp) -> list[tuple[str, str]]:
    """Return each listed request's first status and reason, newest first."""
    ports = [request["virtualMachines"][0]["ports"][0] for request in listed(web)]
    return [(port["status"], port["statusReason"]) for port in ports]


def test_initiate_answers_as_the_real_service_does(web: WebApp) -> None:
    """The same bytes: 202, the end verbatim with its seven digits, no justification unasked."""
    end = "2026-11-22T15:44:50.5921811Z"
    body = asking(endTimeUtc=end)

    taken = web.call("POST", INITIATE, body, who=AS_ALICE)

    port = {
        "number": 22,
        "allowedSourceAddressPrefix": "203.0.113.7",
        "endTimeUtc": end,
        "status": "Initiating",
        "statusReason": "UserRequested",
    }
    wanted = {
        "virtualMachines": [{"id": WEB, "ports": [port]}],
        "startTimeUtc": "2026-11-22T14:00:00.0000000Z",
        "requestor": "alice@contoso.example",
    }
    assert taken.status == 202
    assert taken.text == json.dumps(wanted, separators=(",", ":"))


def test_a_service_principal_is_an_empty_requestor(web: WebApp) -> None:
    """As recorded."""
    taken = web.call("POST", INITIATE, asking(), who=AS_PIPELINE)
    assert taken.json["requestor"] == ""


def test_justification_is_the_last_field_and_only_when_sent(web: WebApp) -> None:
    """As in the specification's example."""
    taken = web.call("POST", INITIATE, asking() | {"justification": "INC1"}, who=AS_ALICE)
    assert [*taken.json] == ["virtualMachines", "startTimeUtc", "requestor", "justification"]


def test_the_whole_life_is_told(web: WebApp) -> None:
    """Initiating, Initiated, then Revoked because it expired."""
    web.call("POST", INITIATE, asking(duration="PT10M"), who=AS_ALICE)
    assert fates(web) == [("Initiating", "UserRequested")]
    web.world.work()
    assert fates(web) == [("Initiated", "UserRequested")]
    web.world.pass_time(12)
    assert fates(web) == [("Revoked", "Expired")]


def test_a_duration_becomes_an_end_once_it_opens(web: WebApp) -> None:
    """Its clock starts then."""
    taken = web.call("POST", INITIATE, asking(duration="PT10M"), who=AS_ALICE)
    assert taken.json["virtualMachines"][0]["ports"][0]["duration"] == "PT10M"
    web.world.clock.advance(30)
    web.world.work()
    (request,) = listed(web)
    assert request["virtualMachines"][0]["ports"][0]["endTimeUtc"] == "2026-11-22T14:10:30.0000000Z"


def test_a_newer_request_replaces_the_older_without_a_gap(web: WebApp) -> None:
    """Same requestor, VM, port and sources; another person's grant stays as it is."""
    web.call("POST", INITIATE, asking(duration="PT1H"), who=AS_BOB)
    web.call("POST", INITIATE, asking(duration="PT10M"), who=AS_ALICE)
    web.world.work()
    gaps: list[int] = []
    web.world.firewall.before_write = lambda snapshot, _: gaps.append(
        sum(rule.access is Access.ALLOW for rule in snapshot.rules)
    )
    web.world.clock.advance(60)
    web.call("POST", INITIATE, asking(duration="PT10M"), who=AS_ALICE)
    web.world.work()
    assert sorted(fates(web)) == [
        ("Initiated", "UserRequested"),
        ("Initiated", "UserRequested"),
        ("Revoked", "NewerRequestInitiated"),
    ]
    assert min(gaps) == 2
    web.world.pass_time(15)
    assert min(fates(web)) == ("Initiated", "UserRequested")


def test_several_vms_and_ports_each_have_a_status(web: WebApp) -> None:
    """One element per call, in the order it was sent; a VM that fails fails alone."""
    body = asking()
    end = {"duration": "PT1H", "allowedSourceAddressPrefixes": ["198.51.100.4", "2001:db8::1"]}
    body["virtualMachines"].append({"id": DB, "ports": [{"number": 3389, **end}]})
    taken = web.call("POST", INITIATE, body, who=AS_ALICE)
    assert [vm["id"] for vm in taken.json["virtualMachines"]] == [WEB, DB]
    assert taken.json["virtualMachines"][1]["ports"][0]["allowedSourceAddressPrefixes"] == [
        "198.51.100.4",
        "2001:db8::1",
    ]
    web.world.work()
    (request,) = listed(web)
    assert [vm["ports"][0]["status"] for vm in request["virtualMachines"]] == ["Initiated"] * 2


def test_no_source_means_the_caller_s_address(web: WebApp) -> None:
    """The last hop the platform added, whatever the caller wrote before it."""
    forged = {"X-Forwarded-For": "10.0.0.1, 198.51.100.9:4711"}
    body = asking(allowedSourceAddressPrefix=None)
    taken = web.call("POST", INITIATE, body, who=AS_ALICE, headers=forged)
    port = taken.json["virtualMachines"][0]["ports"][0]
    assert port["allowedSourceAddressPrefix"] == "198.51.100.9"
    own = web.call("POST", INITIATE, body, who=AS_BOB).json["virtualMachines"][0]["ports"][0]
    assert own["allowedSourceAddressPrefix"] == ADDRESS


def test_an_app_must_name_the_source(web: WebApp) -> None:
    """It does not know where its user sits."""
    refused = web.call("POST", INITIATE, asking(allowedSourceAddressPrefix=None), who=AS_PIPELINE)
    assert (refused.status, refused.error["code"]) == (400, "InvalidInitiateInput")


def test_a_policy_shows_its_newest_hundred_requests(web: WebApp) -> None:
    """Newest first, however many there are."""
    for number in range(103):
        web.world.clock.advance(1)
        body = asking(duration="PT5M") | {"justification": str(number)}
        assert web.call("POST", INITIATE, body, who=AS_ALICE).status in {202, 429}
        if number % 30 == 29:
            web.world.pass_time(8)
    shown = [request["justification"] for request in listed(web)]
    assert shown == [str(number) for number in range(102, 2, -1)]


def test_a_hundred_ports_and_no_more(web: WebApp) -> None:
    """As many as Azure lets one request hold."""
    vms = [vm_id(f"vm{number}") for number in range(51)]
    web.call("PUT", POLICY, policy_body(*vms), who=AS_ADMIN)
    port = {"duration": "PT1H", "allowedSourceAddressPrefix": "203.0.113.7"}
    ports = [{"number": 22, **port}, {"number": 3389, **port}]
    body = {"virtualMachines": [{"id": vm, "ports": ports} for vm in vms]}
    assert web.call("POST", INITIATE, body, who=AS_ALICE).status == 400
    body["virtualMachines"].pop()
    assert web.call("POST", INITIATE, body, who=AS_ALICE).status == 202


def test_the_location_leads_to_the_outcome(web: WebApp) -> None:
    """202 with the same headers while undecided, 200 once it is open or ended."""
    taken = web.call("POST", INITIATE, asking(duration="PT10M"), who=AS_ALICE)
    where = taken.headers["Location"]
    assert where.startswith(f"{HOST}/api/requests/")
    waiting = web.call("GET", where, who=AS_ALICE)
    assert (waiting.status, waiting.json["status"]) == (202, "Initiating")
    polling = ("Location", "Retry-After")
    assert {n: waiting.headers[n] for n in polling} == {n: taken.headers[n] for n in polling}
    web.world.work()
    opened = web.call("GET", where, who=AS_ALICE)
    assert (opened.status, opened.json["status"]) == (200, "Initiated")
    assert web.call("GET", where, who=AS_BOB).status == 200  # Jit.Request reads policies


def test_the_short_form_finds_the_policy(web: WebApp) -> None:
    """A VM, ports and an end are enough."""
    short = {"virtualMachine": WEB, "ports": [22, 3389], "duration": "PT30M"}
    taken = web.call("POST", "/api/requests", short, who=AS_ALICE)
    assert taken.status == 202
    assert taken.json["policyId"] == POLICY
    ports = taken.json["virtualMachines"][0]["ports"]
    assert [(p["number"], p["allowedSourceAddressPrefix"]) for p in ports] == [
        (22, ADDRESS),
        (3389, ADDRESS),
    ]
    assert web.call("GET", taken.headers["Location"], who=AS_ALICE).json["id"] == taken.json["id"]


def test_requests_are_listed_newest_first(web: WebApp) -> None:
    """All of them for who may read the policy; by policy where asked."""
    for number in range(3):
        web.world.clock.advance(1)
        web.call("POST", INITIATE, asking() | {"justification": str(number)}, who=AS_ALICE)
    found = web.call("GET", "/api/requests", who=AS_ADMIN).json["value"]
    assert [request["justification"] for request in found] == ["2", "1", "0"]
    assert web.call("GET", "/api/requests?policy=default", who=AS_ADMIN).json["value"] == found
    assert web.call("GET", "/api/requests?policy=other", who=AS_ADMIN).json == {"value": []}


def test_port_0_is_a_port_like_any_other(web: WebApp) -> None:
    """The specification has it: governed, opened, closed, and told in the activity."""
    web.call("PUT", POLICY, policy_body(WEB, ports=(0, 22)), who=AS_ADMIN)
    web.world.work()
    (deny,) = web.world.firewall.ours(NSG_NIC, Access.DENY)
    assert deny.ports == ("0", "22")
    asked = web.call("POST", f"{POLICY}/initiate", asking(port=0, duration="PT10M"), who=AS_ALICE)
    assert asked.status == 202
    web.world.work()
    (allow,) = web.world.firewall.ours(NSG_NIC, Access.ALLOW)
    assert allow.ports == ("0",)
    web.world.pass_time(12)
    assert web.world.firewall.ours(NSG_NIC, Access.ALLOW) == []
    events = web.call("GET", "/api/activity", who=AS_READER).json["value"]
    assert [(event["operation"], event.get("port")) for event in events if "firewall" in event] == [
        ("opened", 0), ("opened", 0), ("closed", 0), ("closed", 0),
    ]  # fmt: skip
    assert [event.get("port", "none") for event in events if event["operation"] == "requested"] == [
        "none"
    ]


def test_a_close_is_never_told_as_earlier_than_it_was(web: WebApp) -> None:
    """To the tick, as the ends are: cut to a second it would lie before its own end."""
    web.call("PUT", POLICY, policy_body(WEB), who=AS_ADMIN)
    web.world.work()
    web.world.clock.advance(0.7)
    wanted = asking(duration="PT10M")
    place = web.call("POST", f"{POLICY}/initiate", wanted, who=AS_ALICE).headers["Location"]
    web.world.pass_time(12)
    told = web.call("GET", place, who=AS_ALICE).json
    assert told["openedAt"] == "2026-11-22T14:00:00.7000000Z"
    end = told["virtualMachines"][0]["ports"][0]["endTimeUtc"]
    assert end == "2026-11-22T14:10:00.7000000Z" <= told["closedAt"]
