"""Policies at Microsoft's paths, in Microsoft's words."""

import json

import pytest

from shared.firewalls.nsg.model import Access
from tests.functions.web_app import (
    AS_ADMIN,
    AS_ALICE,
    AS_READER,
    HOST,
    WebApp,
    asking,
    policy_body,
)
from tests.world import DB, GROUP, NSG_NIC, NSG_SUBNET, POLICY, SUBSCRIPTION, WEB, vm_id

PROVIDER = "providers/Microsoft.Security"
LISTS = (
    f"/subscriptions/{SUBSCRIPTION}/{PROVIDER}/jitNetworkAccessPolicies",
    f"/subscriptions/{SUBSCRIPTION}/{PROVIDER}/locations/westeurope/jitNetworkAccessPolicies",
    f"{GROUP}/{PROVIDER}/jitNetworkAccessPolicies",
    f"{GROUP}/{PROVIDER}/locations/westeurope/jitNetworkAccessPolicies",
)


def test_put_answers_as_the_real_service_does(web: WebApp) -> None:
    """The same bytes: field order, spelling, compact JSON, 200 and never 201."""
    rule = {
        "number": 22,
        "protocol": "TCP",
        "allowedSourceAddressPrefix": "127.0.0.1",
        "maxRequestAccessDuration": "PT3H",
    }
    listed = [{"id": WEB, "ports": [rule]}]
    body = {"kind": "Basic", "properties": {"virtualMachines": listed}}

    put = web.call("PUT", f"{POLICY}?api-version=2020-01-01", body, who=AS_ADMIN)

    wanted = {
        "kind": "Basic",
        "properties": {
            "virtualMachines": listed,
            "requests": [],
            "provisioningState": "Updating",
            "appendMode": False,
        },
        "id": POLICY,
        "name": "default",
        "type": "Microsoft.Security/locations/jitNetworkAccessPolicies",
        "location": "westeurope",
    }
    assert put.status == 200
    assert put.text == json.dumps(wanted, separators=(",", ":"))
    assert web.call("GET", POLICY, who=AS_ADMIN).text == put.text
    web.world.work()
    settled = web.call("GET", POLICY, who=AS_ADMIN).text
    assert settled == put.text.replace('"Updating"', '"Succeeded"')


@pytest.mark.parametrize("path", LISTS)
def test_an_empty_list_is_twelve_characters(web: WebApp, path: str) -> None:
    """Exactly as recorded."""
    assert web.call("GET", path, who=AS_ADMIN).text == '{"value":[]}'


@pytest.mark.parametrize("path", LISTS)
def test_every_list_finds_a_policy(web: WebApp, path: str) -> None:
    """By subscription, location, group, and both; whatever the letter case of the path."""
    web.call("PUT", POLICY, policy_body(), who=AS_ADMIN)
    shouted = path.replace(GROUP, GROUP.upper()).replace("westeurope", "WestEurope")
    for each in (path, shouted):
        (found,) = web.call("GET", each, who=AS_READER).json["value"]
        read = web.call("GET", POLICY, who=AS_READER)
        assert found == {**read.json, "etag": read.headers["ETag"]}


@pytest.mark.parametrize("path", [LISTS[1].replace("west", "north"), LISTS[2].replace("app", "x")])
def test_lists_are_narrowed(web: WebApp, path: str) -> None:
    """Another location or group has none of it."""
    web.call("PUT", POLICY, policy_body(), who=AS_ADMIN)
    assert web.call("GET", path, who=AS_ADMIN).json == {"value": []}


