"""Every fault, shown."""

import asyncio
import http.client
import json
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.network.models import SecurityRule

from local.arm.app import create_app
from local.arm.client import ArmClient, Reply
from local.tests.arm.place import (
    GROUP,
    NETWORK,
    SCOPE,
    SETTLE_SECONDS,
    SUBSCRIPTION,
    WEB_NSG,
    Clock,
    child,
    rule,
)

RULE = child(WEB_NSG, "new")
HTTP_RULE = child(WEB_NSG, "allow-http")


def order(arm: ArmClient, **fault: Any) -> None:
    """Put one fault on order."""
    arm.control("faults", {"faults": [fault]})


def put(arm: ArmClient, **properties: Any) -> Reply:
    """Put the rule."""
    return arm.call("PUT", RULE, rule(**properties))


def test_the_network_throttle_is_a_429_with_its_own_detail(arm: ArmClient) -> None:
    """RetryableErrorDueToTooManyCalls, and Retry-After as the text says."""
    order(arm, kind="throttle", retryAfter=39)
    reply = put(arm)
    assert (reply.status, reply.headers["retry-after"]) == (429, "39")
    assert reply.body["error"] == {
        "code": "RetryableError",
        "message": "A retryable error occurred.",
        "details": [
            {
                "code": "RetryableErrorDueToTooManyCalls",
                "message": f"Subscription {SUBSCRIPTION} was used to perform too many calls "
                "within last 5 minutes. The number of calls exceeds Microsoft.Network throttling "
                "limit. The call can be retried in 39 seconds.",
            }
        ],
    }


def test_the_arm_throttle_is_a_429_of_the_front_door(arm: ArmClient) -> None:
    """Its envelope has no details."""
    order(arm, kind="throttle", by="arm", retryAfter=7)
    reply = put(arm)
    assert (reply.status, reply.headers["retry-after"]) == (429, "7")
    assert reply.code == "SubscriptionRequestsThrottled"
    assert "details" not in reply.body["error"]


@pytest.mark.parametrize(
    ("fault", "struck", "status", "code", "text"),
    [
        ("locked", ("PUT", RULE), 429, "RetryableError", "occured"),
        ("conflict", ("PUT", RULE), 409, "AnotherOperationInProgress", "/operations/"),
        ("precondition", ("PUT", RULE), 412, "PreconditionFailed", ""),
        ("policyDenied", ("PUT", WEB_NSG), 403, "RequestDisallowedByPolicy", "'web-nsg' was"),
        ("scopeLocked", ("DELETE", HTTP_RULE), 409, "ScopeLocked", f"'{SCOPE}'. Please remove"),
        (
            "linkedAuthorizationFailed",
            ("PUT", RULE),
            403,
            "LinkedAuthorizationFailed",
            (
                "The client 'tester' with object id 'tester' has permission to perform action "
                "'Microsoft.Network/networkSecurityGroups/securityRules/write' on scope"
            ),
        ),
        ("serverError", ("GET", WEB_NSG), 503, "ServiceUnavailable", ""),
    ],
)
def test_a_refusing_fault_answers_once_and_changes_nothing(
    arm: ArmClient, fault: str, struck: tuple[str, str], status: int, code: str, text: str
) -> None:
    """The status, the code and the words; `times` is 1 unless told; the log tells."""
    method, path = struck
    before = arm.call("GET", WEB_NSG).body
    order(arm, kind=fault)
    body = {"location": "westeurope"} if path == WEB_NSG else rule()
    reply = arm.call(method, path, body if method == "PUT" else None)
    assert (reply.status, reply.code) == (status, code)
    assert text in reply.message
    assert arm.call("GET", WEB_NSG).body == before
    told = [call for call in arm.ask("log")["calls"] if "faults" in call]
    assert [(call["method"], call["status"], call["faults"]) for call in told] == [
        (method, status, [fault])
    ]


def test_a_lock_stops_a_delete_but_not_a_put(arm: ArmClient) -> None:
    """A CanNotDelete lock lets the whole group be put without the rule."""
    order(arm, kind="scopeLocked", times=None)
    assert arm.call("DELETE", HTTP_RULE).status == 409
    body = {"location": "westeurope", "properties": {"securityRules": []}}
    assert arm.call("PUT", WEB_NSG, body).status == 200


def test_a_policy_stops_a_put_of_the_group_but_no_rule(arm: ArmClient) -> None:
    """Unless told otherwise only whole groups are denied; path and method may be told."""
    order(arm, kind="policyDenied", times=None)
    assert arm.call("PUT", WEB_NSG, {"location": "westeurope"}).status == 403
    assert put(arm).status == 201
    assert arm.call("DELETE", HTTP_RULE).status == 202
    order(arm, kind="policyDenied", times=None, path="securityRules/", method="PUT|DELETE")
    assert put(arm, priority=201).status == 403
    assert arm.call("DELETE", HTTP_RULE).status == 403


def test_superseded_after_the_201(arm: ArmClient, clock: Clock) -> None:
    """The answer is a 201, the operation ends Canceled, and the change is undone."""
    order(arm, kind="supersede")
    made = put(arm)
    assert made.status == 201
    assert arm.call("GET", RULE).status == 200
    clock.pass_by(SETTLE_SECONDS)
    ended = arm.call("GET", made.headers["azure-asyncoperation"]).body
    assert (ended["status"], ended["error"]["code"]) == ("Canceled", "Canceled")
    assert arm.call("GET", RULE).code == "NotFound"


