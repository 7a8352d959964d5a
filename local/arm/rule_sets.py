"""The rules of a group together: limits, conflicts, references, and what a replacement changes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from local.arm import errors, ids
from local.arm.nsg import Group, Rules
from local.arm.rules import Rule, read_rule
from local.arm.store import Store

MAX_RULES = 1000
MAX_PREFIXES = 4000


def read_rules(bodies: Iterable[Mapping[str, Any]], group: Group) -> Rules:
    """Read the rules in the body of a group, and check that they go together."""
    rules: Rules = {}
    for at, body in enumerate(bodies):
        rule = read_rule(body, _name_of(body, at), group.group_id)
        if rule.name.lower() in rules:  # code and text from memory
            raise errors.provider(
                400,
                "DuplicateResourceName",
                f"Resource {group.group_id} has two child resources with the same name "
                f"({rule.name}).",
            )
        rules[rule.name.lower()] = rule
    check_limits(rules.values())
    check_conflicts(rules.values())
    return rules


def _name_of(body: Mapping[str, Any], at: int) -> str:
    if not body.get("name"):
        raise errors.missing_reference(f"properties.securityRules[{at}]")
    return str(body["name"])


def check_limits(rules: Iterable[Rule]) -> None:
    """Refuse more rules or prefixes than a group holds."""
    rules = list(rules)
    if len(rules) > MAX_RULES:
        raise errors.provider(
            400,
            "SecurityRuleCountLimitReached",
            f"A security group cannot have more than {MAX_RULES} security rules.",
        )
    counted: Counter[tuple[str, str]] = Counter()
    for rule in rules:
        for side in ("source", "destination"):
            own = rule.properties[f"{side}AddressPrefixes"]
            single = f"{side}AddressPrefix" in rule.properties
            counted[rule.properties["direction"], side] += len(own) + single
    if counted and max(counted.values()) > MAX_PREFIXES:
        # The limit is documented; no record of the code or text was found.
        raise errors.provider(
            400,
            "SecurityGroupAddressPrefixCountLimitReached",
            f"A security group cannot have more than {MAX_PREFIXES} address prefixes in one "
            "direction.",
        )


def check_references(store: Store, rules: Iterable[Rule], present: Rules, group: Group) -> None:
    """Refuse application security groups that are not there; what is in a rule already may be."""
    known = {ids.key(each) for rule in present.values() for each in _asgs_of(rule)}
    for rule in rules:
        for asg in _asgs_of(rule):
            if ids.key(asg) not in known and store.get(asg) is None:
                raise errors.invalid_reference(asg, rule.rule_id(group.group_id))


def _asgs_of(rule: Rule) -> list[str]:
    members = ("sourceApplicationSecurityGroups", "destinationApplicationSecurityGroups")
    return [each["id"] for member in members for each in rule.properties.get(member, [])]


def check_conflicts(rules: Iterable[Rule]) -> None:
    """Refuse two rules in one slot, naming the one that was there first."""
    taken: dict[tuple[str, int], Rule] = {}
    for rule in rules:
        other = taken.setdefault(rule.slot, rule)
        if other is not rule:
            raise errors.provider(
                400,
                "SecurityRuleConflict",
                f"Security rule {other.name} conflicts with rule {rule.name}. Rules cannot have "
                "the same Priority and Direction. To learn more, see aka.ms/nsgrules.",
            )


def difference(before: Rules, wanted: Rules) -> dict[str, Rule | None]:
    """Return what a replacement changes, by name: the new rule, or None for one to go."""
    changes: dict[str, Rule | None] = dict.fromkeys(name for name in before if name not in wanted)
    for name, rule in wanted.items():
        old = before.get(name)
        if old is None or old.properties != rule.properties:
            changes[name] = Rule(old.name, rule.properties) if old else rule
    return changes
