"""The caller as the app sees it: a page or a command line asks this first."""

from http import HTTPStatus
from typing import Any

import azure.functions as func

from functions.operations import Operation, declare, json_answer
from functions.query import query_of
from functions.web import answer, caller, caller_address
from shared.bootstrap import app
from shared.domain.errors import InvalidInputError
from shared.domain.ids import is_scope
from shared.domain.model import Principal
from shared.domain.policy import MAX_PORTS
from shared.domain.times import format_duration
from shared.use_cases.reports.me import Me, describe_caller

bp = func.Blueprint()


@declare(
    bp,
    Operation(
        "get",
        "/api/me",
        "get_me",
        "Say who calls, and what the caller holds",
        {200: json_answer("The caller as the app sees it.", "Me")},
        ("permissionScope",),
        description=(
            "Name, object id, the address that the call came from, the actions held at each scope, "
            "and what bounds a request."
        ),
        tag="Reports",
    ),
)
def get_me(req: func.HttpRequest) -> func.HttpResponse:
    """Return the caller's identity, address, actions and limits."""
    principal = caller(req)
    scope = query_of(req, "scope").removesuffix("/")
    if scope and not is_scope(scope):
        told = "scope must be the id of a subscription, resource group or resource"
        raise InvalidInputError(told, code="InvalidScope")
    services = app().services
    me = describe_caller(services, principal, [scope] if scope else services.scopes)
    return answer(HTTPStatus.OK, _me_answer(principal, caller_address(req), me))


def _me_answer(principal: Principal, address: str, me: Me) -> dict[str, Any]:
    return {
        "name": principal.name or principal.app_id,
        "objectId": principal.object_id,
        "tenantId": principal.tenant,
        "isApp": principal.is_app,
        "address": address or None,
        "permissions": [
            {"scope": held.scope, "actions": [action.value for action in held.actions]}
            for held in me.held
        ],
        "limits": _limits(me),
    }


def _limits(me: Me) -> dict[str, Any]:
    services = app().services
    limits = services.limits
    return {
        "minDuration": format_duration(limits.min_duration),
        "maxDuration": format_duration(limits.max_duration),
        "widestSourcePrefixIpv4": limits.widest_ipv4,
        "widestSourcePrefixIpv6": limits.widest_ipv6,
        "portsPerRequest": MAX_PORTS,
        "openPorts": me.ports,
        "openPortsAllowed": services.most_live_ports,
    }
