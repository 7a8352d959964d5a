"""Read request bodies as strictly as the network provider does.

The provider refuses members it does not know ("Could not find member ...", recorded for a
load balancer probe). Its reader is Newtonsoft's, whose manners are copied: member names and
enumerations in any letter case, numbers for strings and the other way round, null for absent.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local.arm.errors import ArmError, front_door, invalid_json

Reader = Callable[[Any, str, "Source"], Any]


@dataclass(frozen=True)
class Source:
    """The text a body was read from, for the positions in error messages."""

    text: str

    def position_after(self, member: str) -> str:
        """Return where a member's name ends, as Newtonsoft would count it."""
        at = self.text.find(f'"{member}"')
        end = self.text.find(":", at) + 1 if at >= 0 else 0
        line = self.text.count("\n", 0, end) + 1
        column = end - (self.text.rfind("\n", 0, end) + 1)
        return f"line {line}, position {column}"


@dataclass(frozen=True)
class Shape:
    """An object: the name the provider gives it, and a reader for each member.

    Where not every member is modelled, those that are not are kept as they are.
    """

    name: str
    members: Mapping[str, Reader]
    keeps_others: bool = False

    def __call__(self, value: Any, path: str, source: Source) -> dict[str, Any]:
        """Return the object with members named as the API names them, nulls left out."""
        if not isinstance(value, dict):
            raise _cannot_convert(value, self.name, path, source)
        known = {member.lower(): member for member in self.members}
        clean: dict[str, Any] = {}
        for given, item in value.items():
            member = known.get(given.lower())
            inner = f"{path}.{given}" if path else given
            if member is None and self.keeps_others:
                clean[given] = item
                continue
            if member is None:
                raise _unknown_member(given, self.name, inner, source)
            if item is not None:
                clean[member] = self.members[member](item, inner, source)
        return clean


def text(value: Any, path: str, source: Source) -> str:
    """Read a string; a number will do."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _cannot_convert(value, "string", path, source)


def integer(value: Any, path: str, source: Source) -> int:
    """Read an integer; a string of digits will do."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        return int(value)
    raise invalid_json(
        f"Could not convert string to integer: {value}. Path '{path}', "
        f"{source.position_after(_member(path))}."
    )


def boolean(value: Any, path: str, source: Source) -> bool:
    """Read a boolean."""
    if isinstance(value, bool):
        return value
    raise _cannot_convert(value, "boolean", path, source)


def anything(value: Any, path: str, source: Source) -> Any:
    """Read whatever is there."""
    del path, source
    return value


def tags(value: Any, path: str, source: Source) -> dict[str, str]:
    """Read resource tags: texts by name."""
    if not isinstance(value, dict):
        raise _cannot_convert(value, "tags", path, source)
    return {name: text(item, f"{path}.{name}", source) for name, item in value.items()}


def one_of(type_name: str, *values: str, keep_case: bool = False) -> Reader:
    """Make a reader of an enumeration."""
    known = {value.lower(): value for value in values}

    def read(value: Any, path: str, source: Source) -> str:
        if not isinstance(value, str) or value.lower() not in known:
            raise _not_in_enum(value, type_name, path, source)
        return value if keep_case else known[value.lower()]

    return read


def many(reader: Reader) -> Reader:
    """Make a reader of a list."""

    def read(value: Any, path: str, source: Source) -> list[Any]:
        if not isinstance(value, list):
            raise _cannot_convert(value, "list", path, source)
        return [reader(item, f"{path}[{at}]", source) for at, item in enumerate(value)]

    return read


def read_json(body: bytes) -> tuple[Any, Source]:
    """Parse a request body, refusing what ARM's front door refuses (text from memory)."""
    try:
        source = Source(body.decode("utf-8-sig"))
        return json.loads(source.text, parse_constant=_refuse_constant), source
    except (ValueError, RecursionError) as error:
        raise front_door(
            400,
            "InvalidRequestContent",
            f"The request content was invalid and could not be deserialized: '{error}'.",
        ) from error


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _member(path: str) -> str:
    return path.rsplit(".", 1)[-1].split("[", 1)[0]


def _unknown_member(given: str, shape: str, path: str, source: Source) -> ArmError:
    return invalid_json(
        f"Could not find member '{given}' on object of type '{shape}'. "
        f"Path '{path}', {source.position_after(given)}."
    )


def _not_in_enum(value: Any, type_name: str, path: str, source: Source) -> ArmError:
    return invalid_json(
        f"Error converting value {json.dumps(value)} to type '{type_name}'. "
        f"Path '{path}', {source.position_after(_member(path))}."
    )


def _cannot_convert(value: Any, wanted: str, path: str, source: Source) -> ArmError:
    type_name = type(value).__name__
    return invalid_json(
        f"Cannot convert a value of type {type_name} to type '{wanted}'. "
        f"Path '{path}', {source.position_after(_member(path))}."
    )
