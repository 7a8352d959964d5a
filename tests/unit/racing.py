"""Other writers, who touch a row at the worst moment."""

from collections.abc import Callable
from itertools import count

from shared.ports import Row
from tests.fakes import MemoryTable

EACH_TIME = 1_000_000


def overtake(
    table: MemoryTable,
    key: str,
    times: int = 1,
    *,
    by: Callable[[Row], Row] = lambda row: row,
    before: str = "replace",
) -> Callable[[], int]:
    """Have another writer write a row right before each of the next writes to it; count them."""
    real, tried = getattr(table, before), count()
    overtaken = 0

    def late(row: Row) -> object:
        nonlocal overtaken
        held = table.rows.get((row.partition, row.key))
        if row.key.startswith(key) and held is not None and next(tried) < times:
            overtaken += 1
            table.upsert(by(held))
        return real(row)

    setattr(table, before, late)
    return lambda: overtaken
