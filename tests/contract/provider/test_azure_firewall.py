"""Azure Firewall beyond the provider contract, numbered by recorded behaviour."""

import json
from typing import Any

import pytest

from shared.domain.desired import Verdict
from shared.domain.ids import key_of
from shared.firewalls.azure_firewall import wire as classic_wire
from shared.firewalls.azure_rules.model import AzureSettings
from shared.firewalls.firewall_policy.provider import FirewallPolicyProvider
from shared.ports import FirewallChangedError, SettlingError
from tests import firewalls as hub
from tests.contract.provider.azure_firewall import body_of, edit
from tests.contract.provider.crashing import KilledError
from tests.contract.provider.grounds_azure_firewall import (
    SETTINGS,
    PolicyGround,
)
from tests.contract.provider.subject import ALICE, BOB, Subject

# --- 4: two requestors


def test_04_two_requestors_on_one_port_end_one_by_one(azure_firewall: Subject) -> None:
    """The first end closes the first grant; the second one stays open at its entry."""
    first, second = azure_firewall.allow(1, ALICE), azure_firewall.allow(2, BOB)
    entry = azure_firewall.converge().finding(second).entry
    azure_firewall.end(first)
    plan = azure_firewall.converge()
    assert plan.finding(first).agrees
    assert plan.finding(second) == type(plan.finding(second))(Verdict.AGREES, entry=entry)
    assert not azure_firewall.reaches(ALICE)
    assert azure_firewall.reaches(BOB)


# --- 5 and 6: what is foreign


def test_05_a_whole_put_keeps_300_foreign_rules_and_unknown_members(classic: Subject) -> None:
    """Opening and closing leave every foreign byte as it was."""
    body = body_of(classic, hub.FIREWALL)
    rules = [
        hub.classic_nat(
            f"r{at}", 1000 + at, sourceAddresses=["*"], sourceIpGroups=[], newer={"x": at}
        )
        for at in range(200)
    ]
    filters = [
        {
            "name": f"f{at}",
            "protocols": ["TCP"],
            "sourceAddresses": ["10.3.0.0/16"],
            "destinationAddresses": [f"10.2.0.{at}"],
            "destinationPorts": ["443"],
            **{n: [] for n in ("sourceIpGroups", "destinationIpGroups", "destinationFqdns")},
        }
        for at in range(100)
    ]
    body["tags"] = {"etag": "kept", "provisioningState": "kept too"}
    properties = body["properties"]
    properties["natRuleCollections"] = [hub.classic_collection("theirs", *rules)]
    allows = hub.classic_collection("allows", *filters, action="Allow") | {"newer": [None, 1.5]}
    properties["networkRuleCollections"] = [allows]
    properties["newer"] = {"etag": 7, "deep": [{"ipGroups": "kept"}]}
    properties["additionalProperties"] = {"Network.DNS.EnableProxy": "true"}
    client = classic.ground.hub.client  # type: ignore[attr-defined]
    assert client.call("PUT", hub.FIREWALL, body).status == 200
    classic.ground.settle()
    before = body_of(classic, hub.FIREWALL)
    key = classic.allow(1)
    assert classic.converge().finding(key).agrees
    during = body_of(classic, hub.FIREWALL)
    assert classic_wire.foreign_hash(during, SETTINGS) == classic_wire.foreign_hash(
        before, SETTINGS
    )
    assert during["tags"] == before["tags"]
    assert during["properties"]["newer"] == properties["newer"]
    classic.end(key)
    classic.converge()
    after = body_of(classic, hub.FIREWALL)
    assert _foreign(after) == _foreign(before)
    assert classic.provider.warnings() == ()


def _foreign(body: dict[str, Any]) -> Any:
    """Return a body without etags and states of the service's own parts."""
    return json.dumps(classic_wire.without_owned(body), sort_keys=True)


