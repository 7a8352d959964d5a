"""Sign people in at the local issuer: the authorization code flow with PKCE, as Entra ID has it.

A browser is sent to `authorize`, where a person is chosen instead of a password typed. It comes
back with a code, which the page redeems at `token` with the verifier that it kept.
"""

import base64
import hashlib
import html
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from local.issuer import LIFETIME, Claims, Issuer, object_id

# The people to sign in as, with the app roles of each.
SAMPLE_PEOPLE: Mapping[str, tuple[str, ...]] = {
    "alice": ("Jit.Request",),
    "bob": ("Jit.Request",),
    "carol": ("Jit.Approve",),
    "dave": ("Jit.Approve",),
    "erin": ("Jit.Admin",),
    "rita": ("Jit.Read",),
    "nora": (),
}
_STYLE = (
    ":root { color-scheme: light dark } li { margin: 12px 0 }"
    ' body { font: 14px/1.5 "Segoe UI", system-ui, sans-serif; margin: 24px } h1 { font-size: 20px }'
)
_CODE_LIFETIME = timedelta(minutes=10)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_REQUIRED = ("client_id", "redirect_uri", "state", "nonce", "code_challenge")
_CORS = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}


@dataclass(frozen=True)
class Grant:
    """The grant behind a code or a refresh token."""

    person: str
    client_id: str
    redirect_uri: str
    scope: str
    nonce: str
    challenge: str
    issued_at: datetime


