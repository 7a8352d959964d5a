"""Policies at Microsoft's paths."""

import re
from http import HTTPStatus

import azure.functions as func

from functions.answers import policy_answer
from functions.web import answer, caller, handled, require, require_in_scope
from functions.wire import PolicyWire, read_body
from shared.bootstrap import app
from shared.domain.arm_ids import key_of, parse_id
from shared.domain.errors import InvalidInputError, Reason
from shared.domain.model import ANY, Policy, PolicyVm, PortRule
from shared.domain.permissions import Action
from shared.domain.policy import Limits
from shared.domain.times import format_duration
from shared.use_cases import protection

_LISTED_REQUESTS = 100
_SEGMENT = re.compile(r"[\w().-]{1,90}(?<!\.)")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ROOT = "subscriptions/{subscription}"
_GROUP = "/resourceGroups/{group}"
_PROVIDER = "/providers/Microsoft.Security"
_LOCATION = "/locations/{location}"
_POLICIES = "/jitNetworkAccessPolicies"
_ONE = f"{_ROOT}{_GROUP}{_PROVIDER}{_LOCATION}{_POLICIES}/{{name}}"

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
        form = _GUID if name == "subscription" else _SEGMENT
        if not form.fullmatch(value):
            raise InvalidInputError(f"the path's {name} is not a valid name", code="InvalidPath")
    return parts


@bp.function_name("put_policy")
@bp.route(_ONE, methods=["PUT"])
@handled
def put_policy(req: func.HttpRequest) -> func.HttpResponse:
    """Write a policy; it replaces what was there, VM list and all."""
    principal = caller(req)
    policy_id = policy_id_of(req)
    require(principal, Action.WRITE, policy_id)
    body = read_body(PolicyWire, req.get_body())
    policy = _policy(policy_id, req.route_params["location"], body)
    for vm in policy.vms:
        require_in_scope(vm.id)
    # The real service's answer to a PUT shows no requests, though it keeps them.
    return answer(HTTPStatus.OK, policy_answer(protection.put_policy(app().services, policy), []))


@bp.function_name("get_policy")
@bp.route(_ONE, methods=["GET"])
@handled
def get_policy(req: func.HttpRequest) -> func.HttpResponse:
    """Read a policy and its newest requests."""
    policy_id = policy_id_of(req)
    require(caller(req), Action.READ, policy_id)
    return answer(HTTPStatus.OK, _full(protection.get_policy(app().services, policy_id)))


@bp.function_name("delete_policy")
@bp.route(_ONE, methods=["DELETE"])
@handled
def delete_policy(req: func.HttpRequest) -> func.HttpResponse:
    """Delete a policy: its deny rules go, and its grants are closed."""
    policy_id = policy_id_of(req)
    require(caller(req), Action.DELETE, policy_id)
    existed = protection.delete_policy(app().services, policy_id)
    return answer(HTTPStatus.OK if existed else HTTPStatus.NO_CONTENT)


@bp.function_name("list_policies_of_subscription")
@bp.route(f"{_ROOT}{_PROVIDER}{_POLICIES}", methods=["GET"])
@handled
def list_of_subscription(req: func.HttpRequest) -> func.HttpResponse:
    """List the policies of a subscription."""
    return _list(req)


@bp.function_name("list_policies_of_location")
@bp.route(f"{_ROOT}{_PROVIDER}{_LOCATION}{_POLICIES}", methods=["GET"])
@handled
def list_of_location(req: func.HttpRequest) -> func.HttpResponse:
    """List the policies of a subscription in one location."""
    return _list(req)


@bp.function_name("list_policies_of_group")
@bp.route(f"{_ROOT}{_GROUP}{_PROVIDER}{_POLICIES}", methods=["GET"])
@handled
def list_of_group(req: func.HttpRequest) -> func.HttpResponse:
    """List the policies of a resource group."""
    return _list(req)


@bp.function_name("list_policies_of_group_and_location")
@bp.route(f"{_ROOT}{_GROUP}{_PROVIDER}{_LOCATION}{_POLICIES}", methods=["GET"])
@handled
def list_of_group_and_location(req: func.HttpRequest) -> func.HttpResponse:
    """List the policies of a resource group in one location."""
    return _list(req)


def _list(req: func.HttpRequest) -> func.HttpResponse:
    principal = caller(req)
    part = _checked_route(req)
    scope = f"/subscriptions/{part['subscription']}"
    if "group" in part:
        scope += f"/resourceGroups/{part['group']}"
    require(principal, Action.READ, scope)
    found = protection.list_policies(
        app().services, part["subscription"], part.get("group", ""), part.get("location", "")
    )
    return answer(HTTPStatus.OK, {"value": [_full(policy) for policy in found]})


def _full(policy: Policy) -> dict[str, object]:
    requests = app().services.requests.newest(policy.id, _LISTED_REQUESTS)
    return policy_answer(policy, requests)


def _policy(policy_id: str, location: str, body: PolicyWire) -> Policy:
    """Map a PUT to the domain; raises InvalidInputError with every line that is wrong."""
    wire = body.properties.virtual_machines
    reasons = [*_repeated_vms(policy_id, body), *_bad_rules(body, app().services.limits)]
    if reasons:
        first = reasons[0]
        message = f"{first.target}: {first.message}"
        raise InvalidInputError(message, details=tuple(reasons))
    vms = tuple(
        PolicyVm(
            vm.id,
            tuple(
                PortRule(
                    rule.number,
                    rule.protocol,
                    rule.sources or (ANY,),
                    rule.max_request_access_duration,
                    rule.allowed_source_address_prefixes is not None,
                )
                for rule in vm.ports or ()
            ),
            vm.public_ip_address or "",
        )
        for vm in wire
    )
    return Policy(policy_id, location, vms, kind=body.kind or "Basic")


def _repeated_vms(policy_id: str, body: PolicyWire) -> list[Reason]:
    subscription = policy_id.split("/")[2].lower()
    seen: set[str] = set()
    reasons = []
    for number, vm in enumerate(body.properties.virtual_machines):
        at = f"properties.virtualMachines[{number}].id"
        if parse_id(vm.id).subscription.lower() != subscription:
            reasons.append(Reason("InvalidSubscription", "must be in the path's subscription", at))
        if key_of(vm.id) in seen:
            reasons.append(Reason("DuplicateVirtualMachine", "this VM is named twice", at))
        seen.add(key_of(vm.id))
    return reasons


def _bad_rules(body: PolicyWire, limits: Limits) -> list[Reason]:
    reasons = []
    shortest, longest = limits.min_duration, limits.max_duration
    for v, vm in enumerate(body.properties.virtual_machines):
        numbers = [rule.number for rule in vm.ports or ()]
        for p, rule in enumerate(vm.ports or ()):
            at = f"properties.virtualMachines[{v}].ports[{p}]"
            if not shortest <= rule.max_request_access_duration <= longest:
                message = f"must be from {format_duration(shortest)} to {format_duration(longest)}"
                reasons.append(Reason("InvalidDuration", message, f"{at}.maxRequestAccessDuration"))
            if numbers.index(rule.number) != p:
                message = "this port is listed twice on the VM; use protocol * for both"
                reasons.append(Reason("DuplicatePort", message, f"{at}.number"))
    return reasons
