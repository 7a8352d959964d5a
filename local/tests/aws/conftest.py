"""The simulator over HTTP and moto in this process, each as a boto3 client of one account."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import moto
import pytest
from botocore.config import Config

from local.aws.endpoint import ADMIN_KEY
from local.aws.serve import AwsServer

REGION = "eu-central-1"
VPC = "vpc-0000000000000001"
GROUPS = [f"sg-000000000000000{index}" for index in range(1, 9)]
ESTATE: dict[str, Any] = {
    "account": "123456789012",
    "regions": {
        REGION: {
            "vpcs": [VPC, "vpc-0000000000000002"],
            "prefixLists": {"pl-0001": ["198.51.100.0/25", "198.51.100.128/25"]},
            "groups": [
                *({"id": each, "name": f"g{each[-1]}", "vpc": VPC} for each in GROUPS),
                {"id": "sg-other", "name": "other", "vpc": "vpc-0000000000000002"},
                {"id": "sg-default", "name": "default", "vpc": VPC},
            ],
            "instances": [
                {
                    "id": "i-00000001",
                    "tags": {"Name": "web"},
                    "interfaces": [
                        {
                            "id": "eni-1",
                            "vpc": VPC,
                            "addresses": ["10.0.1.4"],
                            "groups": GROUPS[:1],
                        }
                    ],
                }
            ],
        }
    },
}


class Now:
    """A clock that the tests move."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


@dataclass
class Account:
    """One account behind a boto3 client."""

    ec2: Any
    vpc: str
    group: str
    server: AwsServer | None = None
    clock: Now | None = None

    def control(self, name: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call one of the simulator's controls."""
        assert self.server is not None
        data = json.dumps(given).encode() if given is not None else None
        with urllib.request.urlopen(f"{self.server.url}/_sim/{name}", data) as answer:  # noqa: S310
            found: dict[str, Any] = json.loads(answer.read())
        return found

    def allow(self, *cidrs: str, port: int = 22, text: str = "theirs", **more: Any) -> list[str]:
        """Authorize one rule for each CIDR block; return their ids."""
        ranges = [{"CidrIp": each, "Description": text} for each in cidrs]
        permission = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": ranges}
        answer = self.ec2.authorize_security_group_ingress(
            GroupId=self.group, IpPermissions=[permission], **more
        )
        return [each["SecurityGroupRuleId"] for each in answer["SecurityGroupRules"]]

    def rules(self, *, egress: bool = False) -> list[dict[str, Any]]:
        """Return the group's rules in one direction."""
        answer = self.ec2.describe_security_group_rules(
            Filters=[{"Name": "group-id", "Values": [self.group]}]
        )
        return [r for r in answer["SecurityGroupRules"] if r["IsEgress"] is egress]


def client(url: str | None, *, attempts: int = 1) -> Any:
    """Return a boto3 client of EC2."""
    return boto3.client(
        "ec2",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=ADMIN_KEY,
        aws_secret_access_key="local",
        config=Config(retries={"mode": "standard", "total_max_attempts": attempts}),
    )


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[AwsServer, Now, Any]]:
    """Serve the simulator once."""
    clock = Now()
    with AwsServer(ESTATE, clock=clock) as server:
        yield server, clock, client(server.url)


@pytest.fixture
def simulated(served: tuple[AwsServer, Now, Any]) -> Account:
    """Return the simulator's account, as new."""
    server, clock, ec2 = served
    account = Account(ec2, VPC, GROUPS[0], server, clock)
    account.control("reset", {})
    return account


@pytest.fixture(params=["simulator", "moto"])
def account(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """Return an account of the simulator, then of moto: the second opinion where moto is right."""
    if request.param == "simulator":
        yield request.getfixturevalue("simulated")
        return
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with moto.mock_aws():
        ec2 = client(None)
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        group = ec2.create_security_group(GroupName="theirs", Description="theirs", VpcId=vpc)
        yield Account(ec2, vpc, group["GroupId"])


Refused = Callable[..., str]


@pytest.fixture
def refused() -> Refused:
    """Return a function that makes a call and returns the code of the error it ends with."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - beside its only use

    def call(action: Callable[..., Any], **params: Any) -> str:
        with pytest.raises(ClientError) as caught:
            action(**params)
        return str(caught.value.response["Error"]["Code"])

    return call
