"""Threads: independent pieces of work side by side."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from shared.ports import (
    Item,
    Result,
)

_SIDE_BY_SIDE = 8


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Run pieces of work in a few threads; the first error is raised once all have run.

    NB. The Functions host drops a log record whose thread does not carry the context of the
    invocation, so each piece runs in a copy of it.
    """
    pieces = list(items)
    if len(pieces) <= 1:
        return [work(piece) for piece in pieces]
    with ThreadPoolExecutor(min(_SIDE_BY_SIDE, len(pieces))) as pool:
        futures = [pool.submit(copy_context().run, work, piece) for piece in pieces]
    return [future.result() for future in futures]
