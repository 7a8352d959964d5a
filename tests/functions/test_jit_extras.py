"""Operations beyond Defender's API: conditions, dry runs, repeated calls."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain.times import format_instant
from shared.store.keys import policy_key
from tests.functions.web_app import (
    AS_ADMIN,
    AS_ALICE,
    AS_BOB,
    AS_READER,
    WebApp,
    asking,
    nothing_changes,
    policy_body,
    token,
)
from tests.world import DB, NSG_NIC, NSG_SUBNET, POLICY, WEB, vm_id

INITIATE = f"{POLICY}/initiate"
FROM_HERE = {"allowedSourceAddressPrefix": "203.0.113.7"}


def protect(web: WebApp, **conditions: Any) -> None:
    """PUT a policy with conditions, and let it be applied."""
    answer = web.call("PUT", POLICY, policy_body(conditions=conditions), who=AS_ADMIN)
    assert answer.status == 200, answer.text
    web.world.work()


def refusals(web: WebApp, body: Any) -> list[str]:
    """Ask, and return the codes of the lines that were broken."""
    answer = web.call("POST", INITIATE, body, who=AS_ALICE)
    return [line["code"] for line in answer.error["details"]] if answer.status != 202 else []


# --- approval ----------------------------------------------------------------------------------


def test_a_later_end_that_waits_is_shown(web: WebApp) -> None:
    """An open request says which later end people are asked for, until the last has agreed."""
    protect(web, approversNeeded=2, approveExtensions=True)
    first, second = token("carol", "Jit.Approve"), token("dave", "Jit.Approve")
    asked = {"virtualMachine": WEB, "ports": [22], "duration": "PT30M", **FROM_HERE}
    path = f"/api/requests/{web.call('POST', '/api/requests', asked, who=AS_ALICE).json['id']}"
    for who in (first, second):
        assert "endTimeUtc" not in web.call("GET", path, who=AS_ALICE).json["approval"]
        assert web.call("POST", f"{path}/approve", {}, who=who).status == 200
    web.world.work()
    until = format_instant(web.world.clock() + timedelta(hours=1))
    extended = web.call("POST", f"{path}/extend", {"endTimeUtc": until}, who=AS_ALICE)
    assert extended.status == 200, extended.text
    for agreed, who in enumerate((first, second)):
        told = web.call("GET", path, who=AS_ALICE).json
        assert (told["status"], told["approval"]["endTimeUtc"]) == ("Initiated", until)
        assert (told["approval"]["needed"], told["approval"]["agreed"]) == (2, agreed)
        assert web.call("POST", f"{path}/approve", {}, who=who).status == 200
    assert "endTimeUtc" not in web.call("GET", path, who=AS_ALICE).json["approval"]


# --- conditions --------------------------------------------------------------------------------


def test_conditions_are_answered_only_where_there_are_some(web: WebApp) -> None:
    """A policy without any looks exactly like Defender's."""
    protect(web)
    assert "conditions" not in web.call("GET", POLICY, who=AS_ADMIN).json["properties"]
    protect(web, justificationRequired=True, approvalTimeout="PT30M", widestSourcePrefixIpv4=32)
    assert web.call("GET", POLICY, who=AS_ADMIN).json["properties"]["conditions"] == {
        "justificationRequired": True,
        "justificationPattern": "",
        "widestSourcePrefixIpv4": 32,
        "widestSourcePrefixIpv6": None,
        "ownAddressOnly": False,
        "onlyThroughBastion": False,
        "approversNeeded": 0,
        "extensionApproval": "asOpening",
        "approveExtensions": True,
        "maxTotalDuration": "P1D",
        "approvalTimeout": "PT30M",
        "flushConnections": False,
        "closeBy": "begin",
        "revokeForeignRules": False,
    }


def test_a_client_that_does_not_know_conditions_cannot_drop_them(web: WebApp) -> None:
    """A PUT without them keeps them, as it keeps the requests; only an empty object clears."""
    protect(web, justificationRequired=True)
    web.call("PUT", POLICY, policy_body(WEB), who=AS_ADMIN)
    read = web.call("GET", POLICY, who=AS_ADMIN).json
    assert read["properties"]["conditions"]["justificationRequired"]
    assert web.call("PUT", POLICY, read, who=AS_ADMIN).json == read | {
        "properties": read["properties"] | {"provisioningState": "Updating"}
    }
    protect(web)
    assert "conditions" not in web.call("GET", POLICY, who=AS_ADMIN).json["properties"]


