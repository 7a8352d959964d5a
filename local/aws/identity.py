"""The token that Entra ID gives to a managed identity, minted by the local issuer."""

from local.aws.sts import Trust
from local.issuer import Issuer, object_id

IDENTITY = "jit-network"
ROLE = "arn:aws:iam::123456789012:role/jit-vm-access"


def web_identity_token(
    issuer: Issuer, *, audience: str, name: str = IDENTITY, version: str = "1.0"
) -> str:
    """Return a managed identity's token: `sub` is its object id; version 2 names an `azp`."""
    claims = issuer.app_claims(name, version="2.0" if version == "2.0" else "1.0")
    return issuer.sign({**claims, "aud": audience, "sub": object_id(name)})


def trust_of(issuer: Issuer, *, audience: str, role_arn: str = ROLE, name: str = IDENTITY) -> Trust:
    """Return the trust of a role that the identity may assume."""
    return Trust(role_arn, issuer.issuer_of("1.0"), audience, object_id(name))
