"""A policy's conditions on extensions: approval as for the opening or never, and a bound in all."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain.model import Conditions, ExtensionApproval, Policy
from shared.store.codec import pack, unpack
from tests.functions.web_app import AS_ADMIN, AS_ALICE, WebApp, policy_body, token
from tests.world import POLICY, WEB

CAROL = token("carol", "Jit.Approve")
SHORT: dict[str, Any] = {
    "virtualMachine": WEB,
    "ports": [22],
    "duration": "PT1H",
    "allowedSourceAddressPrefix": "203.0.113.7",
    "justification": "because",
}


def protect(web: WebApp, **conditions: Any) -> Any:
    """PUT a policy under conditions, and have it applied."""
    answer = web.call("PUT", POLICY, policy_body(WEB, conditions=conditions), who=AS_ADMIN)
    web.world.work()
    return answer


def opened(web: WebApp, *, approved: bool = True, **more: Any) -> str:
    """Ask for access, have it approved and opened; return the path of the request."""
    answer = web.call("POST", "/api/requests", {**SHORT, **more}, who=AS_ALICE)
    assert answer.status == 202, answer.text
    path = f"/api/requests/{answer.json['id']}"
    if approved:
        assert web.call("POST", f"{path}/approve", {}, who=CAROL).status == 200
    web.world.work()
    return path


def extend(web: WebApp, path: str, duration: str = "PT2H") -> Any:
    """Ask for a later end."""
    return web.call("POST", f"{path}/extend", {"duration": duration}, who=AS_ALICE)


def awaits(answer: Any) -> bool:
    """Tell whether an answer shows a later end that waits for people."""
    return "endTimeUtc" in answer.json.get("approval", {})


@pytest.mark.parametrize(
    ("sent", "waits"),
    [
        ({}, True),
        ({"approveExtensions": True}, True),
        ({"approveExtensions": False}, False),
        ({"extensionApproval": "asOpening"}, True),
        ({"extensionApproval": "never"}, False),
        ({"extensionApproval": "never", "approveExtensions": False}, False),
    ],
)
def test_an_extension_needs_approval_where_the_opening_did(
    web: WebApp, sent: dict[str, Any], waits: bool
) -> None:
    """Unless the policy says never, which `approveExtensions: false` means when it is sent."""
    assert protect(web, approversNeeded=1, **sent).status == 200
    assert awaits(extend(web, opened(web))) is waits


@pytest.mark.parametrize("sent", [{"approveExtensions": False}, {"approveExtensions": True}, {}])
def test_conditions_come_back_as_they_were_answered(web: WebApp, sent: dict[str, Any]) -> None:
    """A client that GETs a policy and PUTs it back changes nothing."""
    protect(web, approversNeeded=1, approvalTimeout="PT2H", maxTotalDuration="PT10H", **sent)
    read = web.call("GET", POLICY, who=AS_ADMIN).json
    conditions = read["properties"]["conditions"]
    assert conditions["maxTotalDuration"] == "PT10H"
    never = sent.get("approveExtensions") is False
    assert conditions["extensionApproval"] == ("never" if never else "asOpening")
    assert web.call("PUT", POLICY, read, who=AS_ADMIN).status == 200
    again = web.call("GET", POLICY, who=AS_ADMIN).json
    assert again["properties"]["conditions"] == conditions


@pytest.mark.parametrize(
    ("conditions", "target"),
    [
        ({"maxTotalDuration": "PT4M"}, "properties.conditions.maxTotalDuration"),
        ({"maxTotalDuration": "P8D"}, "properties.conditions.maxTotalDuration"),
        ({"maxTotalDuration": "P1M"}, "properties.conditions.maxTotalDuration"),
        ({"maxTotalDuration": 24}, "properties.conditions.maxTotalDuration"),
        ({"maxTotalDuration": None}, "properties.conditions.maxTotalDuration"),
        ({"extensionApproval": "always"}, "properties.conditions.extensionApproval"),
        ({"extensionApproval": "Never"}, "properties.conditions.extensionApproval"),
        ({"extensionApproval": "never", "approveExtensions": True}, "properties.conditions"),
        ({"extensionApproval": "asOpening", "approveExtensions": False}, "properties.conditions"),
        ({"approvalTimeout": "PT8H1S"}, "properties.conditions.approvalTimeout"),
        ({"approvalTimeout": "P1D"}, "properties.conditions.approvalTimeout"),
    ],
)
def test_a_condition_that_is_wrong_is_refused_with_its_place(
    web: WebApp, conditions: dict[str, Any], target: str
) -> None:
    """Durations without bounds, unknown words, and two fields that contradict each other."""
    refused = protect(web, **conditions)
    assert refused.status == 400
    assert refused.error["details"][0]["target"] == target


def test_opening_and_extensions_together_are_bounded(web: WebApp) -> None:
    """Each extension is short enough by itself; the one past the bound names the condition."""
    protect(web, maxTotalDuration="PT2H")
    path = opened(web, approved=False)
    web.world.clock.advance(1800)
    assert extend(web, path, "PT1H30M").status == 200
    web.world.clock.advance(3600)
    refused = extend(web, path, "PT31M")
    assert (refused.status, refused.error["code"]) == (400, "RequestNotWithinPolicy")
    (line,) = refused.error["details"]
    assert (line["code"], line["target"]) == ("TotalDurationTooLong", "endTimeUtc")
    assert "maxTotalDuration of policy 'default'" in line["message"]
    assert "PT2H" in line["message"]


def test_an_access_that_is_longer_than_the_bound_never_opens(web: WebApp) -> None:
    """The bound holds for the opening alone, too, and names the line of the request."""
    protect(web, maxTotalDuration="PT30M")
    refused = web.call("POST", "/api/requests", SHORT, who=AS_ALICE)
    (line,) = refused.error["details"]
    assert (line["code"], line["target"]) == (
        "TotalDurationTooLong",
        "virtualMachines[0].ports[0].duration",
    )


def test_by_default_a_day_is_the_bound(web: WebApp) -> None:
    """A policy without conditions lets no requestor keep a port for longer than a day."""
    web.call("PUT", POLICY, policy_body(WEB), who=AS_ADMIN)
    web.world.work()
    path = opened(web, approved=False, duration="PT3H")
    for _ in range(11):
        web.world.clock.advance(7200)
        web.world.work()
        last = extend(web, path, "PT3H")
        if last.status != 200:
            break
    assert last.error["details"][0]["code"] == "TotalDurationTooLong"
    assert (
        timedelta(hours=20)
        < web.world.clock() - web.world.request(path.rpartition("/")[2]).requested_at
        < timedelta(hours=24)
    )


def test_the_bound_holds_when_the_last_approval_comes(web: WebApp) -> None:
    """A bound that was narrowed while an extension waited refuses the approval."""
    protect(web, approversNeeded=1)
    path = opened(web)
    assert awaits(extend(web, path, "PT3H"))
    protect(web, approversNeeded=1, maxTotalDuration="PT2H")
    refused = web.call("POST", f"{path}/approve", {}, who=CAROL)
    assert refused.error["details"][0]["code"] == "TotalDurationTooLong"


def test_more_approvers_by_now_are_asked_about_a_longer_end_too(web: WebApp) -> None:
    """A policy that asks for two by now does not give a longer end for one."""
    protect(web, approversNeeded=1)
    path = opened(web)
    assert awaits(extend(web, path))
    protect(web, approversNeeded=2)
    first = web.call("POST", f"{path}/approve", {}, who=CAROL)
    assert (awaits(first), first.json["approval"]["needed"]) == (True, 2)
    second = web.call("POST", f"{path}/approve", {}, who=token("dave", "Jit.Approve"))
    assert not awaits(second)


def test_an_approved_access_needs_approval_for_longer_after_the_policy_was_weakened(
    web: WebApp,
) -> None:
    """The opening needed one approval: so does a longer end, though the policy asks for none."""
    protect(web, approversNeeded=1)
    path = opened(web)
    protect(web, approversNeeded=0)
    assert awaits(extend(web, path))


def test_an_access_by_break_glass_is_not_extended_without_approval(web: WebApp) -> None:
    """Breaking the glass skips the approval once; extending needs what the policy asks for."""
    protect(web, approversNeeded=1)
    glass = token("alice", "Jit.BreakGlass")
    asked = web.call("POST", "/api/requests", {**SHORT, "breakGlass": True}, who=glass)
    web.world.work()
    longer = {"duration": "PT2H"}
    path = f"/api/requests/{asked.json['id']}"
    assert awaits(web.call("POST", f"{path}/extend", longer, who=glass))


# --- rows of the version before ------------------------------------------------------------------


@pytest.mark.parametrize("old", [{}, {"approve_extensions": True}, {"approve_extensions": False}])
def test_an_old_row_means_as_opening(web: WebApp, old: dict[str, Any]) -> None:
    """A row without the new field has its default, whatever stands in the old one."""
    protect(web, approversNeeded=1)
    row = next(r for (_, key), r in web.world.tables.policies.rows.items() if "policy|" in key)
    text = str(row.values["doc"])
    assert "extension_approval" not in text
    held = unpack(Policy, {"doc": text.replace('"approve_extensions":true', '"x":1')})
    assert held.conditions.extension_approval is ExtensionApproval.AS_OPENING
    assert unpack(Conditions, pack(Conditions(**old))).max_total_duration == timedelta(hours=24)


@pytest.mark.parametrize(("sent", "old"), [({}, True), ({"extensionApproval": "never"}, False)])
def test_the_version_before_reads_what_is_meant(
    web: WebApp, sent: dict[str, Any], old: bool
) -> None:
    """After a step back the old field still says whether extensions need approval."""
    protect(web, approversNeeded=1, **sent)
    assert web.world.policy().conditions.approve_extensions is old


def test_a_stored_time_to_approve_is_bounded(web: WebApp) -> None:
    """A row that was written with a day waits for eight hours, and answers what it does."""
    protect(web, approversNeeded=1, approvalTimeout="PT8H")
    rows = web.world.tables.policies.rows
    place = next(place for place in rows if place[1].startswith("policy|"))
    text = str(rows[place].values["doc"]).replace("28800.0", "86400.0")
    rows[place].values["doc"] = text  # type: ignore[index]
    assert web.world.policy().conditions.approval_timeout == timedelta(days=1)
    read = web.call("GET", POLICY, who=AS_ADMIN).json["properties"]["conditions"]
    assert read["approvalTimeout"] == "PT8H"
    asked = web.call("POST", "/api/requests", SHORT, who=AS_ALICE)
    approval = web.world.request(asked.json["id"]).approval
    assert approval is not None
    assert approval.deadline - web.world.clock() == timedelta(hours=8)