def test_a_large_list_comes_in_pages(web: WebApp) -> None:
    """Following nextLink meets each policy once, and the last page has no link."""
    names = [f"policy-{number:03}" for number in range(120)]
    for name in names:
        web.call("PUT", POLICY.replace("/default", f"/{name}"), policy_body(), who=AS_ADMIN)
    link, seen, pages = f"{HOST}{LISTS[0]}?api-version=2020-01-01", [], 0
    while link:
        page = web.call("GET", link, who=AS_ADMIN).json
        seen += [policy["name"] for policy in page["value"]]
        link = page.get("nextLink", "")
        assert not link or link.startswith(f"{HOST}{LISTS[0]}?api-version=2020-01-01&$skipToken=")
        pages += 1
    assert (seen, pages) == (names, 3)


def test_a_policy_added_meanwhile_hides_none(web: WebApp) -> None:
    """A page begins after the last one's key, not at a position."""
    for number in range(60):
        web.call("PUT", POLICY.replace("default", f"p{number:02}"), policy_body(), who=AS_ADMIN)
    first = web.call("GET", HOST + LISTS[0], who=AS_ADMIN).json
    web.call("PUT", POLICY.replace("default", "a-new-one"), policy_body(), who=AS_ADMIN)
    second = web.call("GET", first["nextLink"], who=AS_ADMIN).json
    seen = [policy["name"] for policy in (*first["value"], *second["value"])]
    assert seen == [f"p{number:02}" for number in range(60)]


@pytest.mark.parametrize("token", ["!", "x", "%ff", "ä", "AAAA=B"])
def test_a_made_up_skip_token_is_refused(web: WebApp, token: str) -> None:
    """It is an error or an empty page, never a failure."""
    answer = web.call("GET", f"{LISTS[0]}?$skipToken={token}", who=AS_ADMIN)
    assert answer.status in {200, 400}


def test_put_replaces_the_vms_and_keeps_the_requests(web: WebApp) -> None:
    """The VM list is the new one alone; what was asked stays, for VMs no longer listed too."""
    web.call("PUT", POLICY, policy_body(WEB, DB), who=AS_ADMIN)
    web.world.work()
    web.call("POST", f"{POLICY}/initiate", asking(DB), who=AS_ALICE)
    web.world.work()

    put = web.call("PUT", POLICY, policy_body(WEB), who=AS_ADMIN)
    web.world.work()

    read = web.call("GET", POLICY, who=AS_ADMIN).json["properties"]
    assert put.json["properties"]["requests"] == []
    assert [vm["id"] for vm in read["virtualMachines"]] == [WEB]
    (request,) = read["requests"]
    (port,) = request["virtualMachines"][0]["ports"]
    assert (port["status"], port["statusReason"]) == ("Revoked", "UserManuallyRevoked")
    assert web.world.firewall.ours(NSG_SUBNET, Access.ALLOW) == []


def test_ids_are_echoed_as_they_were_first_written(web: WebApp) -> None:
    """Letter case never makes another policy or VM, and the first spelling stays."""
    web.call("PUT", POLICY, policy_body(), who=AS_ADMIN)
    shouted = POLICY.replace("/resourceGroups/app", "/resourcegroups/APP")
    again = web.call("PUT", shouted, policy_body(WEB.upper().replace("/SUB", "/sub")), who=AS_ADMIN)
    assert again.json["id"] == POLICY
    assert again.json["properties"]["virtualMachines"][0]["id"].endswith("/WEB")
    assert len(web.call("GET", LISTS[0], who=AS_ADMIN).json["value"]) == 1


@pytest.mark.parametrize("sent", ["PT3H", "PT180M", "P1D", "PT24H", "PT5M", "PT1H30M"])
def test_a_duration_is_echoed_as_it_was_sent(web: WebApp, sent: str) -> None:
    """Clients compare what they wrote with what they read."""
    body = policy_body(WEB, ports=(22,))
    body["properties"]["virtualMachines"][0]["ports"][0]["maxRequestAccessDuration"] = sent
    web.call("PUT", POLICY, body, who=AS_ADMIN)
    read = web.call("GET", POLICY, who=AS_ADMIN).json
    assert read["properties"]["virtualMachines"] == body["properties"]["virtualMachines"]


