"""Roles as the app reads them from an ARM over HTTP: how often, and when ARM is ill."""

from collections.abc import Iterator
from typing import Any

import pytest

from local.arm.client import ArmClient
from shared.firewalls.nsg.model import Access
from tests.functions.authority_app import ROOT, Authority, GuardedApp, authority, governed
from tests.functions.test_authority_table import BODY, SHORT
from tests.functions.web_app import nothing_changes
from tests.world import DB, NSG_NIC, POLICY, vm_id

AUTHORIZATION = "Microsoft.Authorization"
FAULTS: list[dict[str, Any]] = [
    {"kind": "serverError", "status": 500},
    {"kind": "serverError", "status": 503},
    {"kind": "serverError", "status": 504},
    {"kind": "throttle", "by": "arm", "retryAfter": 7},
    {"kind": "linkedAuthorizationFailed", "method": "GET"},
    {"kind": "dropBefore"},
    {"kind": "dropAfter"},
]
LISTS = ("roleAssignments", "denyAssignments", "roleDefinitions")


@pytest.fixture(scope="module")
def running() -> Iterator[Authority]:
    """Run an issuer and an ARM."""
    with authority() as found:
        yield found


@pytest.fixture
def arm(running: Authority) -> Iterator[ArmClient]:
    """Give the ARM's controls; faults end with the test."""
    client = ArmClient(running.arm_url)
    yield client
    client.control("faults", {"faults": []})
    client.close()


@pytest.fixture
def guard(running: Authority) -> Authority:
    """Give checks that have kept nothing yet."""
    return running.fresh()


def reads(arm: ArmClient) -> list[str]:
    """Return the reads of roles so far, in order."""
    calls = arm.ask("log")["calls"]
    return [call["path"].rpartition("/")[2] for call in calls if AUTHORIZATION in call["path"]]


def test_a_first_request_costs_three_reads_and_the_next_none(
    guard: Authority, arm: ArmClient
) -> None:
    """Seen in ARM's own log, for one role and for three."""
    for name in ("least", "many"):
        app = GuardedApp(governed(), guard.fresh())
        before = len(reads(arm))
        for number in range(3):
            answer = app.call("POST", f"{POLICY}/initiate", BODY, who=guard.person(name))
            assert answer.status == 202, answer.text
            assert len(reads(arm)) - before <= 3, (name, number)
        short = app.call("POST", "/api/requests", SHORT, who=guard.person(name))
        assert short.status == 202
        assert len(reads(arm)) - before == 3


@pytest.mark.parametrize("name", ["least", "onevm", "nested", "many", "mgroup"])
def test_nothing_is_read_above_the_scope_that_is_asked(
    guard: Authority, arm: ArmClient, name: str
) -> None:
    """So the app's own role may stand at a resource group, and all above it answer 403."""
    above = rf"^{ROOT}(/resourceGroups/[^/]+)?/providers/{AUTHORIZATION}/"
    refused = {"kind": "linkedAuthorizationFailed", "method": "GET", "path": above, "times": None}
    arm.control("faults", {"faults": [refused]})
    app = GuardedApp(governed(), guard)
    answer = app.call("POST", f"{POLICY}/initiate", BODY, who=guard.person(name))
    assert answer.status == 202, answer.text


def test_an_app_role_costs_no_read(guard: Authority, arm: ArmClient) -> None:
    """It stands in the token."""
    app = GuardedApp(governed(), guard)
    before = len(reads(arm))
    alice = guard.person("alice", "Jit.Request")
    assert app.call("POST", f"{POLICY}/initiate", BODY, who=alice).status == 202
    assert len(reads(arm)) == before


