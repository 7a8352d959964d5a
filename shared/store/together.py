"""Write rows together: one transaction for the rows of a partition, and one at a time where it fails.

A transaction merges writes that follow each other, and never puts one before another that must
come first: the caller writes in as many steps as there are orders to be kept.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from shared.ports import MOST_WRITES, Item, Result, Row, Table, Verb, Workers, Write

_MOST_BYTES = 3_000_000  # as the SDK writes JSON, below the 4 MB of a transaction
_FRAME = 1_000  # what a write takes in a transaction beside its row
Written = str | Exception  # the version of a row, or why it was not written


def write_together(
    table: Table, writes: Iterable[Write], workers: Workers | None = None
) -> list[Written]:
    """Write rows, those of a partition together; return each row's version, or why it failed.

    A row that cannot be written holds up no other: where a transaction fails, each of its rows is
    written once more by itself.
    """
    workers = workers or in_turn
    numbered = list(enumerate(writes))
    partitions: dict[str, list[tuple[int, Write]]] = {}
    for number, write in numbered:
        partitions.setdefault(write.row.partition, []).append((number, write))
    found: dict[int, Written] = {}
    for results in workers(
        lambda each: [_write_piece(table, piece, workers) for piece in _pieces(each)],
        partitions.values(),
    ):
        for result in results:
            found |= result
    return [found[number] for number, _ in numbered]


def in_turn(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Run pieces of work one after the other."""
    return [work(item) for item in items]


def errors_of(
    rows: Iterable[Row | None],
    written: Iterable[Written],
    *,
    fine: type[Exception] | None = None,
) -> list[Exception | None]:
    """Return for each row why it was not written; a row that is None was not to be written."""
    answers = iter(written)
    found: list[Exception | None] = []
    for row in rows:
        answer = None if row is None else next(answers)
        failed = isinstance(answer, Exception) and not (fine and isinstance(answer, fine))
        found.append(answer if failed and isinstance(answer, Exception) else None)
    return found


def call(piece: Callable[[], Any]) -> Any:
    """Make a call; with workers, calls are made side by side."""
    return piece()


def raise_first(written: Iterable[Written]) -> None:
    """Raise the first error of writes that were made together, if there is one."""
    for each in written:
        if isinstance(each, Exception):
            raise each


def insert(row: Row) -> Write:
    """Return the write that adds a row."""
    return Write(Verb.INSERT, row)


def replace_row(row: Row) -> Write:
    """Return the write over the version that was read."""
    return Write(Verb.REPLACE, row)


def upsert(row: Row) -> Write:
    """Return the write of a row whatever was there."""
    return Write(Verb.UPSERT, row)


def remove(row: Row) -> Write:
    """Return the removal of a row whatever its version."""
    return Write(Verb.REMOVE, row)


def _pieces(writes: Sequence[tuple[int, Write]]) -> list[list[tuple[int, Write]]]:
    """Cut the writes of a partition into what one transaction takes; each row is once in it."""
    pieces: list[list[tuple[int, Write]]] = []
    keys: set[str] = set()
    size = 0
    for each in writes:
        takes = _FRAME + len(json.dumps(dict(each[1].row.values)))
        full = len(keys) == MOST_WRITES or size + takes > _MOST_BYTES
        if not pieces or full or each[1].row.key in keys:
            pieces.append([])
            keys, size = set(), 0
        pieces[-1].append(each)
        keys.add(each[1].row.key)
        size += takes
    return pieces


def _write_piece(
    table: Table, piece: Sequence[tuple[int, Write]], workers: Workers
) -> dict[int, Written]:
    if len(piece) > 1:
        with suppress(Exception):  # which row is to blame shows when each is written alone
            versions = table.transact([write for _, write in piece])
            return {number: version for (number, _), version in zip(piece, versions, strict=True)}
    alone = workers(lambda each: _write_alone(table, each[1]), piece)
    return {number: written for (number, _), written in zip(piece, alone, strict=True)}


def _write_alone(table: Table, write: Write) -> Written:
    write_row = getattr(table, write.verb.value)
    try:
        return str(write_row(write.row) or "")
    except Exception as error:  # noqa: BLE001 - the caller says what it means for the others
        return error
