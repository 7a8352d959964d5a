"""Bodies of firewalls with classic rules: as the provider writes them, and what it refuses."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from local.arm import errors, ids
from local.arm.prefixes import network
from local.arm.simulator import Call
from local.arm.store import Resource, Store

FIREWALL = "Microsoft.Network/azureFirewalls"
COLLECTIONS = ("networkRuleCollections", "applicationRuleCollections", "natRuleCollections")
LOWEST_PRIORITY, HIGHEST_PRIORITY = 100, 65_000
FIRST_RESERVED_PORT = 64_000
MAX_DNAT = 250
_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,78}\w)?", re.ASCII)
_FILLED: Mapping[str, Mapping[str, Any]] = {
    "networkRuleCollections": dict.fromkeys(
        (
            "sourceAddresses",
            "destinationAddresses",
            "sourceIpGroups",
            "destinationIpGroups",
            "destinationFqdns",
            "destinationPorts",
        ),
        (),
    ),
    "natRuleCollections": dict.fromkeys(
        ("sourceAddresses", "sourceIpGroups", "destinationAddresses", "destinationPorts"), ()
    ),
    "applicationRuleCollections": {
        # Undocumented members of every answer [recorded].
        "priority": 0,
        "direction": "Inbound",
        "protocols": (),
        "fqdnTags": (),
        "targetFqdns": (),
        "actions": (),
        "sourceAddresses": (),
        "sourceIpGroups": (),
    },
}


def refused(code: str, message: str) -> errors.ArmError:
    """Return a 400 whose code is ours: no record of the service's code was found."""
    return errors.provider(400, code, message)


def written_firewall(
    call: Call, given: Mapping[str, Any], present: Resource | None, etag: str
) -> Resource:
    """Return a firewall as the provider writes it; unknown members are kept."""
    resource_id = present["id"] if present else call.path.resource_id
    properties = dict(given.get("properties") or {})
    for owned in ("provisioningState", "ipGroups", "ipConfigurations", *COLLECTIONS):
        properties.pop(owned, None)
    sku = dict(properties.pop("sku", None) or {})
    sku = {"name": sku.pop("name", "AZFW_VNet"), "tier": sku.pop("tier", "Standard"), **sku}
    kept: dict[str, Any] = {"provisioningState": "Updating", "sku": sku}
    if sku["name"] == "AZFW_VNet":
        kept |= _network_members(given, properties, resource_id, etag, present)
    kept |= {"additionalProperties": properties.pop("additionalProperties", None) or {}}
    if "hubIPAddresses" in properties:
        kept["hubIPAddresses"] = _hub_addresses(properties.pop("hubIPAddresses"))
    body: Resource = {
        "name": present["name"] if present else call.path.names[-1],
        "id": resource_id,
        "etag": etag,
        "type": FIREWALL,
        "location": given["location"],
    }
    others = {n: v for n, v in given.items() if n not in (*body, "properties") and v is not None}
    rest = {name: value for name, value in properties.items() if value is not None}
    return body | others | {"properties": kept | rest}


def _network_members(
    given: Mapping[str, Any],
    properties: dict[str, Any],
    resource_id: str,
    etag: str,
    present: Resource | None,
) -> dict[str, Any]:
    source = given.get("properties") or {}
    kept: dict[str, Any] = {"threatIntelMode": properties.pop("threatIntelMode", None) or "Alert"}
    management = properties.pop("managementIpConfiguration", None)
    if management:
        kept["managementIpConfiguration"] = _ip_configuration(management, resource_id, etag)
    kept["ipConfigurations"] = [
        _ip_configuration(each, resource_id, etag, present)
        for each in source.get("ipConfigurations") or ()
    ]
    for member in COLLECTIONS:
        kept[member] = [
            _collection(each, member, resource_id, etag) for each in source.get(member) or ()
        ]
    return kept


def _ip_configuration(
    given: Mapping[str, Any], resource_id: str, etag: str, present: Resource | None = None
) -> dict[str, Any]:
    properties = {k: v for k, v in given["properties"].items() if k != "privateIPAddress"}
    before = present["properties"].get("ipConfigurations", []) if present else []
    for other in before:
        if other["name"] == given["name"] and "privateIPAddress" in other["properties"]:
            properties["privateIPAddress"] = other["properties"]["privateIPAddress"]
    rest = {k: v for k, v in given.items() if k not in ("name", "id", "etag", "type", "properties")}
    return {
        "name": given["name"],
        "id": f"{resource_id}/azureFirewallIpConfigurations/{given['name']}",
        "etag": etag,
        "type": f"{FIREWALL}/azureFirewallIpConfigurations",
        "properties": {
            **properties,
            "provisioningState": "Succeeded",
            "privateIPAllocationMethod": "Dynamic",
        },
        **rest,
    }


