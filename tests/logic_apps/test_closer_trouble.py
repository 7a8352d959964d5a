"""The independent closer in trouble: changes meanwhile, refusals, throttling, death, odd answers."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain.ids import allow_description
from tests.logic_apps.cloud import ELSEWHERE, GROUP, INTERVAL, START, Cloud, Json, rule
from tests.logic_apps.engine import Answer, Call
from tests.logic_apps.rules import (
    DENY,
    DUE,
    END,
    FOREIGN,
    FOREIGN_NAMES,
    REQUEST,
    allow,
    name_of,
    report,
)


def _change_after_list(cloud: Cloud, change: Json, *, calls: int) -> None:
    """Change a group as another writer does, after so many calls of the closer."""

    def carry(call: Call) -> Answer:
        if len(cloud.calls) == calls + 1:
            cloud.arm.control("edit", change)
        return cloud.send(call)

    cloud.carry = carry


@pytest.mark.parametrize("calls", [1, 2], ids=["before the read", "before the removal"])
def test_a_later_end_given_meanwhile_is_honoured(cloud: Cloud, calls: int) -> None:
    """A rule that was extended after the list, or after the read, is not removed."""
    group = cloud.put("web-nsg", [allow(22)])
    cloud.at(DUE)
    longer = allow(22, DUE + timedelta(hours=1))
    _change_after_list(cloud, {"nsg": group, "put": [longer]}, calls=calls)

    cloud.close()
    assert cloud.rules(group) == {name_of(22)}
    cloud.clock.sleep(INTERVAL.total_seconds())

    assert cloud.close().status == "Succeeded"
    assert cloud.rules(group) == {name_of(22)}


def test_a_rule_that_became_a_deny_meanwhile_stays(cloud: Cloud) -> None:
    """The app turns a rule that it cannot remove into a deny: that closes, and is left."""
    group = cloud.put("web-nsg", [allow(22)])
    cloud.at(DUE)
    turned = rule(name_of(22), allow_description(REQUEST, END), access="Deny")
    _change_after_list(cloud, {"nsg": group, "put": [turned]}, calls=1)

    assert cloud.close().status == "Succeeded"
    assert cloud.rules(group) == {name_of(22)}


def test_a_rule_that_is_gone_meanwhile_is_no_finding(cloud: Cloud) -> None:
    """The app closed it between the list and the read: nothing is left to report."""
    group = cloud.put("web-nsg", [allow(22)])
    cloud.at(DUE)
    _change_after_list(cloud, {"nsg": group, "delete": [name_of(22)]}, calls=1)

    assert cloud.close().status == "Succeeded"


def test_a_removal_that_azure_refuses_is_reported_and_tried_again(cloud: Cloud) -> None:
    """A lock on the group makes every run report the rule; without the lock it goes."""
    group = cloud.put("web-nsg", [allow(22)])
    other = cloud.put("other-nsg", [allow(22)])
    cloud.at(DUE)
    cloud.faults({"kind": "scopeLocked", "path": "/web-nsg/", "times": None})

    assert cloud.close().status == "Failed"
    assert cloud.rules(other) == set()
    assert report(cloud.close()) == [f"not removed {name_of(22)}"]
    assert cloud.rules(group) == {name_of(22)}

    cloud.faults()
    cloud.close()
    assert cloud.rules(group) == set()


FAULTS = [
    {"kind": "throttle", "retryAfter": 30},
    {"kind": "throttle", "by": "arm", "retryAfter": 30},
    {"kind": "throttle", "retryAfter": 30, "times": None},
    {"kind": "serverError", "status": 500, "times": None},
    {"kind": "serverError", "status": 503},
    {"kind": "dropBefore"},
    {"kind": "dropAfter"},
    {"kind": "dropBefore", "times": 9},
    {"kind": "precondition", "method": "DELETE"},
    {"kind": "conflict", "method": "DELETE"},
    {"kind": "locked", "method": "DELETE"},
    {"kind": "notTaken", "method": "DELETE"},
    {"kind": "supersede", "method": "DELETE"},
]


@pytest.mark.parametrize("skip", range(6))
@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: "-".join(str(v) for v in each.values()))
def test_trouble_at_any_call_delays_by_one_run_at_most(
    cloud: Cloud, fault: Json, skip: int
) -> None:
    """A call that fails in one run delays the removal to the next run, and nothing else is removed."""
    later = END + timedelta(hours=3)
    group = cloud.put("web-nsg", [allow(22), allow(3389), allow(443, later), *FOREIGN])
    cloud.at(DUE)
    cloud.faults({**fault, "skip": skip})

    first = cloud.close()
    cloud.faults()
    began = START + timedelta(seconds=cloud.clock.now)
    cloud.at(began + INTERVAL - timedelta(seconds=cloud.clock.now % INTERVAL.total_seconds()))
    second = cloud.close()

    assert cloud.rules(group) == {name_of(443), *FOREIGN_NAMES}
    assert "Failed" in {first.status, second.status}


class DiedError(BaseException):
    """The run is cancelled: nothing of it happens any more."""


@pytest.mark.parametrize("taken", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(7))
def test_a_run_that_dies_at_any_call_is_made_good_by_the_next(
    cloud: Cloud, number: int, taken: bool
) -> None:
    """A run needs nothing of the run before: it reads what stands, and decides anew."""
    group = cloud.put("web-nsg", [allow(22), allow(3389), *FOREIGN])
    cloud.at(DUE)

    def carry(call: Call) -> Answer:
        dies = len(cloud.calls) == number + 1
        answer = cloud.send(call) if taken or not dies else None
        if answer is None or dies:
            raise DiedError
        return answer

    cloud.carry = carry
    with pytest.raises(DiedError):
        cloud.close()
    cloud.carry = cloud.send
    cloud.clock.sleep(INTERVAL.total_seconds())
    cloud.close()

    assert cloud.rules(group) == FOREIGN_NAMES


def test_a_scope_that_cannot_be_read_stops_no_other(cloud: Cloud) -> None:
    """A list that is refused for good is reported, and the other scopes are closed."""
    group = cloud.put("web-nsg", [allow(22)])
    cloud.put("other-nsg", [allow(22)], within=ELSEWHERE)
    cloud.at(DUE)
    cloud.faults({"kind": "serverError", "path": "/other-rg/", "times": None})

    run = cloud.close(scopes=(ELSEWHERE, GROUP))

    assert cloud.rules(group) == set()
    assert f"not listed {ELSEWHERE}" in run.variables["report"]
    assert run.status == "Failed"


@pytest.mark.parametrize("odd", [["no rule"], "no rules", None])
def test_a_group_that_cannot_be_judged_stops_no_other(cloud: Cloud, odd: Any) -> None:
    """A list entry that is no security group, as far as anything shows, is reported."""
    group = cloud.put("web-nsg", [allow(22)])
    cloud.put("odd-nsg", [])
    cloud.at(DUE)

    def carry(call: Call) -> Answer:
        answer = cloud.send(call)
        for found in (answer.body or {}).get("value", []):
            if found["name"] == "odd-nsg":
                found["properties"] = {"securityRules": odd}
        return answer

    cloud.carry = carry
    run = cloud.close()

    assert cloud.rules(group) == set()
    assert run.status == "Failed"


@pytest.mark.parametrize(
    "link",
    ["https://elsewhere.example/page?a=1", "http://127.0.0.1:1/subscriptions/x", "page 2", 7, {}],
)
def test_a_next_page_is_asked_of_arm_alone(cloud: Cloud, link: Any) -> None:
    """The token of the closer goes to no address that a list names: only its path is followed."""
    group = cloud.put("web-nsg", [allow(22)])
    cloud.at(DUE)

    def carry(call: Call) -> Answer:
        answer = cloud.send(call)
        if "networkSecurityGroups?" in call.url:
            answer.body["nextLink"] = link
        return answer

    cloud.carry = carry
    run = cloud.close()

    assert cloud.rules(group) == set()
    assert {call.url.startswith(cloud.server.url) for call in cloud.calls} == {True}
    assert run.status == "Failed"


@pytest.mark.parametrize("link", ["", None])
def test_a_next_page_without_an_address_is_none(cloud: Cloud, link: Any) -> None:
    """The last page of a list may also say so by an empty link."""
    cloud.put("web-nsg", [DENY])

    def carry(call: Call) -> Answer:
        answer = cloud.send(call)
        answer.body["nextLink"] = link
        return answer

    cloud.carry = carry

    assert cloud.close().status == "Succeeded"
    assert len(cloud.calls) == 1


def test_a_list_without_end_is_reported(cloud: Cloud) -> None:
    """A loop that reaches its limit ends well in the real engine: the workflow looks by itself."""
    list_page = f"{GROUP}/providers/Microsoft.Network/networkSecurityGroups?page=2"
    cloud.carry = lambda _: Answer(200, {"value": [], "nextLink": f"{cloud.server.url}{list_page}"})

    run = cloud.close()

    assert run.variables["report"] == [f"not listed to the end {GROUP}"]
    assert len(cloud.calls) == 1000


@pytest.mark.parametrize("body", ["<html>", None, [], {}, {"value": None}, {"value": {}}])
def test_a_list_that_is_none_is_reported(cloud: Cloud, body: Any) -> None:
    """An answer of 200 that holds no list is no empty list."""
    cloud.carry = lambda _: Answer(200, body)

    run = cloud.close()

    assert run.status == "Failed"
    assert run.variables["report"]


def test_a_rule_whose_read_is_no_rule_is_reported_and_stays(cloud: Cloud) -> None:
    """Only a rule that was read can be judged, and only a judged one is removed."""
    group = cloud.put("web-nsg", [allow(22)])
    cloud.at(DUE)
    cloud.carry = lambda call: (
        Answer(200, "<html>") if "/securityRules/" in call.url else cloud.send(call)
    )

    run = cloud.close()

    assert cloud.rules(group) == {name_of(22)}
    assert report(run) == [f"unread {name_of(22)}"]


def test_the_message_of_the_alert_is_bounded(cloud: Cloud) -> None:
    """A run with much to report ends, and its message holds the beginning of the report."""
    cloud.put("web-nsg", [rule(name_of(port)) for port in range(1, 60)])

    run = cloud.close()

    assert run.error is not None
    assert len(run.error["message"]) == 2000