def test_sources_are_echoed_in_the_field_they_came_in(web: WebApp) -> None:
    """One prefix or a list, never both."""
    body = policy_body(WEB, ports=(22,))
    rule = body["properties"]["virtualMachines"][0]["ports"][0]
    del rule["allowedSourceAddressPrefix"]
    rule["allowedSourceAddressPrefixes"] = ["203.0.113.0/24", "2001:db8::/48"]
    (vm,) = web.call("PUT", POLICY, body, who=AS_ADMIN).json["properties"]["virtualMachines"]
    assert vm["ports"][0]["allowedSourceAddressPrefixes"] == ["203.0.113.0/24", "2001:db8::/48"]
    assert "allowedSourceAddressPrefix" not in vm["ports"][0]


def test_what_was_read_can_be_put_back(web: WebApp) -> None:
    """A script that reads, merges and PUTs needs to take nothing out."""
    web.call("PUT", POLICY, policy_body(vm_id("gone")), who=AS_ADMIN)
    web.world.work()
    read = web.call("GET", POLICY, who=AS_ADMIN).json
    assert read["properties"]["provisioningState"] == "Failed"
    assert "does not exist" in read["properties"]["provisioningError"]
    assert web.call("PUT", POLICY, read, who=AS_ADMIN).status == 200


def test_vms_without_ports_get_the_usual_ones(web: WebApp) -> None:
    """As Defender governs them by default on the VM's system."""
    body = {"properties": {"virtualMachines": [{"id": WEB}]}}
    web.call("PUT", POLICY, body, who=AS_ADMIN)
    web.world.work()
    (vm,) = web.call("GET", POLICY, who=AS_ADMIN).json["properties"]["virtualMachines"]
    assert [port["number"] for port in vm["ports"]] == [22]


def test_delete_is_200_then_204(web: WebApp) -> None:
    """Both without a body; and the deny rules are gone."""
    web.call("PUT", POLICY, policy_body(), who=AS_ADMIN)
    web.world.work()
    assert web.world.firewall.ours(NSG_NIC)
    first = web.call("DELETE", POLICY, who=AS_ADMIN)
    second = web.call("DELETE", POLICY, who=AS_ADMIN)
    web.world.work()
    assert [(each.status, each.text) for each in (first, second)] == [(200, ""), (204, "")]
    assert web.call("GET", POLICY, who=AS_ADMIN).status == 404
    assert web.world.firewall.ours(NSG_NIC) == []


def test_500_vms_make_the_round_trip(web: WebApp) -> None:
    """Four ports each: what was put is what is read, and every VM is there."""
    vms = [vm_id(f"machine-number-{number:04}") for number in range(500)]
    body = policy_body(*vms, ports=(22, 3389, 5985, 5986))
    assert web.call("PUT", POLICY, body, who=AS_ADMIN).status == 200
    answer = web.call("GET", POLICY, who=AS_ADMIN)
    read = answer.json
    assert read["properties"]["virtualMachines"] == body["properties"]["virtualMachines"]
    (listed,) = web.call("GET", LISTS[0], who=AS_ADMIN).json["value"]
    assert listed == {**read, "etag": answer.headers["ETag"]}


def test_a_policy_that_cannot_be_kept_is_refused(web: WebApp) -> None:
    """Before anything is written, and with what to do instead."""
    vms = [vm_id(f"{'long-name-' * 5}{number:04}") for number in range(500)]
    body = policy_body(*vms, ports=tuple(range(1000, 1012)))
    for rule in body["properties"]["virtualMachines"][0]["ports"]:  # shared by all the VMs
        rule |= {"allowedSourceAddressPrefix": "203.0.113.0/24", "maxRequestAccessDuration": "PT2H"}
    refused = web.call("PUT", POLICY, body, who=AS_ADMIN)
    assert (refused.status, refused.error["code"]) == (400, "PolicyTooLarge")
    assert web.call("GET", POLICY, who=AS_ADMIN).status == 404
