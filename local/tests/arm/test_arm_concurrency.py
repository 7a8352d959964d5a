"""A second write to a group while the first is under way, in the four ways known."""

import pytest

from local.arm.client import ArmClient, Reply
from local.tests.arm.place import (
    EMPTY_NSG,
    NETWORK,
    SCOPE,
    SETTLE_SECONDS,
    WEB_NSG,
    Clock,
    child,
    machine,
    rule,
)

NIC = f"{SCOPE}/{NETWORK}/networkInterfaces/web-1-nic"


def put(arm: ArmClient, name: str, **properties: object) -> Reply:
    """Put a rule."""
    return arm.call("PUT", child(WEB_NSG, name), rule(**properties))


def names(arm: ArmClient) -> list[str]:
    """Read the names of the rules."""
    return [each["name"] for each in arm.call("GET", f"{WEB_NSG}/securityRules").body["value"]]


def test_by_default_both_writes_are_kept(arm: ArmClient, clock: Clock) -> None:
    """The later service accepts a second write, and both operations succeed."""
    addresses = [
        put(arm, name, priority=priority).headers["azure-asyncoperation"]
        for name, priority in (("one", 200), ("two", 201))
    ]
    clock.pass_by(SETTLE_SECONDS)
    assert [arm.call("GET", each).body["status"] for each in addresses] == ["Succeeded"] * 2
    assert {"one", "two"} <= set(names(arm))


def test_writes_settle_in_the_order_of_their_coming(arm: ArmClient, clock: Clock) -> None:
    """The group is Updating until the last write has settled, and each filters by then only."""
    put(arm, "one")
    clock.pass_by(SETTLE_SECONDS - 1)
    put(arm, "one", access="Deny")
    clock.pass_by(1)
    question = {"vm": machine("web-1"), "port": 22, "source": "203.0.113.7"}
    assert arm.ask("access", **question)["allowed"]
    assert arm.call("GET", WEB_NSG).body["properties"]["provisioningState"] == "Updating"
    clock.pass_by(SETTLE_SECONDS - 1)
    assert not arm.ask("access", **question)["allowed"]
    assert arm.call("GET", WEB_NSG).body["properties"]["provisioningState"] == "Succeeded"


def test_locked_is_a_429_that_is_no_quota(arm: ArmClient, clock: Clock) -> None:
    """Where the service serialises, the detail tells a lock from a throttle."""
    arm.control("settings", {"concurrency": "locked"})
    first = put(arm, "one")
    second = put(arm, "two", priority=201)
    assert (second.status, second.code) == (429, "RetryableError")
    detail = second.body["error"]["details"][0]
    assert detail["code"] == "RetryableErrorDueToAnotherOperation"
    guid = first.headers["x-ms-request-id"]
    assert f"PutSecurityRuleOperation ({guid}) is updating resource {WEB_NSG}" in detail["message"]
    clock.pass_by(SETTLE_SECONDS)
    assert put(arm, "two", priority=201).status == 201


def test_a_lock_hits_every_user_of_the_group(arm: ArmClient) -> None:
    """Attaching an interface fails while the group is Updating: our writes can hurt others."""
    arm.control("settings", {"concurrency": "locked"})
    put(arm, "one")
    reply = arm.call("PUT", NIC, arm.call("GET", NIC).body)
    assert reply.status == 429
    assert reply.body["error"]["details"][0]["code"] == "ReferencedResourceNotProvisioned"


def test_conflict_is_a_409_with_the_operation_to_wait_for(arm: ArmClient) -> None:
    """The message names the poll address of the write that is under way."""
    arm.control("settings", {"concurrency": "conflict"})
    address = put(arm, "one").headers["azure-asyncoperation"]
    second = put(arm, "two", priority=201)
    assert (second.status, second.code) == (409, "AnotherOperationInProgress")
    assert address in second.message
    assert arm.call("PUT", NIC, arm.call("GET", NIC).body).status == 409


