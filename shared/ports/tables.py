"""Tables of rows: the ports that stores read and write through."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

Value = str | int | bool | float


@dataclass(frozen=True)
class Row:
    """One stored row; `version` is its etag."""

    partition: str
    key: str
    values: Mapping[str, Value]
    version: str = ""


class Verb(Enum):
    """How a transaction writes a row."""

    INSERT = "insert"
    REPLACE = "replace"
    UPSERT = "upsert"
    DELETE = "delete"
    REMOVE = "remove"


@dataclass(frozen=True)
class Write:
    """One write of a transaction; the verb names the method of the table that writes alike."""

    verb: Verb
    row: Row


MOST_WRITES = 100  # of one transaction


class RowExistsError(Exception):
    """An insert found its place taken."""


class RowChangedError(Exception):
    """A write found the row changed, or gone, since it was read."""


class Table(Protocol):
    """A table of rows by partition and key. A failed or partial answer raises, always."""

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row; None only if the store says that there is none."""
        ...

    def query(
        self,
        partition: str,
        *,
        start: str = "",
        stop: str = "",
        limit: int = 0,
        columns: Sequence[str] = (),
    ) -> list[Row]:
        """Read a partition's rows with start <= key < stop, in key order; limit 0: all.

        With columns, a row comes with its keys, its version and these of its values alone.
        """
        ...

    def scan(self, start: str, stop: str, *, limit: int = 0, **equal: Value) -> list[Row]:
        """Read the rows with start <= partition < stop whose values equal the given ones.

        They come by partition and key; limit 0: all.
        """
        ...

    def insert(self, row: Row) -> str:
        """Add a row and return its version; raises RowExistsError."""
        ...

    def replace(self, row: Row) -> str:
        """Write over the version that was read; raises RowChangedError."""
        ...

    def upsert(self, row: Row) -> str:
        """Write a row whatever was there."""
        ...

    def delete(self, row: Row) -> None:
        """Remove the version that was read; a row that is gone is fine. RowChangedError."""
        ...

    def remove(self, row: Row) -> None:
        """Remove a row whatever its version; a row that is gone is fine."""
        ...

    def transact(self, writes: Sequence[Write]) -> list[str]:
        """Make writes to different rows of one partition, all or none; return their versions.

        At most MOST_WRITES, in 4 MB. Raises the error of the write that failed, with the key of
        its row; a row to be deleted or removed that is gone raises RowChangedError.
        """
        ...


class Tables(Protocol):
    """The tables of DESIGN section 5."""

    @property
    def policies(self) -> Table:
        """Policies and their VMs."""
        ...

    @property
    def requests(self) -> Table:
        """Requests, newest first within their policy."""
        ...

    @property
    def firewalls(self) -> Table:
        """Protections, grants and leases."""
        ...

    @property
    def due(self) -> Table:
        """The rows of what is due, by time."""
        ...

    @property
    def activity(self) -> Table:
        """The audit events."""
        ...
