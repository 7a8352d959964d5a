"""The calls on instances and network interfaces."""

from collections.abc import Mapping
from typing import Any

from local.aws import checks
from local.aws.errors import AwsError, invalid, missing, not_found
from local.aws.filtering import Matcher, select
from local.aws.values import Ids, Instance, Interface, Json, Region, tag_list

Params = Mapping[str, Any]
_STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopped": 80}


def describe_instances(region: Region, params: Params) -> list[Json]:
    """Carry out DescribeInstances: one reservation for each instance."""
    for instance_id in params.get("InstanceIds") or ():
        if instance_id not in region.instances:
            raise not_found("InvalidInstanceID", instance_id)
    chosen = params.get("InstanceIds") or list(region.instances)
    matchers: Mapping[str, Matcher[Instance]] = {
        "instance-id": lambda instance: [instance.id],
        "instance-state-name": lambda instance: [instance.state],
    }
    instances = [region.instances[each] for each in chosen]
    found = select(instances, params.get("Filters"), matchers, lambda instance: instance.tags)
    return [
        {
            "ReservationId": f"r-{each.id[2:]}",
            "OwnerId": region.account,
            "Instances": [_instance(region, each)],
        }
        for each in found
    ]


def _instance(region: Region, instance: Instance) -> Json:
    interfaces = [i for i in region.interfaces.values() if i.instance_id == instance.id]
    shown: Json = {
        "InstanceId": instance.id,
        "State": {"Code": _STATES[instance.state], "Name": instance.state},
        "NetworkInterfaces": [_instance_interface(region, each) for each in interfaces],
        "Tags": tag_list(instance.tags),
    }
    if instance.platform:
        shown["Platform"] = instance.platform
    if interfaces:
        shown |= {
            "VpcId": interfaces[0].vpc_id,
            "SubnetId": interfaces[0].subnet_id,
            "PrivateIpAddress": interfaces[0].addresses[0],
            "SecurityGroups": _groups(region, interfaces[0]),
        }
        if interfaces[0].public_ip:
            shown["PublicIpAddress"] = interfaces[0].public_ip
    return shown


def _instance_interface(region: Region, interface: Interface) -> Json:
    return {
        "NetworkInterfaceId": interface.id,
        "VpcId": interface.vpc_id,
        "SubnetId": interface.subnet_id,
        "Groups": _groups(region, interface),
        **_addresses(interface),
    }


def _addresses(interface: Interface) -> Json:
    v4 = [each for each in interface.addresses if ":" not in each]
    v6 = [each for each in interface.addresses if ":" in each]
    shown: Json = {
        "PrivateIpAddresses": [
            {"PrivateIpAddress": each, "Primary": index == 0} for index, each in enumerate(v4)
        ],
        "Ipv6Addresses": [{"Ipv6Address": each} for each in v6],
    }
    if v4:
        shown["PrivateIpAddress"] = v4[0]
    return shown


def _groups(region: Region, interface: Interface) -> list[Json]:
    return [
        {"GroupId": group_id, "GroupName": region.groups[group_id].name}
        for group_id in interface.groups
    ]


def describe_interfaces(region: Region, params: Params) -> list[Json]:
    """Carry out DescribeNetworkInterfaces."""
    for interface_id in params.get("NetworkInterfaceIds") or ():
        if interface_id not in region.interfaces:
            raise not_found("InvalidNetworkInterfaceID", interface_id)
    chosen = params.get("NetworkInterfaceIds") or list(region.interfaces)
    matchers: Mapping[str, Matcher[Interface]] = {
        "network-interface-id": lambda interface: [interface.id],
        "attachment.instance-id": lambda interface: [interface.instance_id],
        "group-id": lambda interface: interface.groups,
        "vpc-id": lambda interface: [interface.vpc_id],
    }
    interfaces = [region.interfaces[each] for each in chosen]
    found = select(interfaces, params.get("Filters"), matchers, lambda _: {})
    return [_interface(region, each) for each in found]


def _interface(region: Region, interface: Interface) -> Json:
    shown = {**_instance_interface(region, interface), "OwnerId": region.account}
    if interface.instance_id:
        shown["Attachment"] = {"InstanceId": interface.instance_id, "Status": "attached"}
    if interface.public_ip:
        shown["Association"] = {"PublicIp": interface.public_ip}
    return shown


def modify_interface(region: Region, ids: Ids, params: Params) -> Json:
    """Carry out ModifyNetworkInterfaceAttribute: the list of groups is replaced as a whole."""
    del ids
    interface = region.interfaces.get(params.get("NetworkInterfaceId", ""))
    if interface is None:
        raise not_found("InvalidNetworkInterfaceID", params.get("NetworkInterfaceId", ""))
    wanted = params.get("Groups")
    if wanted is None:
        raise AwsError("UnsupportedOperation", "Only Groups can be modified here")
    if not wanted:
        raise missing("SecurityGroupId")
    for group_id in wanted:
        if group_id not in region.groups:
            raise not_found("InvalidGroup", group_id)
        if region.groups[group_id].vpc_id != interface.vpc_id:
            raise invalid(
                f"You have specified two resources that belong to different networks: {group_id}"
            )
    if len(set(wanted)) > checks.MAX_GROUPS:
        raise AwsError(
            "SecurityGroupsPerInterfaceLimitExceeded",
            "The maximum number of security groups per interface has been reached.",
        )
    interface.groups = list(dict.fromkeys(wanted))
    return {}
