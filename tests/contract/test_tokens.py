"""Tokens of a real issuer, verified as the app does; and those that must be refused."""

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.hostile_tokens import HOSTILE, hostile_tokens
from local.issuer import Claims, Issuer, SigningKey, Version, object_id
from local.issuer_server import IssuerServer
from local.serving import BackgroundServer
from shared.adapters.tokens import TokenVerifier
from shared.domain.errors import NotAuthenticatedError, UnavailableError

ROLES = ("Jit.Request", "Jit.Approve")
VERSIONS: tuple[Version, ...] = ("1.0", "2.0")
# What a message has to name, so that its reader knows what to mend.
TELLING = {
    "expired": "expired",
    "not_yet_valid": "nbf",
    "other_audience": "api://jit-local",
    "other_issuer": "tenant",
    "longer_issuer": "tenant",
    "algorithm_none": "alg ",
    "symmetric_with_public_key": "alg ",
    "unknown_key": "key",
    "forged_key": "signature",
    "embedded_key": "key",
    "without_key_id": "key",
    "altered": "signature",
    "without_expiry": "exp",
    "garbage": "",
}


class KeyServer:
    """Publishes an issuer's keys, counts who asks, and can be ill."""

    def __init__(self, issuer: Issuer) -> None:
        self.asked = 0
        self.answer: tuple[int, str] | None = None
        self._issuer = issuer
        self._server = BackgroundServer(Starlette(routes=[Route("/keys", self._keys)]))
        self.url = f"{self._server.url}/keys"

    def stop(self) -> None:
        """Stop publishing."""
        self._server.stop()

    async def _keys(self, request: Request) -> Response:
        del request
        self.asked += 1
        status, text = self.answer or (200, json.dumps(self._issuer.jwks()))
        return Response(text, status_code=status, media_type="application/json")


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """Run a token issuer."""
    with IssuerServer() as server:
        yield server.issuer


@pytest.fixture(scope="module")
def verifier(issuer: Issuer) -> TokenVerifier:
    """Make a verifier with that issuer's settings."""
    return verifier_of(issuer, issuer.jwks_url)


@pytest.fixture
def keys(issuer: Issuer) -> Iterator[KeyServer]:
    """Publish the issuer's keys where requests are counted."""
    server = KeyServer(issuer)
    yield server
    server.stop()


def verifier_of(issuer: Issuer, keys_url: str) -> TokenVerifier:
    """Make a verifier."""
    return TokenVerifier(
        keys_url=keys_url,
        issuers=[issuer.issuer_of(version) for version in VERSIONS],
        audiences=[issuer.audience, "11111111-0000-4000-8000-00000000000a"],
        tenant=issuer.tenant_id,
        scope="user_impersonation",
    )


def refusal(verifier: TokenVerifier, token: str) -> str:
    """Return the message of a refusal, which never repeats the token."""
    with pytest.raises(NotAuthenticatedError) as caught:
        verifier.verify(f"Bearer {token}")
    message = caught.value.message
    assert all(part not in message for part in token.split(".") if len(part) > 8)
    return message


@pytest.mark.parametrize("version", VERSIONS)
def test_a_person_is_known_by_both_types_of_token(
    verifier: TokenVerifier, issuer: Issuer, version: Version
) -> None:
    """Tenant, object id, name and roles come from the claims of v1 and v2 alike."""
    token = issuer.person_token("alice", roles=ROLES, version=version)
    principal = verifier.verify(f"Bearer {token}")
    assert principal.tenant == issuer.tenant_id
    assert principal.object_id == object_id("alice")
    assert principal.name == "alice@contoso.example"
    assert principal.roles == frozenset(ROLES)
    assert not principal.is_app


@pytest.mark.parametrize("version", VERSIONS)
def test_an_app_is_known_by_both_types_of_token(
    verifier: TokenVerifier, issuer: Issuer, version: Version
) -> None:
    """An app has an object id and an application id, and no person's name."""
    token = issuer.app_token("bot", roles=["Jit.Relay"], version=version)
    principal = verifier.verify(f"Bearer {token}")
    assert (principal.is_app, principal.name) == (True, "")
    assert principal.object_id == object_id("bot")
    assert principal.app_id == object_id("client:bot")
    assert principal.roles == frozenset({"Jit.Relay"})


def test_either_audience_is_ours(verifier: TokenVerifier, issuer: Issuer) -> None:
    """The URI and the client id both name this API, as v1 and v2 tokens have them."""
    claims = issuer.person_claims("alice")
    token = issuer.sign({**claims, "aud": "11111111-0000-4000-8000-00000000000a"})
    assert verifier.verify(f"Bearer {token}").object_id == object_id("alice")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(
    verifier: TokenVerifier, issuer: Issuer, scheme: str
) -> None:
    """RFC 9110: the name of a scheme has no case."""
    assert verifier.verify(f"{scheme} {issuer.person_token('alice')}").name


