"""Behaviour of EC2 that moto lacks."""

from typing import Any

import pytest
from botocore.exceptions import ClientError, HTTPClientError

from local.aws.endpoint import ADMIN_KEY
from local.tests.aws.conftest import GROUPS, REGION, VPC, Account, Refused, client


def permission(cidr: str, low: int = 22, high: int = 22, **more: Any) -> dict[str, Any]:
    """Return a permission for one IPv4 or IPv6 block."""
    member = (
        {"Ipv6Ranges": [{"CidrIpv6": cidr, **more}]}
        if ":" in cidr
        else {"IpRanges": [{"CidrIp": cidr, **more}]}
    )
    return {"IpProtocol": "tcp", "FromPort": low, "ToPort": high, **member}


def authorize(account: Account, *permissions: dict[str, Any], group: str = "") -> Any:
    """Authorize permissions."""
    return account.ec2.authorize_security_group_ingress(
        GroupId=group or account.group, IpPermissions=list(permissions)
    )


def test_cidr_blocks_are_canonical(simulated: Account) -> None:
    """Host bits are cut, so that two spellings are one rule."""
    authorize(simulated, permission("100.68.0.18/18"))
    assert simulated.rules()[0]["CidrIpv4"] == "100.68.0.0/18"
    with pytest.raises(ClientError, match="Duplicate"):
        authorize(simulated, permission("100.68.0.0/18"))


def test_one_duplicate_fails_all(simulated: Account) -> None:
    """Of a call with one duplicate, nothing is added."""
    authorize(simulated, permission("203.0.113.7/32"))
    with pytest.raises(ClientError, match="Duplicate"):
        authorize(simulated, permission("203.0.113.8/32"), permission("203.0.113.7/32"))
    assert len(simulated.rules()) == 1


def test_ipv4_and_ipv6_count_apart(simulated: Account) -> None:
    """Sixty IPv4 rules leave room for IPv6; a prefix list counts its entries."""
    simulated.allow(*(f"198.51.100.{index}/32" for index in range(60)))
    authorize(simulated, permission("2001:db8:1::/64"))
    prefix_list = {
        "IpProtocol": "tcp",
        "FromPort": 1,
        "ToPort": 1,
        "PrefixListIds": [{"PrefixListId": "pl-0001"}],
    }
    with pytest.raises(ClientError, match="RulesPerSecurityGroupLimitExceeded"):
        authorize(simulated, prefix_list)


@pytest.mark.parametrize("protocol", ["-1", "47"])
def test_other_protocols_mean_every_port(simulated: Account, protocol: str) -> None:
    """A rule for all or an unported protocol has no ports."""
    given = {**permission("203.0.113.7/32"), "IpProtocol": protocol}
    authorize(simulated, given)
    (rule,) = simulated.rules()
    assert (rule["FromPort"], rule["ToPort"]) == (-1, -1)


@pytest.mark.parametrize(
    "given",
    [
        permission("203.0.113.7/32", 22, 70_000),
        permission("203.0.113.7"),
        permission("203.0.113.7/32", Description="a" * 256),
        permission("203.0.113.7/32", Description="tab\t"),
        {**permission("203.0.113.7/32"), "IpProtocol": "bogus"},
        {
            "IpProtocol": "tcp",
            "FromPort": 1,
            "ToPort": 1,
            "PrefixListIds": [{"PrefixListId": "pl-9"}],
        },
    ],
)
def test_what_ec2_refuses(simulated: Account, given: dict[str, Any]) -> None:
    """Ports, blocks, descriptions, protocols and prefix lists are checked."""
    with pytest.raises(ClientError, match="Invalid"):
        authorize(simulated, given)
    assert simulated.rules() == []


@pytest.mark.parametrize("name", ["sg-mine", "a" * 256, "tab\t"])
def test_group_names_are_checked(simulated: Account, refused: Refused, name: str) -> None:
    """A reserved, long or odd name is refused."""
    create = simulated.ec2.create_security_group
    assert refused(create, GroupName=name, Description="x", VpcId=VPC) == "InvalidParameterValue"


def test_group_names_ignore_letter_case(simulated: Account, refused: Refused) -> None:
    """A name that differs by letter case is taken."""
    create = simulated.ec2.create_security_group
    create(GroupName="JIT-a", Description="x", VpcId=VPC)
    assert (
        refused(create, GroupName="jit-A", Description="x", VpcId=VPC) == "InvalidGroup.Duplicate"
    )


def test_a_group_in_use_is_not_deleted(simulated: Account, refused: Refused) -> None:
    """A group on an interface, or named by another group's rule, has a dependent object."""
    pair = {
        "IpProtocol": "tcp",
        "FromPort": 1,
        "ToPort": 1,
        "UserIdGroupPairs": [{"GroupId": GROUPS[1]}],
    }
    authorize(simulated, pair, group=GROUPS[2])
    delete = simulated.ec2.delete_security_group
    for group in GROUPS[:2]:
        assert refused(delete, GroupId=group) == "DependencyViolation"
    assert refused(delete, GroupId="sg-default") == "CannotDelete"
    delete(GroupId=GROUPS[2])
    delete(GroupId=GROUPS[1])


