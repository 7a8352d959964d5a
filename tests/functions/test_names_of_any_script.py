"""A life in resource groups whose names are written in any script."""

from urllib.parse import quote

import pytest

from shared.domain.model import Attachment
from tests.functions.web_app import (
    AS_ADMIN,
    AS_ALICE,
    AS_READER,
    WebApp,
    asking,
    nothing_changes,
    policy_body,
)
from tests.unit.test_names import ANY_SCRIPT, DIFFERENT, NO_NAMES, SAME
from tests.world import NSG_NIC, POLICY, SUBSCRIPTION, WEB

SCOPE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/"


def in_group(resource_id: str, group: str) -> str:
    """Return the id of a resource's namesake in another group."""
    return resource_id.replace("/app/", f"/{group}/")


def protect(web: WebApp, group: str) -> None:
    """Put a VM in a group, and a policy over it."""
    vm, firewall = in_group(WEB, group), in_group(NSG_NIC, group)
    web.world.firewall.add(firewall)
    web.world.machines.add(vm, Attachment(firewall, ("10.0.0.4",)))
    put = web.call("PUT", quote(in_group(POLICY, group)), policy_body(vm), who=AS_ADMIN)
    assert put.status == 200, put.text
    assert put.json["id"] == in_group(POLICY, group)
    web.world.work()


@pytest.mark.parametrize("group", ANY_SCRIPT)
def test_access_is_given_and_ended_in_a_group_of_any_script(web: WebApp, group: str) -> None:
    """PUT, lists, a request, its end, the machines and the activity, by encoded paths."""
    protect(web, group)
    policy, vm, scope = in_group(POLICY, group), in_group(WEB, group), f"{SCOPE}{group}"

    assert web.call("GET", quote(policy), who=AS_ADMIN).json["properties"]["provisioningState"] == (
        "Succeeded"
    )
    for listing in (f"/subscriptions/{SUBSCRIPTION}", scope):
        path = f"{listing}/providers/Microsoft.Security/jitNetworkAccessPolicies"
        listed = web.call("GET", quote(path), who=AS_ADMIN).json["value"]
        assert [each["id"] for each in listed] == [policy]
    taken = web.call("POST", quote(f"{policy}/initiate"), asking(vm), who=AS_ALICE)
    assert taken.status == 202, taken.text
    assert taken.headers["Location"].isascii()
    short = {"virtualMachine": vm, "ports": [3389], "duration": "PT1H"}
    assert web.call("POST", "/api/requests", short, who=AS_ALICE).status == 202
    web.world.work()
    assert web.call("GET", taken.headers["Location"], who=AS_ALICE).json["status"] == "Initiated"
    mine = web.call("GET", f"/api/requests?policy={quote(policy)}", who=AS_ALICE).json["value"]
    assert len(mine) == 2
    for asked in (scope, f"{scope}/", vm):
        [machine] = web.call("GET", f"/api/machines?scope={quote(asked)}", who=AS_READER).json[
            "value"
        ]
        assert (machine["id"], machine["category"]) == (vm, "Configured")
    web.world.pass_time(61)
    assert web.call("GET", taken.headers["Location"], who=AS_ALICE).json["status"] == "Revoked"
    events = web.call("GET", f"/api/activity?virtualMachine={quote(vm)}", who=AS_READER)
    assert {"requested", "opened", "closed"} <= {each["operation"] for each in events.json["value"]}


@pytest.mark.parametrize(("one", "other"), SAME)
def test_a_policy_is_found_in_either_letter_case(web: WebApp, one: str, other: str) -> None:
    """As ARM does, in any script."""
    protect(web, one)
    assert web.call("GET", quote(in_group(POLICY, other)), who=AS_ADMIN).status == 200
    path = f"{SCOPE}{other}/providers/Microsoft.Security/jitNetworkAccessPolicies"
    assert len(web.call("GET", quote(path), who=AS_ADMIN).json["value"]) == 1
    asked = asking(in_group(WEB, other))
    taken = web.call("POST", quote(f"{in_group(POLICY, other)}/initiate"), asked, who=AS_ALICE)
    assert taken.status == 202


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_a_policy_governs_no_group_of_another_name(web: WebApp, one: str, other: str) -> None:
    """Two groups whose names look alike to a careless comparison stay two."""
    protect(web, one)
    assert web.call("GET", quote(in_group(POLICY, other)), who=AS_ADMIN).status in {400, 404}
    asked = asking(in_group(WEB, other))
    with nothing_changes(web.world):
        refused = web.call("POST", quote(f"{in_group(POLICY, one)}/initiate"), asked, who=AS_ALICE)
    assert (refused.status, refused.error["details"][0]["code"]) == (
        400,
        "VirtualMachineNotInPolicy",
    )


@pytest.mark.parametrize("name", [each for each in NO_NAMES if each and "/" not in each])
@pytest.mark.parametrize("part", ["/app/", "/default"])
def test_a_path_with_no_name_in_it_is_refused(web: WebApp, name: str, part: str) -> None:
    """The answer says which part is wrong and what a name is."""
    path = POLICY.replace(part, part.replace(part.strip("/"), name))
    if name == "\ud800":
        return  # no URL can hold it
    refused = web.call("GET", quote(path), who=AS_ADMIN)
    assert (refused.status, refused.error["code"]) == (400, "InvalidPath")
    assert "of any script" in refused.error["message"]


@pytest.mark.parametrize(
    "scope",
    [f"{SCOPE}a b", f"{SCOPE}a%b", f"{SCOPE}app/x", f"{SCOPE}app/providers/x", NSG_NIC, "x", SCOPE],
)
def test_a_scope_that_is_none_is_refused(web: WebApp, scope: str) -> None:
    """The answer says what a scope is."""
    refused = web.call("GET", f"/api/machines?scope={quote(scope)}", who=AS_READER)
    assert (refused.status, refused.error["code"]) == (400, "InvalidScope")


def test_a_refusal_names_its_policy_in_any_script(web: WebApp) -> None:
    """The record of a refusal holds the policy's id as it is written, not as a URL encodes it."""
    protect(web, "财务")
    policy = in_group(POLICY, "财务")
    body = asking(in_group(WEB, "财务"), 443)
    web.call("POST", quote(f"{policy}/initiate"), body, who=AS_ALICE)
    events = web.call("GET", "/api/activity?operation=refused", who=AS_READER).json["value"]
    assert [event["policyId"] for event in events] == [policy]