def test_06_a_foreign_write_in_the_gap_is_met_by_the_etag(classic: Subject) -> None:
    """412, then read again and plan again: nothing of theirs is lost."""
    client = classic.ground.hub.client  # type: ignore[attr-defined]
    classic.allow(1)
    observed = classic.read()
    plan = classic.provider.plan(observed, classic.desired)
    theirs = body_of(classic, hub.FIREWALL) | {"tags": {"by": "them"}}
    classic.provider._guarded[key_of(hub.FIREWALL)] = True  # type: ignore[attr-defined]
    client.control("firewalls", {"foreignWrite": {"path": "/hub-fw", "resource": theirs}})
    with pytest.raises(FirewallChangedError):
        classic.provider.apply(observed, plan)
    assert classic.converge().is_done
    assert classic.reaches()
    assert body_of(classic, hub.FIREWALL)["tags"] == {"by": "them"}


def test_06_if_match_that_is_ignored_raises_an_alarm(classic: Subject) -> None:
    """Whether the service honours the etag is found out, and told where it does not."""
    client = classic.ground.hub.client  # type: ignore[attr-defined]
    client.control("firewalls", {"ifMatch": False})
    key = classic.allow(1)
    assert classic.converge().finding(key).agrees
    assert any("ignores If-Match" in text for text in classic.provider.warnings())


def test_06_foreign_content_that_changed_under_a_write_raises_an_alarm(classic: Subject) -> None:
    """A digest before and after; nothing is put back."""
    classic.allow(1)
    observed = classic.read()
    classic.provider.apply(observed, classic.provider.plan(observed, classic.desired))
    classic.ground.settle()
    edit(classic, body_of(classic, hub.FIREWALL) | {"tags": {"by": "them"}})
    classic.read()
    assert any("changed while it was written" in text for text in classic.provider.warnings())
    assert body_of(classic, hub.FIREWALL)["tags"] == {"by": "them"}


# --- 7 to 9: busy, faulted, equal


def test_07_a_busy_policy_delays_and_is_never_taken_for_closed(policy: Subject) -> None:
    """While another writer's change runs for ten minutes nothing agrees; then closes come first."""
    closing = policy.allow(1, ALICE)
    policy.converge()
    policy.end(closing)
    policy.allow(2, BOB)
    policy.ground.be_busy(600)
    for _ in range(9):
        with pytest.raises(SettlingError) as caught:
            policy.provider.read(policy.id)
        assert "Updating" in str(caught.value)
        policy.ground.clock.advance(60)
    policy.ground.clock.advance(61)
    assert [change.opens for change in policy.look().changes] == [False, True]
    assert policy.converge().finding(closing).agrees
    assert not policy.reaches(ALICE)


def test_07_a_write_that_meets_another_settles(policy: Subject) -> None:
    """Between the read and the write another writer began: come back later."""
    policy.allow(1)
    observed = policy.read()
    plan = policy.provider.plan(observed, policy.desired)
    client = policy.ground.hub.client  # type: ignore[attr-defined]
    for code in (
        "AnotherOperationInProgress",
        "FirewallPolicyUpdateNotAllowedWhenUpdatingOrDeleting",
    ):
        client.control("firewalls", {"busyCode": code, "busy": {"id": hub.POLICY, "seconds": 60}})
        with pytest.raises(SettlingError):
            policy.ground.guarded.put(policy.id, hub.group())  # type: ignore[attr-defined]
        with pytest.raises(SettlingError):
            policy.provider.apply(observed, plan)


def test_08_a_faulted_firewall_agrees_with_nothing_until_a_write_succeeds(
    azure_firewall: Subject,
) -> None:
    """Failed means that instances differ: the write is repeated, and nothing counts as closed."""
    key = azure_firewall.allow(1)
    azure_firewall.converge()
    azure_firewall.end(key)
    observed = azure_firewall.read()
    azure_firewall.ground.hub.client.control("firewalls", {"failNext": 1})  # type: ignore[attr-defined]
    if azure_firewall.ground.provider.label == "Azure Firewall":
        azure_firewall.provider._guarded[key_of(hub.FIREWALL)] = True  # type: ignore[attr-defined]
    azure_firewall.provider.apply(
        observed, azure_firewall.provider.plan(observed, azure_firewall.desired)
    )
    azure_firewall.ground.settle()
    plan = azure_firewall.look()
    assert azure_firewall.reaches()
    assert plan.finding(key).verdict is Verdict.PENDING
    assert plan.changes
    assert azure_firewall.converge().finding(key).agrees
    assert not azure_firewall.reaches()


