"""Every route, as the OpenAPI document describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from functions.http_decisions import DecisionWire, ExtendWire, RevokeAllWire
from functions.request_body import InitiateWire, ShortRequestWire
from functions.wire import PolicyWire, Wire
from shared.domain.permissions import Action

_JSON = "application/json"
_ROOT = "/subscriptions/{subscription}"
_GROUP = f"{_ROOT}/resourceGroups/{{group}}"
_POLICIES = "providers/Microsoft.Security/jitNetworkAccessPolicies"
_LOCATED = "providers/Microsoft.Security/locations/{location}/jitNetworkAccessPolicies"
_ONE = f"{_GROUP}/{_LOCATED}/{{name}}"
_PATH = ("subscription", "group", "location", "name")


@dataclass(frozen=True)
class Answer:
    """An answer that is no refusal: its body by media type, as the name of a schema."""

    description: str
    contents: Mapping[str, str] = field(default_factory=dict)
    has_etag: bool = False


@dataclass(frozen=True)
class Operation:
    """One route and method."""

    method: str
    path: str
    name: str
    summary: str
    answers: Mapping[int, Answer]
    parameters: tuple[str, ...] = ()
    body: type[Wire] | None = None
    body_required: bool = True
    needs_token: bool = True
    description: str = ""
    tag: str = "JIT API"


def _json(description: str, schema: str, *, has_etag: bool = False) -> Answer:
    return Answer(description, {_JSON: schema}, has_etag)


_POLICY_LIST = {200: _json("The policies, in pages.", "PolicyList")}
_REQUEST = {200: _json("The request as it stands now.", "RequestStatus")}


def _list(path: str, name: str, summary: str, *parameters: str) -> Operation:
    wanted = (*parameters, "api-version", "skipToken")
    return Operation("get", path, name, summary, _POLICY_LIST, wanted)


def _decision(verb: str, summary: str, body: type[Wire] = DecisionWire) -> Operation:
    return Operation(
        "post",
        f"/api/requests/{{id}}/{verb}",
        f"{verb}_request",
        summary,
        _REQUEST,
        ("id",),
        body=body,
        body_required=body is not DecisionWire,
        tag="Requests",
    )


OPERATIONS: tuple[Operation, ...] = (
    _list(f"{_ROOT}/{_POLICIES}", "list_policies", "List policies", "subscription"),
    _list(
        f"{_ROOT}/{_LOCATED}",
        "list_policies_of_location",
        "List the policies of a location",
        "subscription",
        "location",
    ),
    _list(
        f"{_GROUP}/{_POLICIES}",
        "list_policies_of_group",
        "List the policies of a resource group",
        "subscription",
        "group",
    ),
    _list(
        f"{_GROUP}/{_LOCATED}",
        "list_policies_of_group_and_location",
        "List the policies of a resource group in a location",
        "subscription",
        "group",
        "location",
    ),
    Operation(
        "get",
        _ONE,
        "get_policy",
        "Read a policy and its newest 100 requests",
        {200: _json("The policy.", "Policy", has_etag=True)},
        (*_PATH, "api-version"),
    ),
    Operation(
        "put",
        _ONE,
        "put_policy",
        "Write a policy",
        {
            200: _json(
                "The policy, or what a dry run would lead to.", "PolicyOrDryRun", has_etag=True
            )
        },
        (*_PATH, "api-version", "dryRun", "ifMatch", "ifNoneMatch"),
        body=PolicyWire,
        description=(
            "Replaces the whole VM list, as in Defender. Requests made so far are kept. Without "
            "`conditions` those that stand are kept; `{}` removes them."
        ),
    ),
    Operation(
        "delete",
        _ONE,
        "delete_policy",
        "Delete a policy",
        {200: Answer("It is being deleted."), 204: Answer("There is none.")},
        (*_PATH, "api-version", "ifMatch", "ifNoneMatch"),
        description="Its deny rules are removed and its open requests closed.",
    ),
    Operation(
        "post",
        f"{_ONE}/initiate",
        "request_access",
        "Ask for access",
        {
            200: _json("What it would lead to; dry runs only.", "RequestDryRun"),
            202: _json("Taken in. Ask the Location for what becomes of it.", "Request"),
        },
        (*_PATH, "api-version", "dryRun", "repeatId", "firstSent"),
        body=InitiateWire,
    ),
    Operation(
        "post",
        "/api/requests",
        "request_access_short",
        "Ask for access to a VM, whatever its policy is called",
        {
            200: _json("What it would lead to; dry runs only.", "RequestDryRun"),
            202: _json("Taken in. Ask the Location for what becomes of it.", "RequestStatus"),
        },
        ("dryRun", "repeatId", "firstSent"),
        body=ShortRequestWire,
        tag="Requests",
    ),
    Operation(
        "get",
        "/api/requests",
        "list_requests",
        "List requests, newest first",
        {
            200: _json(
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
    Operation(
        "get",
        "/api/requests/{id}",
        "get_request",
        "Ask what became of a request",
        {
            **_REQUEST,
            202: _json("Not decided or not open yet; come again.", "RequestStatus"),
        },
        ("id",),
        tag="Requests",
    ),
    _decision("approve", "Approve a request"),
    _decision("deny", "Deny a request"),
    _decision("revoke", "Close a request before its end"),
    _decision("extend", "Give an open request a later end", ExtendWire),
    Operation(
        "post",
        "/api/revoke",
        "revoke_all",
        "Close everything on a VM, or of a person",
        {200: _json("The requests that were closed.", "RequestList")},
        body=RevokeAllWire,
        tag="Requests",
    ),
    Operation(
        "get",
        "/api/me",
        "get_me",
        "Say who calls, and what the caller holds",
        {200: _json("The caller as the app sees it.", "Me")},
        ("permissionScope",),
        description=(
            "Name, object id, the address that the call came from, the actions held at each scope, "
            "and what bounds a request."
        ),
        tag="Reports",
    ),
    Operation(
        "get",
        "/api/machines",
        "list_machines",
        "Say which VMs are governed, and which are really closed",
        {200: _json("The VMs in reach, in pages.", "MachineList")},
        ("scope", "skipToken"),
        tag="Reports",
    ),
    Operation(
        "get",
        "/api/activity",
        "get_activity",
        "Say who did what",
        {200: Answer("What happened.", {_JSON: "ActivityList", "text/csv": ""})},
        ("from", "to", "person", "virtualMachine", "operation", "top", "format", "activityToken"),
        description=(
            f"With `{Action.READ_ACTIVITY}` at every scope of the app, everybody's; without it, "
            "what the caller did, and what was done for the caller."
        ),
        tag="Reports",
    ),
    Operation(
        "get",
        "/api/health",
        "get_health",
        "Say whether the app closes what it opened",
        {200: _json("It does.", "Health"), 503: _json("It may not.", "Health")},
        needs_token=False,
        tag="Reports",
    ),
    Operation(
        "get",
        "/api/openapi.json",
        "get_openapi",
        "Describe this API",
        {200: _json("This document.", "Document")},
        needs_token=False,
        tag="Reports",
    ),
    Operation(
        "get",
        "/metadata/endpoints",
        "get_cloud_metadata",
        "Say where to sign in for this app",
        {200: _json("As Azure Resource Manager answers in that version.", "CloudMetadata")},
        ("api-version",),
        needs_token=False,
        description="What `az cloud register --endpoint-resource-manager` reads.",
        tag="Reports",
    ),
)
