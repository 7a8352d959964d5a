"""A policy's rule collection groups as JSON, and as rules. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared.domain.ids import key_of
from shared.firewalls.azure_rules.model import (
    DNAT,
    NETWORK,
    AzureSettings,
    OwnRule,
    Rule,
    read_text,
    rule_text,
    texts,
)
from shared.firewalls.azure_rules.wire import (
    Addresses,
    application_ports,
    is_switch,
    make_rule,
    number,
    priority_of,
)

Json = dict[str, Any]
_NAT, _FILTER = "FirewallPolicyNatRuleCollection", "FirewallPolicyFilterRuleCollection"
_GROUP = re.compile(
    r"(?P<policy>/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Network"
    r"/firewallPolicies/[^/]+)/ruleCollectionGroups/(?P<name>[^/]+)",
    re.IGNORECASE,
)
DNAT_PRIORITY, NETWORK_PRIORITY = 100, 110


def policy_of(firewall_id: str, settings: AzureSettings) -> str:
    """Return the policy of our group; empty: the id names another thing."""
    match = _GROUP.fullmatch(firewall_id)
    if match is None or match["name"].lower() != settings.group_name.lower():
        return ""
    return match["policy"]


def group_id(policy_id: str, settings: AzureSettings) -> str:
    """Return the id of our group on a policy."""
    return f"{policy_id}/ruleCollectionGroups/{settings.group_name}"


def own_rules(group: Mapping[str, Any] | None) -> dict[str, OwnRule]:
    """Return the rules of our group by name; all that stands in it is ours."""
    found = {}
    for _, rule in _rules_of(group or {}):
        own = _own(rule)
        found[own.name] = own
    return found


def _own(rule: Mapping[str, Any]) -> OwnRule:
    key, until = read_text(str(rule.get("description", "")))
    translates = rule.get("ruleType") == "NatRule"
    target = texts(rule.get("destinationAddresses"))
    entry = texts(rule.get("destinationPorts"))
    port = str(rule.get("translatedPort", "")) if translates else (entry[0] if entry else "")
    sources = (*texts(rule.get("sourceAddresses")), *texts(rule.get("sourceIpGroups")))
    return OwnRule(
        name=str(rule.get("name", "")),
        rule_type=DNAT if translates else NETWORK,
        protocols=texts(rule.get("ipProtocols")),
        sources=sources,
        addresses=(str(rule.get("translatedAddress", "")),) if translates else target,
        port=number(port),
        key=key,
        until=until,
        public_address=target[0] if translates and target else "",
        public_port=number(entry[0]) if translates and entry else 0,
        raw=rule,
    )


def group_body(present: Mapping[str, Any] | None, own: Iterable[OwnRule], priority: int) -> Json:
    """Return the body of our group with exactly these rules; nothing foreign is ever in it."""
    listed = list(own)
    held = ((present or {}).get("properties") or {}).get("priority", priority)
    collections = [
        _collection(
            "dnat", _NAT, "DNAT", DNAT_PRIORITY, [r for r in listed if r.rule_type == DNAT]
        ),
        _collection(
            "network",
            _FILTER,
            "Allow",
            NETWORK_PRIORITY,
            [r for r in listed if r.rule_type == NETWORK],
        ),
    ]
    filled = [each for each in collections if each["rules"]]
    return {"properties": {"priority": held, "ruleCollections": filled}}


def _collection(
    name: str, rule_type: str, action: str, priority: int, rules: Iterable[OwnRule]
) -> Json:
    return {
        "ruleCollectionType": rule_type,
        "name": name,
        "priority": priority,
        "action": {"type": action},
        "rules": [written(rule) for rule in rules],
    }


def written(rule: OwnRule) -> Json:
    """Return a rule as the service takes it; one that was read goes back as it was."""
    if rule.raw:
        return dict(rule.raw)
    shared: Json = {
        "name": rule.name,
        "description": rule_text(rule.key, rule.until),
        "ipProtocols": list(rule.protocols),
        "sourceAddresses": list(rule.sources),
    }
    if rule.rule_type == DNAT:
        return shared | {
            "ruleType": "NatRule",
            "destinationAddresses": [rule.public_address],
            "destinationPorts": [str(rule.public_port)],
            "translatedAddress": rule.addresses[0],
            "translatedPort": str(rule.port),
        }
    return shared | {
        "ruleType": "NetworkRule",
        "destinationAddresses": list(rule.addresses),
        "destinationPorts": [str(rule.port)],
    }


def rules_in_order(
    groups: Iterable[Iterable[Mapping[str, Any]]],
    settings: AzureSettings,
    addresses: Addresses,
    own_group: str = "",
) -> tuple[Rule, ...]:
    """Return all rules as a firewall processes them.

    `groups` holds the groups of each policy, the outermost parent's first. Translations come
    before network rules, these before application rules; a parent's before its child's; then by
    priority of group and collection, and by place. `own_group` is the id of the group that we
    write; a group of ours on a parent, and a rule whose sources are IP groups of ours, is ours too.
    """
    found = []
    for rule, collection, group in _in_order(groups):
        held = key_of(str(group["id"])) == key_of(own_group)
        named = str(group.get("name", "")).lower() == settings.group_name.lower()
        ours = held or named or is_switch(rule, settings)
        found.append(_rule(rule, collection, group, ours, held, addresses))
    return tuple(found)


def bodies_in_order(groups: Iterable[Iterable[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """Return the JSON of each rule, in the same order as the rules."""
    return [rule for rule, _, _ in _in_order(groups)]


def _in_order(
    groups: Iterable[Iterable[Mapping[str, Any]]],
) -> list[tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]]:
    """Return rules with collection and group, as a firewall processes them."""
    found = [
        (rule, collection, group)
        for of_policy in groups
        for group in sorted(of_policy, key=lambda g: priority_of(g["properties"]))
        for collection, rule in _rules_of(group)
    ]
    rule_types = ("NatRule", "NetworkRule", "ApplicationRule")
    found = [each for each in found if each[0].get("ruleType") in rule_types]
    found.sort(key=lambda each: rule_types.index(each[0]["ruleType"]))
    return found


def named_groups(groups: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return every IP group that rules name."""
    return [
        each
        for group in groups
        for _, rule in _rules_of(group)
        for field in ("sourceIpGroups", "destinationIpGroups")
        for each in texts(rule.get(field))
    ]


def _rules_of(group: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    collections = (group.get("properties") or {}).get("ruleCollections") or ()
    for collection in sorted(collections, key=priority_of):
        for rule in collection.get("rules") or ():
            yield collection, rule


def _rule(
    rule: Mapping[str, Any],
    collection: Mapping[str, Any],
    group: Mapping[str, Any],
    ours: bool,
    held: bool,
    addresses: Addresses,
) -> Rule:
    what = (
        f"rule '{rule.get('name')}' of collection '{collection.get('name')}' "
        f"in group '{group.get('name')}'"
    )
    allows = str((collection.get("action") or {}).get("type", "")).lower() == "allow"
    protocols = texts(rule.get("ipProtocols"))
    ports = texts(rule.get("destinationPorts"))
    if rule.get("ruleType") == "ApplicationRule":
        protocols = ("TCP",)
        ports = application_ports(rule)
    return make_rule(
        rule, what, protocols, ports, allows=allows, ours=ours, held=held, addresses=addresses
    )
