"""The machines in scope, the API's own descriptions, and the answer to unknown paths."""

from http import HTTPStatus

import azure.functions as func

from functions.cloud_metadata import Here, cloud_metadata
from functions.openapi import document
from functions.operations import Operation, declare, json_answer
from functions.query import link_to, page_of, query_of, token_of
from functions.report_answers import machine_answer
from functions.web import absolute, answer, caller, envelope, handled
from shared.bootstrap import app
from shared.domain.errors import InvalidInputError
from shared.domain.ids import is_scope, key_of
from shared.domain.machine_ids import is_machine_id
from shared.use_cases.reports.bastions import find_bastions
from shared.use_cases.reports.machines import report_to_caller

bp = func.Blueprint()
_ALL = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
_PAGE = 500


@declare(
    bp,
    Operation(
        "get",
        "/api/machines",
        "list_machines",
        "Say which VMs are governed, and which are really closed",
        {200: json_answer("The VMs in scope, in pages.", "MachineList")},
        ("scope", "skipToken"),
        tag="Reports",
    ),
)
def list_machines(req: func.HttpRequest) -> func.HttpResponse:
    """Report for every VM in scope whether its management ports are governed, and really closed."""
    principal = caller(req)
    services = app().services
    found = report_to_caller(
        services, app().estates, principal, _scope(req), is_next_page=bool(token_of(req))
    )
    page = page_of(req, found.machines, lambda listed: listed.key, most=_PAGE)
    bastions = find_bastions(services, page.items)
    reports = found.judge(page.items)
    value = [machine_answer(report, bastions[key_of(report.machine.id)]) for report in reports]
    return answer(
        HTTPStatus.OK,
        {"value": value, "unanswered": list(found.unanswered), **link_to(req, page.next)},
    )


def _scope(req: func.HttpRequest) -> str:
    """Return the scope that the caller names; empty: none."""
    scope = query_of(req, "scope")
    if scope and not _is_listable(scope):
        told = "scope must be the id of a subscription, resource group or virtual machine"
        raise InvalidInputError(told, code="InvalidScope")
    return scope


def _is_listable(scope: str) -> bool:
    """Tell whether a text is the id of a subscription, a resource group or a virtual machine."""
    text = scope.removesuffix("/")
    return is_scope(text) and ("/providers/" not in key_of(text) or is_machine_id(text))


@declare(
    bp,
    Operation(
        "get",
        "/api/openapi.json",
        "get_openapi",
        "Describe this API",
        {200: json_answer("This document.", "Document")},
        needs_token=False,
        tag="Reports",
    ),
)
def get_openapi(req: func.HttpRequest) -> func.HttpResponse:
    """Describe this API. It holds nothing secret, so that a designer can read it unasked."""
    return answer(HTTPStatus.OK, document(absolute(req, "")))


@declare(
    bp,
    Operation(
        "get",
        "/metadata/endpoints",
        "get_cloud_metadata",
        "Say where to sign in for this app",
        {200: json_answer("As Azure Resource Manager answers in that version.", "CloudMetadata")},
        ("api-version",),
        needs_token=False,
        description="What `az cloud register --endpoint-resource-manager` reads.",
        tag="Reports",
    ),
)
def get_cloud_metadata(req: func.HttpRequest) -> func.HttpResponse:
    """Tell a client of Azure where to sign in for this app, before it has a token."""
    settings = app().settings
    here = Here(absolute(req, "/"), settings.audience, settings.keys_url)
    return answer(HTTPStatus.OK, cloud_metadata(here, query_of(req, "api-version")))


@bp.function_name("unknown_route")
@bp.route("{*path}", methods=_ALL)
@handled
def unknown_route(req: func.HttpRequest) -> func.HttpResponse:
    """Answer what no other route takes, in ARM's envelope."""
    if req.method == "GET" and not req.route_params.get("path"):
        return answer(HTTPStatus.FOUND, headers={"Location": absolute(req, "/ui/")})
    message = f"There is no {req.method} here; see docs/api.md for the routes."
    return answer(HTTPStatus.NOT_FOUND, envelope("NotFound", message))
