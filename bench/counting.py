"""Counting: writes in the simulator's log, rows that a table is asked for."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from bench.place import Json
from shared.ports import Row, Table, Tables, Value, Write

_READS = {"GET", "HEAD"}


@dataclass(frozen=True)
class Writes:
    """How many writes a caller sent, and how many of them were taken."""

    sent: int
    taken: int


def count_writes(calls: Iterable[Json], caller: str) -> Writes:
    """Count a caller's writes in a piece of the log."""
    statuses = [
        call["status"]
        for call in calls
        if call["caller"] == caller and call["method"] not in _READS
    ]
    return Writes(len(statuses), sum(200 <= status < 300 for status in statuses))


def count_calls(calls: Iterable[Json], caller: str, name: str) -> Json:
    """Return the writes and reads of a caller as figures whose names begin with `name`."""
    listed = [call for call in calls if call["caller"] == caller]
    writes = count_writes(listed, caller)
    reads = sum(call["method"] in _READS for call in listed)
    return {f"{name}_sent": writes.sent, f"{name}_taken": writes.taken, f"{name}_reads": reads}


@dataclass
class Count:
    """Counts the calls of tables."""

    rows: int = 0
    calls: Counter[str] = field(default_factory=Counter)


class CountingTable:
    """A table that counts the rows it gives out and the calls it takes."""

    def __init__(self, table: Table, name: str, count: Count) -> None:
        self._table = table
        self._name = name
        self._count = count

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row."""
        self._called("get", 1)
        return self._table.get(partition, key)

    def query(
        self,
        partition: str,
        *,
        start: str = "",
        stop: str = "",
        limit: int = 0,
        columns: Sequence[str] = (),
    ) -> list[Row]:
        """Read a partition's rows."""
        found = self._table.query(partition, start=start, stop=stop, limit=limit, columns=columns)
        self._called("query", len(found))
        return found

    def scan(self, start: str, stop: str, *, limit: int = 0, **equal: Value) -> list[Row]:
        """Read rows of several partitions."""
        found = self._table.scan(start, stop, limit=limit, **equal)
        self._called("scan", len(found))
        return found

    def insert(self, row: Row) -> str:
        """Add a row."""
        self._called("insert", 0)
        return self._table.insert(row)

    def replace(self, row: Row) -> str:
        """Write over a version."""
        self._called("replace", 0)
        return self._table.replace(row)

    def upsert(self, row: Row) -> str:
        """Write a row."""
        self._called("upsert", 0)
        return self._table.upsert(row)

    def delete(self, row: Row) -> None:
        """Remove a version."""
        self._called("delete", 0)
        self._table.delete(row)

    def remove(self, row: Row) -> None:
        """Remove a row."""
        self._called("remove", 0)
        self._table.remove(row)

    def transact(self, writes: Sequence[Write]) -> list[str]:
        """Make writes to rows of one partition."""
        self._called("transact", 0)
        return self._table.transact(writes)

    def _called(self, what: str, rows: int) -> None:
        self._count.calls[f"{self._name}.{what}"] += 1
        self._count.rows += rows


class CountingTables:
    """The app's tables, counted together."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.count = Count()

    @cached_property
    def policies(self) -> Table:
        """Return the table of policies."""
        return CountingTable(self._tables.policies, "policies", self.count)

    @cached_property
    def requests(self) -> Table:
        """Return the table of requests."""
        return CountingTable(self._tables.requests, "requests", self.count)

    @cached_property
    def firewalls(self) -> Table:
        """Return the table of firewalls."""
        return CountingTable(self._tables.firewalls, "firewalls", self.count)

    @cached_property
    def due(self) -> Table:
        """Return the table of what is due."""
        return CountingTable(self._tables.due, "due", self.count)

    @cached_property
    def activity(self) -> Table:
        """Return the table of activity."""
        return CountingTable(self._tables.activity, "activity", self.count)
