"""A firewall that refuses for good: closing tries every write, and has no terminal error."""

from typing import Any

import pytest

from shared.domain.model import Status
from shared.use_cases.timers import health as watch
from shared.use_cases.timers.reconcile import reconcile
from tests.faults.simulated import (
    FOREIGN,
    SimulatedWorld,
    assert_never_wrote_while_updating,
    assert_over,
)
from tests.world import BOB, DB, NSG_NIC, NSG_SUBNET, WEB

RULES = "/securityRules/"
WHOLE = "/networkSecurityGroups/[^/]+$"
NO_DELETE: dict[str, Any] = {"kind": "scopeLocked", "times": None}
NO_WHOLE: dict[str, Any] = {"kind": "policyDenied", "times": None}
NO_CHILD: dict[str, Any] = {"kind": "policyDenied", "path": RULES, "times": None}
NOTHING = [{"kind": "scopeLocked", "method": "PUT|DELETE", "times": None}]


def opened(*rules: Any, minutes: float = 5, nsg_write: str = "auto") -> tuple[SimulatedWorld, str]:
    """Make a world where db is open behind the subnet's group."""
    world = SimulatedWorld(*rules, nsg_write=nsg_write)
    world.protect()
    return world, world.ask(DB, minutes=minutes).id


# --- closing -----------------------------------------------------------------------------------


def test_a_lock_on_deletes_is_passed_by_a_whole_write() -> None:
    """A CanNotDelete lock stops a child DELETE; the rule goes with a PUT of the group."""
    world, request = opened(*FOREIGN)
    foreign = world.foreign(NSG_SUBNET)
    world.order(NO_DELETE)
    world.pass_time(6)
    assert_over(world)
    assert world.status(request) is Status.REVOKED
    assert world.foreign(NSG_SUBNET) == foreign
    assert not world.telemetry.named("jit.close.refused")


@pytest.mark.parametrize("fault", ["policyDenied", "linkedAuthorizationFailed"])
def test_a_refusal_of_whole_writes_is_passed_by_child_writes(fault: str) -> None:
    """A policy, or a right that lacks on something linked, stops a PUT of the group only."""
    world, first = opened(*FOREIGN)
    second = world.ask(DB, who=BOB, minutes=5).id
    world.order(kind=fault, path=WHOLE, times=None)
    world.pass_time(6)
    assert_over(world)
    assert {world.status(first), world.status(second)} == {Status.REVOKED}
    assert [c["method"] for c in world.writes(NSG_SUBNET) if RULES in c["path"]][-2:] == [
        "DELETE"
    ] * 2
    assert not world.telemetry.named("jit.close.refused")


@pytest.mark.parametrize("nsg_write", ["auto", "rules"])
def test_with_every_removal_refused_the_rule_becomes_a_deny_until_it_can_go(
    nsg_write: str,
) -> None:
    """No caller gets in from the first minute on, and the request ends only when the rule is gone.

    It is announced and tried at every sweep, and goes within one sweep of the refusal's end.
    """
    world, request = opened(*FOREIGN, nsg_write=nsg_write)
    foreign = world.foreign(NSG_SUBNET)
    name = world.allows(NSG_SUBNET)[0].name
    world.order(NO_DELETE, NO_WHOLE)
    world.pass_time(6)
    assert_over(world)
    assert name in {rule.name for rule in world.denies(NSG_SUBNET)}
    for _ in range(3):
        told = len(world.telemetry.named("jit.close.refused"))
        world.clock.advance(60)
        assert world.sweep() == 1
        assert len(world.telemetry.named("jit.close.refused")) == told + 1
    assert name in str(world.telemetry.named("jit.close.refused")[-1]["rules"])
    assert world.status(request) is Status.INITIATED
    assert watch.report(world.services).problems
    world.order()
    world.clock.advance(60)
    assert world.sweep() == 0
    assert name not in {rule.name for rule in world.ours(NSG_SUBNET)}
    assert world.status(request) is Status.REVOKED
    assert world.foreign(NSG_SUBNET) == foreign
    assert_never_wrote_while_updating(world)
    world.pass_time(17)
    assert not watch.report(world.services).problems


