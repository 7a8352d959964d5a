"""Parts that schemas are made of. Objects are closed: a field that is not described fails a test."""

from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
INSTANT: Schema = {"type": "string", "format": "date-time"}
DURATION: Schema = {"type": "string", "examples": ["PT3H"]}
PORT: Schema = {"type": "integer", "minimum": 0, "maximum": 65535}
ID: Schema = {"type": "string", "pattern": "^/subscriptions/"}


def object_of(required: Schema, optional: Schema | None = None) -> Schema:
    """Describe a closed object by its required and its optional fields."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def list_of(item: Schema) -> Schema:
    """Describe a list."""
    return {"type": "array", "items": item}


def paged(item: Schema, **more: Schema) -> Schema:
    """Describe a list as ARM writes it: nextLink only where there is more."""
    link = {"type": "string", "format": "uri"}
    return object_of({"value": list_of(item)}, {"nextLink": link, **more})


def or_null(schema: Schema) -> Schema:
    """Describe a value that may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def one_of(*words: str) -> Schema:
    """Describe a text that is one of some words."""
    return {"type": "string", "enum": list(words)}


def see(name: str) -> Schema:
    """Refer to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}