def test_an_ignored_etag_lets_a_stale_write_through(arm: ArmClient) -> None:
    """The one promise the whole write rests on can be broken."""
    stale = {"If-Match": 'W/"stale"'}
    order(arm, kind="ignoreIfMatch")
    assert arm.call("PUT", RULE, rule()).status == 201
    assert arm.call("DELETE", HTTP_RULE, headers=stale).status == 202
    assert arm.call("PUT", HTTP_RULE, rule(priority=320), headers=stale).status == 412


def test_a_write_that_is_not_taken_looks_like_one_that_is(arm: ArmClient, clock: Clock) -> None:
    """201, an operation that succeeds, and nothing there."""
    before = arm.call("GET", WEB_NSG).body
    order(arm, kind="notTaken")
    made = put(arm)
    assert (made.status, made.body["name"]) == (201, "new")
    clock.pass_by(SETTLE_SECONDS)
    assert arm.call("GET", made.headers["azure-asyncoperation"]).body == {"status": "Succeeded"}
    assert arm.call("GET", WEB_NSG).body == before


@pytest.mark.parametrize(("fault", "there"), [("dropBefore", 404), ("dropAfter", 200)])
def test_a_dropped_connection_is_really_closed(arm: ArmClient, fault: str, there: int) -> None:
    """No byte comes back; the write took effect or it did not; the log has status 0."""
    order(arm, kind=fault, method="PUT")
    with pytest.raises(http.client.RemoteDisconnected):
        put(arm)
    assert arm.call("GET", RULE).status == there
    entry = next(call for call in arm.ask("log")["calls"] if call["method"] == "PUT")
    assert (entry["status"], entry.get("droppedStatus")) == (0, 201 if there == 200 else None)


@pytest.mark.parametrize("fault", ["dropBefore", "dropAfter"])
def test_the_sdk_meets_a_dropped_connection_as_an_error(
    arm: ArmClient, network: NetworkManagementClient, fault: str
) -> None:
    """Microsoft's client cannot tell which of the two it was."""
    order(arm, kind=fault, method="PUT", times=None)
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        network.security_rules.begin_create_or_update(
            GROUP, "web-nsg", "new", SecurityRule(rule()), polling=False
        )


def test_latency_holds_the_call_and_lets_it_go_on(clock: Clock) -> None:
    """The wait is the one ordered, added up, and the call is then answered as ever."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    app = create_app(clock=clock, sleep=sleep)
    faults = [{"kind": "latency", "seconds": 2.5}, {"kind": "latency", "seconds": 0.5}]
    assert ask_app(app, "POST", "/_sim/faults", {"faults": faults}) == 200
    assert ask_app(app, "GET", WEB_NSG) == 200
    assert waited == [3.0]


def ask_app(app: Any, method: str, path: str, body: Any = None) -> int:
    """Call the application itself, without a server, and return the status."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(body).encode() if body else b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"api-version=2026-03-01",
        "headers": [(b"host", b"local")],
        "scheme": "http",
    }
    asyncio.run(app(scope, receive, send))
    return int(sent[0]["status"])


def test_faults_strike_by_method_path_caller_and_turn(arm: ArmClient, server: Any) -> None:
    """Only what is meant is struck, after `skip` and for `times`; the rest is left alone."""
    order(arm, kind="serverError", status=500, path="/web-nsg$", caller="^app$", skip=1, times=2)
    app = ArmClient(server.url, "local:app")
    statuses = [app.call("GET", WEB_NSG).status for _ in range(4)]
    assert statuses == [200, 500, 500, 200]
    app.close()
    order(arm, kind="serverError", path="/web-nsg$", caller="^app$", times=None)
    assert arm.call("GET", WEB_NSG).status == 200
    assert arm.ask("faults")["faults"][0]["times"] is None


def test_the_first_refusal_wins_and_the_next_waits_its_turn(arm: ArmClient) -> None:
    """Faults are used up in the order they were given."""
    faults = ("conflict", "precondition")
    arm.control("faults", {"faults": [{"kind": fault} for fault in faults]})
    assert [put(arm).status for _ in range(3)] == [409, 412, 201]
    assert arm.ask("faults") == {"faults": []}


@pytest.mark.parametrize(
    "fault",
    [{"kind": "meteor"}, {}, {"kind": "locked", "path": "("}, {"kind": "locked", "times": "x"}],
)
def test_a_fault_that_cannot_be_is_refused(arm: ArmClient, fault: dict[str, Any]) -> None:
    """A typing error in a test must not pass for a quiet day."""
    with pytest.raises(ValueError, match=r".+"):
        arm.control("faults", {"faults": [fault]})


def test_a_subnet_can_be_struck_as_any_other_resource(arm: ArmClient) -> None:
    """Reads fail too."""
    order(arm, kind="serverError", path="/subnets/")
    vnet = f"{SCOPE}/{NETWORK}/virtualNetworks/app-vnet"
    assert arm.call("GET", f"{vnet}/subnets/web").status == 503
    assert arm.call("GET", vnet).status == 200