def test_a_revoked_rule_is_told_without_tags(simulated: Account) -> None:
    """Revoke answers with the description and never with tags."""
    tags = [{"ResourceType": "security-group-rule", "Tags": [{"Key": "a", "Value": "b"}]}]
    ids = simulated.allow("203.0.113.7/32", text="JIT", TagSpecifications=tags)
    answer = simulated.ec2.revoke_security_group_ingress(
        GroupId=simulated.group, SecurityGroupRuleIds=ids
    )
    (revoked,) = answer["RevokedSecurityGroupRules"]
    assert (revoked["Description"], revoked["CidrIpv4"]) == ("JIT", "203.0.113.7/32")
    assert "Tags" not in revoked


def test_an_unknown_rule_id_is_named(simulated: Account, refused: Refused) -> None:
    """Revoking an unknown id has an error code of its own."""
    code = refused(
        simulated.ec2.revoke_security_group_ingress,
        GroupId=simulated.group,
        SecurityGroupRuleIds=["sgr-1"],
    )
    assert code == "InvalidSecurityGroupRuleId.NotFound"


def test_a_default_group_tells_unknown_permissions(simulated: Account) -> None:
    """Revoking what a default group does not hold succeeds and lists it."""
    answer = simulated.ec2.revoke_security_group_ingress(
        GroupId="sg-default", IpPermissions=[permission("203.0.113.7/32")]
    )
    assert len(answer["UnknownIpPermissions"]) == 1


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ({"CidrIpv6": "2001:db8::/64"}, "InvalidParameterValue"),
        ({"CidrIpv4": "203.0.113.8/32"}, "InvalidPermission.Duplicate"),
    ],
)
def test_a_modification_is_checked(
    simulated: Account, refused: Refused, source: dict[str, str], code: str
) -> None:
    """The type of source stays, and a rule is not modified into another one."""
    ids = simulated.allow("203.0.113.7/32", "203.0.113.8/32")
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, **source}
    update = [{"SecurityGroupRuleId": ids[0], "SecurityGroupRule": rule}]
    modify = simulated.ec2.modify_security_group_rules
    assert refused(modify, GroupId=simulated.group, SecurityGroupRules=update) == code


def test_an_interface_bears_five_groups_of_its_network(
    simulated: Account, refused: Refused
) -> None:
    """The whole list is replaced: at least one group, at most five, all known, one network."""
    modify = simulated.ec2.modify_network_interface_attribute
    cases = {
        "SecurityGroupsPerInterfaceLimitExceeded": GROUPS[:6],
        "InvalidGroup.NotFound": ["sg-unknown"],
        "InvalidParameterValue": ["sg-other"],
    }
    for code, groups in cases.items():
        assert refused(modify, NetworkInterfaceId="eni-1", Groups=groups) == code
    modify(NetworkInterfaceId="eni-1", Groups=GROUPS[1:6])
    (interface,) = simulated.ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert [each["GroupId"] for each in interface["Groups"]] == GROUPS[1:6]


def test_the_instance_shows_its_groups_at_once(simulated: Account) -> None:
    """DescribeInstances shows what the interface bears."""
    simulated.ec2.modify_network_interface_attribute(NetworkInterfaceId="eni-1", Groups=[GROUPS[3]])
    (reservation,) = simulated.ec2.describe_instances(InstanceIds=["i-00000001"])["Reservations"]
    (instance,) = reservation["Instances"]
    assert [each["GroupId"] for each in instance["SecurityGroups"]] == [GROUPS[3]]


def test_lists_come_in_pages(simulated: Account) -> None:
    """A page may be smaller than asked for; a paginator sees every item once."""
    simulated.control("settings", {"pageSize": 3})
    pages = simulated.ec2.get_paginator("describe_security_groups").paginate(MaxResults=5)
    found = [each["GroupId"] for page in pages for each in page["SecurityGroups"]]
    assert sorted(found) == sorted([*GROUPS, "sg-other", "sg-default"])


def test_page_sizes_and_filters_are_checked(simulated: Account, refused: Refused) -> None:
    """A page of fewer than five items, or an unknown filter, is refused."""
    assert simulated.server is not None
    scope = f"Credential={ADMIN_KEY}/20270101/{REGION}/ec2/aws4_request"
    body = b"Action=DescribeSecurityGroups&Version=2016-11-15&MaxResults=1"
    assert simulated.server.endpoint.answer(body, {"authorization": scope}).status == 400
    describe = simulated.ec2.describe_security_groups
    filters = [{"Name": "colour", "Values": ["red"]}]
    assert refused(describe, Filters=filters) == "InvalidParameterValue"


