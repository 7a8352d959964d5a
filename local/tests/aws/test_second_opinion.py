"""Answers that the simulator and moto give alike."""

from typing import Any

from local.tests.aws.conftest import Account, Refused

PERMISSION = {
    "IpProtocol": "tcp",
    "FromPort": 22,
    "ToPort": 22,
    "IpRanges": [{"CidrIp": "203.0.113.7/32"}],
}


def test_a_rule_has_an_id_a_description_and_tags(account: Account) -> None:
    """A rule keeps the description and tags that Authorize gave it."""
    tags = [{"ResourceType": "security-group-rule", "Tags": [{"Key": "team", "Value": "a"}]}]
    (rule_id,) = account.allow("203.0.113.7/32", text="JIT", TagSpecifications=tags)
    (rule,) = account.rules()
    assert rule["SecurityGroupRuleId"] == rule_id
    assert rule_id.startswith("sgr-")
    assert (rule["Description"], rule["CidrIpv4"]) == ("JIT", "203.0.113.7/32")
    assert rule["Tags"] == [{"Key": "team", "Value": "a"}]


def test_descriptions_do_not_tell_rules_apart(account: Account, refused: Refused) -> None:
    """The same rule with another description is a duplicate."""
    account.allow("203.0.113.7/32", text="one")
    twice = {**PERMISSION, "IpRanges": [{"CidrIp": "203.0.113.7/32", "Description": "two"}]}
    code = refused(
        account.ec2.authorize_security_group_ingress, GroupId=account.group, IpPermissions=[twice]
    )
    assert code == "InvalidPermission.Duplicate"


def test_a_new_group_lets_everything_out(account: Account) -> None:
    """CreateSecurityGroup adds an egress rule for every protocol and address."""
    made = account.ec2.create_security_group(
        GroupName="jit-a", Description="ours", VpcId=account.vpc
    )
    answer = account.ec2.describe_security_group_rules(
        Filters=[{"Name": "group-id", "Values": [made["GroupId"]]}]
    )
    (rule,) = answer["SecurityGroupRules"]
    assert (rule["IsEgress"], rule["IpProtocol"], rule["CidrIpv4"]) == (True, "-1", "0.0.0.0/0")


def test_a_group_is_found_by_tag_and_name(account: Account) -> None:
    """Filters by tag and by name find a group; another value finds none."""
    tags = [{"ResourceType": "security-group", "Tags": [{"Key": "jit:deployment", "Value": "a"}]}]
    made = account.ec2.create_security_group(
        GroupName="jit-a", Description="ours", VpcId=account.vpc, TagSpecifications=tags
    )
    for name, value in (("tag:jit:deployment", "a"), ("group-name", "jit-a")):
        assert _found(account, name, value) == [made["GroupId"]]
    assert _found(account, "tag:jit:deployment", "b") == []


def _found(account: Account, name: str, value: str) -> list[str]:
    answer: dict[str, Any] = account.ec2.describe_security_groups(
        Filters=[{"Name": name, "Values": [value]}]
    )
    return [each["GroupId"] for each in answer["SecurityGroups"]]


def test_a_rule_is_modified_in_place(account: Account) -> None:
    """ModifySecurityGroupRules changes ports and description; the id stays."""
    (rule_id,) = account.allow("203.0.113.7/32")
    update = {
        "SecurityGroupRuleId": rule_id,
        "SecurityGroupRule": {
            "IpProtocol": "tcp",
            "FromPort": 23,
            "ToPort": 25,
            "CidrIpv4": "203.0.113.7/32",
            "Description": "narrowed",
        },
    }
    account.ec2.modify_security_group_rules(GroupId=account.group, SecurityGroupRules=[update])
    (rule,) = account.rules()
    assert rule["SecurityGroupRuleId"] == rule_id
    assert (rule["FromPort"], rule["ToPort"], rule["Description"]) == (23, 25, "narrowed")


def test_revoking_by_ids_is_whole(account: Account, refused: Refused) -> None:
    """With one unknown id among several, no rule is revoked."""
    ids = account.allow("203.0.113.7/32", "203.0.113.8/32")
    refused(
        account.ec2.revoke_security_group_ingress,
        GroupId=account.group,
        SecurityGroupRuleIds=[*ids, "sgr-00000000000000fff"],
    )
    assert len(account.rules()) == 2
    account.ec2.revoke_security_group_ingress(GroupId=account.group, SecurityGroupRuleIds=ids)
    assert account.rules() == []


def test_revoking_other_properties_finds_nothing(account: Account, refused: Refused) -> None:
    """Revoking a rule that is not there is an error, and nothing is revoked."""
    account.allow("203.0.113.8/32")
    code = refused(
        account.ec2.revoke_security_group_ingress, GroupId=account.group, IpPermissions=[PERMISSION]
    )
    assert code == "InvalidPermission.NotFound"
    assert len(account.rules()) == 1


def test_a_group_holds_sixty_rules(account: Account, refused: Refused) -> None:
    """The 61st inbound rule is refused."""
    account.allow(*(f"198.51.100.{index}/32" for index in range(60)))
    code = refused(
        account.ec2.authorize_security_group_ingress,
        GroupId=account.group,
        IpPermissions=[PERMISSION],
    )
    assert code == "RulesPerSecurityGroupLimitExceeded"


def test_an_unknown_group_is_not_found(account: Account, refused: Refused) -> None:
    """Authorizing into, deleting, or describing an unknown group by id is an error."""
    unknown = "sg-00000000000000fff"
    calls: tuple[tuple[Any, dict[str, Any]], ...] = (
        (account.ec2.authorize_security_group_ingress, {"IpPermissions": [PERMISSION]}),
        (account.ec2.delete_security_group, {}),
    )
    for call, params in calls:
        assert refused(call, GroupId=unknown, **params) == "InvalidGroup.NotFound"
    assert (
        refused(account.ec2.describe_security_groups, GroupIds=[unknown]) == "InvalidGroup.NotFound"
    )


def test_a_dry_run_changes_nothing(account: Account, refused: Refused) -> None:
    """A dry run that would succeed answers DryRunOperation."""
    code = refused(
        account.ec2.authorize_security_group_ingress,
        GroupId=account.group,
        IpPermissions=[PERMISSION],
        DryRun=True,
    )
    assert code == "DryRunOperation"
    assert account.rules() == []


def test_a_resource_has_fifty_tags(account: Account, refused: Refused) -> None:
    """The 51st tag is refused."""
    tags = [{"Key": f"key-{index}", "Value": "x"} for index in range(51)]
    account.ec2.create_tags(Resources=[account.group], Tags=tags[:50])
    code = refused(account.ec2.create_tags, Resources=[account.group], Tags=tags[50:])
    assert code == "TagLimitExceeded"


def test_a_tag_is_deleted(account: Account) -> None:
    """DeleteTags removes a tag by its key."""
    account.ec2.create_tags(Resources=[account.group], Tags=[{"Key": "a", "Value": "b"}])
    account.ec2.delete_tags(Resources=[account.group], Tags=[{"Key": "a"}])
    (group,) = account.ec2.describe_security_groups(GroupIds=[account.group])["SecurityGroups"]
    assert group.get("Tags", []) == []
