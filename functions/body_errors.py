"""Sentences for the fields of a body that are wrong; each says what would be right."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel

Location = tuple[int | str, ...]


def field_error(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    """Return the sentence for one error that a model found."""
    location: Location = error["loc"]
    error_type, value = error["type"], error["input"]
    name = str(location[-1]) if location else ""
    other = _other_number(name, _fields_beside(model, location))
    if error_type == "extra_forbidden":
        hint = f"; did you mean {other}?" if other else "; check its spelling"
        return f"this field is not known here{hint}"
    if error_type == "missing":
        return "this field is required"
    if error_type == "list_type":
        return "must be a list" + (f"; one value goes into {other}" if other else "")
    if isinstance(value, list) and error_type != "too_long":
        return _list_where_one_is_wanted(error["msg"], error_type, other)
    if isinstance(value, str) and "," in value and other:
        return f"must be one prefix; several go as a list into {other}"
    return _sentence(error["msg"])


def _list_where_one_is_wanted(message: str, error_type: str, other: str) -> str:
    if not error_type.endswith("_type"):
        return _sentence(message)
    hint = f"; a list goes into {other}" if other else ""
    return f"must be one value, not a list{hint}"


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ")


def _other_number(name: str, fields: set[str]) -> str:
    """Return the plural of a singular, or the singular of a plural, that is a field here."""
    others = {f"{name}s", f"{name}es", name.removesuffix("s"), name.removesuffix("es")}
    return next(iter(sorted((others - {name}) & fields)), "")


def _fields_beside(model: type[BaseModel], location: Location) -> set[str]:
    """Return the names of the fields that stand beside the one at a location."""
    at: type[BaseModel] | None = model
    for part in location[:-1]:
        if isinstance(part, str) and at is not None:
            at = _model_of(at, part)
    return set() if at is None else {_alias(at, name) for name in at.model_fields}


def _model_of(model: type[BaseModel], alias: str) -> type[BaseModel] | None:
    for name, field in model.model_fields.items():
        if _alias(model, name) == alias:
            return _model_within(field.annotation)
    return None


def _model_within(annotation: Any) -> type[BaseModel] | None:
    """Find the model of a field that holds one, a list of it, or perhaps none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_within(part) for part in get_args(annotation))
    return next((model for model in found if model is not None), None)


def _alias(model: type[BaseModel], name: str) -> str:
    return model.model_fields[name].alias or name