def test_what_is_not_simulated_is_refused_and_logged(simulated: Account, refused: Refused) -> None:
    """An action beyond the simulated ones is an error, never an empty answer."""
    assert refused(simulated.ec2.describe_vpcs) == "NotSimulated"
    assert simulated.control("log")["calls"][-1]["unknown"] is True


# --- faults


def test_throttling(simulated: Account, refused: Refused) -> None:
    """With throttling on, the burst of an action ends in RequestLimitExceeded, and it refills."""
    simulated.control("settings", {"throttles": True})
    for _ in range(50):
        simulated.ec2.delete_tags(Resources=[simulated.group], Tags=[{"Key": "a"}])
    delete = simulated.ec2.delete_tags
    params = {"Resources": [simulated.group], "Tags": [{"Key": "a"}]}
    assert refused(delete, **params) == "RequestLimitExceeded"
    assert simulated.clock is not None
    simulated.clock.seconds += 1
    delete(**params)


def test_a_lost_answer_is_a_duplicate_to_the_retry(simulated: Account) -> None:
    """A write whose answer is lost has happened: the SDK's own retry meets its own rule."""
    assert simulated.server is not None
    retrying = client(simulated.server.url, attempts=3)
    simulated.control("faults", {"faults": [{"kind": "dropAfter", "action": "Authorize.*"}]})
    with pytest.raises(ClientError, match="Duplicate"):
        retrying.authorize_security_group_ingress(
            GroupId=simulated.group, IpPermissions=[permission("203.0.113.7/32")]
        )
    assert len(simulated.rules()) == 1


def test_a_dropped_call_did_nothing(simulated: Account) -> None:
    """A call that never arrived changed nothing."""
    simulated.control("faults", {"faults": [{"kind": "dropBefore", "action": "Authorize.*"}]})
    with pytest.raises(HTTPClientError):
        authorize(simulated, permission("203.0.113.7/32"))
    assert simulated.rules() == []


def test_a_stale_read_shows_what_was(simulated: Account) -> None:
    """A read that lags does not show the latest write; the next one does."""
    authorize(simulated, permission("203.0.113.7/32"))
    simulated.control("faults", {"faults": [{"kind": "staleRead", "seconds": 10}]})
    assert simulated.rules() == []
    assert len(simulated.rules()) == 1


def test_a_late_write_lands_with_the_ids_it_told(simulated: Account) -> None:
    """A write is answered before it is carried out."""
    simulated.control("faults", {"faults": [{"kind": "lateWrite", "seconds": 60}]})
    (rule_id,) = simulated.allow("203.0.113.7/32")
    assert simulated.rules() == []
    assert simulated.clock is not None
    simulated.clock.seconds += 61
    assert [rule["SecurityGroupRuleId"] for rule in simulated.rules()] == [rule_id]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("refuse", "UnauthorizedOperation"),
        ("serverError", "InternalError"),
        ("throttle", "RequestLimitExceeded"),
    ],
)
def test_errors_on_order(simulated: Account, refused: Refused, fault: str, code: str) -> None:
    """A fault strikes as often as ordered, and then no more."""
    simulated.control("faults", {"faults": [{"kind": fault, "action": "DeleteTags"}]})
    params = {"Resources": [simulated.group], "Tags": [{"Key": "a"}]}
    assert refused(simulated.ec2.delete_tags, **params) == code
    simulated.ec2.delete_tags(**params)


# --- access


@pytest.mark.parametrize(
    ("source", "port", "protocol", "allowed"),
    [
        ("203.0.113.7", 22, "tcp", True),
        ("203.0.113.8", 22, "tcp", False),
        ("203.0.113.7", 23, "tcp", False),
        ("203.0.113.7", 22, "udp", False),
        ("198.51.100.200", 25, "tcp", True),
    ],
)
def test_access_is_the_union_of_the_groups(
    simulated: Account, source: str, port: int, protocol: str, allowed: bool
) -> None:
    """A packet passes if a rule of any group on the interface lets it in."""
    authorize(simulated, permission("203.0.113.7/32"))
    prefix_list = {
        "IpProtocol": "tcp",
        "FromPort": 25,
        "ToPort": 25,
        "PrefixListIds": [{"PrefixListId": "pl-0001"}],
    }
    authorize(simulated, prefix_list, group=GROUPS[1])
    simulated.ec2.modify_network_interface_attribute(NetworkInterfaceId="eni-1", Groups=GROUPS[:2])
    query = f"access?instance=i-00000001&port={port}&source={source}&protocol={protocol}"
    assert simulated.control(query)["allowed"] is allowed


def test_an_estate_numbered_from_one_keeps_its_groups(simulated: Account) -> None:
    """An id that the simulator mints is none of the small numbers an estate is written with."""
    minted = simulated.ec2.create_security_group(GroupName="new", Description="new", VpcId=VPC)
    assert int(minted["GroupId"].removeprefix("sg-"), 16) > 0xFFFF_FFFF