def test_a_read_only_lock_is_tried_for_ever_and_told() -> None:
    """With every write refused for hours nothing gives up: the sweep after the lock closes."""
    world, request = opened()
    world.order(*NOTHING)
    world.pass_time(6)
    for _ in range(12):
        world.clock.advance(10 * 60)
        assert world.sweep() == 1
    assert world.status(request) is Status.INITIATED
    assert world.telemetry.named("jit.close.refused")
    world.order()
    world.clock.advance(60)
    assert world.sweep() == 0
    assert_over(world)
    assert world.status(request) is Status.REVOKED


def test_a_rule_that_may_not_go_stalls_no_other() -> None:
    """One rule's removal is refused; its neighbours close on time, and others open beside it."""
    world = SimulatedWorld()
    world.protect()
    stuck = world.ask(DB, minutes=5)
    name = world.allows(NSG_SUBNET)[0].name
    free = world.ask(DB, who=BOB, minutes=5)
    world.order(
        {**NO_DELETE, "path": name}, {**NO_WHOLE, "times": None}, {**NO_CHILD, "path": name}
    )
    world.pass_time(6)
    assert world.status(free.id) is Status.REVOKED
    assert world.status(stuck.id) is Status.INITIATED
    assert [rule.name for rule in world.allows(NSG_SUBNET)] == [name]
    later = world.ask(WEB, who=BOB)
    assert world.status(later.id) is Status.INITIATED
    world.order()
    world.pass_time(1)
    assert world.status(stuck.id) is Status.REVOKED


def test_what_was_turned_into_a_deny_is_not_taken_for_an_open_port() -> None:
    """While a closed rule stands as a deny where it was, nothing is Initiated below it.

    Nothing would get through there: the same person's next request fails and names the rule.
    """
    world, _ = opened()
    name = world.allows(NSG_SUBNET)[0].name
    world.order(NO_DELETE, NO_WHOLE)
    world.pass_time(6)
    again = world.ask(DB)
    world.pass_time(1)
    assert world.status(again.id) is not Status.INITIATED
    assert name in world.why(again.id)
    world.order()
    world.pass_time(2)
    later = world.ask(DB)
    assert world.status(later.id) is Status.INITIATED
    assert world.is_open(DB)


# --- opening -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"kind": "policyDenied", "path": RULES, "times": None}, "disallowed by policy"),
        ({"kind": "linkedAuthorizationFailed", "times": None}, "does not have permission"),
        ({"kind": "scopeLocked", "method": "PUT", "times": None}, "locked"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_an_opening_that_is_refused_fails_with_azures_own_sentence(
    fault: dict[str, Any], told: str
) -> None:
    """A refusal for good is no reason to try again, and of two firewalls neither stays open."""
    world = SimulatedWorld()
    world.protect()
    world.order(fault)
    request = world.ask()
    world.pass_time(1)
    assert world.status(request.id) is Status.FAILED
    assert told in world.why(request.id)
    assert_over(world)


def test_where_the_second_of_two_groups_refuses_the_first_is_closed_again() -> None:
    """Failed is a close on every firewall of the request."""
    world = SimulatedWorld()
    world.protect()
    world.order(kind="policyDenied", path=f"subnet-nsg{RULES}", times=None)
    request = world.ask()
    world.pass_time(1)
    assert world.status(request.id) is Status.FAILED
    assert_over(world)
    assert len(world.denies(NSG_NIC)) == 1


def test_a_policy_that_cannot_be_applied_says_why_and_is_applied_later() -> None:
    """Protections that are refused leave the policy Failed with the reason; reconciling goes on."""
    world = SimulatedWorld()
    world.order({**NO_CHILD}, NO_WHOLE)
    world.protect()
    world.pass_time(1)
    assert "disallowed by policy" in world.policy().error
    world.order()
    reconcile(world.services)
    world.work()
    assert len(world.denies(NSG_SUBNET)) == 2
    assert world.policy().error == ""
