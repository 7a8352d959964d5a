"""Long-running operations: what the poll addresses of a write answer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# The only locations of poll addresses in the network provider [recorded].
STATUS_PATH = "operations"
RESULT_PATH = "operationResults"


@dataclass
class Operation:
    """One accepted write on its way."""

    operation_id: str
    name: str
    subscription: str
    location: str
    ends_at: float
    error: Mapping[str, Any] | None = field(default=None, repr=False)
    failed: bool = False  # ended as Failed, rather than Canceled
    path: str = STATUS_PATH
    notified: bool = False  # the result address carries Azure-AsyncNotification [recorded]
    result: Any = None  # what the result address answers in place of 204

    def status(self, now: float) -> str:
        """Return how far the operation is."""
        if self.failed:
            return "Failed"
        if self.error is not None:
            return "Canceled"
        return "Succeeded" if now >= self.ends_at else "InProgress"

    def body(self, now: float) -> dict[str, Any]:
        """Return the poll answer; the network provider sends the status alone [recorded]."""
        answer: dict[str, Any] = {"status": self.status(now)}
        if self.error is not None:
            answer["error"] = dict(self.error)
        return answer

    def cancel(self, by_name: str, by_id: str) -> None:
        """End as canceled and superseded, in the words quoted from the live service."""
        self.error = {
            "code": "Canceled",
            "message": "Operation was canceled.",
            "details": [
                {
                    "code": "CanceledAndSupersededDueToAnotherOperation",
                    "message": f"Operation {self.name} ({self.operation_id}) was canceled and "
                    f"superseded by operation {by_name} ({by_id}).",
                }
            ],
        }

    def uri(self, base_url: str, path: str, api_version: str) -> str:
        """Return a poll address; its api-version is the one of the write [recorded]."""
        return (
            f"{base_url}/subscriptions/{self.subscription}/providers/Microsoft.Network/locations/"
            f"{self.location}/{path}/{self.operation_id}?api-version={api_version}"
        )


def pause_headers(seconds: float) -> dict[str, str]:
    """Return the headers that tell a client how long to wait.

    `Retry-After` is whole seconds: the SDK's generated code reads it with int(), and takes 0 for
    absent, which means 30 seconds. Below a second only `x-ms-retry-after-ms` is sent, which the
    SDK reads where there is no Retry-After.
    """
    milliseconds = {"x-ms-retry-after-ms": str(max(1, math.ceil(seconds * 1000)))}
    return milliseconds if seconds < 1 else {"Retry-After": str(math.ceil(seconds)), **milliseconds}