def test_a_deleted_policy_s_conditions_do_not_come_back(web: WebApp) -> None:
    """Neither while it is being deleted nor after."""
    protect(web, justificationRequired=True)
    web.call("DELETE", POLICY, who=AS_ADMIN)
    put = web.call("PUT", POLICY, policy_body(), who=AS_ADMIN)
    assert "conditions" not in put.json["properties"]


def test_a_justification_can_be_asked_for(web: WebApp) -> None:
    """Blank is none."""
    protect(web, justificationRequired=True)
    assert refusals(web, asking()) == ["JustificationRequired"]
    assert refusals(web, asking() | {"justification": "  "}) == ["JustificationRequired"]
    assert refusals(web, asking() | {"justification": "because"}) == []


def test_a_justification_can_be_held_to_a_pattern(web: WebApp) -> None:
    """The whole of it, blanks around it apart."""
    protect(web, justificationPattern=r"(INC|CHG)\d{4,8}( .*)?")
    assert refusals(web, asking() | {"justification": "see INC12345"}) == ["JustificationPattern"]
    assert refusals(web, asking() | {"justification": " CHG0001 reboot "}) == []


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "(?i)a", "a**", "x" * 257, "[a"])
def test_a_pattern_that_cannot_be_run_safely_is_refused(web: WebApp, pattern: str) -> None:
    """It is refused when it is PUT, not at the first request."""
    body = policy_body(conditions={"justificationPattern": pattern})
    refused = web.call("PUT", POLICY, body, who=AS_ADMIN)
    assert refused.status == 400
    assert refused.error["details"][0]["target"] == "properties.conditions.justificationPattern"


def test_no_pattern_stalls_the_app(web: WebApp) -> None:
    """Those that keep a backtracking matcher busy for years are answered at once."""
    protect(web, justificationPattern="((a+)+)+b")
    assert refusals(web, asking() | {"justification": "a" * 1024}) == ["JustificationPattern"]


def test_the_widest_source_can_be_narrowed(web: WebApp) -> None:
    """Below what the installation allows; each family by itself."""
    protect(web, widestSourcePrefixIpv4=30, widestSourcePrefixIpv6=64)
    assert refusals(web, asking(allowedSourceAddressPrefix="203.0.113.0/29")) == [
        "SourceNotAllowed"
    ]
    assert refusals(web, asking(allowedSourceAddressPrefix="2001:db8::/63")) == ["SourceNotAllowed"]
    assert refusals(web, asking(allowedSourceAddressPrefix="203.0.113.0/30")) == []


def test_a_policy_cannot_be_wider_than_the_installation(web: WebApp) -> None:
    """It is told so, not silently narrowed."""
    body = policy_body(conditions={"widestSourcePrefixIpv4": 16})
    refused = web.call("PUT", POLICY, body, who=AS_ADMIN)
    assert (refused.status, refused.error["details"][0]["code"]) == (400, "SourceTooWide")


def test_many_small_sources_are_no_large_one(web: WebApp) -> None:
    """All sources of a port together are capped too."""
    protect(web)
    few = [f"203.0.{number}.0/24" for number in range(4)]
    many = [f"203.0.{number}.0/24" for number in range(0, 10, 2)]
    single: dict[str, Any] = {"allowedSourceAddressPrefix": None}
    assert refusals(web, asking(**single, allowedSourceAddressPrefixes=many)) == ["SourcesTooWide"]
    assert refusals(web, asking(**single, allowedSourceAddressPrefixes=few)) == []


@pytest.mark.parametrize(
    ("source", "codes"),
    [
        ("203.0.113.7", []),
        ("203.0.113.7/32", []),
        ("203.0.113.8", ["SourceNotOwnAddress"]),
        ("203.0.113.0/28", ["SourceNotOwnAddress"]),
    ],
)
def test_a_policy_can_open_to_one_s_own_address_only(
    web: WebApp, source: str, codes: list[str]
) -> None:
    """Compared by meaning."""
    protect(web, ownAddressOnly=True)
    assert refusals(web, asking(allowedSourceAddressPrefix=source)) == codes


# --- repeated calls ----------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["Repeatability-Request-ID", "x-ms-client-request-id"])
def test_a_repeated_call_opens_nothing_twice(web: WebApp, header: str) -> None:
    """Same id, caller and body: the same request, and one message."""
    protect(web)
    answers = [
        web.call("POST", INITIATE, asking(), who=AS_ALICE, headers={header: "one"})
        for _ in range(3)
    ]
    assert {each.status for each in answers} == {202}
    assert len({each.headers["Location"] for each in answers}) == 1
    assert len(web.world.queues.waiting) == 1
    web.world.work()
    assert len(web.call("GET", POLICY, who=AS_ADMIN).json["properties"]["requests"]) == 1


