"""The real quotas, as a switch, on the clock of the test."""

import pytest

from local.arm.client import ArmClient, Reply
from local.tests.arm.place import (
    OPS_SCOPE,
    SUBSCRIPTION,
    WEB_NSG,
    Clock,
    child,
    machine,
    rule,
)

VM = machine("web-1")
# Writes that the network provider does not count: they are refused before they reach it.
NOWHERE = f"{OPS_SCOPE}/providers/Microsoft.Compute/virtualMachines/none"


@pytest.fixture
def counted(arm: ArmClient) -> ArmClient:
    """Switch the quotas on."""
    arm.control("quotas", {"enabled": True})
    return arm


def until_refused(arm: ArmClient, method: str, path: str, limit: int = 20_000) -> tuple[int, Reply]:
    """Repeat a call until it is throttled; return how many went through."""
    for count in range(limit):
        reply = arm.call(method, path)
        if reply.status == 429:
            return count, reply
    raise AssertionError("never throttled")


@pytest.mark.parametrize(
    ("method", "bucket", "size", "per_second"),
    [("GET", "reads", 250, 25), ("DELETE", "deletes", 200, 10), ("PUT", "writes", 200, 10)],
)
def test_arm_buckets_empty_and_refill(
    counted: ArmClient, clock: Clock, method: str, bucket: str, size: int, per_second: int
) -> None:
    """A burst the size of the bucket goes through, then a second's refill each second."""
    path = VM if method == "GET" else NOWHERE
    count, refused = until_refused(counted, method, path)
    assert count == size
    assert refused.code == "SubscriptionRequestsThrottled"
    assert f"'{bucket[:-1]}'" in refused.message
    assert refused.headers["retry-after"] == "1"
    clock.pass_by(1)
    count, _ = until_refused(counted, method, path)
    assert count == per_second


def test_buckets_are_per_principal(counted: ArmClient) -> None:
    """One caller's burst leaves another's bucket full."""
    until_refused(counted, "GET", VM)
    other = ArmClient(counted.url, "local:other")
    assert other.call("GET", VM).headers["x-ms-ratelimit-remaining-subscription-reads"] == "249"
    other.close()


def test_an_answer_tells_what_is_left(counted: ArmClient) -> None:
    """The header counts down; deletes have one of their own."""
    name = "x-ms-ratelimit-remaining-subscription-reads"
    assert [counted.call("GET", VM).headers[name] for _ in range(2)] == ["249", "248"]
    gone = counted.call("DELETE", child(WEB_NSG, "absent"))
    assert gone.headers["x-ms-ratelimit-remaining-subscription-deletes"] == "199"


def test_the_network_provider_counts_five_minutes(counted: ArmClient, clock: Clock) -> None:
    """1,000 writes in a window, by all callers together; then 429 until the first is five minutes old."""
    path = child(WEB_NSG, "absent")
    start = clock.now
    taken = 0
    while taken < 1000:
        count, _ = until_refused(counted, "DELETE", path, limit=201)
        taken += count
        clock.pass_by(20)
    count, refused = until_refused(counted, "DELETE", path)
    assert (taken, count) == (1000, 0)
    assert refused.code == "RetryableError"
    detail = refused.body["error"]["details"][0]
    assert detail["code"] == "RetryableErrorDueToTooManyCalls"
    left = int(start + 300 - clock.now)
    assert refused.headers["retry-after"] == str(left)
    assert f"Subscription {SUBSCRIPTION} was used" in detail["message"]
    assert f"retried in {left} seconds" in detail["message"]
    clock.pass_by(left)
    assert counted.call("DELETE", path).status == 204


def test_with_quotas_a_group_takes_one_write_at_a_time(counted: ArmClient) -> None:
    """The switch brings the lock with it."""
    assert counted.call("PUT", child(WEB_NSG, "one"), rule()).status == 201
    second = counted.call("PUT", child(WEB_NSG, "two"), rule(priority=201))
    assert second.body["error"]["details"][0]["code"] == "RetryableErrorDueToAnotherOperation"


def test_without_the_switch_nothing_is_counted(arm: ArmClient) -> None:
    """By default no test meets a quota, and switching off ends the counting."""
    arm.control("quotas", {"enabled": True})
    until_refused(arm, "GET", VM)
    arm.control("quotas", {"enabled": False})
    assert {arm.call("GET", VM).status for _ in range(300)} == {200}
