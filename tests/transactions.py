"""A transaction on a table in memory: all of its writes are made, or none."""

from collections.abc import MutableMapping, Sequence

from shared.ports import MOST_WRITES, OutsideError, Row, RowChangedError, Table, Verb, Write

Rows = MutableMapping[tuple[str, str], Row]


def all_or_none(table: Table, rows: Rows, writes: Sequence[Write]) -> list[str]:
    """Make each write by the table's own method; where one fails, take back those before it."""
    places = [(write.row.partition, write.row.key) for write in writes]
    if not writes or len(writes) > MOST_WRITES or len({place[0] for place in places}) > 1:
        raise OutsideError("InvalidInput: a transaction takes 1 to 100 rows of one partition")
    if len(set(places)) < len(places):
        raise OutsideError("InvalidDuplicateRow")
    before: dict[tuple[str, str], Row | None] = {}
    versions = []
    try:
        for place, write in zip(places, writes, strict=True):
            held = rows.get(place)
            _require_what_goes(write, held)
            before[place] = held
            versions.append(str(getattr(table, write.verb.value)(write.row) or ""))
    except BaseException:
        _take_back(rows, before)
        raise
    return versions


def _require_what_goes(write: Write, held: Row | None) -> None:
    if held is None and write.verb in {Verb.DELETE, Verb.REMOVE}:
        raise RowChangedError(write.row.key)


def _take_back(rows: Rows, before: dict[tuple[str, str], Row | None]) -> None:
    for place, held in before.items():
        if held is None:
            rows.pop(place, None)
        else:
            rows[place] = held
