"""The requests that a round has read, so that none is read twice before it is changed."""

from collections.abc import Callable

from shared.domain.model import AccessRequest
from shared.store.requests import RequestRow
from shared.use_cases.parts import HasRequests


class KnownRequests:
    """Request rows as they were read, or as this worker has written them since."""

    def __init__(self, services: HasRequests) -> None:
        self._services = services
        self._rows: dict[str, RequestRow] = {}

    def read(self, request_id: str) -> RequestRow | None:
        """Read a request and keep its row."""
        row = self._services.requests.get(request_id)
        if row is not None:
            self._rows[request_id] = row
        return row

    def forget(self, request_id: str) -> None:
        """Drop a row that is written elsewhere."""
        self._rows.pop(request_id, None)

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
