"""The rows by which requests are found: by person, by VM, by status, and what awaits approval.

Each partition lists ids of requests, newest first. A row is written before the request says what
the row says, and goes after. A reader checks each row against its request, so a row that a crash
left over is never believed.
"""

from contextlib import suppress

from shared.domain.approval import pending
from shared.domain.ids import digest, key_of
from shared.domain.model import AccessRequest, Status
from shared.domain.request import overall_status
from shared.ports import OutsideError, Row, RowChangedError, Table, Telemetry

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


class IndexRows:
    """The index of requests, in the table of requests."""

    def __init__(self, table: Table, telemetry: Telemetry | None = None) -> None:
        self._table = table
        self._telemetry = telemetry

    def note(self, request: AccessRequest) -> None:
        """List a request wherever it belongs."""
        for row in index_rows_of(request):
            self._table.upsert(row)

    def note_missing(self, request: AccessRequest) -> int:
        """List a request wherever it belongs and is not listed; return how many rows were missing."""
        key, added = order_key(request.id), 0
        for partition in sorted(partitions_of(request)):
            if self._table.get(partition, key) is None:
                self._table.upsert(_row(partition, request.id))
                added += 1
        return added

    def prepare_move(self, old: AccessRequest, new: AccessRequest) -> list[Row]:
        """List a request where a change moves it; return the rows to remove after the change.

        NB. The rows are read before the change: a row that another writer notes again meanwhile
        has another version, and stays. What fails here must not keep a request from closing:
        reconcile lists again what is missing.
        """
        before, after = partitions_of(old), partitions_of(new)
        key = order_key(new.id)
        try:
            for partition in sorted(after - before):
                self._table.upsert(_row(partition, new.id))
            held = [self._table.get(partition, key) for partition in sorted(before - after)]
        except OutsideError as error:
            if self._telemetry is not None:
                self._telemetry.fault("jit.index.failed", error, request=new.id)
            return []
        return [row for row in held if row is not None]

    def remove(self, rows: list[Row]) -> None:
        """Remove rows as they were read; one that cannot be removed is removed by a reader."""
        for row in rows:
            with suppress(OutsideError, RowChangedError):
                self._table.delete(row)

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
