"""Results as text, JSON, a table or tab-separated values."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from jit_access.commands.exits import CommandError

Row = Mapping[str, Any]
Columns = Mapping[str, Callable[[Any], str]]


@dataclass(frozen=True)
class Result:
    """A result: as JSON, and how people read it."""

    data: Any
    text: str = ""
    columns: Columns = field(default_factory=dict)
    empty: str = "Nothing found."


def write(result: Result, form: str, query: str | None) -> None:
    """Write a result to stdout."""
    if query is not None:
        _write_queried(_searched(result.data, query), form)
    elif form == "json":
        _print(_json(result.data))
    elif form == "tsv":
        _print(_lines(_cells(result.data, result.columns), "\t"))
    elif result.columns and (form == "table" or not result.text):
        rows = _cells(result.data, result.columns)
        _print(_aligned([list(result.columns), *rows]) if rows else result.empty)
    else:
        _print(result.text or _json(result.data))


def _print(text: str) -> None:
    if text:
        click.echo(text)


def _json(data: Any) -> str:
    text = json.dumps(data, indent=2, ensure_ascii=False)
    return "".join(_escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    """Escape what could move the cursor and JSON lets stand, such as U+009B."""
    harmless = letter.isprintable() or letter == "\n"
    return letter if harmless else json.dumps(letter)[1:-1]


def _searched(data: Any, query: str) -> Any:
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        return jmespath.search(query, data)
    except JMESPathError as error:
        message = str(error).splitlines()[0]
        raise CommandError(
            f"--query: {message}", "See https://jmespath.org/tutorial.html"
        ) from None


def _write_queried(found: Any, form: str) -> None:
    if form == "json":
        _print(_json(found))
        return
    rows = [_values(cell) for cell in found] if isinstance(found, list) else [_values(found)]
    heads = list(found[0]) if isinstance(found, list) and found and _is_row(found[0]) else []
    if form == "table":
        _print(_aligned([heads, *rows] if heads else rows))
    else:
        _print(_lines(rows, "\t"))


def _is_row(value: Any) -> bool:
    return isinstance(value, Mapping)


def _values(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [_plain(cell) for cell in value.values()]
    return [_plain(cell) for cell in value] if isinstance(value, list) else [_plain(value)]


def _plain(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(text)


def printable(text: str) -> str:
    """Replace what could move the cursor or break a line: texts of others reach the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _cells(data: Any, columns: Columns) -> list[list[str]]:
    rows = data if isinstance(data, list) else [data]
    if not columns:
        return [_values(row) for row in rows]
    return [[printable(read(row)) for read in columns.values()] for row in rows]


def _lines(rows: Sequence[Sequence[str]], separator: str) -> str:
    return "\n".join(separator.join(row) for row in rows)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    count = max(len(row) for row in rows)
    widths = [max(len(row[n]) for row in rows if n < len(row)) for n in range(count)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
