"""Access tokens of Entra ID: verified here, or refused with what would be right."""

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import jwt

from shared.domain.errors import NotAuthenticatedError, UnavailableError
from shared.domain.model import Principal

_LEEWAY_SECONDS = 60
_KEYS_LIVE_SECONDS = 3600
_UNKNOWN_KEY_PAUSE_SECONDS = 30
_FAILED_FETCH_PAUSE_SECONDS = 5
_LONGEST_TOKEN = 16_384
_REQUIRED = ["exp", "nbf", "iat", "iss", "aud", "tid", "oid"]


class PublishedKeys(jwt.PyJWKClient):
    """A tenant's keys. An answer without keys is no answer, and a failure is not asked again at once.

    The base class pauses after a success only, and callers wait for its fetches in line: made-up
    key ids must not keep every caller waiting for a provider that is ill.
    """

    _failed_at = -math.inf

    def fetch_data(self) -> Any:
        """Fetch the keys; raises PyJWKClientConnectionError."""
        if time.monotonic() - self._failed_at < _FAILED_FETCH_PAUSE_SECONDS:
            raise jwt.PyJWKClientConnectionError("reading the keys failed a moment ago")
        try:
            return super().fetch_data()
        except (jwt.PyJWTError, ValueError) as error:
            self._failed_at = time.monotonic()
            raise jwt.PyJWKClientConnectionError(str(error)) from error


class TokenVerifier:
    """Verifies bearer tokens against one tenant's published keys.

    NB. The keys' address, the issuers, the audience and the algorithm come from the settings
    alone: nothing in a token's header chooses how that token is checked.
    """

    def __init__(
        self,
        *,
        keys_url: str,
        issuers: Iterable[str],
        audiences: Iterable[str],
        tenant: str,
        scope: str,
    ) -> None:
        self._keys = PublishedKeys(
            keys_url,
            cache_keys=False,
            lifespan=_KEYS_LIVE_SECONDS,
            timeout=10,
            # An unknown key id asks for the keys again at most this often, so that a flood of
            # made-up ids cannot turn us into a flood against the identity provider.
            cooldown_duration=_UNKNOWN_KEY_PAUSE_SECONDS,
        )
        self._issuers = frozenset(issuers)
        self._audiences = tuple(audiences)
        self._tenant = tenant
        self._scope = scope

    def verify(self, authorization: str | None) -> Principal:
        """Return the caller; raises NotAuthenticatedError.

        `authorization` is the header's value. UnavailableError: the keys cannot be had.
        """
        token = _bearer(authorization)
        try:
            key = self._keys.get_signing_key_from_jwt(token)
        except jwt.PyJWKClientConnectionError as error:
            raise UnavailableError("The identity provider's keys cannot be read now.") from error
        except (jwt.PyJWTError, ValueError) as error:
            raise NotAuthenticatedError("The token's signing key is not known.") from error
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=self._audiences,
                leeway=_LEEWAY_SECONDS,
                options={"require": _REQUIRED, "strict_aud": False},
            )
        except jwt.InvalidAudienceError as error:
            raise NotAuthenticatedError(
                f"The token is for another audience; ask for one for {self._audiences[0]}, "
                f"a person with the scope {self._audiences[0]}/{self._scope}."
            ) from error
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise NotAuthenticatedError(f"The token is not valid: {error}.") from error
        return self._principal(claims)

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        if _text(claims, "iss") not in self._issuers or claims["tid"] != self._tenant:
            raise NotAuthenticatedError("The token is of another tenant.")
        is_app = "scp" not in claims
        if is_app:
            self._require_app(claims)
        if not is_app and self._scope not in str(claims["scp"]).split():
            raise NotAuthenticatedError(
                f"The token lacks the scope '{self._scope}'; "
                f"ask for {self._audiences[0]}/{self._scope}."
            )
        return Principal(
            tenant=_text(claims, "tid"),
            object_id=_text(claims, "oid"),
            name=_name(claims, is_app=is_app),
            is_app=is_app,
            roles=_roles(claims),
            app_id=str(claims.get("appid") or claims.get("azp") or ""),
        )

    def _require_app(self, claims: Mapping[str, Any]) -> None:
        """Refuse what has no scope and was not issued to an app for itself, ID tokens above all.

        Entra says so in `idtyp`, where the registration asks for it. Elsewhere an app's token is
        the one whose subject is the object itself; a person's subject is another for each app.
        """
        caller_type = claims.get("idtyp", "app" if claims.get("sub") == claims["oid"] else "")
        if caller_type != "app" or not (claims.get("appid") or claims.get("azp")):
            raise NotAuthenticatedError(
                "The token is no access token of this API; ID tokens are not accepted. "
                f"Ask for an access token with the scope {self._audiences[0]}/{self._scope}, "
                f"an app for {self._audiences[0]}/.default."
            )


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticatedError("A bearer token is needed in the Authorization header.")
    if len(token) > _LONGEST_TOKEN or not token.isascii():
        raise NotAuthenticatedError("The token is not valid.")
    return token.strip()


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims[name]
    if not isinstance(value, str) or not value:
        raise NotAuthenticatedError(f"The token's claim '{name}' is not text.")
    return value


def _name(claims: Mapping[str, Any], *, is_app: bool) -> str:
    """Return the name the real service shows: a UPN for a person, nothing for an app."""
    if is_app:
        return ""
    found = claims.get("preferred_username") or claims.get("upn") or claims.get("unique_name")
    return str(found or "")[:256]


def _roles(claims: Mapping[str, Any]) -> frozenset[str]:
    roles = claims.get("roles", ())
    if not isinstance(roles, list):
        return frozenset()
    return frozenset(role for role in roles if isinstance(role, str))