def _hub_addresses(given: Mapping[str, Any]) -> dict[str, Any]:
    public = dict(given.get("publicIPs") or {})
    return {**given, "publicIPs": {"addresses": public.pop("addresses", []), **public}}


def _collection(
    given: Mapping[str, Any], member: str, resource_id: str, etag: str
) -> dict[str, Any]:
    properties = dict(given.get("properties") or {})
    rules = [_rule(rule, _FILLED[member]) for rule in properties.pop("rules", None) or ()]
    properties.pop("provisioningState", None)
    rest = {k: v for k, v in given.items() if k not in ("name", "id", "etag", "type", "properties")}
    return {
        "name": given.get("name", ""),
        "id": f"{resource_id}/{member}/{given.get('name')}",
        "etag": etag,
        "properties": {"provisioningState": "Updating", **properties, "rules": rules},
        "type": f"{FIREWALL}/{member}",
        **rest,
    }


def _rule(given: Mapping[str, Any], filled: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: list(v) if isinstance(v, tuple) else v for name, v in filled.items()}
    return kept | {name: value for name, value in given.items() if value is not None}


def check_firewall(store: Store, body: Resource) -> None:
    """Refuse what the provider refuses; codes are ours unless said otherwise."""
    properties = body["properties"]
    collections = [each for member in COLLECTIONS for each in properties.get(member) or ()]
    if properties.get("firewallPolicy") and collections:
        raise refused(
            "AzureFirewallRulesWithPolicy",
            f"Azure Firewall {body['name']} has a firewall policy; rules belong there.",
        )
    for member in COLLECTIONS:
        listed = properties.get(member) or []
        check_names("collection", [each["name"] for each in listed])
        for each in listed:
            check_priority(each["name"], each["properties"].get("priority"))
            check_names("rule", [rule.get("name", "") for rule in each["properties"]["rules"]])
    translations = [
        rule
        for each in properties.get("natRuleCollections") or ()
        for rule in each["properties"]["rules"]
    ]
    filters = [
        rule
        for each in properties.get("networkRuleCollections") or ()
        for rule in each["properties"]["rules"]
    ]
    check_rules(store, translations, filters, "protocols")
    public = public_addresses(store, body)
    check_translations(translations, public, "protocols")


def check_priority(name: str, priority: object) -> None:
    """Refuse a priority outside the documented range."""
    if not isinstance(priority, int) or not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise refused(
            "AzureFirewallRuleCollectionInvalidPriority",
            f"AzureFirewallRuleCollection {name}: priority {priority} is not between "
            f"{LOWEST_PRIORITY} and {HIGHEST_PRIORITY}.",
        )


def check_names(part: str, names: Iterable[str]) -> None:
    """Refuse names that are malformed or given twice."""
    names = list(names)
    counted = Counter(name.lower() for name in names)
    for name in names:
        if not _NAME.fullmatch(name) or counted[name.lower()] > 1:
            why = "is there twice" if counted[name.lower()] > 1 else "is not a valid name"
            raise refused(f"AzureFirewall{part.title()}InvalidName", f"The {part} '{name}' {why}.")


def check_rules(
    store: Store,
    translations: Iterable[Mapping[str, Any]],
    filters: Iterable[Mapping[str, Any]],
    protocols: str,
) -> None:
    """Refuse rules without source, and addresses that are none (text quoted, code ours)."""
    for rule in (*translations, *filters):
        sources = rule.get("sourceAddresses") or []
        if not sources and not rule.get("sourceIpGroups"):
            raise refused(
                "AzureFirewallRuleNoSource",
                f"AzureFirewallRule {rule.get('name')}: a source address or IP group is missing.",
            )
        if not rule.get(protocols):
            raise refused(
                "AzureFirewallRuleNoProtocol",
                f"AzureFirewallRule {rule.get('name')}: a protocol is missing.",
            )
        for group in rule.get("sourceIpGroups") or ():
            if store.get(group) is None:
                raise errors.invalid_reference(group, str(rule.get("name")))
        for address in sources:
            if address != "*" and network(address) is None and "-" not in address:
                raise refused(
                    "AzureFirewallRuleInvalidAddress",
                    f"AzureFirewallRule {rule.get('name')}: Invalid IP address value or range or "
                    f"Service Tag {address}.",
                )


