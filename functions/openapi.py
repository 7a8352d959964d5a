"""The OpenAPI document: operations as declared beside their handlers, answers from schemas."""

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from pydantic.json_schema import models_json_schema

from functions import activity_answers, report_answers
from functions.operations import Operation, declared_operations
from functions.schemas import dry_runs, errors, policies, reports, requests
from functions.schemas.parameters import PARAMETERS

_SCHEMAS = {
    name: schema
    for part in (errors, policies, requests, dry_runs, reports, report_answers, activity_answers)
    for name, schema in part.SCHEMAS.items()
}
_REFERENCE = "#/components/schemas/{model}"
_REFUSALS = {
    400: "What was sent is not understood or not allowed; each line in details.",
    401: "No token that this app accepts.",
    403: "The caller lacks the action at the scope that the message names.",
    404: "There is no such thing.",
    409: "It contradicts what is.",
    412: "The policy is not the one that the call expects, or the call was first sent too long ago.",
    415: "The body declares a charset or content encoding that is not read.",
    429: "Too many calls or ports; come again after Retry-After seconds.",
    503: "A service this app depends on did not answer; come again after Retry-After seconds.",
}
_REQUEST_ID = {
    "x-ms-request-id": {
        "description": "Quote it when something went wrong; the log has it too.",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    }
}
_ETAG = {
    "ETag": {
        "description": "For If-Match. It changes when what the policy says changes.",
        "schema": {"type": "string"},
    }
}
_POLLING = {
    "Location": {
        "description": "Where to ask what became of it.",
        "required": True,
        "schema": {"type": "string", "format": "uri"},
    },
    "Retry-After": {
        "description": "Seconds to wait before asking.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
}


def document(server: str) -> dict[str, Any]:
    """Return the document for an app at an address."""
    return {**deepcopy(_document()), "servers": [{"url": server}]}


@cache
def _document() -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for operation in declared_operations():
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Just-in-time VM access",
            "version": "2020-01-01",
            "summary": "Management ports that open for one address and a limited time.",
            "description": (
                "The JIT API of Microsoft Defender for Cloud at Microsoft's paths, and a short "
                "form with what that API has no word for."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": {**_body_schemas(), **_SCHEMAS},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An Entra ID access token for this app.",
                }
            },
        },
    }


def _body_schemas() -> dict[str, Any]:
    models = {operation.body for operation in declared_operations() if operation.body is not None}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, described = models_json_schema(
        [(model, "validation") for model in ordered], by_alias=True, ref_template=_REFERENCE
    )
    schemas: dict[str, Any] = described["$defs"]
    return schemas


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "x-ms-summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [PARAMETERS[name] for name in operation.parameters],
        "responses": _responses(operation),
    }
    if operation.description:
        described["description"] = operation.description
    if not operation.needs_token:
        described["security"] = []
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": _json(_reference(operation.body.__name__)),
        }
    return described


def _responses(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for status, answer in operation.answers.items():
        polling = _POLLING if status == 202 else {}  # noqa: PLR2004 - HTTP
        told[str(status)] = {
            "description": answer.description,
            "headers": {**_REQUEST_ID, **polling, **(_ETAG if answer.has_etag else {})},
            **({"content": _content(answer.contents)} if answer.contents else {}),
        }
    for status, description in _REFUSALS.items():
        told.setdefault(
            str(status),
            {
                "description": description,
                "headers": _REQUEST_ID,
                "content": _json(_reference("ErrorResponse")),
            },
        )
    return dict(sorted(told.items()))


def _content(contents: Mapping[str, str]) -> dict[str, Any]:
    """Describe an answer by media type; a schema's name, or none for plain text."""
    return {
        media: {"schema": _reference(schema) if schema else {"type": "string"}}
        for media, schema in contents.items()
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=name)}
