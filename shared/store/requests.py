"""The rows of access requests."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
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
    Workers,
)
from shared.store.codec import UnreadableRowError
from shared.store.index import IndexRows, index_rows_of
from shared.store.keys import policy_key
from shared.store.live import LiveRows, live_rows_of
from shared.store.room import pack_request, unpack_request
from shared.store.together import in_turn, replace_row, write_together

_TRIES = 50
_ENOUGH = 4  # requests of a policy, for which one query takes less than a call for each


@dataclass(frozen=True)
class RequestRow:
    """A request and the version of its row."""

    request: AccessRequest
    version: str


_Step = Callable[[AccessRequest], AccessRequest]
_RowChange = tuple[RequestRow, _Step]


class RequestRows:
    """Requests by id; a policy's newest come first."""

    def __init__(
        self, table: Table, telemetry: Telemetry | None = None, workers: Workers = in_turn
    ) -> None:
        self._table = table
        self._telemetry = telemetry
        self._workers = workers

    @property
    def index(self) -> IndexRows:
        """Return the rows by which requests are found."""
        return IndexRows(self._table, self._telemetry, self._workers)

    def get(self, request_id: str) -> RequestRow | None:
        """Read a request."""
        row = self._table.get(*_request_place(request_id))
        return _request_row(row) if row else None

    def get_all(self, request_ids: Sequence[str]) -> dict[str, RequestRow]:
        """Read several requests, those of a policy together; what this did not find is left out.

        One query reads at most twice as many rows as are asked for.
        """
        policies: dict[str, list[str]] = {}
        for request_id in request_ids:
            partition, key = _request_place(request_id)
            policies.setdefault(partition, []).append(key)
        found: dict[str, RequestRow] = {}
        for partition, keys in policies.items():
            if len(keys) < _ENOUGH:
                continue
            rows = self._table.query(
                partition, start=min(keys), stop=max(keys) + "~", limit=2 * len(keys)
            )
            for row in rows:
                with suppress(UnreadableRowError):
                    found[f"{row.partition}-{row.key}"] = _request_row(row)
        return {each: found[each] for each in request_ids if each in found}

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
            [written] = self._try_changes([(stored, step)])
            if isinstance(written, RequestRow):
                return written
            if not isinstance(written, RowChangedError):
                raise written
            read = self.get(request_id)
            if read is None:
                return None
            stored = read
        raise RowChangedError(f"request {request_id} changed {_TRIES} times while being written")

    def change_rows(self, changes: Sequence[_RowChange]) -> list[RequestRow | Exception | None]:
        """Apply a step to each of several requests that were read; those of a policy together.

        Return the rows, None for one that is gone, or why a request could not be changed.
        """
        tried = self._try_changes(changes)
        return [
            self._change_again(stored.request.id, step)
            if isinstance(written, RowChangedError)
            else written
            for (stored, step), written in zip(changes, tried, strict=True)
        ]

    def _change_again(self, request_id: str, step: _Step) -> RequestRow | Exception | None:
        try:
            read = self.get(request_id)
            return self.change_row(read, step) if read else None
        except Exception as error:  # noqa: BLE001 - it holds up no other request
            return error

    def _try_changes(self, changes: Sequence[_RowChange]) -> list[RequestRow | Exception]:
        """Apply each step to a row as it was read: list it, write it, and remove its old listing."""
        results: list[RequestRow | Exception] = []
        moved: list[tuple[int, AccessRequest, Row]] = []
        for number, (stored, step) in enumerate(changes):
            try:
                changed = step(stored.request)
                row = replace(_encode_request(changed), version=stored.version)
            except Exception as error:  # noqa: BLE001 - it holds up no other request
                results.append(error)
                continue
            results.append(stored)
            if changed != stored.request:
                moved.append((number, changed, row))
        left = self.index.prepare_moves([(changes[n][0].request, new) for n, new, _ in moved])
        rows = [replace_row(row) for _, _, row in moved]
        written = write_together(self._table, rows, self._workers)
        for (number, changed, _), version in zip(moved, written, strict=True):
            results[number] = (
                version if isinstance(version, Exception) else RequestRow(changed, version)
            )
        done = [not isinstance(each, Exception) for each in written]
        self.index.remove(row for rows, ok in zip(left, done, strict=True) if ok for row in rows)
        return results

    @property
    def live_rows(self) -> LiveRows:
        """Return the rows of what is live."""
        return LiveRows(self._table, self._workers)

    def note_live(self, request: AccessRequest, firewalls: Iterable[str] = ()) -> None:
        """List a request under its requestor and its VMs; the note comes before the request."""
        self.live_rows.note(request, firewalls)

    def remove_live(self, request: AccessRequest) -> None:
        """Take a request that has ended off the lists, and give back what it has reserved."""
        for error in self.unlist_all([request]):
            if error is not None:
                raise error

    def unlist_all(self, requests: Sequence[AccessRequest]) -> list[Exception | None]:
        """Take requests that have ended off the lists; return for each why that failed."""
        return self.live_rows.remove(requests)

    def unlist_from_vms(self, requests: Sequence[AccessRequest]) -> list[Exception | None]:
        """Take requests that have ended off the lists of VMs; return for each why that failed."""
        return self.live_rows.remove_from_vms(requests)

    def remove_unmade(self, requestor: str, request_id: str) -> None:
        """Take off a requestor's list what stopped between the note and its request."""
        self.live_rows.remove_unmade(requestor, request_id)

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
