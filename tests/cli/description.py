"""Compare the client's classes with the schemas of openapi.json, both ways, and say each difference."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal, get_args, get_origin

from jit_access.client.json_models import Body, Json, Model, wire_fields, without_none

_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", Json: "object"}


class Description:
    """An OpenAPI document."""

    def __init__(self, document: Json) -> None:
        self.document = document

    def operations(self) -> dict[str, tuple[str, str, Json]]:
        """Return method, path and description of each operation by its id."""
        return {
            described["operationId"]: (method.upper(), path, described)
            for path, item in self.document["paths"].items()
            for method, described in item.items()
        }

    def resolve(self, schema: Json) -> Json:
        """Follow a reference, and drop `null` from a choice."""
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
        return self.resolve(choices[0]) if len(choices) == 1 else schema

    def differences(self, model: type[Model | Body], schema: Json, where: str) -> Iterator[str]:
        """Yield each field that one side lacks, requires or types differently."""
        resolved = self.resolve(schema)
        described = resolved.get("properties", {})
        ours = {wire_name: (hint, required) for _, wire_name, hint, required in wire_fields(model)}
        for name in sorted(described.keys() - ours.keys()):
            yield f"{where}.{name} is in openapi.json; the client's {model.__name__} lacks it"
        for name in sorted(ours.keys() - described.keys()):
            yield f"{where}.{name} is in the client's {model.__name__}; openapi.json lacks it"
        for name in sorted(ours.keys() & described.keys()):
            hint, is_required = ours[name]
            if is_required != (name in resolved.get("required", ())):
                yield f"{where}.{name} is required on one side only"
            yield from self._typed(without_none(hint), described[name], f"{where}.{name}")

    def _typed(self, hint: Any, schema: Json, where: str) -> Iterator[str]:
        schema = self.resolve(schema)
        if hint is Any:
            return
        if get_origin(hint) is tuple:
            yield from self._typed(get_args(hint)[0], schema.get("items", {}), f"{where}[]")
        elif get_origin(hint) is Literal:
            words = set(schema.get("enum", [schema.get("const")]))
            for word in sorted(map(str, words ^ set(get_args(hint)))):
                yield f"{where}: the word '{word}' is known on one side only"
        elif hint is datetime:
            if schema.get("format") != "date-time":
                yield f"{where} is a time in the client, not in openapi.json"
        elif isinstance(hint, type) and issubclass(hint, Model | Body):
            yield from self.differences(hint, schema, where)
        elif schema.get("type") != _NAMES[hint]:
            yield f"{where} is {_NAMES[hint]} in the client, {schema.get('type')} in openapi.json"


def schemas_of(answer: Json) -> list[Json]:
    """Return the schemas that a JSON answer can have."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema")
    return [] if schema is None else [schema]
