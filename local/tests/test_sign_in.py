"""A browser signs in at the local issuer as at Entra ID: code, PKCE, ID token, refresh."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest

from local.issuer import AUDIENCE, TENANT_ID, object_id
from local.issuer_server import IssuerServer
from local.sign_in import SAMPLE_PEOPLE

CLIENT = "11111111-2222-4333-8444-555555555555"
PAGE = "http://localhost:7071/ui/"
VERIFIER = "v" * 43
CHALLENGE = (
    base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
)
AUTHORIZE = {
    "client_id": CLIENT,
    "response_type": "code",
    "redirect_uri": PAGE,
    "scope": f"{AUDIENCE}/user_impersonation openid profile offline_access",
    "state": "state-1",
    "nonce": "nonce-1",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


@pytest.fixture(scope="module")
def server() -> Iterator[IssuerServer]:
    """Serve an issuer."""
    with IssuerServer() as running:
        yield running


def _send(
    server: IssuerServer, method: str, path: str, form: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], str]:
    """Call the issuer as a browser does, following no redirect."""
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://localhost"}
    connection.request(method, path, urlencode(form) if form else None, headers if form else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text


def _authorize(server: IssuerServer, tenant: str = TENANT_ID, **changed: str | None) -> Any:
    asked = {k: v for k, v in {**AUTHORIZE, **changed}.items() if v is not None}
    return _send(server, "GET", f"/{tenant}/oauth2/v2.0/authorize?{urlencode(asked)}")


def _code(server: IssuerServer, person: str = "alice") -> str:
    status, headers, _ = _authorize(server, user=person)
    assert status == 302
    return str(parse_qs(urlsplit(headers["location"]).fragment)["code"][0])


def _token(server: IssuerServer, **form: str) -> tuple[int, Any]:
    status, headers, text = _send(server, "POST", f"/{TENANT_ID}/oauth2/v2.0/token", form)
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cache-control"] == "no-store"
    return status, json.loads(text)


def _redeem(server: IssuerServer, code: str, /, **changed: str) -> tuple[int, Any]:
    form = {
        "grant_type": "authorization_code",
        "client_id": CLIENT,
        "redirect_uri": PAGE,
        "code": code,
        "code_verifier": VERIFIER,
    }
    return _token(server, **{**form, **changed})


def test_a_person_is_chosen_on_a_page(server: IssuerServer) -> None:
    """The authorize endpoint lists the sample people with their roles, and escapes what it is sent."""
    status, headers, text = _authorize(server, state='"><script>')
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert all(f"{name}@contoso.example" in text for name in SAMPLE_PEOPLE)
    assert "Jit.Approve" in text
    assert "<script>" not in text


def test_the_browser_comes_back_with_code_and_state(server: IssuerServer) -> None:
    """The answer stands in the fragment, or in the query where the page asks for that."""
    _, headers, _ = _authorize(server, user="alice")
    place = urlsplit(headers["location"])
    assert headers["location"].startswith(f"{PAGE}#")
    assert parse_qs(place.fragment)["state"] == ["state-1"]
    _, headers, _ = _authorize(server, user="alice", response_mode="query")
    assert set(parse_qs(urlsplit(headers["location"]).query)) == {"code", "state"}


def test_silent_sign_in_needs_a_page(server: IssuerServer) -> None:
    """`prompt=none` is answered with login_required, never with the page."""
    status, headers, _ = _authorize(server, prompt="none")
    assert status == 302
    assert parse_qs(urlsplit(headers["location"]).fragment)["error"] == ["login_required"]


@pytest.mark.parametrize(
    "changed",
    [
        {"code_challenge": None},
        {"nonce": None},
        {"state": ""},
        {"code_challenge_method": "plain"},
        {"response_type": "token"},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "http://localhost.evil.example/"},
        {"tenant": "other"},
    ],
)
def test_what_is_not_safe_is_refused_on_the_spot(
    server: IssuerServer, changed: dict[str, str | None]
) -> None:
    """Without PKCE, nonce, state or a redirect address of this machine there is no redirect."""
    status, headers, _ = _authorize(server, user="alice", **changed)  # type: ignore[arg-type]
    assert (status, "location" in headers) == (400, False)


def test_a_code_is_redeemed_for_tokens(server: IssuerServer) -> None:
    """Access, ID and refresh token say who signed in, at which client, with which nonce."""
    status, tokens = _redeem(server, _code(server))
    assert (status, tokens["token_type"]) == (200, "Bearer")
    key = jwt.PyJWKClient(server.issuer.jwks_url).get_signing_key_from_jwt(tokens["access_token"])
    issuer = server.issuer.issuer_of("2.0")
    access = jwt.decode(
        tokens["access_token"], key, algorithms=["RS256"], audience=AUDIENCE, issuer=issuer
    )
    known = jwt.decode(
        tokens["id_token"], key, algorithms=["RS256"], audience=CLIENT, issuer=issuer
    )
    assert access["oid"] == known["oid"] == object_id("alice")
    assert (access["azp"], access["roles"]) == (CLIENT, ["Jit.Request"])
    assert (known["nonce"], known["tid"]) == ("nonce-1", TENANT_ID)
    assert known["preferred_username"] == "alice@contoso.example"
    assert tokens["scope"] == AUTHORIZE["scope"]
    assert tokens["expires_in"] > 0
    info = json.loads(base64.urlsafe_b64decode(tokens["client_info"] + "=="))
    assert info == {"uid": object_id("alice"), "utid": TENANT_ID}


def test_a_code_is_redeemed_once(server: IssuerServer) -> None:
    """A second redemption is refused."""
    code = _code(server)
    assert _redeem(server, code)[0] == 200
    assert _redeem(server, code)[1]["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "changed",
    [
        {"code_verifier": "w" * 43},
        {"redirect_uri": "http://localhost:1/"},
        {"client_id": "other"},
        {"code": "made-up"},
    ],
)
def test_a_stolen_code_is_worth_nothing(server: IssuerServer, changed: dict[str, str]) -> None:
    """Without the verifier, the client and the redirect address of its sign-in a code is refused."""
    status, answer = _redeem(server, _code(server), **changed)
    assert (status, answer["error"]) == (400, "invalid_grant")


def test_an_unknown_grant_type_is_refused(server: IssuerServer) -> None:
    """Passwords are not taken."""
    status, answer = _token(server, grant_type="password")
    assert (status, answer["error"]) == (400, "unsupported_grant_type")


def test_a_session_is_refreshed_until_it_ends(server: IssuerServer) -> None:
    """Each refresh token is taken once, and none after the sessions have ended."""
    first = _redeem(server, _code(server, "carol"))[1]["refresh_token"]
    form = {"grant_type": "refresh_token", "client_id": CLIENT}
    status, second = _token(server, **form, refresh_token=first)
    assert (status, second["refresh_token"] != first) == (200, True)
    assert _token(server, **form, refresh_token=first)[1]["error"] == "invalid_grant"
    server.sign_in.end_sessions()
    ended = _token(server, **form, refresh_token=second["refresh_token"])
    assert (ended[0], ended[1]["error"]) == (400, "invalid_grant")


def test_a_late_code_is_refused() -> None:
    """A code lives ten minutes."""
    now = [datetime(2026, 11, 22, 14, tzinfo=UTC)]
    with IssuerServer(clock=lambda: now[0]) as server:
        code = _code(server)
        now[0] += timedelta(minutes=11)
        assert _redeem(server, code)[1]["error"] == "invalid_grant"
