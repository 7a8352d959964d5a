"""Mint access tokens with the claims that Entra ID gives."""

import base64
import secrets
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

TENANT_ID = "8a1f9d4e-3f5c-5d1b-9a64-7d2f0c6b1e01"
AUDIENCE = "api://jit-local"
# Entra's access tokens live 60 to 90 minutes.
LIFETIME = timedelta(hours=1)

_NAMES = uuid.UUID("5c5f6c0b-3e0e-5b8e-8d39-0a2f6f0f9b11")
_SHIFT = timedelta(minutes=5)

Claims = dict[str, Any]
Version = Literal["1.0", "2.0"]


def object_id(name: str) -> str:
    """Return the object id of a person, app or other principal: the same name, the same id."""
    return str(uuid.uuid5(_NAMES, name.lower()))


@dataclass(frozen=True)
class SigningKey:
    """An RSA key pair with the key id that its JWKS entry carries."""

    kid: str
    private: rsa.RSAPrivateKey

    @classmethod
    def new(cls) -> "SigningKey":
        """Return a fresh key."""
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return cls(base64.urlsafe_b64encode(secrets.token_bytes(20)).decode().rstrip("="), private)

    def jwk(self, issuer: str) -> Claims:
        """Return the public half as Entra publishes it."""
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        known = {name: public[name] for name in ("kty", "n", "e")}
        return {**known, "use": "sig", "kid": self.kid, "x5t": self.kid, "issuer": issuer}


class Issuer:
    """One tenant's token issuer: its keys, and the tokens signed with them."""

    def __init__(
        self,
        *,
        tenant_id: str = TENANT_ID,
        audience: str = AUDIENCE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.tenant_id = tenant_id
        self.audience = audience
        self.url = ""  # known once it is served
        self._clock = clock
        self._keys = [SigningKey.new()]

    @property
    def base(self) -> str:
        """Return the tenant's address, which every issuer and key address begins with."""
        return f"{self.url}/{self.tenant_id}"

    @property
    def jwks_url(self) -> str:
        """Return where the keys are published."""
        return f"{self.base}/discovery/v2.0/keys"

    @property
    def key(self) -> SigningKey:
        """Return the key that signs now."""
        return self._keys[-1]

    def issuer_of(self, version: Version) -> str:
        """Return the `iss` of tokens of this version; a v1 issuer ends in a slash."""
        return f"{self.base}/v2.0" if version == "2.0" else f"{self.base}/"

    def jwks(self) -> Claims:
        """Return the published key set."""
        return {"keys": [key.jwk(self.issuer_of("2.0")) for key in self._keys]}

    def rotate(self, *, keep_former: bool = True) -> SigningKey:
        """Sign with a new key from now on; tokens of a kept former key stay valid."""
        fresh = SigningKey.new()
        self._keys = [*self._keys, fresh] if keep_former else [fresh]
        return fresh

    def person_claims(
        self,
        name: str,
        *,
        roles: Iterable[str] = (),
        lifetime: timedelta = LIFETIME,
        version: Version = "2.0",
    ) -> Claims:
        """Return the claims of a token that a person got through a client app."""
        client = object_id("client:jit-cli")
        user = f"{name.lower()}@contoso.example"
        named = (
            {"preferred_username": user, "azp": client, "azpacr": "0"}
            if version == "2.0"
            else {"upn": user, "unique_name": user, "appid": client, "appidacr": "0"}
        )
        common = self._common_claims(name, roles, lifetime, version)
        return {**common, **named, "name": name.capitalize(), "scp": "user_impersonation"}

    def app_claims(
        self,
        name: str,
        *,
        roles: Iterable[str] = (),
        lifetime: timedelta = LIFETIME,
        version: Version = "2.0",
    ) -> Claims:
        """Return the claims of a token that an app got for itself: no `scp`, no person."""
        client = object_id(f"client:{name}")
        named = (
            {"azp": client, "azpacr": "1"}
            if version == "2.0"
            else {"appid": client, "appidacr": "1"}
        )
        # idtyp is an optional claim that the API's registration asks for; it tells apps apart.
        common = self._common_claims(name, roles, lifetime, version)
        return {**common, **named, "idtyp": "app"}

    def person_token(
        self,
        name: str,
        *,
        roles: Iterable[str] = (),
        lifetime: timedelta = LIFETIME,
        version: Version = "2.0",
    ) -> str:
        """Return a person's access token."""
        return self.sign(self.person_claims(name, roles=roles, lifetime=lifetime, version=version))

    def app_token(
        self,
        name: str,
        *,
        roles: Iterable[str] = (),
        lifetime: timedelta = LIFETIME,
        version: Version = "2.0",
    ) -> str:
        """Return an app's access token."""
        return self.sign(self.app_claims(name, roles=roles, lifetime=lifetime, version=version))

    def sign(self, claims: Claims, *, key: SigningKey | None = None) -> str:
        """Return the claims as a signed token."""
        chosen = key or self.key
        headers = {"kid": chosen.kid, "typ": "JWT"}
        if claims.get("ver") == "1.0":
            headers["x5t"] = chosen.kid
        return jwt.encode(claims, chosen.private, algorithm="RS256", headers=headers)

    def _common_claims(
        self, name: str, roles: Iterable[str], lifetime: timedelta, version: Version
    ) -> Claims:
        now = self._clock()
        # Entra dates tokens five minutes back, for clocks that are behind.
        issued = min(now - _SHIFT, now + lifetime - _SHIFT)
        moment = int(issued.timestamp())
        identity = object_id(name)
        granted = list(roles)
        claims = {
            "aud": self.audience,
            "iss": self.issuer_of(version),
            "iat": moment,
            "nbf": moment,
            "exp": int((now + lifetime).timestamp()),
            "oid": identity,
            "sub": str(uuid.uuid5(_NAMES, f"{identity} at {self.audience}")),
            "tid": self.tenant_id,
            "uti": base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("="),
            "ver": version,
        }
        # Without an assigned role there is no claim at all, not an empty list.
        return {**claims, "roles": granted} if granted else claims
