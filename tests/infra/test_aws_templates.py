"""The CloudFormation templates: linted, and exactly as wide as what the provider calls."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.ec2_scene import GROUP, Scene
from tests.infra.bicep import INFRA

TEMPLATES = sorted((INFRA / "aws").glob("*.yaml"))
BASE, ADD_ON = INFRA / "aws" / "jit-access.yaml", INFRA / "aws" / "jit-access-revoke.yaml"
OUR_TAGS = {"jit:deployment", "jit:instance", "jit:ledger-of"}


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short functions, which stay as their arguments."""


def _argument(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("!", _argument)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    return found


def _statements(path: Path) -> Iterator[dict[str, Any]]:
    for resource in _read(path)["Resources"].values():
        properties = resource["Properties"]
        for policy in properties.get("Policies", [properties]):
            yield from policy.get("PolicyDocument", {}).get("Statement", [])


def _actions(*paths: Path) -> set[str]:
    found: set[str] = set()
    for path in paths:
        for statement in _statements(path):
            given = statement["Action"]
            found |= {given} if isinstance(given, str) else set(given)
    return found


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_cfn_lint_finds_nothing(path: Path) -> None:
    """AWS's own linter accepts each template without a warning."""
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--format", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout or "[]") == []
    assert done.returncode == 0, done.stderr


def test_the_trust_names_one_audience_and_one_subject() -> None:
    """The trust policy is JSON whose conditions pin the audience and the identity."""
    trust = json.loads(_read(BASE)["Resources"]["Role"]["Properties"]["AssumeRolePolicyDocument"])
    (statement,) = trust["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"] == {
        "StringEquals": {
            "sts.windows.net/${TenantId}/:aud": "${Audience}",
            "sts.windows.net/${TenantId}/:sub": "${Subject}",
        }
    }


def test_nothing_is_written_without_a_condition_on_tags() -> None:
    """Each writing statement on groups depends on a tag, but for the opt-in that attaches."""
    free = {
        statement["Sid"]
        for path in TEMPLATES
        for statement in _statements(path)
        if "Condition" not in statement
    }
    assert free == {
        "Read",
        "CreateInVpc",
        "RulesOfWritableGroups",
        "RulesOfConsentingOwners",
        "ReplaceGroupsOfInterfaces",
    }


def test_the_app_cannot_consent_for_an_owner() -> None:
    """No statement lets the app set jit:manage on a group."""
    for path in TEMPLATES:
        for statement in _statements(path):
            if "ec2:CreateTags" in statement["Action"]:
                condition = statement["Condition"]
                keys = condition.get("ForAllValues:StringLike", {}).get("aws:TagKeys")
                assert keys == ["jit:held:*"] or "ec2:CreateAction" in condition["StringEquals"]
    (create,) = [s for s in _statements(BASE) if s["Sid"] == "CreateOwnGroup"]
    assert set(create["Condition"]["ForAllValues:StringEquals"]["aws:TagKeys"]) == OUR_TAGS


def _used(*, revoke: bool) -> set[str]:
    """Play a protection, a grant and their removal; return every action of EC2 that was called."""
    scene = Scene()
    scene.cloud.authorize(GROUP, "tcp", 20, 25, "0.0.0.0/0", tags={"team": "a"})
    block, grant = scene.block(revoke=revoke), scene.allow("r-1")
    scene.converge_both()
    scene.allow("r-2", minutes=90)
    scene.converge()
    scene.provider.find_ours("")
    for key in (grant, block, *scene.allows):
        scene.end(key)
    scene.converge_both()
    return {f"ec2:{e['action']}" for e in scene.cloud.endpoint.log if e["service"] == "ec2"}


def test_the_permissions_are_what_the_provider_calls() -> None:
    """In each mode nothing is missing; together nothing is permitted that is never called."""
    creating = {"ec2:CreateTags"}  # asked for by calls that create something with tags
    report, revoke = _used(revoke=False), _used(revoke=True)
    assert report <= _actions(BASE)
    assert revoke <= _actions(BASE, ADD_ON)
    # The list of machines calls DescribeInstances.
    assert _actions(BASE, ADD_ON) - creating - {"ec2:DescribeInstances"} <= revoke
