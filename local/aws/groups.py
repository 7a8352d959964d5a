"""The calls on security groups and tags."""

from collections.abc import Mapping
from typing import Any

from local.aws import checks
from local.aws.errors import AwsError, invalid, missing, not_found
from local.aws.filtering import Matcher, select
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
    tag_list,
)

Params = Mapping[str, Any]
_EVERYWHERE = Identity(egress=True, protocol="-1", low=-1, high=-1, kind=CIDR4, source="0.0.0.0/0")


def group_of(region: Region, params: Params) -> Group:
    """Return the group that a call names by id."""
    group_id = params.get("GroupId")
    if not group_id:
        raise missing("GroupId")
    found = region.groups.get(group_id)
    if found is None:
        raise not_found("InvalidGroup", group_id)
    return found


def create(region: Region, ids: Ids, params: Params) -> Json:
    """Carry out CreateSecurityGroup: the new group lets everything out."""
    name, text = params.get("GroupName", ""), params.get("Description", "")
    vpc_id = params.get("VpcId", "")
    if not text:
        raise missing("GroupDescription")
    checks.check_text("security group description", text)
    if vpc_id not in region.vpcs:
        raise not_found("InvalidVpcID", vpc_id)
    checks.check_group_name(region, name, vpc_id)
    tags = checks.tags_for("security-group", params.get("TagSpecifications"))
    group = Group(ids.new("sg"), name, text, vpc_id, region.account, tags=tags)
    region.groups[group.id] = group
    rule = Rule(ids.new("sgr"), group.id, _EVERYWHERE)
    group.rules[rule.id] = rule
    return {"GroupId": group.id, "Tags": tag_list(tags)}


def delete(region: Region, ids: Ids, params: Params) -> Json:
    """Carry out DeleteSecurityGroup: not while something uses the group."""
    del ids
    group = group_of(region, params)
    if group.name == "default":
        raise AwsError(
            "CannotDelete",
            f'the specified group: "{group.id}" name: "default" cannot be deleted by a user',
        )
    attached = any(group.id in interface.groups for interface in region.interfaces.values())
    referenced = any(
        rule.identity.kind == GROUP and rule.identity.source == group.id
        for rule in region.rules()
        if rule.group_id != group.id
    )
    if attached or referenced:
        raise AwsError("DependencyViolation", f"resource {group.id} has a dependent object")
    del region.groups[group.id]
    return {"Return": True, "GroupId": group.id}


def describe(region: Region, params: Params) -> list[Json]:
    """Carry out DescribeSecurityGroups."""
    for group_id in params.get("GroupIds") or ():
        if group_id not in region.groups:
            raise not_found("InvalidGroup", group_id)
    matchers: Mapping[str, Matcher[Group]] = {
        "group-id": lambda group: [group.id],
        "group-name": lambda group: [group.name],
        "vpc-id": lambda group: [group.vpc_id],
        "owner-id": lambda group: [group.owner],
        "description": lambda group: [group.description],
    }
    chosen = params.get("GroupIds") or list(region.groups)
    groups = [region.groups[group_id] for group_id in chosen]
    found = select(groups, params.get("Filters"), matchers, lambda group: group.tags)
    return [_shown(group) for group in found]


def _shown(group: Group) -> Json:
    ingress = [rule for rule in group.rules.values() if not rule.identity.egress]
    egress = [rule for rule in group.rules.values() if rule.identity.egress]
    return {
        "GroupId": group.id,
        "GroupName": group.name,
        "Description": group.description,
        "VpcId": group.vpc_id,
        "OwnerId": group.owner,
        "IpPermissions": _permissions(ingress),
        "IpPermissionsEgress": _permissions(egress),
        "Tags": tag_list(group.tags),
    }


def _permissions(rules: list[Rule]) -> list[Json]:
    """Return rules in the older form: one permission for each protocol and port range."""
    members = {
        CIDR4: ("IpRanges", "CidrIp"),
        CIDR6: ("Ipv6Ranges", "CidrIpv6"),
        PREFIX_LIST: ("PrefixListIds", "PrefixListId"),
        GROUP: ("UserIdGroupPairs", "GroupId"),
    }
    found: dict[tuple[str, int, int], Json] = {}
    for rule in rules:
        identity = rule.identity
        key = (identity.protocol, identity.low, identity.high)
        ports = {"FromPort": identity.low, "ToPort": identity.high}
        bare = {"IpProtocol": identity.protocol, **(ports if identity.protocol != "-1" else {})}
        permission = found.setdefault(key, bare)
        member, name = members[identity.kind]
        entry = {name: identity.source}
        if rule.description:
            entry["Description"] = rule.description
        permission.setdefault(member, []).append(entry)
    return list(found.values())


def create_tags(region: Region, ids: Ids, params: Params) -> Json:
    """Carry out CreateTags: all resources, or none."""
    del ids
    added = {tag["Key"]: tag.get("Value", "") for tag in params.get("Tags") or ()}
    targets = [_tags_of(region, each) for each in params.get("Resources") or ()]
    for tags in targets:
        checks.check_tags(tags, added)
    for tags in targets:
        tags.update(added)
    return {}


def delete_tags(region: Region, ids: Ids, params: Params) -> Json:
    """Carry out DeleteTags; a tag that is not there is fine."""
    del ids
    for resource in params.get("Resources") or ():
        tags = _tags_of(region, resource)
        for tag in params.get("Tags") or tag_list(dict(tags)):
            if "Value" not in tag or tags.get(tag["Key"]) == tag["Value"]:
                tags.pop(tag["Key"], None)
    return {}


def _tags_of(region: Region, resource_id: str) -> dict[str, str]:
    if resource_id in region.groups:
        return region.groups[resource_id].tags
    if resource_id in region.instances:
        return region.instances[resource_id].tags
    rule = region.rule(resource_id)
    if rule is not None:
        return rule.tags
    if resource_id.startswith("sg-"):
        raise not_found("InvalidGroup", resource_id)
    if resource_id.startswith("sgr-"):
        raise not_found("InvalidSecurityGroupRuleId", resource_id)
    raise invalid(f"The ID '{resource_id}' is not valid")
