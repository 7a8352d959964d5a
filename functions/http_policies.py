"""Policies at Microsoft's paths."""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import azure.functions as func

from functions.answers import policy_answer
from functions.operations import Answer, Operation, declare, json_answer
from functions.policy_body import PolicyWire, policy_of
from functions.preconditions import precondition_of
from functions.query import is_dry_run, link_to, token_of
from functions.report_answers import dry_run_policy_answer
from functions.web import answer, caller, caller_address
from functions.wire import read_body
from shared.bootstrap import app
from shared.domain.errors import InvalidInputError
from shared.domain.model import Policy
from shared.domain.names import is_name
from shared.domain.policy_diff import etag_of
from shared.use_cases.policies import manage as policy_changes
from shared.use_cases.reports import dry_run
from shared.use_cases.reports.policies import (
    PolicyScope,
    newest_requests,
    read_policies,
    read_policy,
)

# A page holds this many policies, and fewer where they list many VMs: an answer stays well below
# what clients and gateways take.
_PAGE = 50
_LOCATION_NAME = re.compile(r"[\w().-]{1,90}(?<!\.)", re.ASCII)
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_FORMS: Mapping[str, Callable[[str], object]] = {
    "subscription": _GUID.fullmatch,
    "location": _LOCATION_NAME.fullmatch,
}
_A_NAME = (
    "it has 1 to 90 letters and digits of any script, underscores, hyphens, parentheses and "
    "periods, and no period at its end"
)
_RIGHT = {"subscription": "it is a GUID", "location": "it is a region such as westeurope"}
_ROOT = "subscriptions/{subscription}"
_GROUP = "/resourceGroups/{group}"
_PROVIDER = "/providers/Microsoft.Security"
_LOCATION = "/locations/{location}"
_POLICIES = "/jitNetworkAccessPolicies"
ONE_POLICY = f"{_ROOT}{_GROUP}{_PROVIDER}{_LOCATION}{_POLICIES}/{{name}}"

POLICY_PATH = ("subscription", "group", "location", "name")
_LISTED = {200: json_answer("The policies, in pages.", "PolicyList")}

bp = func.Blueprint()


def policy_id_of(req: func.HttpRequest) -> str:
    """Return the id of the policy that the path names."""
    part = _checked_route(req)
    return (
        f"/subscriptions/{part['subscription']}/resourceGroups/{part['group']}/providers/"
        f"Microsoft.Security/locations/{part['location']}/jitNetworkAccessPolicies/{part['name']}"
    )


def _checked_route(req: func.HttpRequest) -> dict[str, str]:
    parts = dict(req.route_params)
    for name, value in parts.items():
        if not _FORMS.get(name, is_name)(value):
            raise InvalidInputError(
                f"the path's {name} is not a valid name: {_RIGHT.get(name, _A_NAME)}",
                code="InvalidPath",
            )
    return parts


@declare(
    bp,
    Operation(
        "put",
        f"/{ONE_POLICY}",
        "put_policy",
        "Write a policy",
        {
            200: json_answer(
                "The policy, or what a dry run would lead to.", "PolicyOrDryRun", has_etag=True
            )
        },
        (*POLICY_PATH, "api-version", "dryRun", "ifMatch", "ifNoneMatch"),
        body=PolicyWire,
        description=(
            "Replaces the whole VM list, as in Defender. Requests made so far are kept. Without "
            "`conditions` those that stand are kept; `{}` removes them."
        ),
    ),
)
def put_policy(req: func.HttpRequest) -> func.HttpResponse:
    """Write a policy; it replaces what was there, VM list and all."""
    changer = _changer(req)
    policy_id = policy_id_of(req)
    body = read_body(PolicyWire, req.get_body(), headers=req.headers)
    dry = is_dry_run(req)
    expected = precondition_of(req)
    services = app().services
    # The limits of the installation are told to a caller with the right to write only.
    named = [vm.id for vm in body.properties.virtual_machines]
    policy_changes.enforce_write(services, changer, policy_id, named)
    policy = policy_of(policy_id, req.route_params["location"], body, services.limits)
    keep = body.properties.conditions is None
    if dry:
        result = dry_run.dry_run_write(
            services, app().inventory, changer, policy, keep_conditions=keep, expected=expected
        )
        return answer(HTTPStatus.OK, dry_run_policy_answer(result))
    stored = policy_changes.write_policy(
        services, changer, policy, keep_conditions=keep, expected=expected
    )
    # The real service's answer to a PUT shows no requests, though it keeps them [recorded].
    return _one(stored, policy_answer(stored, []))


