"""Filters of Describe calls, and pages of their answers."""

import base64
import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from local.aws.errors import AwsError, invalid
from local.aws.values import Json

Item = TypeVar("Item")
Matcher = Callable[[Item], Sequence[str]]
_SMALLEST_PAGE, _LARGEST_PAGE = 5, 1000


def select(
    items: Iterable[Item],
    filters: Iterable[Mapping[str, Any]] | None,
    matchers: Mapping[str, Matcher[Item]],
    tags: Callable[[Item], Mapping[str, str]],
) -> list[Item]:
    """Return the items that satisfy every filter by one of its values."""
    found = list(items)
    for each in filters or ():
        values_of = _matcher(str(each.get("Name", "")), matchers, tags)
        wanted = [_pattern(value) for value in each.get("Values") or ()]
        found = [
            item
            for item in found
            if any(pattern.fullmatch(value) for value in values_of(item) for pattern in wanted)
        ]
    return found


@lru_cache(maxsize=4096)
def _pattern(value: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(value))


def _matcher(
    name: str,
    matchers: Mapping[str, Matcher[Item]],
    tags: Callable[[Item], Mapping[str, str]],
) -> Matcher[Item]:
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda item: [tags(item)[key]] if key in tags(item) else []
    if name == "tag-key":
        return lambda item: list(tags(item))
    if name not in matchers:
        raise invalid(f"The filter '{name}' is invalid")
    return matchers[name]


def page(items: Sequence[Json], params: Mapping[str, Any], limit: int) -> tuple[list[Json], str]:
    """Return one page and the token of the next; the service may always return fewer."""
    size = params.get("MaxResults")
    if size is not None and not _SMALLEST_PAGE <= size <= _LARGEST_PAGE:
        raise invalid(
            f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value between 5 and 1000."
        )
    start = _offset(params.get("NextToken"))
    stop = start + min(size or len(items) or 1, limit or len(items) or 1)
    token = base64.urlsafe_b64encode(str(stop).encode()).decode() if stop < len(items) else ""
    return list(items[start:stop]), token


def _offset(token: str | None) -> int:
    if not token:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token))
    except ValueError:
        raise AwsError("InvalidNextToken", "The token is not valid") from None
