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
from functools import cache, lru_cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from shared.domain.errors import InvalidInputError
from shared.domain.texts import as_json, units_of
from shared.ports import Value

T = TypeVar("T")
# Table Storage counts UTF-16: 64 KiB for a string property, 1 MiB (524,288 units) for an entity.
_CHUNK = 30_000
MAX_DOCUMENT = 480_000  # what a row may grow to when it is accepted, in UTF-16 units
MOST_UNITS = 500_000  # what is sent at all: room for keys, names and what was not foreseen
_UTF16 = "utf-16-le"
# Texts that were decoded lately, at most so long: a burst reads a firewall's rows for each request.
_MOST_DECODED, _LONGEST_DECODED = 2_048, 4_000


class UnreadableRowError(Exception):
    """A row that no version of this app can have written."""


class RowTooLargeError(InvalidInputError):
    """A value takes more than a row holds; it was not sent."""

    code = "RowTooLarge"


def pack(value: object) -> dict[str, Value]:
    """Write a value as JSON, in as many columns as its length needs; raises RowTooLargeError."""
    return pack_json(as_json(encode(value)))


def pack_json(text: str) -> dict[str, Value]:
    """Spread a JSON text over columns; raises RowTooLargeError where it takes too many bytes."""
    if units_of(text) > MOST_UNITS:
        raise RowTooLargeError(
            f"the row would take {2 * units_of(text)} bytes, and {2 * MOST_UNITS} is the most; "
            "ask for less at once, or say it in fewer words"
        )
    return {f"doc{number or ''}": chunk for number, chunk in enumerate(_chunks(text))}


def _chunks(text: str) -> list[str]:
    """Cut a text where each piece fits a column, and never within a character."""
    if text.isascii():
        return [text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK)]
    units, chunks = text.encode(_UTF16), []
    while units:
        cut = 2 * _CHUNK
        if len(units) > cut and 0xD8 <= units[cut - 1] <= 0xDB:  # noqa: PLR2004 - half a pair
            cut -= 2
        chunks.append(units[:cut].decode(_UTF16))
        units = units[cut:]
    return chunks


def size_of(value: object) -> int:
    """Count the UTF-16 units a value takes in a row."""
    return units_of(as_json(encode(value)))


def _as_stored(data: Any) -> Any:
    """Return the JSON of a row as it is."""
    return data


def unpack(
    value_type: type[T],
    values: Mapping[str, Value],
    *,
    restore: Callable[[Any], Any] = _as_stored,
) -> T:
    """Read a value from a row's columns; raises UnreadableRowError.

    `restore` puts back what the row says only once. Values are immutable, so that rows with the
    same text may share one.
    """
    text = text_of(values)
    decode = _decode_lately if len(text) <= _LONGEST_DECODED else _decode
    try:
        decoded: T = decode(cast("Hashable", value_type), restore, text)
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise UnreadableRowError(f"not a {value_type.__name__}: {error}") from error
    return decoded


def _decode(value_type: Any, restore: Callable[[Any], Any], text: str) -> Any:
    return _decoder(value_type)(restore(json.loads(text)))


_decode_lately = lru_cache(_MOST_DECODED)(_decode)


def text_of(values: Mapping[str, Value]) -> str:
    """Put the JSON text of a row's columns together again."""
    chunks = [str(values.get("doc", ""))]
    while f"doc{len(chunks)}" in values:
        chunks.append(str(values[f"doc{len(chunks)}"]))
    return "".join(chunks)


def encode(value: object) -> Any:
    """Write a value in JSON's own types; what has its default is left out."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            each.name: encode(held)
            for each in fields(value)
            if (held := getattr(value, each.name)) != _default(each)
        }
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, frozenset):
        return sorted(encode(item) for item in value)
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    return value  # StrEnum members are strings already


def _default(field: Any) -> object:
    return field.default if field.default is not MISSING else field.default_factory


@cache
def _decoder(value_type: Any) -> Callable[[Any], Any]:
    """Make, once for each type, what reads it from JSON."""
    origin = get_origin(value_type)
    if origin in {Union, types.UnionType}:
        inner = _decoder(next(arg for arg in get_args(value_type) if arg is not type(None)))
        return lambda data: None if data is None else inner(data)
    if origin in {tuple, frozenset}:
        item = _decoder(get_args(value_type)[0])
        return lambda data: origin(map(item, _checked(list, data)))
    if is_dataclass(value_type):
        return _dataclass_decoder(value_type)
    if value_type in _PLAIN:
        return _PLAIN[value_type]
    if issubclass(value_type, Enum):
        return cast("Callable[[Any], Any]", value_type)
    return lambda data: _checked(value_type, data)


def _dataclass_decoder(value_type: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(value_type)
    members = {each.name: _decoder(hints[each.name]) for each in fields(value_type)}
    return lambda data: value_type(
        **{name: members[name](value) for name, value in data.items() if name in members}
    )


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} names no offset")
    return at


def _checked(value_type: type, data: Any) -> Any:
    if not isinstance(data, value_type):
        raise TypeError(f"{data!r} is not {value_type.__name__}")
    return data


_PLAIN: dict[Any, Callable[[Any], Any]] = {
    datetime: _instant,
    timedelta: lambda seconds: timedelta(seconds=seconds),
    float: float,
}
