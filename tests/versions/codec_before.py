"""Domain values as JSON in a row, and back.

Unknown fields are ignored and missing ones take their defaults, so that rows written by an older
or a newer version are still read: an upgrade in the middle of a grant must not keep it open.
"""

import json
import types
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Value = str | int | bool | float

T = TypeVar("T")
# A string property holds 64 KiB of UTF-16, an entity 1 MiB in all.
_CHUNK = 30_000
MAX_DOCUMENT = 480_000


class UnreadableRowError(Exception):
    """A row that nobody can have written by this app's rules."""


def pack(value: object) -> dict[str, Value]:
    """Write a value as JSON, in as many columns as its length needs."""
    text = json.dumps(_encode(value), separators=(",", ":"))
    chunks = [text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK)]
    return {f"doc{number or ''}": chunk for number, chunk in enumerate(chunks)}


def size_of(value: object) -> int:
    """Count the characters a value takes in a row."""
    return len(json.dumps(_encode(value), separators=(",", ":")))


def unpack(kind: type[T], values: Mapping[str, Value]) -> T:
    """Read a value from a row's columns; raises UnreadableRowError."""
    chunks = [str(values.get("doc", ""))]
    while f"doc{len(chunks)}" in values:
        chunks.append(str(values[f"doc{len(chunks)}"]))
    try:
        decoded: T = _decoder(cast("Hashable", kind))(json.loads("".join(chunks)))
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise UnreadableRowError(f"not a {kind.__name__}: {error}") from error
    return decoded


def _encode(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {
            each.name: _encode(held)
            for each in fields(value)
            if (held := getattr(value, each.name)) != _default(each)
        }
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, frozenset):
        return sorted(_encode(item) for item in value)  # type: ignore[type-var]
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    return value  # StrEnum members are strings already


def _default(field: Any) -> object:
    return field.default if field.default is not MISSING else field.default_factory


@cache
def _decoder(kind: Any) -> Callable[[Any], Any]:
    """Make, once for each type, what reads it from JSON."""
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        inner = _decoder(next(arg for arg in get_args(kind) if arg is not type(None)))
        return lambda data: None if data is None else inner(data)
    if origin in {tuple, frozenset}:
        item = _decoder(get_args(kind)[0])
        return lambda data: origin(map(item, _checked(list, data)))
    if is_dataclass(kind):
        return _dataclass_decoder(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if issubclass(kind, Enum):
        return cast("Callable[[Any], Any]", kind)
    return lambda data: _checked(kind, data)


def _dataclass_decoder(kind: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(kind)
    members = {each.name: _decoder(hints[each.name]) for each in fields(kind)}
    return lambda data: kind(
        **{name: members[name](value) for name, value in data.items() if name in members}
    )


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} names no offset")
    return at


def _checked(kind: type, data: Any) -> Any:
    if not isinstance(data, kind):
        raise TypeError(f"{data!r} is not {kind.__name__}")
    return data


_PLAIN: dict[Any, Callable[[Any], Any]] = {
    datetime: _instant,
    timedelta: lambda seconds: timedelta(seconds=seconds),
    float: float,
}