@pytest.mark.parametrize("later", ["one", "two"])
def test_superseded_writes_end_canceled_and_undone(
    arm: ArmClient, clock: Clock, later: str
) -> None:
    """After its 201 the first write is canceled by the second, and its change is gone."""
    arm.control("settings", {"concurrency": "supersede"})
    first = put(arm, "one", description="first")
    second = put(arm, later, description="second")
    clock.pass_by(SETTLE_SECONDS)
    ended = arm.call("GET", first.headers["azure-asyncoperation"])
    guids = [each.headers["x-ms-request-id"] for each in (first, second)]
    assert (ended.status, ended.body["status"], ended.code) == (200, "Canceled", "Canceled")
    assert ended.body["error"]["details"][0] == {
        "code": "CanceledAndSupersededDueToAnotherOperation",
        "message": f"Operation PutSecurityRuleOperation ({guids[0]}) was canceled and superseded "
        f"by operation PutSecurityRuleOperation ({guids[1]}).",
    }
    assert [name for name in names(arm) if name in ("one", "two")] == [later]
    assert arm.call("GET", child(WEB_NSG, later)).body["properties"]["description"] == "second"


def test_a_superseded_delete_leaves_the_rule(arm: ArmClient, clock: Clock) -> None:
    """The rule that was going stays, and reads Succeeded again."""
    arm.control("settings", {"concurrency": "supersede"})
    arm.call("DELETE", child(WEB_NSG, "allow-http"))
    put(arm, "one")
    clock.pass_by(SETTLE_SECONDS)
    kept = arm.call("GET", child(WEB_NSG, "allow-http"))
    assert kept.body["properties"]["provisioningState"] == "Succeeded"


def test_a_superseded_put_of_the_group_is_undone_as_a_whole(arm: ArmClient, clock: Clock) -> None:
    """The rules it had removed come back, those it had added go."""
    arm.control("settings", {"concurrency": "supersede"})
    body = {"location": "westeurope", "properties": {"securityRules": []}}
    arm.call("PUT", WEB_NSG, body)
    assert names(arm) == []
    put(arm, "one")
    clock.pass_by(SETTLE_SECONDS)
    assert sorted(names(arm)) == ["allow-http", "allow-https", "one"]


def test_a_refused_write_supersedes_nothing(arm: ArmClient, clock: Clock) -> None:
    """Only an accepted write cancels the one before it."""
    arm.control("settings", {"concurrency": "supersede"})
    first = put(arm, "one")
    assert put(arm, "two", priority=99).status == 400
    clock.pass_by(SETTLE_SECONDS)
    status = arm.call("GET", first.headers["azure-asyncoperation"]).body["status"]
    assert status == "Succeeded"


@pytest.mark.parametrize("whole", [False, True])
def test_a_rule_put_again_while_it_goes_stays(arm: ArmClient, clock: Clock, whole: bool) -> None:
    """A later write of what is being deleted brings it back, alone or with its group."""
    before = arm.call("GET", WEB_NSG).body
    path = child(WEB_NSG, "allow-http")
    body = arm.call("GET", path).body
    arm.call("DELETE", path)
    again = arm.call("PUT", WEB_NSG, before) if whole else arm.call("PUT", path, body)
    assert again.body["properties"]["provisioningState"] == "Updating"
    clock.pass_by(SETTLE_SECONDS)
    assert arm.call("GET", path).body["properties"]["provisioningState"] == "Succeeded"
    question = {"vm": machine("web-1"), "port": 80, "source": "203.0.113.7"}
    assert arm.ask("access", **question)["allowed"]


def test_a_group_on_its_way_out_takes_no_write(arm: ArmClient, clock: Clock) -> None:
    """While it is Deleting it cannot be written, and then it can be made anew."""
    arm.call("DELETE", EMPTY_NSG)
    body = {"location": "westeurope"}
    assert arm.call("PUT", EMPTY_NSG, body).code == "AnotherOperationInProgress"
    clock.pass_by(SETTLE_SECONDS)
    assert arm.call("PUT", EMPTY_NSG, body).status == 201


def test_without_a_settling_time_there_is_no_second_write_in_between(arm: ArmClient) -> None:
    """With 0 seconds the answer still says Updating, and the next read does not."""
    arm.control("settings", {"settle": 0, "concurrency": "locked"})
    assert put(arm, "one").body["properties"]["provisioningState"] == "Updating"
    assert put(arm, "two", priority=201).status == 201
    read = arm.call("GET", child(WEB_NSG, "two")).body
    assert read["properties"]["provisioningState"] == "Succeeded"