@pytest.mark.parametrize("forgery", HOSTILE)
def test_a_hostile_token_is_refused_with_a_reason(
    verifier: TokenVerifier, issuer: Issuer, forgery: str
) -> None:
    """Each is NotAuthenticated, and the message says what is wrong or would be right."""
    assert TELLING[forgery] in refusal(verifier, hostile_tokens(issuer)[forgery]).lower()


@pytest.mark.parametrize(
    "header",
    [None, "", " ", "Bearer", "Bearer ", "Basic YTpi", "Token abc", "abc", "Bearer\t", "Bearer  "],
)
def test_no_bearer_token_is_said_to_be_missing(verifier: TokenVerifier, header: str | None) -> None:
    """Without one the message says where it belongs."""
    with pytest.raises(NotAuthenticatedError, match="Authorization"):
        verifier.verify(header)


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b",
        "a.b.c",
        "..",
        "a.b.c.d.e",
        "\u00fc.\u00fc.\u00fc",
        "A" * 20_000,
        "null",
        "e30.e30.e30",
    ],
)
def test_what_is_no_token_is_refused(verifier: TokenVerifier, token: str) -> None:
    """Any other text is refused, and raises no other error."""
    refusal(verifier, token)


@pytest.mark.parametrize(
    ("change", "telling"),
    [
        ({"scp": "openid profile"}, "user_impersonation"),
        ({"scp": ""}, "user_impersonation"),
        ({"tid": "00000000-0000-4000-8000-000000000bad"}, "tenant"),
        ({"iss": None}, ""),
        ({"iss": ["x"]}, ""),
        ({"aud": []}, ""),
        ({"aud": None}, ""),
        ({"oid": None}, "oid"),
        ({"oid": ""}, "oid"),
        ({"oid": 7}, "oid"),
        ({"oid": ["a"]}, "oid"),
        ({"exp": "soon"}, ""),
        ({"exp": -1}, "expired"),
        ({"exp": 1e400}, ""),
        ({"nbf": "x"}, ""),
        ({"iat": "x"}, ""),
    ],
)
def test_claims_that_are_not_right_are_refused(
    verifier: TokenVerifier, issuer: Issuer, change: Claims, telling: str
) -> None:
    """A well signed token with a wrong, odd or empty claim is refused for it."""
    claims = json.dumps({**issuer.person_claims("mallory"), **change}).encode()
    # The issuer itself would not sign some of these.
    token = jwt.PyJWS().encode(claims, issuer.key.private, "RS256", {"kid": issuer.key.kid})
    assert telling in refusal(verifier, token)


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat", "iss", "aud", "tid", "oid"])
def test_every_claim_that_decides_is_needed(
    verifier: TokenVerifier, issuer: Issuer, claim: str
) -> None:
    """A token that leaves one out is refused, and the message names it."""
    claims = issuer.person_claims("mallory")
    del claims[claim]
    assert claim in refusal(verifier, issuer.sign(claims))


def test_an_id_token_is_no_access_token(verifier: TokenVerifier, issuer: Issuer) -> None:
    """A token that only identifies a person, and lets no client act for them, is refused."""
    claims = issuer.person_claims("mallory")
    for name in ("scp", "azp", "azpacr"):
        del claims[name]
    assert "ID token" in refusal(verifier, issuer.sign(claims))


@pytest.mark.parametrize("roles", [None, "Jit.Admin", {"Jit.Admin": 1}, [["Jit.Admin"], 7]])
def test_roles_of_another_shape_are_no_roles(
    verifier: TokenVerifier, issuer: Issuer, roles: object
) -> None:
    """Only a list of names grants anything."""
    token = issuer.sign({**issuer.person_claims("mallory"), "roles": roles})
    assert verifier.verify(f"Bearer {token}").roles == frozenset()


@pytest.mark.parametrize("claim", ["exp", "nbf"])
def test_clocks_may_differ_by_a_minute(verifier: TokenVerifier, issuer: Issuer, claim: str) -> None:
    """Fifty seconds past its end or before its begin a token counts; seventy do not."""
    now = int(issuer.person_claims("alice")["iat"]) + 300  # Entra dates tokens five minutes back
    away = -1 if claim == "exp" else 1
    for seconds, counts in ((50, True), (70, False)):
        token = issuer.sign({**issuer.person_claims("alice"), claim: now + away * seconds})
        if counts:
            assert verifier.verify(f"Bearer {token}").name
        else:
            refusal(verifier, token)


