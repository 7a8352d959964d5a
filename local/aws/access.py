"""Judge whether a packet reaches an instance: the union of the groups on its interface."""

import ipaddress
from collections.abc import Mapping
from typing import Any

from local.aws.values import CIDR4, CIDR6, GROUP, PREFIX_LIST, Interface, Json, Region, Rule


def answer(region: Region, given: Mapping[str, Any]) -> Json:
    """Answer `/_sim/access`: every interface of the instance that the source reaches."""
    instance_id = str(given["instance"])
    if instance_id not in region.instances:
        raise ValueError(f"instance: no instance {instance_id!r} in {region.name}")
    source, port = str(given["source"]), int(given["port"])
    protocol = str(given.get("protocol", "tcp")).lower()
    interfaces = [i for i in region.interfaces.values() if i.instance_id == instance_id]
    shown = [_judge(region, each, source, port, protocol) for each in interfaces]
    return {"allowed": any(each["allowed"] for each in shown), "interfaces": shown}


def reaches(region: Region, instance_id: str, source: str, port: int, protocol: str) -> bool:
    """Tell whether a packet from a source reaches some interface of an instance."""
    given = {"instance": instance_id, "source": source, "port": port, "protocol": protocol}
    return bool(answer(region, given)["allowed"])


def _judge(region: Region, interface: Interface, source: str, port: int, protocol: str) -> Json:
    letting = [
        rule.id
        for group_id in interface.groups
        for rule in region.groups[group_id].rules.values()
        if _lets(region, rule, source, port, protocol)
    ]
    return {"interface": interface.id, "allowed": bool(letting), "rules": letting}


def _lets(region: Region, rule: Rule, source: str, port: int, protocol: str) -> bool:
    identity = rule.identity
    if identity.egress or identity.protocol not in {protocol, "-1"}:
        return False
    if identity.protocol != "-1" and not identity.low <= port <= identity.high:
        return False
    address = ipaddress.ip_address(source)
    return any(address in ipaddress.ip_network(each) for each in _networks(region, rule))


def _networks(region: Region, rule: Rule) -> list[str]:
    identity = rule.identity
    if identity.kind in {CIDR4, CIDR6}:
        return [identity.source]
    if identity.kind == PREFIX_LIST:
        return region.prefix_lists[identity.source]
    members = [i for i in region.interfaces.values() if identity.source in i.groups]
    return (
        [address for each in members for address in each.addresses]
        if identity.kind == GROUP
        else []
    )
