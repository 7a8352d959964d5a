"""Time and threads: what use cases get in place of a clock of their own."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol, TypeVar

Clock = Callable[[], datetime]
Sleep = Callable[[float], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers(Protocol):
    """Run independent pieces of work side by side."""

    def __call__(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Return the results in order; each piece handles its own errors."""
        ...
