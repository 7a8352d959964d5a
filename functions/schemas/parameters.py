"""The parameters of operations, by the name that operations refer to them by."""

from typing import Any

from functions.schemas.base import Schema
from functions.wire import VM_ID_PATTERN
from shared.domain.audit import Operation
from shared.domain.model import (
    Status,
)


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
        f"Only this operation: {', '.join(each.value for each in Operation)}.",
    ),
    "top": _in_query("top", "How many on a page.", type="integer", minimum=1, maximum=1000),
    "format": _in_query("format", "JSON or CSV.", enum=["json", "csv"]),
    "activityToken": _in_query("skipToken", "From nextLink; not to be made up."),
}
