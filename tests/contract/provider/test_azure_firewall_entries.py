"""Entries, refusals and IP groups of Azure Firewall, numbered by recorded behaviour."""

import copy
from typing import Any

import pytest

from shared.domain.desired import Entry, Verdict
from shared.firewalls.azure_rules.model import NOWHERE, AzureSettings
from shared.firewalls.firewall_policy.provider import FirewallPolicyProvider
from shared.ports import RefusedError
from tests import firewalls as hub
from tests.contract.provider.azure_firewall import body_of, edit
from tests.contract.provider.grounds_azure_firewall import (
    ADDRESS,
    SETTINGS,
    ClassicGround,
    PolicyGround,
)
from tests.contract.provider.subject import ALICE, BOB, Subject

# --- 12: entries


def test_12_an_entry_is_never_one_that_any_translation_uses(policy: Subject) -> None:
    """Ports, ranges and other people's rules are passed over, and each grant has its own."""
    theirs = [hub.nat_rule("one", 20_000), hub.nat_rule("range", "20001-20003")]
    edit(
        policy,
        {"id": f"{hub.POLICY}/ruleCollectionGroups/theirs", "name": "theirs", **hub.group(*theirs)},
    )
    first, second = policy.allow(1, ALICE), policy.allow(2, BOB)
    plan = policy.converge()
    assert plan.finding(first).entry == Entry(hub.PUBLIC_ADDRESS, 20_004)
    assert plan.finding(second).entry == Entry(hub.PUBLIC_ADDRESS, 20_005)


def test_12_a_foreign_rule_that_takes_an_entry_moves_the_grant(policy: Subject) -> None:
    """Where another writer takes our entry, the grant gets another one."""
    key = policy.allow(1)
    policy.converge()
    theirs = hub.nat_rule("one", 20_000, sourceAddresses=[BOB])
    edit(
        policy,
        {"id": f"{hub.POLICY}/ruleCollectionGroups/theirs", "name": "theirs", **hub.group(theirs)},
    )
    assert policy.look().finding(key).verdict is Verdict.PENDING
    assert policy.converge().finding(key).entry == Entry(hub.PUBLIC_ADDRESS, 20_001)


def test_12_a_full_range_is_impossible_with_the_reason(policy: Subject) -> None:
    """Two ports for three grants; no port from 64000 up is ever used."""
    for first, last, room in ((20_000, 20_001, 2), (63_999, 70_000, 1)):
        settings = AzureSettings("test1", first_port=first, last_port=last)
        policy.provider = FirewallPolicyProvider(policy.ground.guarded, settings)  # type: ignore[attr-defined]
        policy.allows.clear()
        policy.converge()
        keys = [policy.allow(at, f"203.0.113.{at + 1}") for at in range(3)]
        plan = policy.converge()
        assert [plan.finding(key).agrees for key in keys] == [True] * room + [False] * (3 - room)
        assert "is free on" in plan.finding(keys[-1]).reason


def test_12_the_limit_of_250_is_told_before_it_is_hit(policy: Subject) -> None:
    """A warning from 225 on, and impossible with the reason at 250."""
    theirs = [hub.nat_rule(f"r{at}", 1000 + at) for at in range(248)]
    edit(
        policy,
        {"id": f"{hub.POLICY}/ruleCollectionGroups/theirs", "name": "theirs", **hub.group(*theirs)},
    )
    fits = policy.allow(1, ALICE)
    refused = policy.allow(2, BOB)
    plan = policy.converge()
    assert plan.finding(fits).agrees
    assert "limit of 250" in plan.finding(refused).reason
    assert any("250 of 250" in text for text in policy.provider.warnings())


def test_12_grants_share_an_entry_where_that_is_set(policy: Subject) -> None:
    """By setting, all grants of a VM's port have one entry; each keeps its own source."""
    settings = AzureSettings("test1", share_ports=True)
    policy.provider = FirewallPolicyProvider(policy.ground.guarded, settings)  # type: ignore[attr-defined]
    keys = [policy.allow(1, ALICE), policy.allow(2, BOB)]
    plan = policy.converge()
    assert {plan.finding(key).entry for key in keys} == {Entry(hub.PUBLIC_ADDRESS, 20_000)}
    policy.end(keys[0])
    policy.converge()
    assert not policy.reaches(ALICE)
    assert policy.reaches(BOB)


