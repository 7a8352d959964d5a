"""Refusals, in ARM's envelope and the real service's words."""

import json
from typing import Any

import pytest

from shared.firewalls.nsg.model import Access
from tests.functions.web_app import (
    AS_ADMIN,
    AS_ALICE,
    AS_READER,
    WebApp,
    asking,
    nothing_changes,
    policy_body,
    token,
)
from tests.world import DB, NSG_SUBNET, POLICY, SUBSCRIPTION, WEB, vm_id

INITIATE = f"{POLICY}/initiate"
NOWHERE = POLICY.replace("/default", "/nowhere")
ONE_END = "Only one of fields 'EndTimeUtc' and 'Duration' can be set."


@pytest.fixture(autouse=True)
def _policy(web: WebApp) -> None:
    web.call("PUT", POLICY, policy_body(), who=AS_ADMIN)
    web.world.work()


@pytest.mark.parametrize(
    "fields", [{"duration": None}, {"duration": "PT1H", "endTimeUtc": "2026-11-22T15:00:00Z"}]
)
def test_exactly_one_end(web: WebApp, fields: dict[str, Any]) -> None:
    """Neither and both get the real service's own sentence."""
    refused = web.call("POST", INITIATE, asking(**fields), who=AS_ALICE)
    assert refused.status == 400
    assert (refused.error["code"], refused.error["message"]) == ("InvalidInitiateInput", ONE_END)


def test_the_body_is_checked_before_the_policy(web: WebApp) -> None:
    """As in the real service: a bad body for no policy is a bad body."""
    bad = web.call("POST", f"{NOWHERE}/initiate", asking(duration=None), who=AS_ALICE)
    assert (bad.status, bad.error["code"]) == (400, "InvalidInitiateInput")
    good = web.call("POST", f"{NOWHERE}/initiate", asking(), who=AS_ALICE)
    assert (good.status, good.error["code"]) == (404, "PolicyNotFound")


def test_every_broken_line_is_named(web: WebApp) -> None:
    """The real sentence, and in details which line, where, and what would be right."""
    body = asking(WEB, 443, duration="PT1H")
    body["virtualMachines"].append(asking(vm_id("other"))["virtualMachines"][0])
    body["virtualMachines"].append(asking(DB, duration="PT4H")["virtualMachines"][0])
    refused = web.call("POST", INITIATE, body, who=AS_ALICE)
    assert refused.status == 400
    assert refused.error["message"] == (
        f"The given access request is not a subset of policy '{POLICY}'. Please make sure that "
        "the access request is within the allowed policy properties."
    )
    assert [(line["code"], line["target"]) for line in refused.error["details"]] == [
        ("PortNotInPolicy", "virtualMachines[0].ports[0].number"),
        ("VirtualMachineNotInPolicy", "virtualMachines[1].ports[0]"),
        ("DurationTooLong", "virtualMachines[2].ports[0].duration"),
    ]
    assert "PT3H" in refused.error["details"][2]["message"]


@pytest.mark.parametrize(
    "source",
    ["*", "any", "0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "8000::/1", "203.0.0.0/16",
     "127.0.0.1", "169.254.169.254", "224.0.0.1", "::1", "fe80::1", "168.63.129.16",
     "::ffff:203.0.113.7", "0.0.0.0"],
)  # fmt: skip
def test_no_requestor_asks_for_all_addresses(web: WebApp, source: str) -> None:
    """`*`, halves of the Internet and special ranges are refused though the policy says `*`."""
    refused = web.call("POST", INITIATE, asking(allowedSourceAddressPrefix=source), who=AS_ALICE)
    assert refused.status == 400
    assert web.world.firewall.ours(NSG_SUBNET, Access.ALLOW) == []


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("PUT", POLICY, "write"),
        ("DELETE", POLICY, "delete"),
        ("GET", POLICY, "read"),
        ("POST", INITIATE, "initiate/action"),
    ],
)
def test_403_is_arm_s_sentence(web: WebApp, method: str, path: str, action: str) -> None:
    """It names the client, the action and the scope."""
    body = {"PUT": policy_body(), "POST": asking()}.get(method)
    with nothing_changes(web.world):
        refused = web.call(method, path, body, who=token("norole"))
    assert (refused.status, refused.error["code"]) == (403, "AuthorizationFailed")
    scope = WEB if method == "POST" else POLICY
    assert (
        "The client 'norole@contoso.example' with object id 'norole-id' does not have "
        "authorization to perform action 'Microsoft.Security/locations/jitNetworkAccessPolicies/"
        f"{action}' over scope '{scope}'"
    ) in refused.error["message"]


