"""The functions of the expression language, no kinder than the real ones.

Every argument is evaluated, that of `if`, `and`, `or` and `coalesce` too. A function that is given
the wrong type, or an index out of range, fails the action that asks for it.
"""

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from tests.logic_apps.expressions import ExpressionError, Function, as_text

LONGEST_TEXT = 131_072
_INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,7}))?(?:Z|\+00:00)", re.ASCII
)
# The custom format tokens that the workflows use.
_FORMATS = {"yyyy-MM-ddTHH:mm:ssZ": "%Y-%m-%dT%H:%M:%SZ", "yyyy-MM-dd": "%Y-%m-%d"}


def texts(function: Callable[..., Any]) -> Function:
    """Make a function refuse anything but texts."""

    def checked(*parts: Any) -> Any:
        for part in parts:
            text(part)
        return function(*parts)

    return checked


def text(held: Any) -> str:
    """Return a text, or fail: null is none."""
    if not isinstance(held, str):
        raise ExpressionError(f"a text is wanted, not {held!r}")
    return held


def number(held: Any) -> int | float:
    """Return a number, or fail: a text of digits and a boolean are none."""
    if isinstance(held, bool) or not isinstance(held, (int, float)):
        raise ExpressionError(f"a number is wanted, not {held!r}")
    return held


def boolean(held: Any) -> bool:
    """Return a boolean, or fail."""
    if not isinstance(held, bool):
        raise ExpressionError(f"true or false is wanted, not {held!r}")
    return held


def sized(held: Any) -> Any:
    """Return a text or an array, or fail."""
    if not isinstance(held, (str, list)):
        raise ExpressionError(f"a text or an array is wanted, not {held!r}")
    return held


def bounded(held: str) -> str:
    """Return a text that is not longer than an evaluation may yield, or fail."""
    if len(held) > LONGEST_TEXT:
        raise ExpressionError(f"a text of {len(held)} characters; {LONGEST_TEXT} is the limit")
    return held


def instant(held: Any) -> datetime:
    """Read a timestamp, or fail: a 30th of February is none."""
    match = _INSTANT.fullmatch(text(held))
    if match is None:
        raise ExpressionError(f"{held!r} is no ISO 8601 timestamp")
    *parts, fraction = match.groups()
    micros = int((fraction or "0").ljust(7, "0")[:6])
    try:
        year, month, day, hour, minute, second = map(int, parts)
        return datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
    except ValueError as error:
        raise ExpressionError(f"{held!r} is no timestamp: {error}") from None


def written(at: datetime) -> str:
    """Write a timestamp as utcNow() does."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def _add_minutes(at: Any, minutes: Any) -> str:
    if isinstance(minutes, bool) or not isinstance(minutes, int):
        raise ExpressionError(f"whole minutes are wanted, not {minutes!r}")
    return written(instant(at) + timedelta(minutes=minutes))


def _format(at: Any, form: Any) -> str:
    if form not in _FORMATS:
        raise ExpressionError(f"the format {form!r} is not known here")
    found = instant(at)
    # strftime leaves the zeros of an early year out.
    return found.strftime(_FORMATS[form]).rjust(len(form), "0")


def _substring(held: Any, start: Any, length: Any = None) -> str:
    length = len(text(held)) - start if length is None else length
    if number(start) < 0 or number(length) < 0 or start + length > len(held):
        raise ExpressionError(f"substring({start}, {length}) of {len(held)} characters")
    return str(held[start : start + length])


def _compare(test: Callable[[Any, Any], bool]) -> Function:
    def compared(left: Any, right: Any) -> bool:
        if not (isinstance(left, str) and isinstance(right, str)):
            number(left)
            number(right)
        return test(left, right)

    return compared


def _int(held: Any) -> int:
    if isinstance(held, bool) or not isinstance(held, (str, int, float)):
        raise ExpressionError(f"{held!r} is no number")
    if isinstance(held, str) and re.fullmatch(r"\s*[+-]?\d+\s*", held, re.ASCII) is None:
        raise ExpressionError(f"{held!r} is no whole number")
    return int(held)


def _contains(held: Any, part: Any) -> bool:
    if isinstance(held, str):
        return text(part) in held
    if not isinstance(held, (list, dict)):
        raise ExpressionError(f"contains() of {held!r}")
    return part in held


def _choice(test: Any, good: Any, bad: Any) -> Any:
    return good if boolean(test) else bad


def _all(*parts: Any) -> bool:
    found = [boolean(part) for part in parts]
    return all(found)


def _any(*parts: Any) -> bool:
    found = [boolean(part) for part in parts]
    return any(found)


def _end(held: Any, index: int) -> Any:
    return sized(held)[index] if sized(held) else None


def _join(parts: Any, between: Any) -> str:
    if not isinstance(parts, list):
        raise ExpressionError(f"an array is wanted, not {parts!r}")
    return bounded(text(between).join(map(as_text, parts)))


def _path_and_query(address: Any) -> str:
    found = urlsplit(text(address))
    if not found.netloc:
        raise ExpressionError(f"{address!r} is no absolute address")
    return (found.path or "/") + (f"?{found.query}" if found.query else "")


def _string(held: Any) -> str:
    return bounded(held if isinstance(held, str) else json.dumps(held))


PURE: dict[str, Function] = {
    "add": lambda left, right: number(left) + number(right),
    "addMinutes": _add_minutes,
    "and": _all,
    "base64ToString": texts(lambda held: base64.b64decode(held, validate=True).decode()),
    "coalesce": lambda *parts: next((part for part in parts if part is not None), None),
    "concat": lambda *parts: bounded("".join(as_text(part) for part in parts)),
    "contains": _contains,
    "createArray": lambda *parts: list(parts),
    "empty": lambda held: held is None or len(held) == 0,
    "encodeURIComponent": texts(lambda held: quote(held, safe="-_.!~*'()")),
    "endsWith": texts(lambda held, end: held.lower().endswith(end.lower())),
    "equals": lambda left, right: type(left) is type(right) and left == right,
    "first": lambda held: _end(held, 0),
    "formatDateTime": _format,
    "greater": _compare(lambda left, right: left > right),
    "greaterOrEquals": _compare(lambda left, right: left >= right),
    "if": _choice,
    "indexOf": texts(lambda held, part: held.lower().find(part.lower())),
    "int": _int,
    "join": _join,
    "last": lambda held: _end(held, -1),
    "length": lambda held: len(sized(held)),
    "less": _compare(lambda left, right: left < right),
    "lessOrEquals": _compare(lambda left, right: left <= right),
    "mod": lambda left, right: number(left) % number(right),
    "mul": lambda left, right: number(left) * number(right),
    "not": lambda held: not boolean(held),
    "or": _any,
    "replace": texts(lambda held, old, new: held.replace(old, new)),
    "skip": lambda held, count: sized(held)[number(count) :],
    "split": texts(lambda held, between: held.split(between)),
    "startsWith": texts(lambda held, start: held.lower().startswith(start.lower())),
    "string": _string,
    "sub": lambda left, right: number(left) - number(right),
    "substring": _substring,
    "take": lambda held, count: sized(held)[: number(count)],
    "toLower": texts(str.lower),
    "toUpper": texts(str.upper),
    "uriPathAndQuery": _path_and_query,
}
