"""Azure Firewall, policies and IP groups on azure-core's ARM pipeline: reads, guarded writes."""

import time
from typing import Any
from urllib.parse import quote

from azure.core.exceptions import AzureError
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.core import ARMPipelineClient

from shared.adapters.arm import ArmReader
from shared.adapters.arm_clients import retry_after
from shared.ports import (
    FirewallChangedError,
    OutsideError,
    RefusedError,
    SettlingError,
    Sleep,
    ThrottledError,
)

API_VERSION = "2026-03-01"  # the newest that was tried: an older one may drop newer members
_ACCEPTED = frozenset({200, 201, 202, 204})
_GONE, _STALE, _TOO_MANY = 404, 412, 429
_REFUSED = frozenset({400, 403, 409})  # what the service says no to, whatever is repeated
_BUSY = frozenset(
    {
        "AnotherOperationInProgress",
        "FirewallPolicyUpdateNotAllowedWhenUpdatingOrDeleting",
        "ReferencedResourceNotProvisioned",
        "RetryableErrorDueToAnotherOperation",
    }
)


class ArmFirewalls:
    """Reads and writes single resources; a write is started and never waited for."""

    def __init__(
        self,
        client: ARMPipelineClient[HttpRequest, HttpResponse],
        *,
        patience: float = 0.0,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._client = client
        self._reader = ArmReader(client, patience=patience, sleep=sleep)

    def get(self, resource_id: str) -> dict[str, Any] | None:
        """Read a resource; None only where the service says it does not exist."""
        return self._reader.get(resource_id, API_VERSION)

    def list(self, path: str) -> list[dict[str, Any]]:
        """Read a whole list."""
        return list(self._reader.list(path, API_VERSION))

    def put(self, resource_id: str, body: dict[str, Any], etag: str = "") -> None:
        """Start a PUT, over the version with an etag where there is one."""
        self._write("PUT", resource_id, etag, body)

    def delete(self, resource_id: str, etag: str = "") -> None:
        """Start a DELETE; a resource that is gone is fine."""
        self._write("DELETE", resource_id, etag, None)

    def _write(self, method: str, resource_id: str, etag: str, body: dict[str, Any] | None) -> None:
        url = self._client.format_url(quote(resource_id, safe="/"))
        headers = {"If-Match": _quoted(etag)} if etag else {}
        request = HttpRequest(
            method, url, params={"api-version": API_VERSION}, headers=headers, json=body
        )
        try:
            answer = self._client.send_request(request)
        except AzureError as error:
            raise OutsideError(str(error)) from error
        # The literal null, which answers a PUT that changes nothing, is accepted like any other.
        if answer.status_code not in _ACCEPTED:
            _raise(answer, method, resource_id)


def _quoted(etag: str) -> str:
    """Return an etag as a header has it: policies write it bare into their bodies."""
    return etag if etag.startswith(("W/", '"')) or etag == "*" else f'"{etag}"'


def _raise(answer: HttpResponse, method: str, resource_id: str) -> None:
    """Raise the error that a refused write's code stands for, or else its status."""
    status, error = answer.status_code, _error(answer)
    codes = {str(error.get("code")), *(str(d.get("code")) for d in error.get("details") or ())}
    text = f"{error.get('code')}: {error.get('message')}"
    if codes & _BUSY:
        wait = retry_after(answer.headers.get("Retry-After"), text)
        raise SettlingError(text, retry_after=wait)
    if status == _TOO_MANY:
        wait = retry_after(answer.headers.get("Retry-After"), answer.text())
        raise ThrottledError(text, retry_after=wait)
    if status == _STALE:
        raise FirewallChangedError(resource_id)
    if status == _GONE and method == "DELETE":
        return
    if status in _REFUSED and error:
        raise RefusedError(text)
    raise OutsideError(f"{status} {text} from ARM for {resource_id}")


def _error(answer: HttpResponse) -> dict[str, Any]:
    try:
        found = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
