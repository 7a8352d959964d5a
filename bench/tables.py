"""Tables for the sweep: one in memory that reads ranges as Table Storage does, and bulk loads."""

import bisect
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from azure.data.tables import TableClient, TableServiceClient

from shared.ports import Row, RowChangedError, RowExistsError, Value, Verb, Write

_MOST_IN_ONE = 100  # rows in one transaction


def _narrowed(row: Row, columns: Sequence[str]) -> Row:
    values = {name: value for name, value in row.values.items() if name in columns}
    return replace(row, values=values)


class SortedTable:
    """A table in memory whose partitions are kept in key order, so that a range is a seek."""

    def __init__(self) -> None:
        self._keys: dict[str, list[str]] = {}
        self._rows: dict[tuple[str, str], Row] = {}
        self._versions = itertools.count(1)

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row."""
        return self._rows.get((partition, key))

    def query(
        self,
        partition: str,
        *,
        start: str = "",
        stop: str = "",
        limit: int = 0,
        columns: Sequence[str] = (),
    ) -> list[Row]:
        """Read a partition's rows in key order."""
        keys = self._keys.get(partition, [])
        first = bisect.bisect_left(keys, start)
        last = bisect.bisect_left(keys, stop) if stop else len(keys)
        wanted = keys[first : min(last, first + limit) if limit else last]
        rows = [self._rows[partition, key] for key in wanted]
        return [_narrowed(row, columns) for row in rows] if columns else rows

    def scan(self, start: str, stop: str, **equal: Value) -> list[Row]:
        """Read the rows of several partitions whose values equal the given ones."""
        return [
            row
            for partition in sorted(self._keys)
            if start <= partition < stop
            for row in self.query(partition)
            if all(row.values.get(name) == value for name, value in equal.items())
        ]

    def insert(self, row: Row) -> str:
        """Add a row."""
        if (row.partition, row.key) in self._rows:
            raise RowExistsError(row.key)
        return self.upsert(row)

    def replace(self, row: Row) -> str:
        """Write over the version that was read."""
        self._require(row)
        return self.upsert(row)

    def upsert(self, row: Row) -> str:
        """Write a row whatever was there."""
        if (row.partition, row.key) not in self._rows:
            bisect.insort(self._keys.setdefault(row.partition, []), row.key)
        version = f'W/"{next(self._versions)}"'
        self._rows[row.partition, row.key] = replace(row, version=version)
        return version

    def delete(self, row: Row) -> None:
        """Remove the version that was read; a row that is gone is fine."""
        if (row.partition, row.key) in self._rows:
            self._require(row)
            del self._rows[row.partition, row.key]
            keys = self._keys[row.partition]
            del keys[bisect.bisect_left(keys, row.key)]

    def remove(self, row: Row) -> None:
        """Remove a row whatever its version; a row that is gone is fine."""
        held = self._rows.get((row.partition, row.key))
        if held is not None:
            self.delete(held)

    def transact(self, writes: Sequence[Write]) -> list[str]:
        """Make writes to rows of one partition; no other writer uses this table.

        Each is judged before the first is made, so that all are made, or none.
        """
        for write in writes:
            held = self._rows.get((write.row.partition, write.row.key))
            if write.verb is Verb.INSERT and held is not None:
                raise RowExistsError(write.row.key)
            if write.verb in {Verb.REPLACE, Verb.DELETE}:
                self._require(write.row)
            if write.verb is Verb.REMOVE and held is None:
                raise RowChangedError(write.row.key)
        return [str(getattr(self, write.verb.value)(write.row) or "") for write in writes]

    def load(self, rows: Iterable[Row]) -> None:
        """Add many rows."""
        for row in rows:
            self._keys.setdefault(row.partition, []).append(row.key)
            self._rows[row.partition, row.key] = replace(row, version=f'W/"{next(self._versions)}"')
        for keys in self._keys.values():
            keys.sort()

    def _require(self, row: Row) -> None:
        held = self._rows.get((row.partition, row.key))
        if held is None or held.version != row.version:
            raise RowChangedError(row.key)


@dataclass
class SortedTables:
    """The app's tables in memory."""

    policies: SortedTable = field(default_factory=SortedTable)
    requests: SortedTable = field(default_factory=SortedTable)
    firewalls: SortedTable = field(default_factory=SortedTable)
    due: SortedTable = field(default_factory=SortedTable)
    activity: SortedTable = field(default_factory=SortedTable)

    def load(self, rows: dict[str, list[Row]]) -> None:
        """Add many rows to each table."""
        for name, those in rows.items():
            table: SortedTable = getattr(self, name)
            table.load(those)


class Collected(SortedTable):
    """Takes the rows that the app's own stores write, to be loaded in bulk elsewhere."""

    @property
    def rows(self) -> list[Row]:
        """Return everything that was written."""
        return list(self._rows.values())


def load_azure(connection: str, rows: dict[str, list[Row]]) -> None:
    """Add many rows to each of the app's tables in storage."""
    service = TableServiceClient.from_connection_string(connection)
    for name, those in rows.items():
        load_entities(service.get_table_client(name), [_entity(row) for row in those])


def load_entities(client: TableClient, entities: Sequence[dict[str, Value]]) -> None:
    """Add many entities, a transaction for each hundred of a partition."""
    in_order = sorted(entities, key=lambda each: str(each["PartitionKey"]))
    for _, same in groupby(in_order, key=lambda each: each["PartitionKey"]):
        left = list(same)
        for at in range(0, len(left), _MOST_IN_ONE):
            client.submit_transaction([("create", each) for each in left[at : at + _MOST_IN_ONE]])


def _entity(row: Row) -> dict[str, Value]:
    return {"PartitionKey": row.partition, "RowKey": row.key, **row.values}
