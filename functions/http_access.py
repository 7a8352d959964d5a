"""request_access: ARM's initiate and the short form; and what became of a request."""

from dataclasses import dataclass
from http import HTTPStatus

import azure.functions as func

from functions.answers import is_undecided, request_answer, status_answer
from functions.http_policies import ONE_POLICY, POLICY_PATH, policy_id_of
from functions.idempotency import REQUEST_ID, idempotency_key
from functions.operations import REQUEST_STATUS, Operation, declare, json_answer
from functions.people import speaking_for
from functions.query import is_dry_run, link_to
from functions.report_answers import dry_run_request_answer
from functions.request_body import InitiateWire, ShortRequestWire
from functions.request_query import filter_of
from functions.web import absolute, answer, caller, caller_address
from functions.wire import read_body
from shared.bootstrap import app
from shared.domain.errors import InvalidInputError, Reason
from shared.domain.model import AccessRequest, Principal
from shared.domain.policy import Asked, AskedPort
from shared.use_cases.reports import dry_run
from shared.use_cases.requests import submission
from shared.use_cases.requests import submit as access
from shared.use_cases.requests.decide import Caller
from shared.use_cases.requests.listing import list_requests as list_matching
from shared.use_cases.requests.view import RequestView, Viewer

_POLL_SECONDS = "2"
_INVALID = "InvalidInitiateInput"

bp = func.Blueprint()


@declare(
    bp,
    Operation(
        "post",
        f"/{ONE_POLICY}/initiate",
        "request_access",
        "Ask for access",
        {
            200: json_answer("What it would lead to; dry runs only.", "RequestDryRun"),
            202: json_answer("Taken in. Ask the Location for what becomes of it.", "Request"),
        },
        (*POLICY_PATH, "api-version", "dryRun", "repeatId", "firstSent"),
        body=InitiateWire,
    ),
)
def request_access(req: func.HttpRequest) -> func.HttpResponse:
    """Take in an access request at Microsoft's path."""
    principal = caller(req)
    policy_id = policy_id_of(req)
    body = read_body(InitiateWire, req.get_body(), _INVALID, headers=req.headers)
    new = _new_request(req, principal, body, policy_id)
    if is_dry_run(req):
        return _dry_run(new)
    request = submission.submit(app().services, new)
    return answer(HTTPStatus.ACCEPTED, request_answer(request), _taken_in(req, request))


@declare(
    bp,
    Operation(
        "post",
        "/api/requests",
        "request_access_short",
        "Ask for access to a VM, whatever its policy is called",
        {
            200: json_answer("What it would lead to; dry runs only.", "RequestDryRun"),
            202: json_answer("Taken in. Ask the Location for what becomes of it.", "RequestStatus"),
        },
        ("dryRun", "repeatId", "firstSent"),
        body=ShortRequestWire,
        tag="Requests",
    ),
)
def request_access_short(req: func.HttpRequest) -> func.HttpResponse:
    """Take in an access request that names a VM and lets the app find its policy."""
    principal = caller(req)
    short = read_body(ShortRequestWire, req.get_body(), _INVALID, headers=req.headers)
    new = _new_request(req, principal, short.as_initiate())
    if is_dry_run(req):
        return _dry_run(new)
    request = submission.submit(app().services, new)
    return answer(
        HTTPStatus.ACCEPTED, status_answer(_view(principal, request)), _taken_in(req, request)
    )


def _dry_run(new: submission.NewRequest) -> func.HttpResponse:
    result = dry_run.dry_run_submission(app().services, new)
    return answer(HTTPStatus.OK, dry_run_request_answer(result))


@declare(
    bp,
    Operation(
        "get",
        "/api/requests/{id}",
        "get_request",
        "Ask what became of a request",
        {
            **REQUEST_STATUS,
            202: json_answer("Not decided or not open yet; come again.", "RequestStatus"),
        },
        ("id",),
        tag="Requests",
    ),
)
def get_request(req: func.HttpRequest) -> func.HttpResponse:
    """Return the state of a request: 202 while a poller has to come again, then 200."""
    principal = caller(req)
    request = access.read_request(app().services, req.route_params["id"], principal)
    if is_undecided(request):
        return answer(
            HTTPStatus.ACCEPTED, status_answer(_view(principal, request)), _polling(req, request.id)
        )
    return answer(HTTPStatus.OK, status_answer(_view(principal, request)))


