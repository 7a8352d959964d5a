"""An AWS account in this process: the simulator behind the real botocore, without a network."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from botocore.loaders import Loader
from botocore.session import Session

from local.aws import access
from local.aws.app import edit_rules
from local.aws.endpoint import Endpoint
from local.aws.identity import ROLE, trust_of, web_identity_token
from local.aws.simulator import Simulator
from local.aws.sts import TokenService
from local.aws.values import Group, Instance, Interface, Region, Rule
from local.issuer import Issuer
from shared.adapters.aws import AwsApi
from shared.domain.aws_accounts import AwsAccount, AwsAccounts
from tests.fakes import Clock

ACCOUNT, REGION, VPC = "123456789012", "eu-central-1", "vpc-0000000000000001"
CONNECTOR = (
    "/subscriptions/3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815/resourceGroups/app-rg"
    "/providers/Microsoft.Security/securityConnectors/aws-prod"
)
AUDIENCE = "0d5f2a52-0000-4000-8000-000000000001"
DEPLOYMENT = "test1"
_LOADER = Loader()
_ISSUER = Issuer()
_ISSUER.url = "https://sts.example"


def estate() -> dict[str, Any]:
    """Return an account with one empty VPC."""
    return {
        "account": ACCOUNT,
        "regions": {REGION: {"vpcs": [VPC], "prefixLists": {"pl-0001": ["198.51.100.0/24"]}}},
    }


def accounts(*, attach: bool = True) -> AwsAccounts:
    """Return the settings for the account."""
    return AwsAccounts((AwsAccount(CONNECTOR, ACCOUNT, ROLE, (REGION,), attach),))


class AwsCloud:
    """The account, and what others do in it."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.simulator = Simulator(estate(), lambda: self.clock().timestamp())
        tokens = TokenService(
            (trust_of(_ISSUER, audience=AUDIENCE),), _ISSUER.jwks, lambda: datetime.now(UTC)
        )
        self.endpoint = Endpoint(self.simulator, tokens)
        self.before_call: Callable[[str], None] = lambda _action: None

    @property
    def region(self) -> Region:
        """Return the one region."""
        return self.simulator.regions[REGION]

    def api(self, *, attach: bool = True, token: Callable[[], str] | None = None) -> AwsApi:
        """Return the app's own client of this account."""
        return AwsApi(
            accounts(attach=attach),
            token or (lambda: web_identity_token(_ISSUER, audience=AUDIENCE)),
            session_name="jit-test1",
            new_session=self._session,
        )

    def _session(self) -> Session:
        session = Session()
        session.register_component("data_loader", _LOADER)
        session.register("before-send.*", self._send)
        return session

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        body = request.body if isinstance(request.body, bytes) else str(request.body).encode()
        self.before_call(_action(body))
        answer = self.endpoint.answer(body, headers)
        if answer.dropped:
            raise ConnectionClosedError(endpoint_url=request.url)
        response = AWSResponse(request.url, answer.status, {"Content-Type": "text/xml"}, None)
        response._content = answer.text.encode()
        return response

    # --- the owner's own acts

    def add_group(
        self, group_id: str, name: str = "", tags: Mapping[str, str] | None = None
    ) -> Group:
        """Put a group without rules there."""
        group = Group(group_id, name or group_id[3:], "theirs", VPC, ACCOUNT, tags=dict(tags or {}))
        self.region.groups[group_id] = group
        return group

    def add_instance(self, instance_id: str, *interfaces: tuple[str, str, Iterable[str]]) -> None:
        """Put an instance there: for each interface its id, its address and its groups."""
        self.region.instances[instance_id] = Instance(instance_id)
        for interface_id, address, groups in interfaces:
            self.region.interfaces[interface_id] = Interface(
                interface_id, VPC, "subnet-1", list(groups), [address], instance_id
            )

    def authorize(
        self, group_id: str, protocol: str, low: int, high: int, source: str, **more: Any
    ) -> None:
        """Add a rule as its owner."""
        edit_rules(
            self.simulator,
            self.region,
            group_id,
            [permission(protocol, low, high, source, **more)],
        )

    def rules(self, group_id: str, *, egress: bool = False) -> list[Rule]:
        """Return the rules of a group in one direction."""
        group = self.region.groups[group_id]
        return [rule for rule in group.rules.values() if rule.identity.egress is egress]

    def own_group(self, instance_id: str) -> Group | None:
        """Return the group that the app made for an instance."""
        name = f"jit-{DEPLOYMENT}-{instance_id}"
        return next((g for g in self.region.groups.values() if g.name == name), None)

    def edit_rule(self, rule: Rule, **changes: Any) -> None:
        """Change a rule as its owner."""
        self.region.groups[rule.group_id].rules[rule.id] = replace(rule, **changes)

    def reaches(self, instance_id: str, source: str, port: int = 22, protocol: str = "tcp") -> bool:
        """Tell whether packets from a source reach an instance."""
        return access.reaches(self.region, instance_id, source, port, protocol)

    def writes(self) -> list[str]:
        """Return the actions that changed something, in their order."""
        return [
            each["action"]
            for each in self.endpoint.log
            if each["service"] == "ec2" and not each["action"].startswith("Describe")
        ]


def permission(
    protocol: str,
    low: int,
    high: int,
    source: str,
    *,
    text: str = "theirs",
    tags: Mapping[str, str] | None = None,
    egress: bool = False,
) -> dict[str, Any]:
    """Return a permission as an owner writes it."""
    if source.startswith("sg-"):
        entry = {"UserIdGroupPairs": [{"GroupId": source, "Description": text}]}
    elif source.startswith("pl-"):
        entry = {"PrefixListIds": [{"PrefixListId": source, "Description": text}]}
    elif ":" in source:
        entry = {"Ipv6Ranges": [{"CidrIpv6": source, "Description": text}]}
    else:
        entry = {"IpRanges": [{"CidrIp": source, "Description": text}]}
    ports = {} if protocol == "-1" else {"FromPort": low, "ToPort": high}
    return {"IpProtocol": protocol, **ports, **entry, "Tags": dict(tags or {}), "Egress": egress}


def _action(body: bytes) -> str:
    found = body.decode().partition("Action=")[2]
    return found.partition("&")[0]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