def test_a_repeated_id_with_another_body_is_refused(web: WebApp) -> None:
    """Nothing is opened by it."""
    protect(web)
    sent = {"Repeatability-Request-ID": "one"}
    web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent)
    with nothing_changes(web.world):
        other = web.call("POST", INITIATE, asking(port=3389), who=AS_ALICE, headers=sent)
    assert (other.status, other.error["code"]) == (400, "RepeatedRequestDiffers")


def test_the_same_words_in_another_order_are_the_same_body(web: WebApp) -> None:
    """A script that builds its JSON anew repeats itself."""
    protect(web)
    sent = {"Repeatability-Request-ID": "one"}
    body = asking() | {"justification": "x"}
    turned = dict(reversed(body.items()))
    first = web.call("POST", INITIATE, body, who=AS_ALICE, headers=sent)
    second = web.call("POST", INITIATE, turned, who=AS_ALICE, headers=sent)
    assert first.headers["Location"] == second.headers["Location"]


def test_ids_belong_to_their_caller_and_last_a_day(web: WebApp) -> None:
    """Another person's key, and one of yesterday, are new."""
    protect(web)
    sent = {"Repeatability-Request-ID": "one"}
    first = web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent)
    assert first.headers["Repeatability-Result"] == "accepted"
    bobs = web.call("POST", INITIATE, asking(), who=AS_BOB, headers=sent)
    web.world.clock.advance(24 * 3600 - 1)
    again = web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent)
    web.world.clock.advance(1)
    new = web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent)
    places = [each.headers["Location"] for each in (first, bobs, again, new)]
    assert places[0] == places[2]
    assert len(set(places)) == 3


def test_a_refused_call_leaves_its_id_free(web: WebApp) -> None:
    """A call that opened nothing may be corrected and sent again."""
    protect(web)
    sent = {"Repeatability-Request-ID": "one"}
    assert web.call("POST", INITIATE, asking(port=443), who=AS_ALICE, headers=sent).status == 400
    assert web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent).status == 202


def test_an_id_that_cannot_be_kept_is_refused(web: WebApp) -> None:
    """Rather than cut."""
    protect(web)
    sent = {"Repeatability-Request-ID": "x" * 129}
    assert web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent).status == 400


@pytest.mark.parametrize("header", ["Repeatability-Request-ID", "x-ms-client-request-id"])
def test_a_call_that_stopped_half_way_is_taken_up_again(web: WebApp, header: str) -> None:
    """Its id leads to one request, though the first attempt never wrote it."""
    protect(web)
    sent = {header: "one"}
    insert, crashes = web.world.tables.requests.insert, [True]

    def crashing(row: Any) -> str:
        if not row.partition.startswith(("repeat|", "live|")) and crashes:
            crashes.pop()
            raise RuntimeError("crash")
        return insert(row)

    web.world.tables.requests.insert = crashing  # type: ignore[method-assign]
    assert web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent).status == 500
    taken = web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent)
    again = web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent)
    assert taken.status == 202
    assert taken.headers["Location"] == again.headers["Location"]
    web.world.work()
    assert len(web.call("GET", POLICY, who=AS_ADMIN).json["properties"]["requests"]) == 1


@pytest.mark.parametrize("header", ["Repeatability-Request-ID", "x-ms-client-request-id"])
@pytest.mark.parametrize("row_of", ["repeat|", policy_key(POLICY)])
def test_two_calls_at_the_same_instant_open_one_request(
    web: WebApp, row_of: str, header: str
) -> None:
    """Whichever row of the first the second call comes before: its id's, or the request's."""
    protect(web)
    sent = {header: "one"}
    insert = web.world.tables.requests.insert
    overtaking: list[str] = []

    def overtaken(row: Any) -> str:
        if not overtaking and row.partition.startswith(row_of):
            overtaking.append("begun")
            other = web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent)
            overtaking.append(other.headers["Location"])
        return insert(row)

    web.world.tables.requests.insert = overtaken  # type: ignore[method-assign]
    mine = web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent)
    assert overtaking == ["begun", mine.headers["Location"]]
    web.world.work()
    assert len(web.call("GET", POLICY, who=AS_ADMIN).json["properties"]["requests"]) == 1


# --- dry runs ----------------------------------------------------------------------------------