def check_translations(
    rules: list[Mapping[str, Any]], public: frozenset[str], protocols: str
) -> None:
    """Refuse translations that a firewall cannot carry; unattached ones are not judged so."""
    for rule in rules:
        _check_ports(rule)
        for address in rule.get("destinationAddresses") or ():
            if public and address not in public:  # text quoted, code ours
                raise refused(
                    "AzureFirewallRuleInvalidDnatDestination",
                    f"AzureFirewallRule {rule.get('name')}: Invalid DNat destination address, "
                    "destination address other than AzureFirewall PublicIP address is not "
                    "supported.",
                )
    unique = {each for rule in rules for each in destinations(rule, protocols)}
    if public and len(unique) + len(public) > MAX_DNAT:
        raise refused(
            "AzureFirewallDnatRuleLimitReached",
            f"More than {MAX_DNAT} DNAT destinations and public addresses.",
        )
    if public:
        _check_shared(rules, protocols)


def _check_ports(rule: Mapping[str, Any]) -> None:
    translated = str(rule.get("translatedPort", ""))
    if not translated.isdecimal() or not 0 < int(translated) < 65_536:  # noqa: PLR2004 - ports
        raise errors.provider(  # quoted
            400,
            "AzureFirewallRuleInvalidDnatPortOrRangeFormat",
            f"AzureFirewallRule {rule.get('name')}: Invalid DNat port value or range. Multiple "
            "values, * and ranges are not supported for DNAT translated port.",
        )
    for port in rule.get("destinationPorts") or ():
        last = port.rpartition("-")[2]
        if last.isdecimal() and int(last) >= FIRST_RESERVED_PORT:
            raise refused(
                "AzureFirewallRuleReservedPort",
                f"AzureFirewallRule {rule.get('name')}: port {port} is reserved; ports from "
                f"{FIRST_RESERVED_PORT} are not supported.",
            )


def destinations(rule: Mapping[str, Any], protocols: str) -> set[tuple[str, str, str]]:
    """Return what of a translation counts towards the limit."""
    return {
        (address, port, protocol.upper())
        for address in rule.get("destinationAddresses") or ()
        for port in rule.get("destinationPorts") or ()
        for protocol in rule.get(protocols) or ()
    }


def _check_shared(rules: list[Mapping[str, Any]], protocols: str) -> None:
    """Refuse one destination twice with sources that overlap: the sources' sources differ."""
    seen: list[tuple[Mapping[str, Any], set[tuple[str, str, str]]]] = []
    for rule in rules:
        mine = destinations(rule, protocols)
        for other, theirs in seen:
            if mine & theirs and _sources_meet(rule, other):
                raise refused(
                    "AzureFirewallDnatRuleConflict",
                    f"AzureFirewallRule {rule.get('name')} and {other.get('name')} translate the "
                    "same address and port for the same sources.",
                )
        seen.append((rule, mine))


def _sources_meet(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    groups = set(left.get("sourceIpGroups") or ()) & set(right.get("sourceIpGroups") or ())
    if groups:
        return True
    for one in left.get("sourceAddresses") or ():
        for other in right.get("sourceAddresses") or ():
            a, b = network(one), network(other)
            if a is None or b is None or (a.version == b.version and a.overlaps(b)):
                return True
    return False


def public_addresses(store: Store, firewall: Mapping[str, Any]) -> frozenset[str]:
    """Return the public addresses of a firewall."""
    found = set()
    for configuration in firewall["properties"].get("ipConfigurations") or ():
        reference = configuration["properties"].get("publicIPAddress")
        address = store.get(reference["id"]) if reference else None
        if address and address["properties"].get("ipAddress"):
            found.add(str(address["properties"]["ipAddress"]))
    hub = firewall["properties"].get("hubIPAddresses") or {}
    found |= {each["address"] for each in (hub.get("publicIPs") or {}).get("addresses") or ()}
    return frozenset(found)


def policy_key(firewall: Mapping[str, Any]) -> str:
    """Return the key of a firewall's policy; empty: it has classic rules."""
    reference = firewall["properties"].get("firewallPolicy") or {}
    return ids.key(reference.get("id", ""))