def test_made_up_vms_cost_a_stranger_a_bounded_number_of_reads(
    guard: Authority, arm: ArmClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made-up VMs are refused as others are, one read each, until 429 says when to come again."""
    monkeypatch.setattr("shared.adapters.read_budget.MOST_IN_VAIN", 6)
    app = GuardedApp(governed(), guard)
    before = len(reads(arm))
    stranger = guard.person("stranger")
    found = []
    for number in range(5):
        made_up = vm_id(f"made-up-{number}")
        long = {"virtualMachines": [{**BODY["virtualMachines"][0], "id": made_up}]}
        found.append(app.call("POST", f"{POLICY}/initiate", long, who=stranger))
        short = {**SHORT, "virtualMachine": vm_id(f"another-{number}")}
        found.append(app.call("POST", "/api/requests", short, who=stranger))
    assert [answer.status for answer in found] == [403] * 6 + [429] * 4
    assert found[-1].error["code"] == "TooManyRequests"
    assert 1 <= int(found[-1].headers["Retry-After"]) <= 61
    assert len(reads(arm)) - before == 6
    assert app.call("POST", "/api/requests", SHORT, who=guard.person("least")).status == 202


def test_each_vm_is_decided_by_itself(guard: Authority) -> None:
    """A right on one VM opens no other that is named beside it."""
    app = GuardedApp(governed(), guard)
    both = {
        "virtualMachines": [BODY["virtualMachines"][0], {**BODY["virtualMachines"][0], "id": DB}]
    }
    with nothing_changes(app.world):
        refused = app.call("POST", f"{POLICY}/initiate", both, who=guard.person("onevm"))
    assert refused.status == 403
    assert f"over scope '{DB}'" in refused.error["message"]
    assert app.call("POST", f"{POLICY}/initiate", BODY, who=guard.person("onevm")).status == 202


@pytest.mark.parametrize("listing", LISTS)
@pytest.mark.parametrize(
    "fault", FAULTS, ids=lambda fault: f"{fault['kind']}{fault.get('status', '')}"
)
def test_an_arm_that_fails_lets_no_caller_in(
    guard: Authority, arm: ArmClient, fault: dict[str, Any], listing: str
) -> None:
    """Neither the owner nor a stranger; the refusal says that it could not be checked."""
    arm.control("faults", {"faults": [{**fault, "path": listing, "times": None}]})
    app = GuardedApp(governed(), guard)
    for name in ("owner", "least", "nested", "stranger"):
        with nothing_changes(app.world):
            refused = app.call("POST", f"{POLICY}/initiate", BODY, who=guard.person(name))
        assert (refused.status, refused.error["code"]) == (403, "AuthorizationFailed")
        told = refused.error["details"][0]["message"]
        assert ("could not be made" in told) is (name != "stranger" or listing == LISTS[0])
    arm.control("faults", {"faults": []})
    assert app.call("POST", f"{POLICY}/initiate", BODY, who=guard.person("owner")).status == 202


def test_a_slow_arm_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller is refused after a while, and no answer is made up meanwhile."""
    monkeypatch.setattr("shared.outside.INTERACTIVE_TIMEOUT_SECONDS", 1)
    # An ARM of its own: the late call comes into its log when another test counts there.
    with authority() as guard:
        arm = ArmClient(guard.arm_url)
        arm.control("faults", {"faults": [{"kind": "latency", "seconds": 3, "path": LISTS[0]}]})
        arm.close()
        app = GuardedApp(governed(), guard)
        refused = app.call("POST", f"{POLICY}/initiate", BODY, who=guard.person("owner"))
        assert refused.status == 403
        assert "could not be made" in refused.error["details"][0]["message"]
        answer = app.call("POST", f"{POLICY}/initiate", BODY, who=guard.person("owner"))
        assert answer.status == 202


def test_a_right_lost_before_opening_opens_nothing(guard: Authority) -> None:
    """The check is made again by the worker, with the roles as they are then."""
    world = governed()
    app = GuardedApp(world, guard)
    answer = app.call("POST", "/api/requests", SHORT, who=guard.person("least"))
    world.unpermitted.add(world.request(answer.json["id"]).requestor.key)
    world.work()
    told = app.call("GET", f"/api/requests/{answer.json['id']}", who=guard.person("least"))
    assert (told.status, told.json["status"]) == (200, "Failed")
    assert world.firewall.ours(NSG_NIC, Access.ALLOW) == []
