"""Shared parts of every HTTP trigger: caller, address, request id, and errors as ARM's."""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from functools import wraps
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote, urlsplit

import azure.functions as func

from functions.calling import Calling, a_call, note_caller
from functions.throttle import Throttle
from shared.bootstrap import app
from shared.domain.errors import (
    ConflictError,
    InvalidInputError,
    JitError,
    NotAuthenticatedError,
    NotFoundError,
    NotPermittedError,
    OutsidePolicyError,
    PreconditionFailedError,
    Reason,
    RepeatTooLateError,
    TooManyRequestsError,
    UnavailableError,
    UnsupportedMediaTypeError,
)
from shared.domain.model import Principal
from shared.ports import OutsideError, RowChangedError
from shared.use_cases.requests.refusals import Refusal, record_refusal

JSON = "application/json"
# The one table from what went wrong to what the caller is told.
STATUS: Mapping[type[JitError], HTTPStatus] = {
    InvalidInputError: HTTPStatus.BAD_REQUEST,
    NotAuthenticatedError: HTTPStatus.UNAUTHORIZED,
    NotPermittedError: HTTPStatus.FORBIDDEN,
    OutsidePolicyError: HTTPStatus.BAD_REQUEST,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    PreconditionFailedError: HTTPStatus.PRECONDITION_FAILED,
    RepeatTooLateError: HTTPStatus.PRECONDITION_FAILED,
    UnsupportedMediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    TooManyRequestsError: HTTPStatus.TOO_MANY_REQUESTS,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}
# Refusals of an idempotency key, which the standard marks with a header of its own.
REPEATABILITY_CODES = frozenset(
    {"InvalidRequestId", "RepeatedRequestDiffers", "RepeatabilityWindowPassed"}
)
# What was understood and may not be. The throttle bounds how much of it one caller can cause.
_ON_RECORD = (NotPermittedError, OutsidePolicyError, TooManyRequestsError)
_POLICY_PATH = re.compile(
    r"/subscriptions/[^?#%\\]{1,600}/jitNetworkAccessPolicies/[^/?#%\\]{1,90}",
    re.IGNORECASE | re.ASCII,
)
_FIXED_HEADERS = {
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Expires": "-1",
    "X-Content-Type-Options": "nosniff",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
}

_throttle = Throttle()

Handler = Callable[[func.HttpRequest], func.HttpResponse]


def answer(
    status: HTTPStatus, body: Any = None, headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """Make an answer; a body is written as JSON, as compactly as the real service does."""
    text = "" if body is None else json.dumps(body, separators=(",", ":"))
    return text_answer(status, text, JSON, headers)


def text_answer(
    status: HTTPStatus, text: str, media_type: str, headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """Make an answer of text in UTF-8.

    NB. The library adds a charset to text/* by itself and to nothing else, so the header is
    written here whole.
    """
    content_type = {"Content-Type": f"{media_type}; charset=utf-8"}
    return func.HttpResponse(
        text.encode(), status_code=status, headers={**(headers or {}), **content_type}
    )


def handled(handler: Handler) -> Handler:
    """Give an answer its request id, and turn every error into ARM's envelope."""

    @wraps(handler)
    def handle(req: func.HttpRequest) -> func.HttpResponse:
        request_id = str(uuid.uuid4())
        try:
            with a_call(request_id, handler.__name__) as calling:
                response = handler(req)
        except JitError as error:
            _put_on_record(req, error, calling)
            response = _refusal(error)
        except (OutsideError, RowChangedError) as error:
            app().services.telemetry.fault("jit.http.unavailable", error, id=request_id)
            told = "A service this app depends on did not answer; try again."
            response = _refusal(UnavailableError(told))
        except Exception as error:  # noqa: BLE001 - the last guard: nothing escapes unnamed
            app().services.telemetry.fault("jit.http.failed", error, id=request_id)
            response = _refusal(JitError(f"Something failed here. Quote request id {request_id}."))
        for name, value in {**_FIXED_HEADERS, "x-ms-request-id": request_id}.items():
            response.headers[name] = value
        app().services.telemetry.event(
            "jit.http.answered",
            id=request_id,
            what=handler.__name__,
            status=response.status_code,
        )
        return response

    return handle


def _put_on_record(req: func.HttpRequest, error: JitError, calling: Calling) -> None:
    """Record the refusal of an authenticated caller; a failure to record it changes no answer."""
    if calling.caller is None or not isinstance(error, _ON_RECORD):
        return
    try:
        refusal = Refusal(
            calling.id,
            calling.caller,
            calling.what,
            error,
            person=calling.person,
            source_address=caller_address(req),
            request_id=req.route_params.get("id", ""),
            policy_id=_policy_named(req),
        )
        record_refusal(app().services, refusal)
    except Exception as failure:  # noqa: BLE001 - the answer must not depend on the record
        app().services.telemetry.fault("jit.refusal.unrecorded", failure, id=calling.id)


def _policy_named(req: func.HttpRequest) -> str:
    found = _POLICY_PATH.match(unquote(urlsplit(req.url).path))
    return found[0] if found and found[0].isprintable() else ""


def _refusal(error: JitError) -> func.HttpResponse:
    status = STATUS.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)
    headers = {}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = f'Bearer error="invalid_token", resource="{_audience()}"'
    if isinstance(error, TooManyRequestsError):
        headers["Retry-After"] = str(error.retry_after)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "5"
    if error.code in REPEATABILITY_CODES:
        headers["Repeatability-Result"] = "rejected"
    return answer(status, envelope(error.code, error.message, error.details), headers)


def _audience() -> str:
    return app().settings.audience[0]


def envelope(code: str, message: str, details: tuple[Reason, ...] = ()) -> dict[str, Any]:
    """Write an error as ARM does."""
    error: dict[str, Any] = {"code": code, "message": message}
    if details:
        error["details"] = [
            {
                "code": each.code,
                "message": each.message,
                **({"target": each.target} if each.target else {}),
            }
            for each in details
        ]
    return {"error": error}


def caller(req: func.HttpRequest) -> Principal:
    """Verify who is calling, from the bearer token alone.

    Raises NotAuthenticatedError, and TooManyRequestsError past the calls of a minute.
    """
    principal = app().verify(req.headers.get("Authorization"))
    _throttle.count(principal.key, app().settings.calls_per_minute)
    note_caller(principal)
    return principal


def caller_address(req: func.HttpRequest) -> str:
    """Return the address the call came from; empty if it cannot be told.

    NB. Each proxy appends the address it was called from to X-Forwarded-For. Counted from the
    end are the platform's hop and the proxies the deployer named; everything before them is
    whatever the caller wrote, and is never looked at.
    """
    hops = req.headers.get("X-Forwarded-For", "").split(",")
    trusted = app().settings.trusted_proxies
    return plain_address(hops[-1 - trusted].strip()) if len(hops) > trusted else ""


def plain_address(hop: str) -> str:
    """Strip the port from a hop: 203.0.113.7:50123, [2001:db8::1]:443, or the bare address.

    NB. An address with a zone (fe80::1%eth0) belongs to the caller's own link, and is no source.
    """
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        address = ip_address(hop)
    except ValueError:
        return ""
    if getattr(address, "scope_id", None):
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def absolute(req: func.HttpRequest, path: str) -> str:
    """Make an absolute URL: Logic Apps poll nothing less.

    It stands on the address that the deployer says callers use, else on the host that was called:
    a proxy in front may call the app by a host of its own.
    """
    public = app().settings.public_url
    if public:
        return f"{public}{path}"
    parts = urlsplit(req.url)
    return f"{parts.scheme}://{parts.netloc}{path}"
