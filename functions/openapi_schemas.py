"""What is answered, and the parameters, as the OpenAPI document describes them.

Objects are closed: a field that is answered and not described here fails a test.
"""

from typing import Any

from functions.wire import VM_ID_PATTERN
from shared.domain.audit import Operation
from shared.domain.model import (
    CloseBy,
    CloseReason,
    ExtensionApproval,
    FirewallState,
    PolicyState,
    Status,
)
from shared.domain.permissions import Action
from shared.use_cases.reports.machines import Category, State
from shared.use_cases.requests.view import Ability

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_INSTANT: Schema = {"type": "string", "format": "date-time"}
_DURATION: Schema = {"type": "string", "examples": ["PT3H"]}
_PORT: Schema = {"type": "integer", "minimum": 0, "maximum": 65535}
_ID: Schema = {"type": "string", "pattern": "^/subscriptions/"}


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _page(item: Schema) -> Schema:
    """Describe a list as ARM writes it: nextLink only where there is more."""
    return _object({"value": _list(item)}, {"nextLink": {"type": "string", "format": "uri"}})


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _one_of(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def _see(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


# One or the other: whichever was sent.
_SOURCES: Schema = {
    "allowedSourceAddressPrefix": _TEXT,
    "allowedSourceAddressPrefixes": _list(_TEXT),
}
_REASON = _object({"code": _TEXT, "message": _TEXT, "target": _TEXT})
_PORT_RULE = _object(
    {
        "number": _PORT,
        "protocol": _one_of("TCP", "UDP", "*"),
        "maxRequestAccessDuration": _DURATION,
    },
    _SOURCES,
)
_CONDITIONS = _object(
    {
        "justificationRequired": _FLAG,
        "justificationPattern": _TEXT,
        "widestSourcePrefixIpv4": _or_null(_COUNT),
        "widestSourcePrefixIpv6": _or_null(_COUNT),
        "ownAddressOnly": _FLAG,
        "onlyThroughBastion": _FLAG,
        "approversNeeded": _COUNT,
        "extensionApproval": _one_of(*(each.value for each in ExtensionApproval)),
        "approveExtensions": _FLAG,
        "maxTotalDuration": _DURATION,
        "approvalTimeout": _DURATION,
        "flushConnections": _FLAG,
        "closeBy": _one_of(*(each.value for each in CloseBy)),
        "revokeForeignRules": _FLAG,
    }
)
_AUDIENCES = {"loginEndpoint": _TEXT, "audiences": {**_list(_TEXT), "minItems": 1}}
_CLOUD = _object(
    {
        "name": _TEXT,
        "resourceManager": _TEXT,
        "portal": _TEXT,
        "authentication": _object({**_AUDIENCES, "tenant": _TEXT, "identityProvider": _TEXT}),
        "graph": _TEXT,
        "graphAudience": _TEXT,
        "microsoftGraphResourceId": _TEXT,
        "media": _TEXT,
        "batch": _TEXT,
        "sqlManagement": _TEXT,
        "gallery": _TEXT,
        "vmImageAliasDoc": _TEXT,
        "suffixes": _object(
            dict.fromkeys(("storage", "sqlServerHostname", "keyVaultDns", "acrLoginServer"), _TEXT)
        ),
    }
)
_FIRST_CLOUD = _object(
    {
        "galleryEndpoint": _TEXT,
        "graphEndpoint": _TEXT,
        "portalEndpoint": _TEXT,
        "graphAudience": _TEXT,
        "authentication": _object(_AUDIENCES),
    }
)
_PORT_REQUEST = _object(
    {
        "number": _PORT,
        "status": _one_of(*(status.value for status in Status)),
        "statusReason": _one_of("UserRequested", *(reason.value for reason in CloseReason)),
    },
    {
        **_SOURCES,
        "endTimeUtc": _INSTANT,
        "duration": _DURATION,
        "closeBeginsTimeUtc": _INSTANT,
        "publicIpAddress": _TEXT,
        "mappedPort": _PORT,
        "error": _object({"code": _TEXT, "message": _TEXT}),
    },
)
_PORT_STATUS: Schema = {
    **_PORT_REQUEST,
    "properties": {
        **_PORT_REQUEST["properties"],
        "bastion": _ID,
        "connectTo": _TEXT,
        "firewalls": _list(
            _object(
                {
                    "id": _TEXT,
                    "name": _TEXT,
                    "state": _one_of(*(state.value for state in FirewallState)),
                    "reason": _or_null(_TEXT),
                    "openedAt": _or_null(_INSTANT),
                    "closedAt": _or_null(_INSTANT),
                }
            )
        ),
    },
    "required": [*_PORT_REQUEST["required"], "firewalls"],
}
_REQUEST: Schema = {
    "virtualMachines": _list(_object({"id": _ID, "ports": _list(_PORT_REQUEST)})),
    "startTimeUtc": _INSTANT,
    "requestor": _TEXT,
}
_DECISION = _object(
    {"approver": _TEXT, "approved": _FLAG, "at": _INSTANT, "comment": _TEXT},
)
_STATUS = _object(
    {
        "id": _TEXT,
        "status": _one_of(*(status.value for status in Status)),
        "policyId": _ID,
        **_REQUEST,
        "virtualMachines": _list(_object({"id": _ID, "ports": _list(_PORT_STATUS)})),
        "requestorObjectId": _TEXT,
        "can": _list(_one_of(*(ability.value for ability in Ability))),
        "latestEndTimeUtc": _or_null(_INSTANT),
        "openedAt": _or_null(_INSTANT),
        "closedAt": _or_null(_INSTANT),
    },
    {
        "justification": _TEXT,
        "breakGlass": _FLAG,
        "relayedBy": _TEXT,
        "approval": _object(
            {
                "needed": _COUNT,
                "agreed": _COUNT,
                "deadline": _INSTANT,
                "decisions": _list(_DECISION),
                "summary": _list(_TEXT),
            },
            {"endTimeUtc": _INSTANT},
        ),
    },
)
_POLICY_VM = _object({"id": _ID, "ports": _list(_PORT_RULE)}, {"publicIpAddress": _TEXT})
_POLICY = _object(
    {
        "kind": _TEXT,
        "properties": _object(
            {
                "virtualMachines": _list(_POLICY_VM),
                "requests": _list(_see("Request")),
                "provisioningState": _one_of(*(state.value for state in PolicyState)),
                "appendMode": _FLAG,
            },
            {"provisioningError": _TEXT, "conditions": _CONDITIONS},
        ),
        "id": _ID,
        "name": _TEXT,
        "type": _TEXT,
        "location": _TEXT,
    },
    {"etag": {**_TEXT, "description": "In lists. One policy has it in the header ETag."}},
)
_ME = _object(
    {
        "name": _TEXT,
        "objectId": _TEXT,
        "tenantId": _TEXT,
        "isApp": _FLAG,
        "address": _or_null(_TEXT),
        "permissions": _list(
            _object({"scope": _ID, "actions": _list(_one_of(*(action.value for action in Action)))})
        ),
        "limits": _object(
            {
                "minDuration": _DURATION,
                "maxDuration": _DURATION,
                "widestSourcePrefixIpv4": _COUNT,
                "widestSourcePrefixIpv6": _COUNT,
                "portsPerRequest": _COUNT,
                "openPorts": _COUNT,
                "openPortsAllowed": _COUNT,
            }
        ),
    }
)
_CHANGE = _object(
    {
        "id": _ID,
        "put": _list(_object({"name": _TEXT, "properties": {"type": "object"}})),
        "remove": _list(_TEXT),
        "blocked": _list(_object({"rule": _TEXT, "reason": _TEXT})),
    }
)
_DRY_RUN: Schema = {
    "dryRun": {"const": True},
    "allowed": _FLAG,
    "reasons": _list(_REASON),
    "problems": _list(_REASON),
    "firewalls": _list(_CHANGE),
}
_MACHINE = _object(
    {
        "id": _ID,
        "location": _TEXT,
        "system": _or_null(_TEXT),
        "privateIpAddresses": _list(_TEXT),
        "category": _one_of(*(category.value for category in Category)),
        "reason": _TEXT,
        "exposedBy": _list(
            _object(
                {"firewall": _ID, "rule": _TEXT, "port": _PORT, "sources": _list(_TEXT)},
                {"priority": _COUNT},
            )
        ),
        "recommendation": _object(
            {"state": _one_of(*(state.value for state in State)), "reason": _TEXT}
        ),
        "policies": _list(_ID),
        "ports": _list(_PORT_RULE),
        "firewalls": _list(_ID),
        "bastions": _or_null(
            _list(_object({"id": _ID, "name": _TEXT, "sku": _TEXT, "enableTunneling": _FLAG}))
        ),
        "lastAccess": _or_null(_INSTANT),
        "lastRequestor": _or_null(_TEXT),
    }
)
_ACTIVITY = _object(
    {"time": _INSTANT, "operation": _one_of(*(each.value for each in Operation))},
    {
        **dict.fromkeys(
            (
                *("principal", "principalName", "onBehalfOf", "relayedBy", "requestId"),
                *("virtualMachine", "firewall", "policyId", "sourceAddress", "reason"),
                *("authorizedBy", "oldDigest", "newDigest", "changes"),
            ),
            _TEXT,
        ),
        "port": _PORT,
        "latenessSeconds": {"type": "number"},
    },
)
_HEALTH: Schema = {
    "type": "object",
    "properties": {"status": _one_of("Healthy", "Degraded", "Unhealthy")},
    "required": ["status"],
}
# Why a call is refused; and what is said of one line of it. Tests hold both to the code.
REFUSAL_CODES = (
    *("InvalidInitiateInput", "InvalidRequestContent", "MissingRequestBody"),
    *("RequestBodyTooLarge", "UnsupportedMediaType"),
    *("InvalidPath", "InvalidSkipToken", "InvalidQueryParameter", "InvalidQuery", "InvalidScope"),
    *("InvalidPrecondition", "PreconditionFailed"),
    *("InvalidRequestId", "RepeatedRequestDiffers", "RepeatabilityWindowPassed"),
    *("PolicyTooLarge", "RowTooLarge", "RequestNotWithinPolicy", "TooManyExtensions"),
    *("AuthenticationFailed", "AuthorizationFailed", "ApproverNotAllowed"),
    *("PolicyNotFound", "RequestNotFound", "PortRequestNotFound", "NotFound"),
    *("Conflict", "NotOpen", "NotAnExtension", "ExtensionPending", "NotAwaitingApproval"),
    *("AlreadyDecided", "ApprovalTimedOut", "TooManyRequests", "InternalServerError"),
    "ServiceUnavailable",
)
REASON_CODES = (
    *("VirtualMachineNotInPolicy", "PortNotInPolicy", "DuplicatePort", "DuplicateVirtualMachine"),
    *("InvalidSubscription", "InvalidDuration", "DurationTooShort", "DurationTooLong"),
    *("TotalDurationTooLong", "ProtocolNotInPolicy"),
    *(
        "SourceNotAllowed",
        "SourceNotOwnAddress",
        "SourceNotBastion",
        "SourceTooWide",
        "SourcesTooWide",
    ),
    *("JustificationRequired", "JustificationPattern", "NotHeld"),
    *("BastionNotFound", "BastionAmbiguous", "BastionNotReadable", "PortNotThroughBastion"),
    *("CannotBeOpened", "CannotBeProtected"),
)
_LINE = _object(
    {
        "code": _one_of(*REASON_CODES, "InvalidInitiateInput", "InvalidRequestContent"),
        "message": _TEXT,
    },
    {"target": _TEXT},
)
_ERROR = _object(
    {
        "error": _object(
            {"code": _one_of(*REFUSAL_CODES), "message": _TEXT}, {"details": _list(_LINE)}
        )
    }
)

SCHEMAS: dict[str, Schema] = {
    "ActivityList": _page(_ACTIVITY),
    "Document": {"type": "object", "required": ["openapi", "paths"]},
    "CloudMetadata": {
        "anyOf": [_CLOUD, {**_list(_CLOUD), "minItems": 1, "maxItems": 1}, _FIRST_CLOUD]
    },
    "ErrorResponse": _ERROR,
    "Health": _HEALTH,
    "Me": _ME,
    "MachineList": _page(_MACHINE),
    "Policy": _POLICY,
    "PolicyDryRun": _object({**_DRY_RUN, "policy": _or_null(_see("Policy"))}),
    "PolicyList": _page(_see("Policy")),
    "PolicyOrDryRun": {"anyOf": [_see("Policy"), _see("PolicyDryRun")]},
    "Request": _object(_REQUEST, {"justification": _TEXT}),
    "RequestDryRun": _object({**_DRY_RUN, "request": _or_null(_see("Request"))}),
    "RequestList": _page(_see("RequestStatus")),
    "RequestStatus": _STATUS,
}


def _in_path(name: str, pattern: str, told: str) -> Schema:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "path", "required": True, "description": told, "schema": schema}


def _in_query(name: str, told: str, **schema: Any) -> Schema:
    return {"name": name, "in": "query", "description": told, "schema": {"type": "string"} | schema}


def _in_header(name: str, told: str, **schema: Any) -> Schema:
    schema = {"type": "string"} | schema
    return {"name": name, "in": "header", "description": told, "schema": schema}


# Letters and digits of any script; which classes a pattern knows depends on who reads it.
_NAME = r"^[^\x00-\x20\x7f/\\?#%&+<>:*|]{1,90}$"
_REGION = r"^[A-Za-z0-9_().-]{0,89}[A-Za-z0-9_()-]$"
_GUID = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

PARAMETERS: dict[str, Schema] = {
    "subscription": _in_path("subscription", _GUID, "The subscription's id."),
    "group": _in_path("group", _NAME, "The resource group, in any script."),
    "location": _in_path("location", _REGION, "The region the policy is kept under."),
    "name": _in_path("name", _NAME, "The policy's name; Defender calls its own `default`."),
    "id": _in_path("id", "^[0-9a-z-]{1,64}$", "The request's id."),
    "api-version": _in_query("api-version", "Any is accepted.", examples=["2020-01-01"]),
    "dryRun": _in_query(
        "dryRun", "true: say what it would lead to, and change nothing.", enum=["true", "false"]
    ),
    "skipToken": _in_query("$skipToken", "From nextLink; not to be made up.", maxLength=2048),
    "policy": _in_query("policy", "Only requests of this policy, by name or id."),
    "mine": _in_query(
        "mine", "true: only what the caller requested or carried.", enum=["true", "false"]
    ),
    "status": _in_query(
        "status", "Only requests with this status.", enum=[status.value for status in Status]
    ),
    "awaiting": _in_query(
        "awaiting", "me: only requests that await a decision the caller can make.", enum=["me"]
    ),
    "vm": _in_query("vm", "Only requests that name this VM, by id.", pattern=VM_ID_PATTERN),
    "since": _in_query("from", "Only requests made at this time or later.", format="date-time"),
    "until": _in_query("to", "Only requests made at this time or earlier.", format="date-time"),
    "ifMatch": _in_header(
        "If-Match",
        "Only if the policy still has this etag; `*`: only if there is one.",
        pattern=r'^(\*|(W/)?"[!#-~]{0,128}")$',
    ),
    "ifNoneMatch": _in_header("If-None-Match", "`*`: only if there is no such policy.", enum=["*"]),
    "permissionScope": _in_query(
        "scope", "The permissions at this scope; left out: at the scopes of the app, ten at most."
    ),
    "scope": _in_query("scope", "Only VMs within this subscription, resource group or VM."),
    "repeatId": {
        "name": "Repeatability-Request-ID",
        "in": "header",
        "description": (
            "Names this call: the same id with the same body leads to the same request for "
            "24 hours."
        ),
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "firstSent": {
        "name": "Repeatability-First-Sent",
        "in": "header",
        "description": (
            "When the call was first sent, as an HTTP date. It needs a Repeatability-Request-ID; "
            "a call first sent almost a day ago or earlier is refused."
        ),
        "schema": {"type": "string", "examples": ["Sun, 22 Nov 2026 14:00:00 GMT"]},
    },
    "from": _in_query("from", "The earliest; a day ago if left out.", format="date-time"),
    "to": _in_query("to", "The latest.", format="date-time"),
    "person": _in_query("person", "Only what this person did."),
    "virtualMachine": _in_query("virtualMachine", "Only what concerns this VM."),
    "operation": _in_query(
        "operation",
        f"Only this kind of fact: {', '.join(each.value for each in Operation)}.",
    ),
    "top": _in_query("top", "How many on a page.", type="integer", minimum=1, maximum=1000),
    "format": _in_query("format", "JSON or CSV.", enum=["json", "csv"]),
    "activityToken": _in_query("skipToken", "From nextLink; not to be made up."),
}