# --- 13: refusals


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "deallocated": ({"ipConfigurations": []}, "deallocated"),
    "hub": ({"sku": {"name": "AZFW_Hub", "tier": "Standard"}}, "Virtual WAN hub"),
    "policy": ({"firewallPolicy": {"id": hub.POLICY}}, "has a firewall policy"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_13_a_firewall_that_must_not_be_written_is_refused_with_the_reason(
    classic: Subject, case: str
) -> None:
    """Nothing is written, nothing counts as open, and a rule of ours there stays known."""
    changes, reason = REFUSED[case]
    key = classic.allow(1)
    classic.converge()
    writes = len(classic.ground.guarded.writes)  # type: ignore[attr-defined]
    body = copy.deepcopy(body_of(classic, hub.FIREWALL))
    for name, value in changes.items():
        body["properties"][name] = value
    edit(classic, body)
    plan = classic.look()
    assert plan.finding(key).verdict is Verdict.IMPOSSIBLE
    assert reason in plan.finding(key).reason
    assert plan.changes == ()
    classic.end(key)
    closing = classic.look().finding(key)
    assert closing.verdict is Verdict.IMPOSSIBLE
    assert reason in closing.reason
    assert len(classic.ground.guarded.writes) == writes  # type: ignore[attr-defined]


def test_13_beside_defenders_own_rules_nothing_new_is_opened_and_ours_still_closes(
    classic: Subject,
) -> None:
    """One of the two must manage a firewall; what was opened before goes on until its end."""
    works = classic.allow(1)
    classic.converge()
    body = copy.deepcopy(body_of(classic, hub.FIREWALL))
    theirs = hub.classic_collection("MDC-JIT-nat", hub.classic_nat(port=30_000), priority=300)
    body["properties"]["natRuleCollections"].append(theirs)
    edit(classic, body)
    refused = classic.allow(2, BOB)
    plan = classic.converge()
    assert plan.finding(works).agrees
    assert "Microsoft Defender for Cloud" in plan.finding(refused).reason
    classic.end(works)
    assert classic.converge().finding(works).agrees
    names = [
        each["name"] for each in body_of(classic, hub.FIREWALL)["properties"]["natRuleCollections"]
    ]
    assert names == ["MDC-JIT-nat"]


def test_13_a_policy_that_is_managed_elsewhere_is_refused_and_still_closed(
    policy: Subject,
) -> None:
    """`afcManaged`: another service owns the policy; what we opened before is closed."""
    before = policy.allow(1)
    policy.converge()
    edit(policy, hub.policy_body(afcManaged=True))
    key = policy.allow(2, BOB)
    policy.end(before)
    plan = policy.converge()
    assert "managed by" in plan.finding(key).reason
    assert plan.finding(before).agrees
    assert not policy.reaches(ALICE)


def test_the_owners_switch_is_no_exposure_and_its_entry_is_taken(ip_group: Subject) -> None:
    """A static translation whose source is an IP group of ours is ours for every provider."""
    ground: Any = ip_group.ground
    policy = FirewallPolicyProvider(ground.guarded, SETTINGS)
    body = body_of(ip_group, f"{hub.POLICY}/ruleCollectionGroups/switches")
    rule = body["properties"]["ruleCollections"][0]["rules"][0]
    rule["destinationPorts"] = ["20000"]
    edit(ip_group, body)
    block = ip_group.block()
    key = ip_group.allow(1)
    assert ip_group.converge().finding(block).agrees
    observed = policy.read(f"{hub.POLICY}/ruleCollectionGroups/{SETTINGS.group_name}")
    plan = policy.plan(observed, ip_group.desired)
    assert plan.finding(block).agrees
    (change,) = plan.changes
    assert (change.serves, change.body.public_port) == ((key,), 20_001)  # type: ignore[attr-defined]


def test_13_a_policy_on_a_hub_firewall_is_refused(policy: Subject) -> None:
    """Virtual WAN hubs are unsupported, with the reason."""
    body = hub.firewall()
    body["properties"]["sku"]["name"] = "AZFW_Hub"
    edit(policy, body)
    key = policy.allow(1)
    assert "Virtual WAN hub" in policy.converge().finding(key).reason


def test_13_defenders_rules_beside_a_policy_are_told(policy: Subject) -> None:
    """Defender does not know policies, but its rules may have been moved there."""
    theirs = hub.nat_rule("MDC-JIT-web-1")
    edit(
        policy,
        {"id": f"{hub.POLICY}/ruleCollectionGroups/theirs", "name": "theirs", **hub.group(theirs)},
    )
    policy.look()
    assert any("Microsoft Defender" in text for text in policy.provider.warnings())


# --- also


def test_an_address_that_another_vm_took_is_not_opened_by_an_old_rule(policy: Subject) -> None:
    """A deleted VM's rule is an orphan and goes, whichever VM has the address now."""
    policy.allow(1)
    policy.converge()
    policy.allows.clear()
    assert policy.converge().is_done
    assert not policy.reaches()


def test_an_ip_group_without_grants_holds_the_sentinel(ip_group: Subject) -> None:
    """It is never empty: whether a rule with an empty group is skipped is not relied on."""
    key = ip_group.allow(1)
    ip_group.converge()
    assert body_of(ip_group, ip_group.id)["properties"]["ipAddresses"] == [ALICE]
    ip_group.end(key)
    ip_group.converge()
    body = body_of(ip_group, ip_group.id)
    assert body["properties"]["ipAddresses"] == [NOWHERE]
    assert body["tags"] == {"owner": "network team"}


def test_an_ip_group_that_serves_two_ports_opens_neither(ip_group: Subject) -> None:
    """One grant would open both: refused, with the other one named."""
    ground: Any = ip_group.ground
    other = hub.nat_rule("rdp", 20_389, sourceAddresses=[], sourceIpGroups=[ground.group])
    other |= {"translatedAddress": ADDRESS, "translatedPort": "3389"}
    edit(
        ip_group,
        {"id": f"{hub.POLICY}/ruleCollectionGroups/more", "name": "more", **hub.group(other)},
    )
    key = ip_group.allow(1)
    assert "also opens port 3389" in ip_group.converge().finding(key).reason
    assert not ip_group.reaches()


def test_an_address_in_the_group_that_no_grant_needs_is_removed(ip_group: Subject) -> None:
    """Added by hand, it is an opening of ours without an end."""
    edit(ip_group, hub.ip_group(BOB, resource_id=ip_group.id))
    assert ip_group.reaches(BOB)
    assert ip_group.converge().is_done
    assert not ip_group.reaches(BOB)


@pytest.mark.parametrize("source", ["*", "0.0.0.0/0", "2001:db8::1", "8.0.0.0/5"])
def test_sources_that_a_translation_must_not_have_are_impossible(
    azure_firewall: Subject, source: str
) -> None:
    """Every source, IPv6, and a range that is partly private: said so, never widened."""
    key = azure_firewall.allow(1, source)
    finding = azure_firewall.converge().finding(key)
    assert finding.verdict is Verdict.IMPOSSIBLE
    assert finding.reason
    assert not azure_firewall.reaches()


def test_a_private_source_gets_a_network_allow_and_no_entry() -> None:
    """A VPN client passes the firewall as it is, and connects to the VM's own address."""
    for ground in (PolicyGround, ClassicGround):
        subject = Subject(ground())
        key = subject.allow(1, "10.9.0.5")
        assert subject.converge().finding(key).entry is None
        assert subject.reaches("10.9.0.5")
        assert not subject.reaches("10.9.0.6")
        subject.end(key)
        assert subject.converge().finding(key).agrees
        assert not subject.reaches("10.9.0.5")


def test_a_deny_that_stands_before_ours_is_named(policy: Subject) -> None:
    """A parent's or an earlier group's deny fails a private grant, with its name."""
    deny = hub.network_rule("keep-out", sourceAddresses=["10.0.0.0/8"], destinationAddresses=["*"])
    body = {"id": f"{hub.POLICY}/ruleCollectionGroups/first", "name": "first"}
    edit(policy, body | hub.group(deny, action="Deny", priority=100))
    key = policy.allow(1, "10.9.0.5")
    assert "keep-out" in policy.converge().finding(key).reason


def test_removals_that_are_refused_end_by_removing_the_group(policy: Subject) -> None:
    """Where no PUT is accepted, the whole group goes: closing comes before keeping others open."""
    first = policy.allow(1, ALICE)
    policy.allow(2, BOB)
    policy.converge()
    policy.end(first)
    guarded: Any = policy.ground.guarded  # type: ignore[attr-defined]
    put = guarded.put

    def refuse(*_: Any) -> None:
        raise RefusedError("RequestDisallowedByPolicy: no write here")

    guarded.put = refuse
    assert policy.converge().finding(first).agrees
    assert not policy.reaches(ALICE)
    guarded.put = put
