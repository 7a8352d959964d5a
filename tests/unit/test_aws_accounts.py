import json
from typing import Any

import pytest

from shared.domain.aws_accounts import AwsAccount, AwsAccounts, read_accounts
from shared.domain.machine_ids import Ec2Instance, defender_id, parse_machine_id

CONNECTOR = (
    "/subscriptions/3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815/resourceGroups/app-rg"
    "/providers/Microsoft.Security/securityConnectors/aws-prod"
)
ROLE = "arn:aws:iam::123456789012:role/jit-vm-access-prod"
INSTANCE = "i-0a1b2c3d4e5f60001"
ARN = f"arn:aws:ec2:eu-central-1:123456789012:instance/{INSTANCE}"


def given(**changes: Any) -> dict[str, Any]:
    """Return one account of the setting."""
    return {"connector": CONNECTOR, "role": ROLE, "regions": ["eu-central-1"]} | changes


def instance(text: str) -> Ec2Instance:
    """Return an instance by its id."""
    machine = parse_machine_id(text)
    assert isinstance(machine, Ec2Instance)
    return machine


def test_an_empty_setting_is_no_account() -> None:
    """Without the setting there is no AWS account."""
    assert read_accounts("") == AwsAccounts()


@pytest.mark.parametrize(("attach", "by_app"), [({}, False), ({"attach": "app"}, True)])
def test_an_account_is_read(attach: dict[str, str], by_app: bool) -> None:
    """The account comes from the role; the owner attaches groups unless the setting says `app`."""
    text = json.dumps([given(regions=["eu-central-1", "eu-west-1", "eu-central-1"], **attach)])
    regions = ("eu-central-1", "eu-west-1")
    expected = AwsAccount(CONNECTOR, "123456789012", ROLE, regions, by_app)
    assert read_accounts(text).listed == (expected,)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("{}", "not a list"),
        ("[1]", "an account has the members"),
        (json.dumps([given(key="secret")]), "an account has the members"),
        (json.dumps([given(connector=1)]), "connector: not a text"),
        (json.dumps([given(connector="/x")]), "not a resource id"),
        (json.dumps([given(role="arn:aws:iam::1:role/x")]), "role:"),
        (json.dumps([given(regions=[])]), "regions: not a list"),
        (json.dumps([given(regions="eu-central-1")]), "regions: not a list"),
        (json.dumps([given(regions=[1])]), "is not a region"),
        (json.dumps([given(regions=["Frankfurt"])]), "is not a region"),
        (json.dumps([given(attach="both")]), "attach:"),
        (json.dumps([given(), given(role=ROLE + "2")]), "the same connector"),
        (json.dumps([given(), given(connector=CONNECTOR + "2")]), "the same account"),
    ],
)
def test_a_wrong_setting_is_refused(text: str, reason: str) -> None:
    """Each mistake in the setting is named."""
    with pytest.raises(ValueError, match=reason):
        read_accounts(text)


def test_both_forms_name_one_instance() -> None:
    """Defender's form and the ARN lead to the same account, and to the ARN as the key."""
    accounts = read_accounts(json.dumps([given()]))
    for text in (defender_id(CONNECTOR.upper(), INSTANCE, "eu-central-1"), ARN):
        assert accounts.arn_of(instance(text)) == ARN
    assert accounts.of_account("123456789012") == accounts.listed[0]
    assert accounts.of_account("999999999999") is None


@pytest.mark.parametrize(
    "text",
    [
        ARN.replace("eu-central-1", "us-east-1"),
        ARN.replace("123456789012", "999999999999"),
        defender_id(CONNECTOR + "2", INSTANCE, "eu-central-1"),
    ],
)
def test_an_instance_elsewhere_is_not_configured(text: str) -> None:
    """An instance of an account, connector or region that the settings do not name is refused."""
    with pytest.raises(ValueError, match="not configured"):
        read_accounts(json.dumps([given()])).arn_of(instance(text))
