"""A firewall with classic rules as JSON: our two collections, and every foreign byte. Pure."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared.domain.ids import digest
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
NAT, NET, APP = "natRuleCollections", "networkRuleCollections", "applicationRuleCollections"
RULE_MEMBERS = (NAT, NET, APP)
LOWEST_PRIORITY, HIGHEST_PRIORITY = 100, 65_000
_MEMBER = {DNAT: NAT, NETWORK: NET}
# What the service owns: it ignores these in a PUT, and they change without any change of meaning.
_OWNED = ("provisioningState", "ipGroups")
_ID = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Network/azureFirewalls/[^/]+",
    re.IGNORECASE,
)


def is_firewall(firewall_id: str) -> bool:
    """Tell whether an id names a firewall."""
    return _ID.fullmatch(firewall_id) is not None


def collection_name(rule_type: str, settings: AzureSettings) -> str:
    """Name our collection of one rule type."""
    return f"jit-{settings.deployment}-{rule_type}"


def own_rules(firewall: Mapping[str, Any], settings: AzureSettings) -> dict[str, OwnRule]:
    """Return the rules of our collections by name; all that stands in them is ours."""
    return {
        str(rule.get("name", "")): _own(rule, rule_type)
        for rule_type, member in _MEMBER.items()
        for collection in firewall["properties"].get(member) or ()
        if _is_own(collection, rule_type, settings)
        for rule in (collection.get("properties") or {}).get("rules") or ()
    }


def _own(rule: Mapping[str, Any], rule_type: str) -> OwnRule:
    key, until = read_text(str(rule.get("description", "")))
    target, entry = texts(rule.get("destinationAddresses")), texts(rule.get("destinationPorts"))
    translates = rule_type == DNAT
    port = str(rule.get("translatedPort", "")) if translates else (entry[0] if entry else "")
    return OwnRule(
        name=str(rule.get("name", "")),
        rule_type=rule_type,
        protocols=texts(rule.get("protocols")),
        sources=(*texts(rule.get("sourceAddresses")), *texts(rule.get("sourceIpGroups"))),
        addresses=(str(rule.get("translatedAddress", "")),) if translates else target,
        port=number(port),
        key=key,
        until=until,
        public_address=target[0] if translates and target else "",
        public_port=number(entry[0]) if translates and entry else 0,
        raw=rule,
    )


def with_own(firewall: Mapping[str, Any], own: Iterable[OwnRule], settings: AzureSettings) -> Json:
    """Return the body of a PUT: the firewall as it was read, with exactly these rules of ours.

    Only our own collections differ. The service's own members go, as its clients leave them out.
    """
    listed = list(own)
    body: Json = without_owned(firewall)
    for rule_type, member in _MEMBER.items():
        present = body["properties"].get(member)
        rules = [written(rule) for rule in listed if rule.rule_type == rule_type]
        after = _with_collection(present or [], rule_type, rules, settings)
        if after or present is not None:
            body["properties"][member] = after
    return body


def _with_collection(
    present: list[Json], rule_type: str, rules: list[Json], settings: AzureSettings
) -> list[Json]:
    """Return collections where ours holds some rules; it stays in its place and keeps the rest."""
    found = []
    for collection in present:
        if not _is_own(collection, rule_type, settings):
            found.append(collection)
        elif rules:
            properties = (collection.get("properties") or {}) | {"rules": rules}
            found.append(collection | {"properties": properties})
    if rules and not any(_is_own(each, rule_type, settings) for each in found):
        found.append(_new_collection(present, rule_type, rules, settings))
    return found


def _new_collection(
    present: Iterable[Json], rule_type: str, rules: list[Json], settings: AzureSettings
) -> Json:
    return {
        "name": collection_name(rule_type, settings),
        "properties": {
            "priority": free_priority(present),
            "action": {"type": "Dnat" if rule_type == DNAT else "Allow"},
            "rules": rules,
        },
    }


def free_priority(collections: Iterable[Mapping[str, Any]]) -> int:
    """Return the lowest priority that no collection of the same type has."""
    taken = {(each.get("properties") or {}).get("priority") for each in collections}
    free = (p for p in range(LOWEST_PRIORITY, HIGHEST_PRIORITY + 1) if p not in taken)
    return next(free)


def own_priority(firewall: Mapping[str, Any], rule_type: str, settings: AzureSettings) -> int:
    """Return the priority that our collection of one rule type has, or would get."""
    collections = firewall["properties"].get(_MEMBER[rule_type]) or []
    for each in collections:
        if _is_own(each, rule_type, settings):
            return priority_of(each.get("properties") or {})
    return free_priority(collections)


def written(rule: OwnRule) -> Json:
    """Return a rule as the service takes it; one that was read goes back as it was."""
    if rule.raw:
        return dict(rule.raw)
    shared: Json = {
        "name": rule.name,
        "description": rule_text(rule.key, rule.until),
        "protocols": list(rule.protocols),
        "sourceAddresses": list(rule.sources),
    }
    if rule.rule_type == DNAT:
        return shared | {
            "destinationAddresses": [rule.public_address],
            "destinationPorts": [str(rule.public_port)],
            "translatedAddress": rule.addresses[0],
            "translatedPort": str(rule.port),
        }
    return shared | {
        "destinationAddresses": list(rule.addresses),
        "destinationPorts": [str(rule.port)],
    }


def foreign_hash(firewall: Mapping[str, Any], settings: AzureSettings) -> str:
    """Return a digest of everything that is not ours, order kept, unknown members included."""
    body = with_own(firewall, (), settings)
    for member in _MEMBER.values():
        # A list that was missing comes back empty.
        body["properties"].setdefault(member, [])
    return digest(json.dumps(body, sort_keys=True))


def without_owned(firewall: Mapping[str, Any]) -> Json:
    """Leave out what the service owns, where it stands, and nothing of the same name elsewhere."""
    # The body came as JSON, so that this copies it exactly, and much faster than copy.deepcopy.
    body: Json = json.loads(json.dumps({k: v for k, v in firewall.items() if k != "etag"}))
    properties = body["properties"]
    for name in _OWNED:
        properties.pop(name, None)
    parts = [part for member in RULE_MEMBERS for part in properties.get(member) or ()]
    configurations = list(properties.get("ipConfigurations") or ())
    if properties.get("managementIpConfiguration"):
        configurations.append(properties["managementIpConfiguration"])
    for part in (*parts, *configurations):
        part.pop("etag", None)
        (part.get("properties") or {}).pop("provisioningState", None)
    for configuration in configurations:
        configuration["properties"].pop("privateIPAddress", None)
    return body


def rules_in_order(
    firewall: Mapping[str, Any],
    settings: AzureSettings,
    addresses: Addresses,
    *,
    before: Mapping[str, int] | None = None,
) -> tuple[Rule, ...]:
    """Return all rules as the firewall processes them; `before` keeps those ahead of priorities."""
    found = []
    for member, collection, rule in _rules_of(firewall):
        properties = collection.get("properties") or {}
        priority = priority_of(properties)
        if before is not None and priority >= before.get(member, 0):
            continue
        rule_type = DNAT if member == NAT else NETWORK
        protocols, ports = texts(rule.get("protocols")), texts(rule.get("destinationPorts"))
        if member == APP:
            ports = application_ports(rule)
            protocols = ("TCP",)
        held = member != APP and _is_own(collection, rule_type, settings)
        found.append(
            make_rule(
                rule,
                f"rule '{rule.get('name')}' of collection '{collection.get('name')}'",
                protocols,
                ports,
                allows=str((properties.get("action") or {}).get("type", "")).lower() == "allow",
                ours=held or is_switch(rule, settings),
                held=held,
                addresses=addresses,
            )
        )
    return tuple(found)


def named_groups(firewall: Mapping[str, Any]) -> list[str]:
    """Return every IP group that rules name."""
    return [
        each
        for _, _, rule in _rules_of(firewall)
        for field in ("sourceIpGroups", "destinationIpGroups")
        for each in texts(rule.get(field))
    ]


def bodies_in_order(firewall: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the JSON of each rule, in the same order as the rules."""
    return [rule for _, _, rule in _rules_of(firewall)]


def _rules_of(firewall: Mapping[str, Any]) -> Iterator[tuple[str, Json, Json]]:
    """Yield the rules with type and collection: by type, then by priority."""
    for member in RULE_MEMBERS:
        collections = firewall["properties"].get(member) or ()
        ordered = sorted(collections, key=lambda c: priority_of(c.get("properties") or {}))
        for collection in ordered:
            for rule in (collection.get("properties") or {}).get("rules") or ():
                yield member, collection, rule


def _is_own(collection: Mapping[str, Any], rule_type: str, settings: AzureSettings) -> bool:
    return str(collection.get("name", "")).lower() == collection_name(rule_type, settings).lower()
