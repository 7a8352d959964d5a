"""Checks of the service's input, and its normal forms."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from local.aws.errors import AwsError, invalid, not_found
from local.aws.values import CIDR4, CIDR6, GROUP, PREFIX_LIST, Identity, Json, Region, Tags

MAX_RULES, MAX_GROUPS, MAX_TAGS = 60, 5, 50
_TEXT = re.compile(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}", re.ASCII)
_NAMES = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6"}
_PORTED, _ICMP = frozenset({"tcp", "udp"}), frozenset({"icmp", "icmpv6"})
_LAST_PORT, _LAST_PROTOCOL = 65_535, 255
_MAX_KEY, _MAX_VALUE = 128, 256


def check_text(what: str, text: str) -> None:
    """Refuse a name or description with other characters than the documented ones."""
    if not _TEXT.fullmatch(text):
        raise invalid(
            f"Invalid {what}. Valid {what}s are strings less than 256 characters from the "
            "following set: a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"
        )


def check_group_name(region: Region, name: str, vpc_id: str) -> None:
    """Refuse a name that is taken in the VPC, in any letter case, or reserved."""
    check_text("security group name", name)
    if not name or name.lower().startswith("sg-"):
        raise invalid("Group names may not be in the format sg-*.")
    taken = (g.name.lower() for g in region.groups.values() if g.vpc_id == vpc_id)
    if name.lower() in taken:
        raise AwsError(
            "InvalidGroup.Duplicate",
            f"The security group '{name}' already exists for VPC '{vpc_id}'",
        )


def check_tags(present: Mapping[str, str], added: Mapping[str, str]) -> None:
    """Refuse tags that are too many, too long, or reserved."""
    if len({**present, **added}) > MAX_TAGS:
        raise AwsError("TagLimitExceeded", f"The maximum number of Tags is {MAX_TAGS}.")
    for key, value in added.items():
        if not 0 < len(key) <= _MAX_KEY or len(value) > _MAX_VALUE:
            raise invalid("Tag key exceeds 128 or tag value exceeds 256 characters.")
        if key.lower().startswith("aws:"):
            raise invalid("Tag keys starting with 'aws:' are reserved for internal use")


def tags_for(source_type: str, specifications: Iterable[Mapping[str, Any]] | None) -> Tags:
    """Return the tags that a call gives to resources of one type."""
    found: Tags = {}
    for each in specifications or ():
        if each.get("ResourceType") != source_type:
            raise invalid(f"'{each.get('ResourceType')}' is not a valid taggable resource type.")
        found |= {tag["Key"]: tag.get("Value", "") for tag in each.get("Tags", ())}
    check_tags({}, found)
    return found


def protocol_and_ports(given: Mapping[str, Any]) -> tuple[str, int, int]:
    """Return a permission's protocol and ports; other protocols than four mean all ports."""
    protocol = str(given.get("IpProtocol", "")).lower()
    protocol = _NAMES.get(protocol, protocol)
    low, high = given.get("FromPort"), given.get("ToPort")
    if protocol in _PORTED:
        if low is None or high is None or not 0 <= low <= high <= _LAST_PORT:
            raise invalid(f"Invalid value '{low}-{high}' for portRange.")
        return protocol, low, high
    if protocol in _ICMP:
        return protocol, -1 if low is None else low, -1 if high is None else high
    if protocol != "-1" and not (protocol.isdigit() and int(protocol) <= _LAST_PROTOCOL):
        raise invalid(f"Invalid value '{protocol}' for IP protocol. Unknown protocol.")
    return protocol, -1, -1


def canonical_cidr(source_type: str, text: str) -> str:
    """Return a CIDR block without host bits, as the service stores it."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        network = None
    version = 4 if source_type == CIDR4 else 6
    if network is None or "/" not in text or network.version != version:
        raise invalid(f"CIDR block {text} is malformed")
    return str(network)


def checked_source(region: Region, source_type: str, source: str) -> str:
    """Return a source in canonical form; raises for one that does not exist."""
    if source_type in {CIDR4, CIDR6}:
        return canonical_cidr(source_type, source)
    if source_type == PREFIX_LIST and source not in region.prefix_lists:
        raise AwsError(
            "InvalidPrefixListID.NotFound", f"The prefix list ID '{source}' does not exist"
        )
    if source_type == GROUP and source not in region.groups:
        raise not_found("InvalidGroup", source)
    return source


def expand(
    region: Region, permissions: Iterable[Mapping[str, Any]], *, egress: bool
) -> list[tuple[Identity, str]]:
    """Return the rules that permissions stand for, each with its description."""
    found: list[tuple[Identity, str]] = []
    for permission in permissions:
        protocol, low, high = protocol_and_ports(permission)
        for source_type, source, description in _sources(permission):
            check_text("rule description", description)
            source_text = checked_source(region, source_type, source)
            found.append(
                (Identity(egress, protocol, low, high, source_type, source_text), description)
            )
    if not found:
        raise AwsError("MissingParameter", "No source was given in the permissions")
    return found


def _sources(permission: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    members = (
        ("IpRanges", "CidrIp", CIDR4),
        ("Ipv6Ranges", "CidrIpv6", CIDR6),
        ("PrefixListIds", "PrefixListId", PREFIX_LIST),
        ("UserIdGroupPairs", "GroupId", GROUP),
    )
    return [
        (source_type, each[name], each.get("Description", ""))
        for member, name, source_type in members
        for each in permission.get(member) or ()
    ]


def check_quota(region: Region, identities: Iterable[Identity]) -> None:
    """Refuse more rules than a group holds; IPv4 and IPv6 count apart, in each direction."""
    for egress in (False, True):
        counts = dict.fromkeys((CIDR4, CIDR6), 0)
        for identity in identities:
            if identity.egress is egress:
                for family, weight in _weights(region, identity).items():
                    counts[family] += weight
        if max(counts.values()) > MAX_RULES:
            raise AwsError(
                "RulesPerSecurityGroupLimitExceeded",
                "The maximum number of rules per security group has been reached.",
            )


def _weights(region: Region, identity: Identity) -> dict[str, int]:
    if identity.kind in {CIDR4, CIDR6}:
        return {identity.kind: 1}
    if identity.kind == PREFIX_LIST:
        entries = region.prefix_lists[identity.source]
        return {CIDR6 if any(":" in each for each in entries) else CIDR4: len(entries)}
    return {CIDR4: 1, CIDR6: 1}


def shown_rule(account: str, rule: Any) -> Json:
    """Return a rule as DescribeSecurityGroupRules shows it."""
    identity: Identity = rule.identity
    source: Json = {identity.kind: identity.source}
    if identity.kind == GROUP:
        source = {"ReferencedGroupInfo": {"GroupId": identity.source, "UserId": account}}
    return {
        "SecurityGroupRuleId": rule.id,
        "GroupId": rule.group_id,
        "GroupOwnerId": account,
        "IsEgress": identity.egress,
        "IpProtocol": identity.protocol,
        "FromPort": identity.low,
        "ToPort": identity.high,
        **source,
        **({"Description": rule.description} if rule.description else {}),
        "Tags": [{"Key": key, "Value": value} for key, value in rule.tags.items()],
    }
