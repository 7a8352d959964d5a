"""The rows of closed accesses through Bastion whose sessions are still to be disconnected.

They stand in a partition of their own, which no sweep reads: no close depends on them.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from shared.domain.ids import digest, key_of
from shared.domain.times import format_sortable
from shared.ports import Row, RowChangedError, RowExistsError, Table, Telemetry
from shared.store.codec import UnreadableRowError, pack, unpack

_PARTITION = "bastion-closes"


@dataclass(frozen=True)
class BastionClose:
    """A port request through Bastion that is proven closed, and what was done about its sessions.

    `looks` counts the runs that looked at it. `asked` holds the ids of the sessions that the host
    was asked to disconnect.
    """

    request_id: str
    vm_id: str
    port: int
    host_id: str
    closed_at: datetime
    looks: int = 0
    asked: tuple[str, ...] = ()
    asked_at: datetime | None = None
    version: str = ""


class BastionCloseRows:
    """The timer's rows; a row stays until the sessions have ended or are given up."""

    def __init__(self, table: Table, telemetry: Telemetry) -> None:
        self._table = table
        self._telemetry = telemetry

    def note(self, close: BastionClose) -> None:
        """Note a close. A repeat changes nothing."""
        with suppress(RowExistsError):
            self._table.insert(_row(close))

    def first(self, limit: int) -> list[BastionClose]:
        """Read the oldest closes, those looked at least first; drop what cannot be decoded."""
        rows = self._table.query(_PARTITION, limit=limit)
        closes = [close for close in map(self._decoded, rows) if close is not None]
        return sorted(closes, key=lambda close: close.looks)

    def replace(self, close: BastionClose) -> BastionClose:
        """Replace the row that was read with its result; raises RowChangedError."""
        return replace(close, version=self._table.replace(_row(close)))

    def remove(self, close: BastionClose) -> None:
        """Take a close off, unless another writer has changed its row."""
        with suppress(RowChangedError):
            self._table.delete(_row(close))

    def _decoded(self, row: Row) -> BastionClose | None:
        try:
            return replace(unpack(BastionClose, row.values), version=row.version)
        except UnreadableRowError as error:
            self._telemetry.fault("jit.row.unreadable", error, row=row.key)
            with suppress(RowChangedError):
                self._table.delete(row)
            return None


def _row(close: BastionClose) -> Row:
    subject = digest(close.request_id, key_of(close.vm_id), str(close.port))
    key = f"{format_sortable(close.closed_at)}|{subject}"
    return Row(_PARTITION, key, pack(replace(close, version="")), close.version)
