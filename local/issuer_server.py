"""Serve the token issuer over HTTP: discovery, keys, sign-in, and tokens for the command line."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from local.aws.identity import web_identity_token
from local.issuer import AUDIENCE, LIFETIME, TENANT_ID, Issuer, Version
from local.serving import BackgroundServer
from local.sign_in import SignIn

IDENTITY_HEADER = "local"  # the platform gives each app a secret one


class IssuerServer(BackgroundServer):
    """A token issuer on a loopback port."""

    def __init__(
        self,
        *,
        port: int = 0,
        tenant_id: str = TENANT_ID,
        audience: str = AUDIENCE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.issuer = Issuer(tenant_id=tenant_id, audience=audience)
        self.sign_in = SignIn(self.issuer, clock)
        super().__init__(_app(self.issuer, self.sign_in, clock), port=port, name="token issuer")
        self.issuer.url = self.url


def _app(issuer: Issuer, sign_in: SignIn, clock: Callable[[], datetime]) -> Starlette:
    async def configuration(request: Request) -> JSONResponse:
        if not _is_known(issuer, request):
            return _unknown_tenant(request)
        version: Version = "2.0" if "/v2.0/" in request.url.path else "1.0"
        return JSONResponse(_configuration(issuer, version))

    async def keys(request: Request) -> JSONResponse:
        if not _is_known(issuer, request):
            return _unknown_tenant(request)
        return JSONResponse(issuer.jwks())

    async def token(request: Request) -> JSONResponse:
        try:
            asked = json.loads(await request.body())
            bearer = _mint(issuer, asked)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return JSONResponse(
                {"error": "invalid_request", "error_description": str(error)}, status_code=400
            )
        return JSONResponse({"token_type": "Bearer", "access_token": bearer})

    async def managed_identity(request: Request) -> JSONResponse:
        """Answer as the platform's endpoint for managed identities, App Service 2019-08-01."""
        if request.headers.get("x-identity-header") != IDENTITY_HEADER:
            return JSONResponse({"statusCode": 401, "message": "no identity header"}, 401)
        resource = request.query_params.get("resource", "")
        return JSONResponse(
            {
                "access_token": web_identity_token(issuer, audience=resource),
                "expires_on": str(int((clock() + LIFETIME).timestamp())),
                "resource": resource,
                "token_type": "Bearer",
            }
        )

    return Starlette(
        routes=[
            Route("/msi/token", managed_identity),
            Route("/{tenant}/v2.0/.well-known/openid-configuration", configuration),
            Route("/{tenant}/.well-known/openid-configuration", configuration),
            Route("/{tenant}/discovery/v2.0/keys", keys),
            Route("/{tenant}/discovery/keys", keys),
            Route("/token", token, methods=["POST"]),
            *sign_in.routes(),
        ]
    )


def _configuration(issuer: Issuer, version: Version) -> dict[str, object]:
    path = "oauth2/v2.0" if version == "2.0" else "oauth2"
    return {
        "issuer": issuer.issuer_of(version),
        "jwks_uri": issuer.jwks_url,
        "token_endpoint": f"{issuer.base}/{path}/token",
        "authorization_endpoint": f"{issuer.base}/{path}/authorize",
        "id_token_signing_alg_values_supported": ["RS256"],
        "subject_types_supported": ["pairwise"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
    }


def _mint(issuer: Issuer, asked: dict[str, object]) -> str:
    roles = asked.get("roles", [])
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise ValueError("'roles' is a list of role names")
    mint = issuer.app_token if asked.get("app") else issuer.person_token
    seconds = float(str(asked.get("expires", LIFETIME.total_seconds())))
    version: Version = "1.0" if asked.get("version") == "1.0" else "2.0"
    return mint(
        str(asked["user"]), roles=roles, lifetime=timedelta(seconds=seconds), version=version
    )


def _is_known(issuer: Issuer, request: Request) -> bool:
    return str(request.path_params["tenant"]).lower() == issuer.tenant_id


def _unknown_tenant(request: Request) -> JSONResponse:
    text = f"AADSTS90002: Tenant '{request.path_params['tenant']}' not found."
    return JSONResponse({"error": "invalid_tenant", "error_description": text}, status_code=400)