def test_401_says_whom_to_ask(web: WebApp) -> None:
    """Without a token nothing is told but how to get one."""
    refused = web.call("GET", POLICY)
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer ")


def test_a_vm_outside_the_scopes_is_refused(web: WebApp) -> None:
    """A policy governs nothing this installation has no say in."""
    other = WEB.replace(SUBSCRIPTION, "22222222-2222-4222-8222-222222222222")
    with nothing_changes(web.world):
        refused = web.call("PUT", POLICY, policy_body(other), who=AS_ADMIN)
    assert refused.status in {400, 403}


BAD_POLICIES: list[tuple[str, Any]] = [
    ("protocol", "ICMP"),
    ("protocol", ""),
    ("protocol", None),
    ("number", -1),
    ("number", 65536),
    ("number", "22; x"),
    ("number", True),
    ("number", 22.5),
    ("maxRequestAccessDuration", "PT4M"),
    ("maxRequestAccessDuration", "P1DT1S"),
    ("maxRequestAccessDuration", "P1M"),
    ("maxRequestAccessDuration", 3),
    ("maxRequestAccessDuration", ""),
    ("allowedSourceAddressPrefix", ""),
    ("allowedSourceAddressPrefix", "Internet"),
    ("allowedSourceAddressPrefix", "host.example"),
    ("allowedSourceAddressPrefix", "300.1.1.1"),
    ("allowedSourceAddressPrefixes", []),
    ("allowedSourceAddressPrefixes", ["203.0.113.7"]),  # besides the singular one
    ("allowedSourceAddresPrefix", "203.0.113.7"),  # misspelt
]


@pytest.mark.parametrize(("field", "value"), BAD_POLICIES)
def test_a_bad_port_rule_is_400_with_its_place(web: WebApp, field: str, value: Any) -> None:
    """Never an opaque 500, which is what Defender's users complain of."""
    body = policy_body(WEB, ports=(22,))
    body["properties"]["virtualMachines"][0]["ports"][0][field] = value
    with nothing_changes(web.world):
        refused = web.call("PUT", POLICY, body, who=AS_ADMIN)
    assert refused.status == 400
    assert refused.error["details"][0]["target"].startswith(
        "properties.virtualMachines[0].ports[0]"
    )


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "null", '"x"', "1", '{"a":1,"a":2}', '{"a":NaN}', "\ud800".encode(
        "utf-8", "surrogatepass").decode("latin-1"), "[" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000,
     "{}", '{"properties":null}', '{"properties":{}}', '{"properties":{"virtualMachines":null}}',
     '{"virtualMachines":[]}', '{"virtualMachines":[{}]}', '{"virtualMachines":[null]}'],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [("PUT", POLICY), ("POST", INITIATE)])
def test_no_body_is_a_500(web: WebApp, method: str, path: str, body: str) -> None:
    """Any bad body gets 400 in the envelope and changes nothing."""
    with nothing_changes(web.world):
        refused = web.call(method, path, body, who=AS_ADMIN)
    assert refused.status == 400
    assert set(refused.error) >= {"code", "message"}


def test_appending_is_refused(web: WebApp) -> None:
    """It is not documented, and replacing instead would leave machines unprotected."""
    refused = web.call("PUT", POLICY, policy_body(WEB, appendMode=True), who=AS_ADMIN)
    assert refused.status == 400


@pytest.mark.parametrize(
    "path", [POLICY.replace("default", "a%20b"), "/subscriptions/x/" + "y" * 9]
)
def test_odd_paths_are_refused(web: WebApp, path: str) -> None:
    """In the envelope, like everything."""
    refused = web.call("GET", path, who=AS_ADMIN)
    assert refused.status in {400, 404}
    assert refused.error["code"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", POLICY), ("GET", "/no/such/path"), ("DELETE", NOWHERE), ("PUT", POLICY),
     ("GET", "/api/machines"), ("GET", "/api/openapi.json")],
)  # fmt: skip
def test_every_answer_has_a_request_id(web: WebApp, method: str, path: str) -> None:
    """Refusals too, each its own, and no answer is cached."""
    answers = [web.call(method, path, who=AS_READER) for _ in range(2)]
    assert len({each.headers["x-ms-request-id"] for each in answers}) == 2
    assert {each.headers["Cache-Control"] for each in answers} == {"no-cache"}
    for each in answers:
        assert not each.text or json.loads(each.text)