@declare(
    bp,
    Operation(
        "get",
        "/api/requests",
        "list_requests",
        "List requests, newest first",
        {
            200: json_answer(
                "The requests, in pages; a page may be empty and have a nextLink.", "RequestList"
            )
        },
        ("policy", "mine", "status", "awaiting", "vm", "since", "until", "skipToken"),
        description=(
            "All of them where the caller may read the policy, else the caller's own. Other people's "
            "reasons and addresses are left out unless the caller may read the activity, or decides "
            "on the request. Filters can be combined."
        ),
        tag="Requests",
    ),
)
def list_requests(req: func.HttpRequest) -> func.HttpResponse:
    """List requests, newest first: all where the caller may read them, else the caller's own."""
    principal = caller(req)
    viewer = Viewer(app().services, principal)
    page = list_matching(app().services, viewer, filter_of(req))
    value = [status_answer(viewer.view(request)) for request in page.requests]
    return answer(HTTPStatus.OK, {"value": value, **link_to(req, page.next)})


def _view(principal: Principal, request: AccessRequest) -> RequestView:
    return Viewer(app().services, principal).view(request)


@dataclass(frozen=True)
class _Asking:
    """The caller, the requestor and the caller's address."""

    caller: Principal
    who: Caller
    address: str


def _new_request(
    req: func.HttpRequest, principal: Principal, body: InitiateWire, policy_id: str = ""
) -> submission.NewRequest:
    asking = _Asking(principal, speaking_for(principal, body.on_behalf_of), caller_address(req))
    asked = Asked(
        tuple(_asked_ports(asking, body)),
        body.justification,
        asking.address,
        relayed=asking.who.relayed_by is not None,
    )
    each = [port for vm in body.virtual_machines for port in vm.ports]
    return submission.NewRequest(
        asked,
        asking.who.person,
        policy_id,
        relayed_by=asking.who.relayed_by,
        break_glass=body.break_glass,
        repeat=idempotency_key(
            req, principal, body.said(), tuple(each.sources for each in asked.ports)
        ),
        end_texts=tuple(port.end_time_utc or "" for port in each),
        sources_listed=tuple(port.allowed_source_address_prefixes is not None for port in each),
        sources_given=tuple(bool(port.sources or port.source) for port in each),
    )


def _asked_ports(asking: _Asking, body: InitiateWire) -> list[AskedPort]:
    asked = []
    for v, vm in enumerate(body.virtual_machines):
        for p, port in enumerate(vm.ports):
            at = f"virtualMachines[{v}].ports[{p}]"
            named = port.sources or (() if port.source else _own_address(asking, at))
            asked.append(
                AskedPort(
                    *(at, vm.id, port.number, named, port.end_at, port.duration),
                    bastion=port.source or "",
                )
            )
    return asked


def _own_address(asking: _Asking, at: str) -> tuple[str, ...]:
    """Take the caller's address as source; an app's own address is not where a person sits."""
    elsewhere = asking.caller.is_app or asking.who.relayed_by is not None
    if asking.address and not elsewhere:
        return (asking.address,)
    told = (
        "an app must name the source address: it does not know where its user sits"
        if elsewhere
        else "your address cannot be told; name the source"
    )
    reason = Reason(_INVALID, told, f"{at}.allowedSourceAddressPrefix")
    raise InvalidInputError(f"{reason.target}: {told}", code=_INVALID, details=(reason,))


def _taken_in(req: func.HttpRequest, request: AccessRequest) -> dict[str, str]:
    headers = _polling(req, request.id)
    if req.headers.get(REQUEST_ID):
        headers["Repeatability-Result"] = "accepted"
    return headers


def _polling(req: func.HttpRequest, request_id: str) -> dict[str, str]:
    return {
        "Location": absolute(req, f"/api/requests/{request_id}"),
        "Retry-After": _POLL_SECONDS,
    }
