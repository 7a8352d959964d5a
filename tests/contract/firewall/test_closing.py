"""Closing tries every write."""

from dataclasses import replace

import pytest

from shared.firewalls.nsg.model import Access
from shared.firewalls.nsg.rules import Plan
from shared.ports import FirewallRefusedError
from tests.contract.firewall.grounds import (
    AzureGround,
    Json,
    allow,
    by_name,
    deny,
    foreign,
    foreign_part,
    held,
    snapshot_write,
)

LOCK: Json = {"kind": "scopeLocked", "times": None}
NO_WHOLE: Json = {"kind": "policyDenied", "times": None}
NO_RULE_PUT: Json = {"kind": "policyDenied", "path": "/securityRules/", "times": None}


def test_a_lock_on_deletes_is_passed_by_a_whole_write(real: AzureGround) -> None:
    """ScopeLocked stops a DELETE; the same rule goes with a whole PUT."""
    firewall_id = real.add(foreign(), allow(1))
    real.order(LOCK)
    snapshot_write(real, firewall_id, Plan(remove=(allow(1).name,)))
    assert held(real, firewall_id) == by_name(foreign())
    assert real.calls(firewall_id) == [("DELETE", "rule"), ("PUT", "group")]


PLANS = {
    "two to remove": Plan(remove=(allow(1).name, allow(2).name)),
    "one each way": Plan(put=(allow(3),), remove=(allow(1).name,)),
    "two to put": Plan(put=(allow(3), allow(4))),
}


@pytest.mark.parametrize("plan_name", PLANS)
def test_a_policy_against_whole_writes_is_passed_by_child_writes(
    real: AzureGround, plan_name: str
) -> None:
    """RequestDisallowedByPolicy on a whole PUT blames no rule: the first change goes alone."""
    firewall_id = real.add(foreign(), allow(1), allow(2))
    before = held(real, firewall_id)
    real.order(NO_WHOLE)
    snapshot_write(real, firewall_id, PLANS[plan_name])
    assert held(real, firewall_id) != before
    calls = real.calls(firewall_id)
    assert calls[0] == ("PUT", "group")
    assert [what for _, what in calls] == ["group", "rule"]


@pytest.mark.parametrize("whole", [True, False])
def test_a_rule_that_cannot_go_is_turned_into_a_deny(real: AzureGround, whole: bool) -> None:
    """With every removal refused, the rule stays where it is and lets no caller in; a problem names it."""
    real.whole = whole
    firewall_id = real.add(foreign(), allow(1), allow(2))
    before = foreign_part(real.raw(firewall_id))
    real.order(LOCK, NO_WHOLE)
    with pytest.raises(FirewallRefusedError) as caught:
        snapshot_write(real, firewall_id, Plan(remove=(allow(1).name,)))
    assert (caught.value.rule_name, caught.value.code) == (allow(1).name, "ScopeLocked")
    now = held(real, firewall_id)
    assert now[allow(1).name].access is Access.DENY
    assert replace(now[allow(1).name], access=Access.ALLOW, description="") == replace(
        allow(1), description=""
    )
    assert now[allow(2).name] == allow(2)
    assert foreign_part(real.raw(firewall_id)) == before


def test_a_rule_that_was_turned_into_a_deny_still_has_to_go(real: AzureGround) -> None:
    """It is refused again without another write; with the lock gone it goes."""
    firewall_id = real.add(allow(1))
    real.order(LOCK, NO_WHOLE)
    for _ in range(2):
        with pytest.raises(FirewallRefusedError):
            snapshot_write(real, firewall_id, Plan(remove=(allow(1).name,)))
    puts = [call for call in real.calls(firewall_id) if call == ("PUT", "rule")]
    assert len(puts) == 1
    real.order()
    snapshot_write(real, firewall_id, Plan(remove=(allow(1).name,)))
    assert held(real, firewall_id) == {}


def test_with_every_write_refused_the_rule_is_named(real: AzureGround) -> None:
    """Nothing helps: the refusal says which rule, and what each way was refused for."""
    firewall_id = real.add(foreign(), allow(1))
    before = real.raw(firewall_id)
    real.order(LOCK, NO_WHOLE, NO_RULE_PUT)
    with pytest.raises(FirewallRefusedError) as caught:
        snapshot_write(real, firewall_id, Plan(remove=(allow(1).name,)))
    assert caught.value.rule_name == allow(1).name
    assert [what for _, what in real.calls(firewall_id)] == ["rule", "group", "rule"]
    assert real.raw(firewall_id) == before


def test_a_deny_rule_that_cannot_be_removed_is_left_alone(real: AzureGround) -> None:
    """It closes already; it is only told."""
    firewall_id = real.add(foreign(), deny())
    before = real.raw(firewall_id)
    real.order(LOCK, NO_WHOLE)
    with pytest.raises(FirewallRefusedError):
        snapshot_write(real, firewall_id, Plan(remove=(deny().name,)))
    assert real.raw(firewall_id) == before


def test_the_other_writes_are_for_closing_only(real: AzureGround) -> None:
    """A rule that may not be put is refused at once: opening tries no second way."""
    firewall_id = real.add(foreign())
    real.order({"kind": "linkedAuthorizationFailed", "times": None})
    with pytest.raises(FirewallRefusedError) as caught:
        snapshot_write(real, firewall_id, Plan(put=(allow(1),)))
    assert caught.value.code == "LinkedAuthorizationFailed"
    assert real.calls(firewall_id) == [("PUT", "rule")]
    # The service's sentence, once: a person reads it as the reason.
    assert str(caught.value).startswith("The client 'network'")
    assert "\n" not in str(caught.value)
