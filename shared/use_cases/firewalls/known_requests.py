"""The requests that a round has read, so that none is read twice before it is changed."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from shared.domain.model import AccessRequest
from shared.store.requests import RequestRow
from shared.use_cases.parts import HasRequests, HasWorkers

Step = Callable[[AccessRequest], AccessRequest]


class KnownParts(HasRequests, HasWorkers, Protocol):
    """The parts for reading and changing requests."""


class KnownRequests:
    """Request rows as they were read, or as this worker has written them since."""

    def __init__(self, services: KnownParts, *rows: RequestRow) -> None:
        self._services = services
        self._rows = {row.request.id: row for row in rows}
        self.told: set[tuple[str, str, int]] = set()  # grants whose opening is on record

    def read(self, request_id: str) -> RequestRow | None:
        """Read a request and keep its row; one that is kept is not read again."""
        row = self._rows.get(request_id) or self._services.requests.get(request_id)
        if row is not None:
            self._rows[request_id] = row
        return row

    def read_all(self, request_ids: Sequence[str]) -> None:
        """Read requests of which many lie together; what fails is read when it is needed."""
        missing = [each for each in request_ids if each not in self._rows]
        with suppress(Exception):
            self._rows |= self._services.requests.get_all(missing)

    def drop(self, request_id: str) -> None:
        """Drop a row that is written elsewhere."""
        self._rows.pop(request_id, None)

    def change_all(self, steps: Mapping[str, Step]) -> dict[str, AccessRequest | Exception | None]:
        """Apply a step to each of several requests, by id; return them, or why that failed."""
        found: dict[str, AccessRequest | Exception | None] = {}
        rows: dict[str, RequestRow] = {}
        for request_id, row in zip(steps, self._services.workers(self._take, steps), strict=True):
            if isinstance(row, RequestRow):
                rows[request_id] = row
            else:
                found[request_id] = row
        changes = [(row, steps[request_id]) for request_id, row in rows.items()]
        written = self._services.requests.change_rows(changes) if changes else []
        for request_id, each in zip(rows, written, strict=True):
            if isinstance(each, RequestRow):
                self._rows[request_id] = each
                found[request_id] = each.request
            else:
                found[request_id] = each
        return found

    def _take(self, request_id: str) -> RequestRow | Exception | None:
        try:
            return self._rows.pop(request_id, None) or self._services.requests.get(request_id)
        except Exception as error:  # noqa: BLE001 - it holds up no other request
            return error

    def change(
        self, request_id: str, step: Callable[[AccessRequest], AccessRequest]
    ) -> AccessRequest | None:
        """Apply a step with one If-Match write to the row as it was read, or as it is now."""
        row = self._rows.pop(request_id, None) or self._services.requests.get(request_id)
        written = self._services.requests.change_row(row, step) if row else None
        if written is None:
            return None
        self._rows[request_id] = written
        return written.request
