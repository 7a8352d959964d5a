"""The operations of the API, one line each; tests hold the table to openapi.json.

A new operation is one line here and one method in client.py.
"""

from dataclasses import dataclass, field
from urllib.parse import quote

from jit_access.client import bodies, models
from jit_access.client.json_models import Body, Model

_ROOT = "/subscriptions/{subscription}"
_GROUP = f"{_ROOT}/resourceGroups/{{group}}"
_POLICIES = "providers/Microsoft.Security/jitNetworkAccessPolicies"
_LOCATED = "providers/Microsoft.Security/locations/{location}/jitNetworkAccessPolicies"
_ONE = f"{_GROUP}/{_LOCATED}/{{name}}"
API_VERSION = "2020-01-01"
# Azure Resource Manager answers one cloud since then, several before.
CLOUD_VERSION = "2022-09-01"
REPEAT_ID, FIRST_SENT = "Repeatability-Request-ID", "Repeatability-First-Sent"
IF_MATCH, IF_NONE_MATCH = "If-Match", "If-None-Match"
_CONDITIONS = (IF_MATCH, IF_NONE_MATCH)
_REPEAT = (REPEAT_ID, FIRST_SENT)
JSON, CSV = "application/json", "text/csv"


@dataclass(frozen=True)
class Operation:
    """A route: what is sent, what comes back, and whether it may be sent again."""

    method: str
    path: str
    answers: tuple[tuple[int, type[Model] | None], ...]
    query: tuple[str, ...] = ()
    body: type[Body] | None = None
    is_repeatable: bool = True
    headers: tuple[str, ...] = ()
    needs_token: bool = True
    accepts: tuple[str, ...] = field(default=(JSON,))

    def path_for(self, **parts: str) -> str:
        """Return the path with its parameters filled in."""
        return self.path.format(**{name: quote(part, safe="") for name, part in parts.items()})

    def answer_for(self, status: int) -> type[Model] | None:
        """Return the model of an answer."""
        return dict(self.answers).get(status)


def _get(path: str, answer: type[Model], *query: str) -> Operation:
    return Operation("GET", path, ((200, answer),), query)


def _decide(verb: str, body: type[Body], *, is_repeatable: bool = True) -> Operation:
    path = f"/api/requests/{{id}}/{verb}"
    answers = ((200, models.RequestStatus),)
    return Operation("POST", path, answers, body=body, is_repeatable=is_repeatable)


_LIST = (models.PolicyList, "api-version", "$skipToken")

OPERATIONS: dict[str, Operation] = {
    "list_policies": _get(f"{_ROOT}/{_POLICIES}", *_LIST),
    "list_policies_of_location": _get(f"{_ROOT}/{_LOCATED}", *_LIST),
    "list_policies_of_group": _get(f"{_GROUP}/{_POLICIES}", *_LIST),
    "list_policies_of_group_and_location": _get(f"{_GROUP}/{_LOCATED}", *_LIST),
    "get_policy": _get(_ONE, models.Policy, "api-version"),
    "put_policy": Operation(
        "PUT",
        _ONE,
        ((200, models.Policy), (200, models.PolicyDryRun)),
        ("api-version", "dryRun"),
        body=bodies.NewPolicy,
        headers=_CONDITIONS,
    ),
    "delete_policy": Operation(
        "DELETE", _ONE, ((200, None), (204, None)), ("api-version",), headers=_CONDITIONS
    ),
    "request_access": Operation(
        "POST",
        f"{_ONE}/initiate",
        ((200, models.RequestDryRun), (202, models.Request)),
        ("api-version", "dryRun"),
        body=bodies.NewRequest,
        headers=_REPEAT,
    ),
    "request_access_short": Operation(
        "POST",
        "/api/requests",
        ((200, models.RequestDryRun), (202, models.RequestStatus)),
        ("dryRun",),
        body=bodies.NewShortRequest,
        headers=_REPEAT,
    ),
    "list_requests": _get(
        "/api/requests",
        models.RequestList,
        *("policy", "mine", "status", "awaiting", "vm", "from", "to", "$skipToken"),
    ),
    "get_request": Operation(
        "GET",
        "/api/requests/{id}",
        ((200, models.RequestStatus), (202, models.RequestStatus)),
    ),
    "approve_request": _decide("approve", bodies.NewDecision),
    "deny_request": _decide("deny", bodies.NewDecision),
    "revoke_request": _decide("revoke", bodies.NewDecision),
    # The second of two equal calls is refused (NotAnExtension): it must not be sent again unasked.
    "extend_request": _decide("extend", bodies.NewEnd, is_repeatable=False),
    "revoke_all": Operation(
        "POST", "/api/revoke", ((200, models.RequestList),), body=bodies.RevokeAll
    ),
    "get_me": _get("/api/me", models.Me, "scope"),
    "list_machines": _get("/api/machines", models.MachineList, "scope", "$skipToken"),
    "get_activity": Operation(
        "GET",
        "/api/activity",
        ((200, models.ActivityList),),
        ("from", "to", "person", "virtualMachine", "operation", "top", "format", "skipToken"),
        accepts=(JSON, CSV),
    ),
    "get_health": Operation(
        "GET", "/api/health", ((200, models.Health), (503, models.Health)), needs_token=False
    ),
    "get_cloud_metadata": Operation(
        "GET",
        "/metadata/endpoints",
        ((200, models.CloudMetadata),),
        ("api-version",),
        needs_token=False,
    ),
    "get_openapi": Operation("GET", "/api/openapi.json", ((200, None),), needs_token=False),
}