def test_08_one_faulted_firewall_of_a_policy_blocks_all(policy: Subject) -> None:
    """The policy's write fails as long as a firewall is Failed; closes are tried all the same."""
    key = policy.allow(1)
    policy.converge()
    client = policy.ground.hub.client  # type: ignore[attr-defined]
    client.control("firewalls", {"state": {"id": hub.FIREWALL, "state": "Failed"}})
    policy.end(key)
    observed = policy.read()
    plan = policy.provider.plan(observed, policy.desired)
    assert plan.finding(key).verdict is Verdict.PENDING
    policy.provider.apply(observed, plan)
    policy.ground.settle()
    assert policy.look().finding(key).verdict is Verdict.PENDING
    client.control("firewalls", {"state": {"id": hub.FIREWALL, "state": "Succeeded"}})
    assert policy.converge().finding(key).agrees


def test_09_an_equal_put_and_a_second_removal_are_no_error(policy: Subject) -> None:
    """The literal null, and a 204, are accepted; an equal state is not written at all."""
    policy.allow(1)
    policy.converge()
    guarded: Any = policy.ground.guarded  # type: ignore[attr-defined]
    writes = len(guarded.writes)
    assert policy.converge().is_done
    assert len(guarded.writes) == writes
    body = body_of(policy, policy.id)
    guarded.put(policy.id, {"properties": body["properties"]})
    assert policy.look().is_done
    guarded.delete(policy.id)
    policy.ground.settle()
    guarded.delete(policy.id)


def test_09_without_grants_the_group_is_deleted_or_empty_by_setting() -> None:
    """Both are closed."""
    for delete in (True, False):
        subject = Subject(PolicyGround())
        settings = AzureSettings("test1", delete_empty=delete)
        subject.provider = FirewallPolicyProvider(subject.ground.guarded, settings)  # type: ignore[attr-defined]
        key = subject.allow(1)
        subject.converge()
        subject.end(key)
        assert subject.converge().finding(key).agrees
        found = subject.ground.hub.get(subject.id)  # type: ignore[attr-defined]
        assert (found is None) is delete
        assert not subject.reaches()


# --- 10 and 11: what others deploy


def test_10_a_deployed_draft_that_resurrects_a_rule_is_swept(policy: Subject) -> None:
    """A draft warns while it is there; what it brings back is an orphan and goes."""
    client = policy.ground.hub.client  # type: ignore[attr-defined]
    key = policy.allow(1)
    policy.converge()
    client.call("PUT", f"{hub.POLICY}/firewallPolicyDrafts/default", {"properties": {}})
    policy.end(key)
    policy.converge()
    assert any("draft" in text for text in policy.provider.warnings())
    client.call("POST", f"{hub.POLICY}/deploy")
    policy.ground.settle()
    assert policy.reaches()
    assert not policy.look().finding(key).agrees
    assert policy.converge().finding(key).agrees
    assert not policy.reaches()


def test_11_what_a_template_wiped_is_opened_again_only_while_the_grant_lives(
    classic: Subject,
) -> None:
    """A template with inline collections takes ours away: pending, then open again or closed."""
    key = classic.allow(1)
    classic.converge()
    wiped = body_of(classic, hub.FIREWALL)
    wiped["properties"]["natRuleCollections"] = []
    edit(classic, wiped)
    assert classic.look().finding(key).verdict is Verdict.PENDING
    assert classic.converge().finding(key).agrees
    assert classic.reaches()
    edit(classic, wiped)
    classic.end(key)
    assert classic.look().is_done
    assert classic.look().finding(key).agrees


# --- 15: crashes


@pytest.mark.parametrize("call", range(1, 6))
def test_15_a_crash_at_any_step_never_leaves_a_port_open_without_a_grant(
    azure_firewall: Subject, call: int
) -> None:
    """After a worker is killed before any write, the next one closes every ended access."""
    first = azure_firewall.allow(1, ALICE)
    for end in (False, True):
        if end:
            azure_firewall.end(first)
            azure_firewall.allow(2, BOB)
        azure_firewall.ground.crash_before(call)
        try:
            azure_firewall.converge()
        except KilledError:
            azure_firewall.ground.settle()
        azure_firewall.ground.crash_before(0)
    assert azure_firewall.converge().finding(first).agrees
    assert not azure_firewall.reaches(ALICE)
    assert azure_firewall.reaches(BOB)