def _one(policy: Policy, body: dict[str, Any]) -> func.HttpResponse:
    """Answer one policy; its etag is a header, so that the body is the real service's."""
    return answer(HTTPStatus.OK, body, {"ETag": etag_of(policy)})


def _changer(req: func.HttpRequest) -> policy_changes.Changer:
    """Return the verified caller, and the address of the call."""
    return policy_changes.Changer(caller(req), caller_address(req))


@declare(
    bp,
    Operation(
        "get",
        f"/{ONE_POLICY}",
        "get_policy",
        "Read a policy and its newest 100 requests",
        {200: json_answer("The policy.", "Policy", has_etag=True)},
        (*POLICY_PATH, "api-version"),
    ),
)
def get_policy(req: func.HttpRequest) -> func.HttpResponse:
    """Read a policy and its newest requests."""
    principal = caller(req)
    policy, requests = read_policy(app().services, principal, policy_id_of(req))
    return _one(policy, policy_answer(policy, requests))


@declare(
    bp,
    Operation(
        "delete",
        f"/{ONE_POLICY}",
        "delete_policy",
        "Delete a policy",
        {200: Answer("It is being deleted."), 204: Answer("There is none.")},
        (*POLICY_PATH, "api-version", "ifMatch", "ifNoneMatch"),
        description="Its deny rules are removed and its open requests closed.",
    ),
)
def delete_policy(req: func.HttpRequest) -> func.HttpResponse:
    """Delete a policy: its deny rules go, and its grants are closed."""
    changer = _changer(req)
    policy_id, expected = policy_id_of(req), precondition_of(req)
    existed = policy_changes.remove_policy(app().services, changer, policy_id, expected=expected)
    return answer(HTTPStatus.OK if existed else HTTPStatus.NO_CONTENT)


@declare(
    bp,
    Operation(
        "get",
        f"/{_ROOT}{_PROVIDER}{_POLICIES}",
        "list_policies",
        "List policies",
        _LISTED,
        ("subscription", "api-version", "skipToken"),
        function="list_policies_of_subscription",
    ),
)
def list_of_subscription(req: func.HttpRequest) -> func.HttpResponse:
    """List the policies of a subscription."""
    return _list(req)


@declare(
    bp,
    Operation(
        "get",
        f"/{_ROOT}{_PROVIDER}{_LOCATION}{_POLICIES}",
        "list_policies_of_location",
        "List the policies of a location",
        _LISTED,
        ("subscription", "location", "api-version", "skipToken"),
    ),
)
def list_of_location(req: func.HttpRequest) -> func.HttpResponse:
    """List the policies of a subscription in one location."""
    return _list(req)


@declare(
    bp,
    Operation(
        "get",
        f"/{_ROOT}{_GROUP}{_PROVIDER}{_POLICIES}",
        "list_policies_of_group",
        "List the policies of a resource group",
        _LISTED,
        ("subscription", "group", "api-version", "skipToken"),
    ),
)
def list_of_group(req: func.HttpRequest) -> func.HttpResponse:
    """List the policies of a resource group."""
    return _list(req)


@declare(
    bp,
    Operation(
        "get",
        f"/{_ROOT}{_GROUP}{_PROVIDER}{_LOCATION}{_POLICIES}",
        "list_policies_of_group_and_location",
        "List the policies of a resource group in a location",
        _LISTED,
        ("subscription", "group", "location", "api-version", "skipToken"),
    ),
)
def list_of_group_and_location(req: func.HttpRequest) -> func.HttpResponse:
    """List the policies of a resource group in one location."""
    return _list(req)


def _list(req: func.HttpRequest) -> func.HttpResponse:
    principal = caller(req)
    part = _checked_route(req)
    scope = PolicyScope(part["subscription"], part.get("group", ""), part.get("location", ""))
    services = app().services
    shown = read_policies(services, principal, scope, after=token_of(req), top=_PAGE)

    def described(policy: Policy) -> dict[str, Any]:
        requests = newest_requests(services, policy, shown.disclose)
        return {**policy_answer(policy, requests), "etag": etag_of(policy)}

    value = services.workers(described, shown.policies)
    return answer(HTTPStatus.OK, {"value": value, **link_to(req, shown.next)})
