"""The token issuer gives what Entra ID gives, and forges what must be refused."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import jwt
import pytest

from local.hostile_tokens import HOSTILE, hostile_tokens
from local.issuer import AUDIENCE, TENANT_ID, Version, object_id
from local.issuer_server import IssuerServer
from local.json_calls import call


@pytest.fixture(scope="module")
def server() -> Iterator[IssuerServer]:
    """Serve an issuer."""
    with IssuerServer() as running:
        yield running


def _verified(server: IssuerServer, token: str, version: Version = "2.0") -> dict[str, Any]:
    """Verify as a careful API does, and return the claims."""
    key = jwt.PyJWKClient(server.issuer.jwks_url).get_signing_key_from_jwt(token)
    return jwt.decode(
        token,
        key,
        algorithms=["RS256"],
        audience=AUDIENCE,
        issuer=server.issuer.issuer_of(version),
        options={"require": ["exp", "iat", "nbf", "iss", "aud", "oid", "tid"]},
    )


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_discovery_leads_to_the_keys(server: IssuerServer, version: Version) -> None:
    """The configuration of either version names its issuer and where the keys are."""
    path = "/v2.0" if version == "2.0" else ""
    status, found = call("GET", f"{server.url}/{TENANT_ID}{path}/.well-known/openid-configuration")
    assert status == 200
    assert found["issuer"] == server.issuer.issuer_of(version)
    status, keys = call("GET", found["jwks_uri"])
    assert status == 200
    assert {key["use"] for key in keys["keys"]} == {"sig"}
    assert not any("d" in key for key in keys["keys"])


def test_unknown_tenant_is_refused(server: IssuerServer) -> None:
    """Another tenant has neither configuration nor keys."""
    for path in ("v2.0/.well-known/openid-configuration", "discovery/v2.0/keys"):
        status, answer = call("GET", f"{server.url}/absent/{path}")
        assert (status, answer["error"]) == (400, "invalid_tenant")


@pytest.mark.parametrize(
    ("version", "user", "client"),
    [("2.0", "preferred_username", "azp"), ("1.0", "upn", "appid")],
)
def test_token_of_a_person(server: IssuerServer, version: Version, user: str, client: str) -> None:
    """A person's token verifies and says who, through which client, in which roles."""
    roles = ["Jit.Request", "Jit.Read"]
    token = server.issuer.person_token("Alice", roles=roles, version=version)
    claims = _verified(server, token, version)
    assert claims["oid"] == object_id("alice")
    assert claims["sub"] != claims["oid"]
    assert claims["tid"] == TENANT_ID
    assert claims["ver"] == version
    assert claims["roles"] == roles
    assert claims["scp"] == "user_impersonation"
    assert claims[user] == "alice@contoso.example"
    assert claims[client]
    assert claims["nbf"] == claims["iat"] < time.time() < claims["exp"]
    assert "idtyp" not in claims


def test_token_of_an_app(server: IssuerServer) -> None:
    """An app's token has no scope and no person, and says that it is an app's."""
    claims = _verified(server, server.issuer.app_token("relay", roles=["Jit.Relay"]))
    assert claims["idtyp"] == "app"
    assert claims["azp"]
    assert not {"scp", "preferred_username", "name"} & set(claims)


def test_no_role_is_no_claim(server: IssuerServer) -> None:
    """Without roles there is no `roles` claim, as in Entra."""
    assert "roles" not in _verified(server, server.issuer.person_token("bob"))


def test_names_have_stable_object_ids() -> None:
    """A name stands for the same object everywhere, in any letter case."""
    assert object_id("Carol") == object_id("carol") != object_id("dave")


def test_tokens_are_unique(server: IssuerServer) -> None:
    """Two tokens for the same person differ in `uti`."""
    first, second = (server.issuer.person_claims("alice")["uti"] for _ in range(2))
    assert first != second


def test_rotation_keeps_tokens_of_the_former_key() -> None:
    """After a rotation old and new tokens verify; when the former key is dropped, only new."""
    with IssuerServer() as server:
        old = server.issuer.person_token("alice")
        server.issuer.rotate()
        new = server.issuer.person_token("alice")
        assert _verified(server, old)["oid"] == _verified(server, new)["oid"]
        server.issuer.rotate(keep_former=False)
        _verified(server, server.issuer.person_token("alice"))
        for token in (old, new):
            with pytest.raises(jwt.PyJWKClientError):
                _verified(server, token)


@pytest.mark.parametrize("forgery", sorted(HOSTILE))
def test_hostile_tokens_are_refused(server: IssuerServer, forgery: str) -> None:
    """Each hostile token fails a careful verification."""
    with pytest.raises(jwt.PyJWTError):
        _verified(server, hostile_tokens(server.issuer)[forgery])


def test_hostile_claims_are_fine_otherwise(server: IssuerServer) -> None:
    """A hostile token has the one defect that its name says."""
    claims = server.issuer.person_claims("mallory", roles=["Jit.Admin"])
    assert _verified(server, server.issuer.sign(claims))["roles"] == ["Jit.Admin"]


def test_expired_on_request(server: IssuerServer) -> None:
    """A negative lifetime gives an expired token."""
    token = server.issuer.person_token("alice", lifetime=timedelta(seconds=-1))
    with pytest.raises(jwt.ExpiredSignatureError):
        _verified(server, token)


def test_tokens_over_http(server: IssuerServer) -> None:
    """POST /token mints for the command line."""
    asked = {"user": "alice", "roles": ["Jit.Request"], "expires": 60}
    status, answer = call("POST", f"{server.url}/token", asked)
    assert (status, answer["token_type"]) == (200, "Bearer")
    claims = _verified(server, answer["access_token"])
    assert claims["roles"] == ["Jit.Request"]
    assert claims["exp"] - time.time() <= 60


@pytest.mark.parametrize(
    "asked", [{}, [], {"user": "a", "roles": "Jit.Request"}, {"user": "a", "expires": "soon"}]
)
def test_wrong_orders_are_refused(server: IssuerServer, asked: object) -> None:
    """An order for a token that cannot be read is a 400."""
    status, answer = call("POST", f"{server.url}/token", asked)
    assert (status, answer["error"]) == (400, "invalid_request")
