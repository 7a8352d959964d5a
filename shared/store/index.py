"""The rows by which requests are found: by person, by VM, by status, and what awaits approval.

Each partition lists ids of requests, newest first. A row is written before the request says what
the row says, and goes after. A reader checks each row against its request, so a row that a crash
left over is never believed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from shared.domain.approval import pending
from shared.domain.ids import digest, key_of
from shared.domain.model import AccessRequest, Status
from shared.domain.request import overall_status
from shared.ports import OutsideError, Row, Table, Telemetry, Verb, Workers, Write
from shared.store.together import in_turn, raise_first, upsert, write_together

# NB. Retention of the version before this one passes over partitions that begin with `live|`.
INDEX = "live|index|"
AWAITING = f"{INDEX}awaiting"


def person_partition(principal_key: str) -> str:
    """Return the partition of what a person requested, or an app carried."""
    return f"{INDEX}person|{digest(principal_key)}"


def vm_partition(vm_id: str) -> str:
    """Return the partition of the requests that name a VM."""
    return f"{INDEX}vm|{digest(key_of(vm_id))}"


def status_partition(status: Status) -> str:
    """Return the partition of the requests with a status."""
    return f"{INDEX}status|{status.value}"


def order_key(request_id: str) -> str:
    """Return the key that sorts requests newest first, whichever policy they belong to."""
    return f"{request_id.partition('-')[2]}|{request_id}"


def id_of(key: str) -> str:
    """Return the id of the request that a key names."""
    return key.partition("|")[2]


def partitions_of(request: AccessRequest) -> frozenset[str]:
    """Return the partitions in which a request is listed as it is now."""
    people = {request.requestor.key} | ({request.relayed_by.key} if request.relayed_by else set())
    found = {person_partition(each) for each in people}
    found |= {vm_partition(port.vm_id) for port in request.ports}
    found.add(status_partition(overall_status(request)))
    return frozenset(found | {AWAITING} if pending(request) else found)


def index_rows_of(request: AccessRequest) -> list[Row]:
    """Return the rows that list a request wherever it belongs."""
    return [_row(partition, request.id) for partition in sorted(partitions_of(request))]


@dataclass(frozen=True)
class _Move:
    """The partitions that list a request before a change and after it."""

    before: frozenset[str]
    after: frozenset[str]
    request_id: str

    @property
    def added(self) -> list[Row]:
        return [_row(each, self.request_id) for each in sorted(self.after - self.before)]

    @property
    def removed(self) -> list[Row]:
        return [_row(each, self.request_id) for each in sorted(self.before - self.after)]


class IndexRows:
    """The index of requests, in the table of requests."""

    def __init__(
        self, table: Table, telemetry: Telemetry | None = None, workers: Workers = in_turn
    ) -> None:
        self._table = table
        self._telemetry = telemetry
        self._workers = workers

    def note(self, request: AccessRequest) -> None:
        """List a request wherever it belongs."""
        raise_first(write_together(self._table, map(upsert, index_rows_of(request)), self._workers))

    def note_missing(self, request: AccessRequest) -> int:
        """List a request wherever it belongs and is not listed; return how many rows were missing."""
        key, added = order_key(request.id), 0
        for partition in sorted(partitions_of(request)):
            if self._table.get(partition, key) is None:
                self._table.upsert(_row(partition, request.id))
                added += 1
        return added

    def prepare_moves(
        self, changes: Sequence[tuple[AccessRequest, AccessRequest]]
    ) -> list[list[Row]]:
        """List requests where changes move them; return for each the rows to remove after it.

        NB. A status is never come back to, so its row needs no version to be removed. A request
        may await approval again: that row is read before the change, and a row that another
        writer notes again meanwhile has another version, and stays. A failure here must not keep
        a request from closing: reconcile lists missing rows again.
        """
        moves = [_Move(partitions_of(old), partitions_of(new), new.id) for old, new in changes]
        writes = [upsert(row) for move in moves for row in move.added]
        written = iter(write_together(self._table, writes, self._workers))
        failed = {
            move.request_id: each
            for move in moves
            for each in islice(written, len(move.added))
            if isinstance(each, Exception)
        }
        return [self._left_by(move, failed.get(move.request_id)) for move in moves]

    def _left_by(self, move: "_Move", failed: Exception | None) -> list[Row]:
        if failed is None:
            try:
                return [row for row in map(self._as_read, move.removed) if row is not None]
            except OutsideError as error:
                failed = error
        if self._telemetry is not None:
            self._telemetry.fault("jit.index.failed", failed, request=move.request_id)
        return []

    def _as_read(self, row: Row) -> Row | None:
        return self._table.get(row.partition, row.key) if row.partition == AWAITING else row

    def remove(self, rows: Iterable[Row]) -> None:
        """Remove rows of former states; one that cannot be removed is removed by a reader."""
        writes = [Write(Verb.DELETE if row.version else Verb.REMOVE, row) for row in rows]
        write_together(self._table, writes, self._workers)

    def purge(self, request: AccessRequest) -> None:
        """Remove every row of a request that is about to be purged."""
        everywhere = {*map(status_partition, Status), AWAITING, *partitions_of(request)}
        for partition in sorted(everywhere):
            row = self._table.get(partition, order_key(request.id))
            if row is not None:
                self._table.delete(row)

    def read(self, partition: str, start: str, stop: str, limit: int) -> list[Row]:
        """Read a partition's rows with start <= key < stop, newest request first."""
        return self._table.query(partition, start=start, stop=stop, limit=limit)


def _row(partition: str, request_id: str) -> Row:
    return Row(partition, order_key(request_id), {"request": request_id})
