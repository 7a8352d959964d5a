"""The rows of access requests."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from shared.domain.model import (
    AccessRequest,
)
from shared.ports import (
    Row,
    RowChangedError,
    Table,
    Telemetry,
)
from shared.store.codec import UnreadableRowError
from shared.store.index import IndexRows, index_rows_of
from shared.store.keys import policy_key
from shared.store.live import LiveRows, live_rows_of
from shared.store.room import pack_request, unpack_request

_TRIES = 50


@dataclass(frozen=True)
class RequestRow:
    """A request and the version of its row."""

    request: AccessRequest
    version: str


class RequestRows:
    """Requests by id; a policy's newest come first."""

    def __init__(self, table: Table, telemetry: Telemetry | None = None) -> None:
        self._table = table
        self._telemetry = telemetry

    @property
    def index(self) -> IndexRows:
        """Return the rows by which requests are found."""
        return IndexRows(self._table, self._telemetry)

    def get(self, request_id: str) -> RequestRow | None:
        """Read a request."""
        row = self._table.get(*_request_place(request_id))
        return _request_row(row) if row else None

    def insert(self, request: AccessRequest) -> None:
        """List a new request and record it; raises RowExistsError."""
        self.index.note(request)
        self.insert_listed(request)

    def insert_listed(self, request: AccessRequest) -> None:
        """Record a new request whose lists were written; raises RowExistsError."""
        self._table.insert(_encode_request(request))

    def listings(
        self, request: AccessRequest, firewalls: Iterable[str]
    ) -> list[Callable[[], object]]:
        """Return the writes that list a new request; they may be made side by side."""
        rows = [*live_rows_of(request, firewalls), *index_rows_of(request)]
        return [partial(self._table.upsert, row) for row in rows]

    def change(
        self, request_id: str, step: Callable[[AccessRequest], AccessRequest]
    ) -> AccessRequest | None:
        """Apply one step of the lifecycle with one If-Match write; None: there is no such row.

        The step is a pure function and is applied anew to what another writer left there.
        """
        stored = self.get(request_id)
        changed = self.change_row(stored, step) if stored else None
        return changed.request if changed else None

    def change_row(
        self, stored: RequestRow, step: Callable[[AccessRequest], AccessRequest]
    ) -> RequestRow | None:
        """Apply one step to a request that the caller has just read; None: the row is gone."""
        request_id = stored.request.id
        for _ in range(_TRIES):
            changed = step(stored.request)
            if changed == stored.request:
                return stored
            row = replace(_encode_request(changed), version=stored.version)
            left = self.index.prepare_move(stored.request, changed)
            try:
                version = self._table.replace(row)
            except RowChangedError:
                read = self.get(request_id)
                if read is None:
                    return None
                stored = read
                continue
            self.index.remove(left)
            return RequestRow(changed, version)
        raise RowChangedError(f"request {request_id} changed {_TRIES} times while being written")

    @property
    def live_rows(self) -> LiveRows:
        """Return the rows of what is live."""
        return LiveRows(self._table)

    def note_live(self, request: AccessRequest, firewalls: Iterable[str] = ()) -> None:
        """List a request under its requestor and its VMs; the note comes before the request."""
        self.live_rows.note(request, firewalls)

    def forget_live(self, request: AccessRequest) -> None:
        """Take a request that has ended off the lists, and give back what it has reserved."""
        self.live_rows.forget(request)

    def forget_unmade(self, requestor: str, request_id: str) -> None:
        """Take off a requestor's list what stopped between the note and its request."""
        self.live_rows.forget_unmade(requestor, request_id)

    def live(self, *, vm_id: str = "", requestor: str = "") -> list[str]:
        """List the ids of the requests that may be live on a VM, or for a requestor."""
        return self.live_rows.of_vm(vm_id) if vm_id else self.live_rows.of_requestor(requestor)

    def newest(self, policy_id: str, limit: int) -> list[AccessRequest]:
        """List a policy's newest requests."""
        rows = self._table.query(policy_key(policy_id), limit=limit)
        return [_request_row(row).request for row in rows]

    def page(
        self, policy_id: str, start: str, stop: str, limit: int
    ) -> list[tuple[str, AccessRequest | None]]:
        """Read a policy's requests with start <= key < stop by id, newest first.

        A row that cannot be decoded counts as one without a request, and is reported.
        """
        rows = self._table.query(policy_key(policy_id), start=start, stop=stop, limit=limit)
        return [(f"{row.partition}-{row.key}", self._decoded(row)) for row in rows]

    def _decoded(self, row: Row) -> AccessRequest | None:
        try:
            return _request_row(row).request
        except UnreadableRowError as error:
            if self._telemetry is not None:
                self._telemetry.fault("jit.row.unreadable", error, row=row.key)
            return None


def _request_place(request_id: str) -> tuple[str, str]:
    partition, _, key = request_id.partition("-")
    return partition, key


def _encode_request(request: AccessRequest) -> Row:
    partition, key = _request_place(request.id)
    return Row(partition, key, {"requestor": request.requestor.key, **pack_request(request)})


def _request_row(row: Row) -> RequestRow:
    return RequestRow(unpack_request(row.values), row.version)
