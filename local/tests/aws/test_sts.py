"""Keys for a web identity: only for the right issuer, audience and subject."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from local.aws.identity import ROLE, trust_of, web_identity_token
from local.aws.serve import AwsServer
from local.issuer import Issuer
from local.tests.aws.conftest import ESTATE, REGION
from shared.adapters.aws import AwsApi
from shared.domain.aws_accounts import AwsAccount, AwsAccounts
from shared.firewalls.ec2.wire import Place
from shared.ports import OutsideError

AUDIENCE = "0d5f2a52-0000-4000-8000-000000000001"
ACCOUNTS = AwsAccounts((AwsAccount("/connector", "123456789012", ROLE, (REGION,)),))
PLACE = Place("123456789012", REGION)


@dataclass
class Cloud:
    """The simulator, and the issuer that it trusts."""

    server: AwsServer
    issuer: Issuer

    def call(self, token: Callable[[], str]) -> list[str]:
        """List groups as the app does, with a token of one's own; return the exchange's actions."""
        api = AwsApi(ACCOUNTS, token, session_name="jit-test1", endpoint_url=self.server.url)
        self.server.endpoint.log.clear()
        for _ in range(3):
            api.call(PLACE, "DescribeSecurityGroups", {})
        return [each["action"] for each in self.server.endpoint.log]


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """Serve the simulator with one role that trusts the local issuer."""
    issuer = Issuer()
    issuer.url = "https://sts.example"
    trust = trust_of(issuer, audience=AUDIENCE)
    with AwsServer(ESTATE, trusts=(trust,), keys=issuer.jwks) as server:
        yield Cloud(server, issuer)


def test_the_identity_gets_keys_once(cloud: Cloud) -> None:
    """The first call buys keys with the identity's token; the next ones use them."""
    actions = cloud.call(lambda: web_identity_token(cloud.issuer, audience=AUDIENCE))
    assert actions == ["AssumeRoleWithWebIdentity", *["DescribeSecurityGroups"] * 3]
    caller = cloud.server.endpoint.log[-1]["caller"]
    assert caller == "arn:aws:sts::123456789012:assumed-role/jit-vm-access/jit-test1"


def test_15_wrong_subject_audience_issuer_no_keys(cloud: Cloud) -> None:
    """A token of another identity, for another audience, or of another issuer buys nothing."""
    stranger = Issuer()
    stranger.url = "https://elsewhere.example"
    forger = Issuer()
    forger.url = cloud.issuer.url
    tokens = {
        "AccessDenied": web_identity_token(cloud.issuer, audience=AUDIENCE, name="someone-else"),
        "Incorrect token audience": web_identity_token(cloud.issuer, audience="api://other"),
        "No OpenIDConnect provider": web_identity_token(stranger, audience=AUDIENCE),
        "retrieve verification key": web_identity_token(forger, audience=AUDIENCE),
        "not a valid JWT": "nonsense",
    }
    for reason, token in tokens.items():
        with pytest.raises(OutsideError, match=reason):
            cloud.call(lambda token=token: token)  # type: ignore[misc]


@pytest.mark.parametrize(("azp", "works"), [("another-app", False), (AUDIENCE, True)])
def test_azp_stands_for_the_audience(cloud: Cloud, azp: str, works: bool) -> None:
    """AWS compares `azp` in place of `aud` where a token has one, as tokens of version 2 do."""
    claims = cloud.issuer.app_claims("jit-network", version="1.0")
    subject = trust_of(cloud.issuer, audience=AUDIENCE).subject
    token = cloud.issuer.sign({**claims, "aud": AUDIENCE, "sub": subject, "azp": azp})
    if works:
        assert cloud.call(lambda: token)
        return
    with pytest.raises(OutsideError, match="Incorrect token audience"):
        cloud.call(lambda: token)


def test_an_expired_token_buys_nothing(cloud: Cloud) -> None:
    """A token beyond its end is refused."""
    claims = cloud.issuer.app_claims("jit-network", lifetime=timedelta(seconds=-5), version="1.0")
    with pytest.raises(OutsideError, match="ExpiredToken"):
        cloud.call(lambda: cloud.issuer.sign({**claims, "aud": AUDIENCE}))


def test_made_up_keys_are_refused(cloud: Cloud) -> None:
    """A call with keys that STS never gave is not answered."""
    answer = cloud.server.endpoint.answer(
        b"Action=DescribeSecurityGroups&Version=2016-11-15",
        {
            "authorization": f"AWS4-HMAC-SHA256 Credential=AKIAMADEUP/20270101/{REGION}/ec2/aws4_request"
        },
    )
    assert answer.status == 401