def test_a_flood_of_unknown_keys_is_no_flood_of_fetches(issuer: Issuer, keys: KeyServer) -> None:
    """However many key ids are made up, the keys are asked for once or twice."""
    verifier = verifier_of(issuer, keys.url)
    claims = issuer.person_claims("mallory")
    stranger = SigningKey.new()
    tokens = [
        issuer.sign(claims, key=SigningKey(f"kid-{number}", stranger.private))
        for number in range(40)
    ]
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda token: refusal(verifier, token), tokens))
    assert all("key" in message for message in told)
    assert keys.asked <= 2
    assert verifier.verify(f"Bearer {issuer.person_token('alice')}").name
    assert keys.asked <= 2


def test_the_keys_are_kept(issuer: Issuer, keys: KeyServer) -> None:
    """Callers at the same time, and one after the other, cost one fetch together."""
    verifier = verifier_of(issuer, keys.url)
    token = f"Bearer {issuer.person_token('alice')}"
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: verifier.verify(token).name, range(40)))
    assert keys.asked == 1


def test_keys_that_cannot_be_had_are_no_caller_s_fault(issuer: Issuer, keys: KeyServer) -> None:
    """With the issuer away a token is neither good nor bad: the service is unavailable."""
    keys.stop()
    with pytest.raises(UnavailableError):
        verifier_of(issuer, keys.url).verify(f"Bearer {issuer.person_token('alice')}")


@pytest.mark.parametrize("status", [500, 503, 404, 302])
def test_an_issuer_that_fails_is_unavailable(issuer: Issuer, keys: KeyServer, status: int) -> None:
    """An error instead of the keys is not the caller's fault; later the same verifier works."""
    verifier = verifier_of(issuer, keys.url)
    keys.answer = (status, "no")
    with pytest.raises(UnavailableError):
        verifier.verify(f"Bearer {issuer.person_token('alice')}")
    keys.answer = None
    _past_the_pause(verifier)
    assert verifier.verify(f"Bearer {issuer.person_token('alice')}").name


@pytest.mark.parametrize("text", ["<html>", "[]", "{}", '{"keys": []}', '{"keys": [{"kty": "?"}]}'])
def test_an_issuer_without_keys_is_unavailable(issuer: Issuer, keys: KeyServer, text: str) -> None:
    """A page that holds no keys says nothing about anybody's token."""
    verifier = verifier_of(issuer, keys.url)
    keys.answer = (200, text)
    with pytest.raises(UnavailableError):
        verifier.verify(f"Bearer {issuer.person_token('alice')}")
    keys.answer = None
    _past_the_pause(verifier)
    assert verifier.verify(f"Bearer {issuer.person_token('alice')}").name


def test_callers_do_not_queue_up_for_an_issuer_that_fails(issuer: Issuer, keys: KeyServer) -> None:
    """Without any keys yet, one fetch fails and the others need not wait for theirs."""
    verifier = verifier_of(issuer, keys.url)
    keys.answer = (503, "no")
    token = issuer.person_token("alice")
    for _ in range(10):
        with pytest.raises(UnavailableError):
            verifier.verify(f"Bearer {token}")
    assert keys.asked == 1


def test_made_up_keys_do_not_hammer_an_issuer_that_fails(issuer: Issuer, keys: KeyServer) -> None:
    """While the issuer is ill, known keys go on working and unknown ones ask at most once more."""
    verifier = verifier_of(issuer, keys.url)
    assert verifier.verify(f"Bearer {issuer.person_token('alice')}").name
    keys.answer = (503, "no")
    _past_the_pause(verifier)
    stranger = SigningKey.new()
    claims: Any = issuer.person_claims("mallory")
    for number in range(10):
        token = issuer.sign(claims, key=SigningKey(f"kid-{number}", stranger.private))
        with pytest.raises((NotAuthenticatedError, UnavailableError)):
            verifier.verify(f"Bearer {token}")
    assert verifier.verify(f"Bearer {issuer.person_token('alice')}").name
    assert keys.asked <= 2


def test_a_new_key_is_fetched_after_the_pause() -> None:
    """A key that the issuer has rotated to is found without a restart, an unpublished one is not."""
    with IssuerServer() as server:
        issuer = server.issuer
        former = issuer.person_token("alice")
        verifier = verifier_of(issuer, issuer.jwks_url)
        assert verifier.verify(f"Bearer {former}").name
        issuer.rotate(keep_former=False)
        _past_the_pause(verifier)
        assert verifier.verify(f"Bearer {issuer.person_token('alice')}").name
        assert "key" in refusal(verifier, former)


def _past_the_pause(verifier: TokenVerifier) -> None:
    """Let the pauses after the last fetch be over."""
    verifier._keys._last_successful_fetch = None
    verifier._keys._failed_at = -math.inf
