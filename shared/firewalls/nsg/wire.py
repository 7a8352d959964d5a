"""Security rules between the domain and the wire of Microsoft.Network."""

import copy
from dataclasses import replace
from typing import Any

from shared.domain.ids import RuleNames
from shared.domain.model import ANY
from shared.firewalls.nsg.application_groups import Membership
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.rules import Plan

# What the service computes; it is not sent back.
_READ_ONLY = frozenset(
    {"provisioningState", "resourceGuid", "defaultSecurityRules", "networkInterfaces", "subnets"}
)
# What a whole write changes by itself, on the group and on each rule.
_VOLATILE = frozenset({"etag", "provisioningState"})
_GROUP_WRITABLE = frozenset({"location", "tags", "id", "name", "type", "properties"})


def read_rule(raw: dict[str, Any], membership: Membership | None = None) -> SecurityRule:
    """Read a rule of any author; singular and plural fields are one thing.

    Without a membership the members of application security groups are not known.
    """
    held = raw["properties"]
    return _with_members(_read(raw["name"], held), membership)


def _with_members(rule: SecurityRule, membership: Membership | None) -> SecurityRule:
    """Put the members' addresses in the place of application security groups.

    A list of interfaces that is not complete still holds every VM that the app can read, so it
    tells where packets go to. It does not tell all that they may come from.
    """
    if membership is None:
        return rule
    if rule.source_groups and membership.complete:
        found = membership.addresses(rule.source_groups)
        if found is not None:
            rule = replace(rule, sources=found, unresolved_sources=False)
    if rule.destination_groups:
        found = membership.addresses(rule.destination_groups)
        if found is not None:
            rule = replace(rule, destinations=found, unresolved_destinations=False)
    return rule


def _read(name: str, held: dict[str, Any]) -> SecurityRule:
    return SecurityRule(
        name=name,
        access=Access(held["access"].capitalize()),
        protocol=held["protocol"],
        sources=_both(held, "sourceAddressPrefix", "sourceAddressPrefixes"),
        destinations=_both(held, "destinationAddressPrefix", "destinationAddressPrefixes"),
        ports=_both(held, "destinationPortRange", "destinationPortRanges"),
        description=held.get("description", ""),
        priority=held["priority"],
        inbound=held["direction"].lower() == "inbound",
        source_ports=_both(held, "sourcePortRange", "sourcePortRanges"),
        unresolved_sources=bool(held.get("sourceApplicationSecurityGroups")),
        unresolved_destinations=bool(held.get("destinationApplicationSecurityGroups")),
        source_groups=_group_ids(held, "sourceApplicationSecurityGroups"),
        destination_groups=_group_ids(held, "destinationApplicationSecurityGroups"),
    )


def _group_ids(held: dict[str, Any], field: str) -> tuple[str, ...]:
    return tuple(group["id"] for group in held.get(field) or ())


def _both(held: dict[str, Any], singular: str, plural: str) -> tuple[str, ...]:
    one = held.get(singular)
    return (*((one,) if one else ()), *held.get(plural, ()))


def write_rule(rule: SecurityRule) -> dict[str, Any]:
    """Write a rule of ours; one value goes in the singular field, as `az` writes it."""
    return {
        "name": rule.name,
        "properties": {
            "description": rule.description,
            "protocol": rule.protocol,
            "access": rule.access.value,
            "priority": rule.priority,
            "direction": "Inbound",
            "sourcePortRange": ANY,
            **_one_or_more("sourceAddressPrefix", rule.sources),
            **_one_or_more("destinationAddressPrefix", rule.destinations),
            **_one_or_more("destinationPortRange", rule.ports),
        },
    }


def _one_or_more(singular: str, values: tuple[str, ...]) -> dict[str, Any]:
    if len(values) == 1:
        return {singular: values[0]}
    plural = f"{singular}es" if singular.endswith("x") else f"{singular}s"
    return {plural: list(values)}


def changed_group(before: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Make the body of a whole write: the group as it was read, with our changes in it."""
    after = copy.deepcopy({key: before[key] for key in _GROUP_WRITABLE & before.keys()})
    properties = after["properties"]
    for name in _READ_ONLY & properties.keys():
        del properties[name]
    touched = {rule.name.lower() for rule in plan.put} | {name.lower() for name in plan.remove}
    kept = [rule for rule in properties["securityRules"] if rule["name"].lower() not in touched]
    if plan.flush_connections:
        properties["flushConnection"] = True
    properties["securityRules"] = kept + [write_rule(rule) for rule in plan.put]
    return after


def foreign_part(group: dict[str, Any], names: RuleNames, plan: Plan) -> dict[str, Any]:
    """Return everything of a group that is not ours to change, in a form to compare.

    NB. This is the guard over other people's rules: it looks at what would be sent and knows
    nothing of how that was made.
    """
    properties = {
        key: value
        for key, value in group["properties"].items()
        if key not in _READ_ONLY and key != "securityRules"
    }
    if plan.flush_connections:  # the one property that a policy may ask us to switch on
        properties.pop("flushConnection", None)
    foreign = {
        rule["name"]: _stable(rule)
        for rule in group["properties"]["securityRules"]
        if not names.is_ours(rule["name"])
    }
    return {
        "location": group.get("location"),
        "tags": group.get("tags"),
        "properties": properties,
        "rules": foreign,
    }


def _stable(rule: dict[str, Any]) -> dict[str, Any]:
    properties = {k: v for k, v in rule["properties"].items() if k not in _VOLATILE}
    return {**{k: v for k, v in rule.items() if k not in _VOLATILE}, "properties": properties}
