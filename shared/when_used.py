"""Parts that are made, and their SDKs imported, when they are first used."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

Part = TypeVar("Part")


def when_used(make: Callable[[], Part]) -> Part:
    """Return a stand-in for a part. It calls `make` whenever an attribute of it is read."""
    return cast("Part", _WhenUsed(make))


class _WhenUsed:
    """A stand-in that passes every attribute through to the part."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Any:
        return getattr(self._make(), name)