def test_a_dry_run_tells_the_rules_that_are_then_written(web: WebApp) -> None:
    """Every property of them but the name's hash, which comes from the request's id."""
    protect(web)
    with nothing_changes(web.world):
        told = web.call("POST", f"{INITIATE}?dryRun=true", asking(), who=AS_ALICE)
    assert told.status == 200
    assert (told.json["allowed"], told.json["reasons"], told.json["problems"]) == (True, [], [])
    web.call("POST", INITIATE, asking(), who=AS_ALICE)
    web.world.work()
    for change in told.json["firewalls"]:
        (rule,) = change["put"]
        (written,) = [r for r in web.world.firewall.ours(change["id"]) if r.access == "Allow"]
        properties = rule["properties"]
        assert (properties["priority"], properties["sourceAddressPrefix"]) == (
            written.priority,
            *written.sources,
        )
        assert properties["destinationAddressPrefix"] == written.destinations[0]
        assert properties["destinationPortRange"] == written.ports[0]
    assert {change["id"] for change in told.json["firewalls"]} == {NSG_NIC, NSG_SUBNET}


def test_a_dry_run_tells_every_reason_against(web: WebApp) -> None:
    """The decision is an answer, not an error."""
    protect(web, justificationRequired=True)
    told = web.call("POST", f"{INITIATE}?dryRun=TRUE", asking(port=443), who=AS_ALICE)
    assert told.status == 200
    assert told.json["allowed"] is False
    assert [r["code"] for r in told.json["reasons"]] == ["JustificationRequired", "PortNotInPolicy"]
    assert (told.json["firewalls"], told.json["request"]) == ([], None)


def test_a_dry_run_tells_what_a_newer_request_replaces(web: WebApp) -> None:
    """The old rule goes as the new one comes."""
    protect(web)
    web.call("POST", INITIATE, asking(), who=AS_ALICE)
    web.world.work()
    web.world.clock.advance(60)
    told = web.call("POST", f"{INITIATE}?dryRun=true", asking(), who=AS_ALICE).json
    assert [(len(c["put"]), len(c["remove"])) for c in told["firewalls"]] == [(1, 1), (1, 1)]


def test_a_dry_run_needs_the_same_permission(web: WebApp) -> None:
    """It tells of rules that not everybody may see."""
    protect(web)
    told = web.call("POST", f"{INITIATE}?dryRun=true", asking(), who=AS_READER)
    assert told.status == 403


@pytest.mark.parametrize("value", ["yes", "1", "tru"])
def test_a_misspelt_dry_run_is_not_a_real_one(web: WebApp, value: str) -> None:
    """It is refused."""
    protect(web)
    with nothing_changes(web.world):
        refused = web.call("POST", f"{INITIATE}?dryRun={value}", asking(), who=AS_ALICE)
    assert refused.status == 400


def test_the_short_form_has_a_dry_run_too(web: WebApp) -> None:
    """Under the policy that it would find."""
    protect(web)
    short = {"virtualMachine": WEB, "ports": [22], "duration": "PT30M"}
    with nothing_changes(web.world):
        told = web.call("POST", "/api/requests?dryRun=true", short, who=AS_ALICE)
    assert (told.status, told.json["allowed"]) == (200, True)


def test_a_policy_s_dry_run_tells_what_would_be_denied(web: WebApp) -> None:
    """On every firewall, with the VMs that cannot be protected; nothing changes."""
    with nothing_changes(web.world):
        told = web.call(
            "PUT", f"{POLICY}?dryRun=true", policy_body(WEB, vm_id("gone")), who=AS_ADMIN
        )
    assert told.status == 200
    assert [problem["target"] for problem in told.json["problems"]] == [vm_id("gone")]
    web.call("PUT", POLICY, policy_body(WEB), who=AS_ADMIN)
    web.world.work()
    assert [change["id"] for change in told.json["firewalls"]] == [NSG_NIC, NSG_SUBNET]
    for change in told.json["firewalls"]:
        (rule,), (written,) = change["put"], web.world.firewall.ours(change["id"])
        assert (rule["name"], rule["properties"]["priority"]) == (written.name, written.priority)
        assert rule["properties"]["access"] == "Deny"


def test_a_policy_s_dry_run_names_the_removed_protections(web: WebApp) -> None:
    """The deny of a VM that the new list leaves out, and nothing else."""
    protect(web)
    told = web.call("PUT", f"{POLICY}?dryRun=true", policy_body(WEB), who=AS_ADMIN).json
    (change,) = [c for c in told["firewalls"] if c["put"] or c["remove"]]
    assert change["id"] == NSG_SUBNET
    assert change["put"] == []
    (name,) = change["remove"]
    held = {rule.name: rule for rule in web.world.firewall.ours(NSG_SUBNET)}
    assert held[name].destinations == ("10.0.0.5",)
    assert DB
