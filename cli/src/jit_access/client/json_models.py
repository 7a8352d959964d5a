"""Map JSON objects to frozen dataclasses and back, by the names and types of their fields."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from jit_access.client.errors import UnexpectedAnswerError

Json = dict[str, Any]
WireField = tuple[str, str, Any, bool]
_FIELDS: dict[type, tuple[WireField, ...]] = {}  # reading the types of a class takes a while
_PLAIN: dict[Any, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    Json: (dict,),
}


@dataclass(frozen=True, kw_only=True)
class Model:
    """A part of an answer. `raw` is the object as the service sent it, newer fields included."""

    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return the object; raises UnexpectedAnswerError if a field is missing or mistyped."""
        if not isinstance(data, dict):
            raise UnexpectedAnswerError(f"{cls.__name__}: expected an object, got {data!r:.80}")
        values: Json = {}
        for name, wire_name, value_type, is_required in wire_fields(cls):
            if wire_name in data:
                values[name] = _decode(value_type, data[wire_name], f"{cls.__name__}.{wire_name}")
            elif is_required:
                raise UnexpectedAnswerError(f"{cls.__name__}: the field '{wire_name}' is missing")
        return cls(**values, raw=data)


@dataclass(frozen=True, kw_only=True)
class Body:
    """A body that is sent. A field that keeps its default is left out."""

    def to_json(self) -> Json:
        """Return the JSON object."""
        defaults = {member.name: member.default for member in fields(self)}
        values = {name: getattr(self, name) for name in defaults}
        return {
            wire_name_of(name): _encode(value)
            for name, value in values.items()
            if defaults[name] is MISSING or value != defaults[name]
        }


def wire_fields(value_type: type) -> tuple[WireField, ...]:
    """List the fields of a model or body: name, name on the wire, type, and if it is required."""
    if value_type not in _FIELDS:
        hints = get_type_hints(value_type)
        _FIELDS[value_type] = tuple(
            (member.name, wire_name_of(member.name), hints[member.name], _is_required(member))
            for member in fields(value_type)
            if member.name != "raw"
        )
    return _FIELDS[value_type]


def wire_name_of(name: str) -> str:
    """Return the camelCase name of a field: end_time_utc becomes endTimeUtc."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def without_none(value_type: Any) -> Any:
    """Return X of `X | None`, and any other type as it is."""
    if get_origin(value_type) not in {Union, types.UnionType}:
        return value_type
    left = [member for member in get_args(value_type) if member is not type(None)]
    return left[0]


def write_instant(at: datetime) -> str:
    """Write an instant as the API reads it."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _is_required(member: Any) -> bool:
    return member.default is MISSING and member.default_factory is MISSING


def _decode(value_type: Any, value: Any, where: str) -> Any:
    if value is None or value_type is Any:
        return value
    value_type = without_none(value_type)
    if get_origin(value_type) is tuple:
        return tuple(
            _decode(get_args(value_type)[0], member, where)
            for member in _typed(value, (list,), where)
        )
    if get_origin(value_type) is Literal:
        return _typed(value, (str, bool), where)
    if value_type is datetime:
        return _instant(_typed(value, (str,), where), where)
    if isinstance(value_type, type) and issubclass(value_type, Model):
        return value_type.from_json(value)
    return _typed(value, _PLAIN[value_type], where)


def _typed(value: Any, value_types: tuple[type, ...], where: str) -> Any:
    if not isinstance(value, value_types):
        raise UnexpectedAnswerError(f"{where}: {value!r:.80} is of another type than expected")
    return value


def _instant(text: str, where: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UnexpectedAnswerError(f"{where}: '{text:.40}' is not a time") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _encode(value: Any) -> Any:
    if isinstance(value, Body):
        return value.to_json()
    if isinstance(value, tuple):
        return [_encode(member) for member in value]
    if isinstance(value, Mapping):
        return dict(value)
    return write_instant(value) if isinstance(value, datetime) else value
