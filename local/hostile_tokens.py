"""Tokens that must be refused."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from local.issuer import Claims, Issuer, SigningKey


def expired(issuer: Issuer, claims: Claims) -> str:
    """Return a token that ended an hour ago."""
    ended = int(claims["iat"] - timedelta(hours=1).total_seconds())
    return issuer.sign({**claims, "iat": ended - 3600, "nbf": ended - 3600, "exp": ended})


def not_yet_valid(issuer: Issuer, claims: Claims) -> str:
    """Return a token that begins an hour before its end, which is far away."""
    return issuer.sign({**claims, "nbf": claims["exp"] + 3600, "exp": claims["exp"] + 7200})


def other_audience(issuer: Issuer, claims: Claims) -> str:
    """Return a token for another API."""
    return issuer.sign({**claims, "aud": "https://management.azure.com"})


def other_issuer(issuer: Issuer, claims: Claims) -> str:
    """Return a token of another tenant, signed with a key that is published."""
    tenant = "00000000-0000-4000-8000-000000000bad"
    iss = claims["iss"].replace(issuer.tenant_id, tenant)
    return issuer.sign({**claims, "iss": iss, "tid": tenant})


def longer_issuer(issuer: Issuer, claims: Claims) -> str:
    """Return a token whose issuer only begins like the right one."""
    return issuer.sign({**claims, "iss": f"{claims['iss']}.evil.example"})


def algorithm_none(issuer: Issuer, claims: Claims) -> str:
    """Return a token that says it needs no signature."""
    header = {"alg": "none", "typ": "JWT", "kid": issuer.key.kid}
    return f"{_encoded(header)}.{_encoded(claims)}."


def symmetric_with_public_key(issuer: Issuer, claims: Claims) -> str:
    """Return an HS256 token keyed with the public key, which everybody knows."""
    public = issuer.key.private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": issuer.key.kid}
    signed = f"{_encoded(header)}.{_encoded(claims)}"
    mac = hmac.new(pem, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_base64(mac)}"


def unknown_key(issuer: Issuer, claims: Claims) -> str:
    """Return a token signed with a key that was never published."""
    return issuer.sign(claims, key=SigningKey.new())


def forged_key(issuer: Issuer, claims: Claims) -> str:
    """Return a token of a strange key that claims the id of the published one."""
    return issuer.sign(claims, key=SigningKey(issuer.key.kid, SigningKey.new().private))


def embedded_key(issuer: Issuer, claims: Claims) -> str:
    """Return a token that brings its own key along in the header."""
    stranger = SigningKey.new()
    headers = {"kid": stranger.kid, "jwk": stranger.jwk(claims["iss"])}
    headers["jku"] = f"{issuer.url}/evil/keys"
    return jwt.encode(claims, stranger.private, algorithm="RS256", headers=headers)


def without_key_id(issuer: Issuer, claims: Claims) -> str:
    """Return a well signed token that does not name its key."""
    return jwt.encode(claims, issuer.key.private, algorithm="RS256")


def altered(issuer: Issuer, claims: Claims) -> str:
    """Return a token whose claims were changed after signing."""
    header, _, signature = issuer.sign(claims).split(".")
    changed = {**claims, "roles": ["Jit.Admin"], "oid": "00000000-0000-4000-8000-000000000bad"}
    return f"{header}.{_encoded(changed)}.{signature}"


def without_expiry(issuer: Issuer, claims: Claims) -> str:
    """Return a token that never ends."""
    return issuer.sign({name: value for name, value in claims.items() if name != "exp"})


def garbage(issuer: Issuer, claims: Claims) -> str:
    """Return a valid token's text cut short."""
    return issuer.sign(claims)[:-200]


HOSTILE: Mapping[str, Callable[[Issuer, Claims], str]] = {
    forge.__name__: forge
    for forge in (
        expired,
        not_yet_valid,
        other_audience,
        other_issuer,
        longer_issuer,
        algorithm_none,
        symmetric_with_public_key,
        unknown_key,
        forged_key,
        embedded_key,
        without_key_id,
        altered,
        without_expiry,
        garbage,
    )
}


def hostile_tokens(
    issuer: Issuer, *, name: str = "mallory", roles: Iterable[str] = ("Jit.Admin",)
) -> dict[str, str]:
    """Return one token for each defect, by the name of the defect."""
    claims = issuer.person_claims(name, roles=roles)
    return {name: forge(issuer, claims) for name, forge in HOSTILE.items()}


def _encoded(part: Claims) -> str:
    return _base64(json.dumps(part, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