class SignInError(Exception):
    """A refusal of the token endpoint; `code` is OAuth's word for it."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code


class SignIn:
    """The sign-ins of one issuer: codes not redeemed yet, and sessions that can be refreshed."""

    def __init__(
        self, issuer: Issuer, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._issuer = issuer
        self._clock = clock
        self._codes: dict[str, Grant] = {}
        self._sessions: dict[str, Grant] = {}

    def routes(self) -> list[Route]:
        """Return the routes of both endpoints."""
        path = "/{tenant}/oauth2/v2.0"
        return [
            Route(f"{path}/authorize", self._authorize, methods=["GET"]),
            Route(f"{path}/token", self._token, methods=["POST"]),
        ]

    def end_sessions(self) -> None:
        """End every session: its refresh token is refused from now on."""
        self._sessions.clear()

    # --- authorize ---------------------------------------------------------------------------

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        if problem := self._problem(request, asked):
            return HTMLResponse(f"<p>{html.escape(problem)}", status_code=HTTPStatus.BAD_REQUEST)
        person = asked.get("user", "")
        if person in SAMPLE_PEOPLE:
            return _back(asked, {"code": self._new_code(asked, person)})
        if asked.get("prompt") == "none":
            description = "AADSTS50058: no person is signed in."
            return _back(asked, {"error": "login_required", "error_description": description})
        return HTMLResponse(_choice(request), headers={"Cache-Control": "no-store"})

    def _problem(self, request: Request, asked: Mapping[str, str]) -> str:
        """Say what keeps a call from being answered at its redirect address; empty: nothing."""
        if request.path_params["tenant"].lower() != self._issuer.tenant_id:
            return "AADSTS90002: the tenant is not found."
        if missing := [name for name in _REQUIRED if not asked.get(name)]:
            return f"AADSTS900144: the request misses {', '.join(missing)}."
        if asked.get("response_type") != "code" or asked.get("code_challenge_method") != "S256":
            return "AADSTS70007: only response_type=code with code_challenge_method=S256 is taken."
        if urlsplit(asked["redirect_uri"]).hostname not in _LOOPBACK:
            return "AADSTS50011: the redirect address is not one of this machine."
        return ""

    def _new_code(self, asked: Mapping[str, str], person: str) -> str:
        code = secrets.token_urlsafe(32)
        self._codes[code] = Grant(
            person,
            asked["client_id"],
            asked["redirect_uri"],
            asked.get("scope", ""),
            asked["nonce"],
            asked["code_challenge"],
            self._clock(),
        )
        return code

    # --- token -------------------------------------------------------------------------------

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        try:
            return JSONResponse(self._tokens(self._redeemed(form)), headers=_CORS)
        except SignInError as error:
            told = {"error": error.code, "error_description": str(error)}
            return JSONResponse(told, status_code=HTTPStatus.BAD_REQUEST, headers=_CORS)

    def _redeemed(self, form: Mapping[str, str]) -> Grant:
        """Return what a code or a refresh token stands for; either is taken once."""
        grant_type = form.get("grant_type")
        if grant_type == "authorization_code":
            grant = self._codes.pop(form.get("code", ""), None)
            _check_code(grant, form, self._clock())
        elif grant_type == "refresh_token":
            grant = self._sessions.pop(form.get("refresh_token", ""), None)
        else:
            raise SignInError("unsupported_grant_type", "AADSTS70003: the grant type is not known.")
        if grant is None or grant.client_id != form.get("client_id"):
            raise SignInError("invalid_grant", "AADSTS70000: the grant is not valid, or has ended.")
        return grant

    def _tokens(self, grant: Grant) -> dict[str, object]:
        refresh = secrets.token_urlsafe(32)
        self._sessions[refresh] = replace(grant, issued_at=self._clock())
        claims = self._issuer.person_claims(grant.person, roles=SAMPLE_PEOPLE[grant.person])
        return {
            "token_type": "Bearer",
            "scope": grant.scope,
            "expires_in": int(LIFETIME.total_seconds()),
            "access_token": self._issuer.sign({**claims, "azp": grant.client_id}),
            "refresh_token": refresh,
            "id_token": self._issuer.sign(_id_claims(claims, grant)),
            "client_info": _encoded({"uid": claims["oid"], "utid": claims["tid"]}),
        }


def _check_code(grant: Grant | None, form: Mapping[str, str], now: datetime) -> None:
    """Raise SignInError where a code is late, sent elsewhere, or redeemed without its verifier."""
    if grant is None or now - grant.issued_at > _CODE_LIFETIME:
        raise SignInError("invalid_grant", "AADSTS70008: the code is not valid, or has expired.")
    if form.get("redirect_uri") != grant.redirect_uri:
        raise SignInError("invalid_grant", "AADSTS50011: the redirect address differs.")
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    if base64.urlsafe_b64encode(digest).decode().rstrip("=") != grant.challenge:
        raise SignInError("invalid_grant", "AADSTS501481: the verifier does not fit the challenge.")


def _id_claims(claims: Claims, grant: Grant) -> Claims:
    kept = ("iss", "iat", "nbf", "exp", "name", "oid", "preferred_username", "sub", "tid", "ver")
    return {
        **{name: claims[name] for name in kept},
        "aud": grant.client_id,
        "nonce": grant.nonce,
    }


def _encoded(value: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _back(asked: Mapping[str, str], given: Mapping[str, str]) -> Response:
    """Send the browser back: in the fragment, which no server sees, or in the query if asked."""
    mark = "?" if asked.get("response_mode") == "query" else "#"
    answer = urlencode({**given, "state": asked["state"]})
    where = f"{asked['redirect_uri']}{mark}{answer}"
    return RedirectResponse(
        where, status_code=HTTPStatus.FOUND, headers={"Cache-Control": "no-store"}
    )


def _choice(request: Request) -> str:
    """Return the page on which a person is chosen."""
    lines = []
    for name, roles in SAMPLE_PEOPLE.items():
        href = html.escape(f"?{urlencode({**request.query_params, 'user': name})}")
        held = html.escape(", ".join(roles) or "no roles")
        shown = html.escape(name)
        mail = f"{shown}@contoso.example"
        lines.append(f'<li><a id="{shown}" href="{href}">{mail}</a> ({held})<br>{object_id(name)}')
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Sign in</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style>"
        '<link rel="icon" href="data:,">'
        f"<h1>Sign in to the local stack</h1><ul>{''.join(lines)}</ul></html>"
    )
