"""Read the account's resources from an estate file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.aws.checks import expand
from local.aws.values import Group, Ids, Instance, Interface, Region, Rule

DEFAULT_ESTATE = Path(__file__).with_name("estate.json")


def load_estate(path: Path = DEFAULT_ESTATE) -> dict[str, Any]:
    """Read an estate from a file."""
    estate: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return estate


def read_region(name: str, account: str, given: Mapping[str, Any], ids: Ids) -> Region:
    """Return a region with the resources of the estate."""
    region = Region(name, account, set(given.get("vpcs", ())), dict(given.get("prefixLists", {})))
    for each in given.get("groups", ()):
        region.groups[each["id"]] = Group(
            id=each["id"],
            name=each["name"],
            description=each.get("description", each["name"]),
            vpc_id=each["vpc"],
            owner=each.get("owner", account),
            tags=dict(each.get("tags", {})),
        )
    for each in given.get("groups", ()):
        _add_rules(region, region.groups[each["id"]], each, ids)
    for each in given.get("instances", ()):
        _add_instance(region, each)
    return region


def _add_rules(region: Region, group: Group, given: Mapping[str, Any], ids: Ids) -> None:
    for member, egress in (("ingress", False), ("egress", True)):
        for permission in given.get(member, ()):
            for identity, text in expand(region, [permission], egress=egress):
                tags = dict(permission.get("Tags", {}))
                rule = Rule(ids.new("sgr"), group.id, identity, text, tags)
                group.rules[rule.id] = rule


def _add_instance(region: Region, given: Mapping[str, Any]) -> None:
    tags = dict(given.get("tags", {}))
    region.instances[given["id"]] = Instance(
        given["id"],
        state=given.get("state", "running"),
        platform=given.get("platform", ""),
        tags=tags,
    )
    for each in given.get("interfaces", ()):
        region.interfaces[each["id"]] = Interface(
            id=each["id"],
            vpc_id=each["vpc"],
            subnet_id=each.get("subnet", ""),
            groups=list(each["groups"]),
            addresses=list(each["addresses"]),
            instance_id=given["id"],
            public_ip=each.get("publicIp", ""),
        )
