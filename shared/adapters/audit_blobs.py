"""Append blobs for the exported audit record, on azure-core's pipeline.

Two operations are all that the export needs. The storage library's own ones are not used: its
`create_append_blob` empties a blob that exists, and its `upload_blob` appends at any position.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit
from xml.etree import ElementTree as ET

from azure.core import PipelineClient
from azure.core.exceptions import AzureError
from azure.core.pipeline.policies import (
    BearerTokenCredentialPolicy,
    RedirectPolicy,
    UserAgentPolicy,
)
from azure.core.rest import HttpRequest, HttpResponse

from shared.ports import OutsideError, PositionError

_VERSION = "2021-12-02"
_SCOPE = "https://storage.azure.com/.default"
# No retry: the next run repeats what failed, and an append goes to one position only.
_PATIENCE: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 15}
_CREATED, _OK, _PARTIAL = 201, 200, 206
_CONFLICT, _NOT_FOUND, _PRECONDITION, _RANGE = 409, 404, 412, 416
_EXISTS = frozenset({"BlobAlreadyExists", "BlobImmutableDueToPolicy"})
_FULL = frozenset({"BlockCountExceedsLimit", "InvalidBlobType", "BlobIsSealed"})
_GONE = frozenset({"BlobNotFound"})
_MOST_PAGES = 10_000


class AppendBlobs:
    """Append blobs in one container; they are created and extended, never replaced.

    The address may carry a shared access signature, which the emulator of storage needs.
    """

    def __init__(self, container_url: str, credential: Any) -> None:
        parts = urlsplit(container_url)
        self._base = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        self._signature = parts.query
        authentication = [BearerTokenCredentialPolicy(credential, _SCOPE)] if credential else []
        self._client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(
            self._base,
            policies=[
                UserAgentPolicy("jit-vm-access"),
                RedirectPolicy(permit_redirects=False),
                *authentication,
            ],
        )

    def create(self, name: str) -> None:
        """Create an empty append blob; one that exists stays as it is."""
        headers = {"x-ms-blob-type": "AppendBlob", "If-None-Match": "*", "Content-Length": "0"}
        answer = self._send("PUT", name, headers=headers)
        if answer.status_code in {_CREATED, _PRECONDITION}:
            return
        if answer.status_code == _CONFLICT and _code(answer) in _EXISTS:
            return
        raise _failed(answer)

    def append(self, name: str, offset: int, content: bytes) -> None:
        """Append to a blob that is `offset` bytes long; raises PositionError."""
        headers = {
            "x-ms-blob-condition-appendpos": str(offset),
            "Content-Type": "application/octet-stream",
        }
        answer = self._send("PUT", name, {"comp": "appendblock"}, headers, content)
        if answer.status_code == _CREATED:
            return
        if _ends_elsewhere(answer):
            raise PositionError(f"{answer.status_code} {_code(answer)} for {name}")
        raise _failed(answer)

    def read(self, name: str, start: int, length: int) -> bytes:
        """Read bytes of a blob, fewer where it ends before; none where it does not exist."""
        headers = {"x-ms-range": f"bytes={start}-{start + length - 1}"}
        answer = self._send("GET", name, headers=headers)
        if answer.status_code in {_OK, _PARTIAL}:
            return answer.content
        if answer.status_code == _RANGE or _is_gone(answer):
            return b""
        raise _failed(answer)

    def read_whole(self, name: str) -> bytes:
        """Read a blob whole."""
        answer = self._send("GET", name)
        if answer.status_code != _OK:
            raise _failed(answer)
        return answer.content

    def names(self) -> list[str]:
        """List the names of all blobs in the container; raises OutsideError unless it is whole."""
        return [name for page in self._pages() for name in page]

    def _pages(self) -> Iterator[list[str]]:
        marker = ""
        for _ in range(_MOST_PAGES):
            query = {"restype": "container", "comp": "list", "marker": marker}
            answer = self._send("GET", "", {key: value for key, value in query.items() if value})
            if answer.status_code != _OK:
                raise _failed(answer)
            try:
                page = ET.fromstring(answer.content)  # noqa: S314 - the store's own answer
            except ET.ParseError as error:
                raise OutsideError(f"no list of blobs: {error}") from error
            yield [found.text or "" for found in page.iterfind("./Blobs/Blob/Name")]
            marker = page.findtext("NextMarker") or ""
            if not marker:
                return
        raise OutsideError("the list of blobs does not end")

    def is_immutable(self) -> bool:
        """Tell whether the container has an immutability policy, in force or not yet locked."""
        answer = self._send("GET", "", {"restype": "container"})
        if answer.status_code != _OK:
            raise _failed(answer)
        return answer.headers.get("x-ms-has-immutability-policy", "").lower() == "true"

    def _send(
        self,
        method: str,
        name: str,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> HttpResponse:
        path = f"/{quote(name, safe='/')}" if name else ""
        parameters = "&".join(filter(None, (urlencode(query or {}), self._signature)))
        url = f"{self._base}{path}{'?' if parameters else ''}{parameters}"
        sent = {"x-ms-version": _VERSION, **(headers or {})}
        request = HttpRequest(method, url, headers=sent, content=content)
        try:
            return self._client.send_request(request, **_PATIENCE)
        except AzureError as error:
            raise OutsideError(f"audit storage does not answer: {error}") from error


def _ends_elsewhere(answer: HttpResponse) -> bool:
    full = answer.status_code == _CONFLICT and _code(answer) in _FULL
    return answer.status_code == _PRECONDITION or full or _is_gone(answer)


def _is_gone(answer: HttpResponse) -> bool:
    """Tell whether the store says that a blob does not exist; a missing container proves nothing."""
    return answer.status_code == _NOT_FOUND and _code(answer) in _GONE


def _code(answer: HttpResponse) -> str:
    return answer.headers.get("x-ms-error-code", "")


def _failed(answer: HttpResponse) -> OutsideError:
    return OutsideError(f"{answer.status_code} {_code(answer)} from audit storage")
