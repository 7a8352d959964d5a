"""request_access: ARM's initiate and the short form; and what became of a request."""

from http import HTTPStatus

import azure.functions as func

from functions.answers import is_undecided, request_answer, status_answer
from functions.http_policies import policy_id_of
from functions.web import absolute, answer, caller, caller_address, handled, require
from functions.wire import InitiateWire, ShortRequestWire, read_body
from shared.bootstrap import app
from shared.domain.errors import InvalidInputError, Reason
from shared.domain.model import Principal
from shared.domain.permissions import Action
from shared.domain.policy import Asked, AskedPort
from shared.use_cases import access

_POLL_SECONDS = "2"
_INVALID = "InvalidInitiateInput"

bp = func.Blueprint()

_POLICY = (
    "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Security"
    "/locations/{location}/jitNetworkAccessPolicies/{name}"
)


@bp.function_name("request_access")
@bp.route(f"{_POLICY}/initiate", methods=["POST"])
@handled
def request_access(req: func.HttpRequest) -> func.HttpResponse:
    """Take in an access request at Microsoft's path."""
    principal = caller(req)
    policy_id = policy_id_of(req)
    body = read_body(InitiateWire, req.get_body(), _INVALID)
    request = access.request_access(app().services, _wish(req, principal, policy_id, body))
    return answer(HTTPStatus.ACCEPTED, request_answer(request), _polling(req, request.id))


@bp.function_name("request_access_short")
@bp.route("api/requests", methods=["POST"])
@handled
def request_access_short(req: func.HttpRequest) -> func.HttpResponse:
    """Take in an access request that names a VM and lets the app find its policy."""
    principal = caller(req)
    short = read_body(ShortRequestWire, req.get_body(), _INVALID)
    require(principal, Action.INITIATE, short.virtual_machine)
    policy_id = access.policy_covering(app().services, short.virtual_machine, short.ports)
    wish = _wish(req, principal, policy_id, short.as_initiate())
    request = access.request_access(app().services, wish)
    return answer(HTTPStatus.ACCEPTED, status_answer(request), _polling(req, request.id))


@bp.function_name("get_request")
@bp.route("api/requests/{id}", methods=["GET"])
@handled
def get_request(req: func.HttpRequest) -> func.HttpResponse:
    """Say what became of a request: 202 while a poller has to come again, then 200."""
    principal = caller(req)
    request = access.get_request(app().services, req.route_params["id"])
    if principal.key != request.requestor.key:
        require(principal, Action.READ, request.policy_id)
    if is_undecided(request):
        return answer(HTTPStatus.ACCEPTED, status_answer(request), _polling(req, request.id))
    return answer(HTTPStatus.OK, status_answer(request))


def _wish(
    req: func.HttpRequest, principal: Principal, policy_id: str, body: InitiateWire
) -> access.Wish:
    for vm in body.virtual_machines:
        require(principal, Action.INITIATE, vm.id)
    address = caller_address(req)
    ports, end_texts, listed, given = [], [], [], []
    for v, vm in enumerate(body.virtual_machines):
        for p, port in enumerate(vm.ports):
            at = f"virtualMachines[{v}].ports[{p}]"
            sources = port.sources or _own_address(principal, address, at)
            ports.append(AskedPort(at, vm.id, port.number, sources, port.end_at, port.duration))
            end_texts.append(port.end_time_utc or "")
            listed.append(port.allowed_source_address_prefixes is not None)
            given.append(port.sources is not None)
    asked = Asked(tuple(ports), body.justification, address)
    return access.Wish(policy_id, asked, principal, tuple(end_texts), tuple(listed), tuple(given))


def _own_address(principal: Principal, address: str, at: str) -> tuple[str, ...]:
    """Take the caller's address as source; an app's own address is not where a person sits."""
    if principal.is_app or not address:
        told = (
            "an app must name the source address: it does not know where its user sits"
            if principal.is_app
            else "your address cannot be told; name the source"
        )
        reason = Reason(_INVALID, told, f"{at}.allowedSourceAddressPrefix")
        raise InvalidInputError(f"{reason.target}: {told}", code=_INVALID, details=(reason,))
    return (address,)


def _polling(req: func.HttpRequest, request_id: str) -> dict[str, str]:
    return {
        "Location": absolute(req, f"/api/requests/{request_id}"),
        "Retry-After": _POLL_SECONDS,
    }
