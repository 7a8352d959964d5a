"""The calls on the rules of security groups."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from local.aws import checks
from local.aws.errors import AwsError, invalid, missing, not_found
from local.aws.filtering import Matcher, select
from local.aws.groups import group_of
from local.aws.values import (
    CIDR4,
    CIDR6,
    GROUP,
    PREFIX_LIST,
    Group,
    Identity,
    Ids,
    Json,
    Region,
    Rule,
)

Params = Mapping[str, Any]
_SHORT = ("IpProtocol", "FromPort", "ToPort")


def authorize(region: Region, ids: Ids, params: Params, *, egress: bool) -> Json:
    """Add rules: all of a call, or none."""
    group = group_of(region, params)
    tags = checks.tags_for("security-group-rule", params.get("TagSpecifications"))
    added = checks.expand(region, _permissions(params), egress=egress)
    identities = [identity for identity, _ in added]
    for index, identity in enumerate(identities):
        if group.find(identity) is not None or identity in identities[:index]:
            raise _duplicate(identity)
    checks.check_quota(region, [*(r.identity for r in group.rules.values()), *identities])
    rules = [Rule(ids.new("sgr"), group.id, i, text, dict(tags)) for i, text in added]
    group.rules |= {rule.id: rule for rule in rules}
    shown = [checks.shown_rule(region.account, rule) for rule in rules]
    return {"Return": True, "SecurityGroupRules": shown}


def _duplicate(identity: Identity) -> AwsError:
    return AwsError(
        "InvalidPermission.Duplicate",
        f'the specified rule "peer: {identity.source}, {identity.protocol.upper()}, from port: '
        f'{identity.low}, to port: {identity.high}, ALLOW" already exists',
    )


def _permissions(params: Params) -> Sequence[Mapping[str, Any]]:
    given = params.get("IpPermissions")
    if given:
        return list(given)
    if "CidrIp" not in params:
        raise missing("ipPermissions")
    short = {name: params[name] for name in _SHORT if name in params}
    return [{**short, "IpRanges": [{"CidrIp": params["CidrIp"]}]}]


def revoke(region: Region, ids: Ids, params: Params, *, egress: bool) -> Json:
    """Remove rules by id or by exact properties: all of a call, or none."""
    del ids
    group = group_of(region, params)
    unknown: list[Json] = []
    if params.get("SecurityGroupRuleIds"):
        rules = [_by_id(group, each, egress=egress) for each in params["SecurityGroupRuleIds"]]
    else:
        rules = []
        for permission in _permissions(params):
            for identity, _ in checks.expand(region, [permission], egress=egress):
                found = group.find(identity)
                if found is not None:
                    rules.append(found)
                elif group.name != "default":
                    raise AwsError(
                        "InvalidPermission.NotFound",
                        "The specified rule does not exist in this security group.",
                    )
                else:
                    unknown.append(dict(permission))
    for rule in rules:
        group.rules.pop(rule.id, None)
    return {
        "Return": True,
        **({"UnknownIpPermissions": unknown} if unknown else {}),
        "RevokedSecurityGroupRules": [_revoked(rule) for rule in rules],
    }


def _by_id(group: Group, rule_id: str, *, egress: bool) -> Rule:
    rule = group.rules.get(rule_id)
    if rule is None or rule.identity.egress is not egress:
        raise not_found("InvalidSecurityGroupRuleId", rule_id)
    return rule


def _revoked(rule: Rule) -> Json:
    """Return a removed rule as the answer tells it: with its description, without its tags."""
    identity = rule.identity
    return {
        "SecurityGroupRuleId": rule.id,
        "GroupId": rule.group_id,
        "IsEgress": identity.egress,
        "IpProtocol": identity.protocol,
        "FromPort": identity.low,
        "ToPort": identity.high,
        identity.kind: identity.source,
        **({"Description": rule.description} if rule.description else {}),
    }


def modify(region: Region, ids: Ids, params: Params) -> Json:
    """Change rules in place by id; the type of their source stays. All of a call, or none."""
    del ids
    group = group_of(region, params)
    changed: dict[str, Rule] = {}
    for update in params.get("SecurityGroupRules") or ():
        rule = group.rules.get(update.get("SecurityGroupRuleId", ""))
        if rule is None:
            raise not_found("InvalidSecurityGroupRuleId", update.get("SecurityGroupRuleId", ""))
        changed[rule.id] = _modified(region, rule, update.get("SecurityGroupRule") or {})
    after = {**group.rules, **changed}
    _raise_if_twice(after.values())
    checks.check_quota(region, [rule.identity for rule in after.values()])
    group.rules = after
    return {"Return": True}


def _modified(region: Region, rule: Rule, wanted: Mapping[str, Any]) -> Rule:
    protocol, low, high = checks.protocol_and_ports(wanted)
    given = [
        source_type for source_type in (CIDR4, CIDR6, PREFIX_LIST, GROUP) if wanted.get(source_type)
    ]
    if given != [rule.identity.kind]:
        raise invalid("The source type of a security group rule cannot be changed.")
    source = checks.checked_source(region, given[0], wanted[given[0]])
    text = wanted.get("Description", "")
    checks.check_text("rule description", text)
    identity = replace(rule.identity, protocol=protocol, low=low, high=high, source=source)
    return replace(rule, identity=identity, description=text)


def _raise_if_twice(rules: Any) -> None:
    seen: set[Identity] = set()
    for rule in rules:
        if rule.identity in seen:
            raise _duplicate(rule.identity)
        seen.add(rule.identity)


def describe(region: Region, params: Params) -> list[Json]:
    """Carry out DescribeSecurityGroupRules."""
    rules = list(region.rules())
    if params.get("SecurityGroupRuleIds"):
        by_id = {rule.id: rule for rule in rules}
        for rule_id in params["SecurityGroupRuleIds"]:
            if rule_id not in by_id:
                raise not_found("InvalidSecurityGroupRuleId", rule_id)
        rules = [by_id[rule_id] for rule_id in params["SecurityGroupRuleIds"]]
    matchers: Mapping[str, Matcher[Rule]] = {
        "group-id": lambda rule: [rule.group_id],
        "security-group-rule-id": lambda rule: [rule.id],
    }
    found = select(rules, params.get("Filters"), matchers, lambda rule: rule.tags)
    return [checks.shown_rule(region.account, rule) for rule in found]
