"""AWS STS: keys for a role in exchange for a web identity token, verified against its issuer."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from local.aws.errors import FORBIDDEN, AwsError
from local.aws.values import Json

Keys = Callable[[], Mapping[str, Any]]
_SHORTEST, _LONGEST = 900, 43_200


@dataclass(frozen=True)
class Trust:
    """A role, and whom its trust policy lets have it: one issuer, one audience, one subject."""

    role_arn: str
    issuer: str
    audience: str
    subject: str
    max_session: int = 3600


@dataclass(frozen=True)
class Session:
    """Keys that were handed out."""

    key_id: str
    secret: str
    token: str
    expires_at: datetime
    arn: str


class TokenService:
    """STS of one account, with the OpenID Connect providers of its roles."""

    def __init__(
        self, trusts: tuple[Trust, ...], keys: Keys, clock: Callable[[], datetime]
    ) -> None:
        self._trusts = trusts
        self._keys = keys
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def call(self, action: str, params: Mapping[str, Any], caller: Session | None) -> Json:
        """Carry out a call of STS."""
        if action == "AssumeRoleWithWebIdentity":
            return self.assume_role(params)
        if action == "GetCallerIdentity":
            if caller is None:
                raise AwsError(
                    "MissingAuthenticationToken", "Missing Authentication Token", FORBIDDEN
                )
            account = caller.arn.split(":")[4]
            return {"UserId": caller.key_id, "Account": account, "Arn": caller.arn}
        raise AwsError("NotSimulated", f"{action} is not simulated", 501)

    def assume_role(self, params: Mapping[str, Any]) -> Json:
        """Verify a token as AWS does, in its order: provider, keys, audience, trust policy."""
        claims = self._verified(str(params.get("WebIdentityToken", "")))
        # With `azp` in the token, AWS compares that in place of `aud`.
        audience = str(claims.get("azp") or claims["aud"])
        trusts = [each for each in self._trusts if each.issuer == claims["iss"]]
        if all(each.audience != audience for each in trusts):
            raise AwsError("InvalidIdentityToken", "Incorrect token audience")
        role_arn = str(params.get("RoleArn", ""))
        trust = next((each for each in trusts if each.role_arn == role_arn), None)
        if trust is None or (trust.audience, trust.subject) != (audience, claims["sub"]):
            raise AwsError(
                "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", FORBIDDEN
            )
        session = self._new_session(trust, params)
        return {
            "Credentials": {
                "AccessKeyId": session.key_id,
                "SecretAccessKey": session.secret,
                "SessionToken": session.token,
                "Expiration": session.expires_at,
            },
            "SubjectFromWebIdentityToken": claims["sub"],
            "AssumedRoleUser": {"AssumedRoleId": f"AROA:{session.key_id}", "Arn": session.arn},
            "Provider": claims["iss"],
            "Audience": audience,
        }

    def caller(self, key_id: str, token: str) -> Session:
        """Return the session that a call's keys belong to."""
        session = self._sessions.get(key_id)
        if session is None or session.token != token:
            raise AwsError(
                "AuthFailure", "AWS was not able to validate the provided access credentials", 401
            )
        if session.expires_at <= self._clock():
            raise AwsError("RequestExpired", "Request has expired.")
        return session

    def _verified(self, token: str) -> Mapping[str, Any]:
        try:
            unverified = jwt.decode(token, options={"verify_signature": False})
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise AwsError(
                "InvalidIdentityToken", "The ID Token provided is not a valid JWT."
            ) from None
        issuer = str(unverified.get("iss", ""))
        if issuer not in {each.issuer for each in self._trusts}:
            raise AwsError(
                "InvalidIdentityToken",
                f"No OpenIDConnect provider found in your account for {issuer}",
            )
        return self._checked(token, header)

    def _checked(self, token: str, header: Mapping[str, Any]) -> Mapping[str, Any]:
        keys = {each["kid"]: each for each in self._keys()["keys"]}
        if header.get("kid") not in keys or header.get("alg") != "RS256":
            raise AwsError(
                "InvalidIdentityToken",
                "Couldn't retrieve verification key from your identity provider",
            )
        key = jwt.PyJWK(keys[header["kid"]])
        options: Any = {
            "verify_aud": False,
            "verify_exp": False,
            "require": ["exp", "iat", "aud", "sub", "iss"],
        }
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token, key, algorithms=["RS256"], options=options
            )
        except jwt.PyJWTError as error:
            raise AwsError(
                "InvalidIdentityToken", f"Provided Token is not valid: {error}"
            ) from None
        if datetime.fromtimestamp(claims["exp"], UTC) <= self._clock():
            raise AwsError(
                "ExpiredTokenException",
                "Token expired: current date/time must be before the expiration date/time",
            )
        return claims

    def _new_session(self, trust: Trust, params: Mapping[str, Any]) -> Session:
        seconds = int(params.get("DurationSeconds") or trust.max_session)
        if not _SHORTEST <= seconds <= min(_LONGEST, trust.max_session):
            raise AwsError(
                "ValidationError",
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            )
        account, role = trust.role_arn.split(":")[4], trust.role_arn.rpartition("/")[2]
        name = str(params.get("RoleSessionName", ""))
        session = Session(
            key_id=f"ASIA{secrets.token_hex(8).upper()}",
            secret=secrets.token_urlsafe(30),
            token=secrets.token_urlsafe(60),
            expires_at=self._clock() + timedelta(seconds=seconds),
            arn=f"arn:aws:sts::{account}:assumed-role/{role}/{name}",
        )
        self._sessions[session.key_id] = session
        return session
