"""Read the files of an exported audit record, from a container of blobs or from a folder."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit, urlunsplit
from xml.etree import ElementTree as ET

from azure.core import PipelineClient
from azure.core.exceptions import AzureError
from azure.core.pipeline.policies import RedirectPolicy, RetryPolicy, UserAgentPolicy
from azure.core.rest import HttpRequest, HttpResponse

_VERSION = "2021-12-02"
_OK = 200
_MOST_PAGES = 10_000


class ContainerError(Exception):
    """The files could not be read, so nothing was verified."""


def read_folder(folder: Path) -> dict[str, bytes]:
    """Read every file under a folder, by its name within it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Container:
    """A container of blobs, which is only read. Its address may carry a signature."""

    def __init__(self, url: str, token: Callable[[], str] | None) -> None:
        parts = urlsplit(url)
        self._base = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        self._signature = parts.query
        self._token = token  # None: the address carries a signature
        policies = [UserAgentPolicy("jit"), RedirectPolicy(permit_redirects=False), RetryPolicy()]
        self._client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(
            self._base, policies=policies
        )

    def read(self, deployment: str) -> dict[str, bytes]:
        """Read the files of a deployment; of all of them where none is named."""
        prefix = f"{deployment}/" if deployment else ""
        names = [name for name in self._names() if name.startswith(prefix)]
        return {name: self._get(f"/{quote(name, safe='/')}").content for name in names}

    def is_immutable(self) -> bool:
        """Tell whether the container has an immutability policy, in force or not yet locked."""
        headers = self._get("", {"restype": "container"}).headers
        return headers.get("x-ms-has-immutability-policy", "").lower() == "true"

    def _names(self) -> Iterator[str]:
        """List the names of all blobs; raises ContainerError unless the list is whole."""
        marker = ""
        for _ in range(_MOST_PAGES):
            query = {"restype": "container", "comp": "list", "marker": marker}
            answer = self._get("", {key: value for key, value in query.items() if value})
            try:
                page = ET.fromstring(answer.content)  # noqa: S314 - the store's own answer
            except ET.ParseError as error:
                raise ContainerError(f"no list of blobs: {error}") from None
            yield from (found.text or "" for found in page.iterfind("./Blobs/Blob/Name"))
            marker = page.findtext("NextMarker") or ""
            if not marker:
                return
        raise ContainerError("the list of blobs does not end")

    def _get(self, path: str, query: dict[str, str] | None = None) -> HttpResponse:
        parameters = "&".join(filter(None, (urlencode(query or {}), self._signature)))
        headers = {"x-ms-version": _VERSION}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        url = f"{self._base}{path}{'?' if parameters else ''}{parameters}"
        try:
            answer = self._client.send_request(HttpRequest("GET", url, headers=headers))
        except AzureError as error:
            raise ContainerError(f"{self._base} does not answer: {error}") from None
        if answer.status_code != _OK:
            code = answer.headers.get("x-ms-error-code", "")
            raise ContainerError(f"{self._base}{path}: {answer.status_code} {code}".rstrip())
        return answer
