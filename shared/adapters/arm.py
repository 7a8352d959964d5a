"""Reads of Azure Resource Manager, on azure-core's ARM pipeline: resources as they are described."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

from azure.core.exceptions import AzureError
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.core import ARMPipelineClient

from shared.adapters.arm_clients import retry_after
from shared.ports import GoneError, NotReadableError, OutsideError, Sleep, ThrottledError

_GONE = frozenset({"ResourceNotFound", "ResourceGroupNotFound", "NotFound"})
_NOT_FOUND = 404
_FORBIDDEN = 403
_OK = 200
_TOO_MANY = 429
_MOST_PAGES = 10_000
_Found = list[dict[str, Any]]  # a name, as ArmReader has a method `list`


class ArmReader:
    """Reads resources by id. Only an answered 404 means that something does not exist.

    ARM lends an identity 250 reads and 25 a second more. A policy of some hundred VMs, or a burst
    of requests, takes more: so a read waits for its turn, as long as ARM says and for so many
    seconds in all. To fail instead would cost the reads made so far, and the next try as well.
    """

    def __init__(
        self,
        client: ARMPipelineClient[HttpRequest, HttpResponse],
        *,
        patience: float = 0.0,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._client = client
        self._patience = patience
        self._sleep = sleep

    def get(self, path: str, api_version: str, **query: str) -> dict[str, Any] | None:
        """Read one resource; None only where the service says it does not exist."""
        parameters = {"api-version": api_version, **query}
        answer = self._send(HttpRequest("GET", quote(path, safe="/"), params=parameters))
        if answer.status_code == _NOT_FOUND and _error_code(answer) in _GONE:
            return None
        return self._body(answer)

    def list(self, path: str, api_version: str, **query: str) -> Iterator[dict[str, Any]]:
        """Read a list, page by page."""
        parameters = {"api-version": api_version, **query}
        request = HttpRequest("GET", quote(path, safe="/"), params=parameters)
        for _ in range(_MOST_PAGES):
            page = self._body(self._send(request))
            if not isinstance(page.get("value"), list):
                raise OutsideError(f"no list from ARM for {path}")
            yield from page["value"]
            link = page.get("nextLink")
            if not link:
                return
            # NB. The link's host is not followed: our token goes to the configured ARM only.
            parts = urlsplit(link)
            request = HttpRequest("GET", f"{parts.path}?{parts.query}")
        raise OutsideError(f"the list of {path} does not end")

    def list_in(self, places: Iterable[str], resource_type: str, api_version: str) -> _Found:
        """List the resources of a type in some places; a group that was deleted holds nothing."""
        found: _Found = []
        for place in places:
            with suppress(GoneError):
                found += self.list(f"{place}/providers/{resource_type}", api_version)
        return found

    def _send(self, request: HttpRequest) -> HttpResponse:
        request.url = self._client.format_url(request.url)
        waited = 0.0
        while True:
            try:
                answer = self._client.send_request(request)
            except AzureError as error:
                raise OutsideError(str(error)) from error
            if answer.status_code != _TOO_MANY:
                return answer
            wait = max(1.0, retry_after(answer.headers.get("Retry-After"), answer.text()))
            if waited + wait > self._patience:
                told = f"{_TOO_MANY} {_error_code(answer)} from ARM for {request.url}"
                raise ThrottledError(told, retry_after=wait)
            self._sleep(wait)
            waited += wait

    @staticmethod
    def _body(answer: HttpResponse) -> dict[str, Any]:
        if answer.status_code == _NOT_FOUND and _error_code(answer) in _GONE:
            raise GoneError(f"{_error_code(answer)} from ARM for {answer.request.url}")
        if answer.status_code == _FORBIDDEN:
            raise NotReadableError(f"{_error_code(answer)} from ARM for {answer.request.url}")
        if answer.status_code != _OK:
            raise OutsideError(f"{answer.status_code} {_error_code(answer)} from ARM")
        try:
            body = answer.json()
        except ValueError as error:
            raise OutsideError(f"no JSON from ARM for {answer.request.url}") from error
        if not isinstance(body, dict):
            raise OutsideError(f"no object from ARM for {answer.request.url}")
        return body


def _error_code(answer: HttpResponse) -> str:
    try:
        return str(answer.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""
