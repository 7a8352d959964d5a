"""The systems that a run calls: Azure Resource Manager, Microsoft Graph, azd, and the VM's port."""

import json
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from azure.core import PipelineClient
from azure.core.exceptions import AzureError
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import (
    RedirectPolicy,
    RetryPolicy,
    SansIOHTTPPolicy,
    UserAgentPolicy,
)
from azure.core.rest import HttpRequest, HttpResponse

Json = dict[str, Any]
Token = Callable[[], str]
NETWORK, COMPUTE, RESOURCES = "2024-05-01", "2024-07-01", "2022-09-01"
AUTHORIZATION, INSIGHTS = "2022-04-01", "2021-05-01-preview"
OK, NOT_FOUND, PRECONDITION_FAILED, ERRORS_FROM = 200, 404, 412, 400
_SAFE = "/()'"


class LiveError(Exception):
    """Something did not happen as it must, in one line."""


@dataclass(frozen=True)
class Answer:
    """The answer to a call."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str:
        """Return the error code."""
        error = self.body.get("error") if isinstance(self.body, dict) else None
        return str((error or {}).get("code", ""))


class _Bearer(SansIOHTTPPolicy[Any, Any]):
    """Adds a token to each attempt. The address may be the simulator's, which has no TLS."""

    def __init__(self, token: Token) -> None:
        super().__init__()
        self._token = token

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """Add the header."""
        request.http_request.headers["Authorization"] = f"Bearer {self._token()}"


class Rest:
    """Calls one service over HTTP, with a token; 408, 429 and 5xx are retried."""

    def __init__(self, url: str, token: Token) -> None:
        self._url = url.rstrip("/")
        policies = [
            UserAgentPolicy("jit-live"),
            RedirectPolicy(permit_redirects=False),
            RetryPolicy(retry_total=5),
            _Bearer(token),
        ]
        self._client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(
            self._url, policies=policies
        )

    def call(
        self,
        method: str,
        path: str,
        version: str = "",
        body: object = None,
        *,
        if_match: str = "",
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call; raises LiveError if the service does not answer."""
        asked = {**({"api-version": version} if version else {}), **(query or {})}
        headers = {"If-Match": if_match} if if_match else {}
        content: Json = {"json": body} if body is not None else {}
        url = f"{self._url}{quote(path, safe=_SAFE)}"
        request = HttpRequest(method, url, params=asked, headers=headers, **content)
        try:
            answer = self._client.send_request(request)
        except AzureError as error:
            raise LiveError(f"{method} {path}: {error}") from error
        text = answer.text()
        return Answer(answer.status_code, answer.headers, json.loads(text) if text else None)

    def require(
        self,
        method: str,
        path: str,
        version: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make a call that has to succeed; raises LiveError."""
        answer = self.call(method, path, version, body, query=query)
        if answer.status >= ERRORS_FROM:
            raise LiveError(f"{method} {path}: {answer.status} {answer.code}")
        return answer


class Azd:
    """The Azure Developer CLI, in the folder of azure.yaml."""

    def __init__(self, command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
        self._command = list(command)
        self.folder = folder
        self._variables = dict(variables)

    def run(self, *arguments: str, environment: str = "", seconds: float = 60) -> str:
        """Run a command and return its output; raises LiveError with its last line."""
        named = ["-e", environment] if environment else []
        command = [*self._command, *arguments, *named]
        try:
            done = subprocess.run(  # noqa: S603 - azd, with names of our own
                command,
                cwd=self.folder,
                env={**os.environ, **self._variables},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LiveError(f"azd {' '.join(arguments)}: {error}") from error
        if done.returncode:
            lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
            raise LiveError(f"azd {' '.join(arguments)}: {lines[-1]}")
        return done.stdout

    def values(self, environment: str) -> dict[str, str]:
        """Return the values of an environment, the outputs of its deployment among them."""
        text = self.run("env", "get-values", environment=environment)
        pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
        return {name.strip(): "".join(shlex.split(value)) for name, _, value in pairs}


class Connection(Protocol):
    """A connection to the VM's port that was opened while access was open."""

    def answers(self) -> bool:
        """Send a line and tell whether the VM still answers."""
        ...


class Port(Protocol):
    """The VM's port as the machine that runs the suite reaches it."""

    def reaches(self, address: str, mapped: int = 0) -> bool:
        """Tell whether a new connection is accepted, on a mapped port where one is given."""
        ...

    def connect(self, address: str) -> Connection | None:
        """Open a connection. None: this network has none, only rules."""
        ...


class SshPort:
    """Port 22 over the Internet. The greeting of the SSH server is enough; no session is opened."""

    def __init__(self, number: int = 22) -> None:
        self._number = number

    def reaches(self, address: str, mapped: int = 0) -> bool:
        """Tell whether the SSH server greets, on a mapped port where one is given."""
        try:
            with socket.create_connection((address, mapped or self._number), timeout=5) as found:
                return bool(found.recv(1))
        except OSError:
            return False

    def connect(self, address: str) -> Connection:
        """Open a connection and read the greeting."""
        return SshConnection(address, self._number)


class SshConnection:
    """A connection on which the client's greeting is still to be sent."""

    def __init__(self, address: str, number: int) -> None:
        try:
            self._socket = socket.create_connection((address, number), timeout=10)
            self._socket.recv(255)
        except OSError as error:
            raise LiveError(f"{address} does not greet on port 22: {error}") from error

    def answers(self) -> bool:
        """Send the client's greeting, and tell whether the server's keys follow within 10 s."""
        try:
            self._socket.sendall(b"SSH-2.0-jitlive\r\n")
            return bool(self._socket.recv(1))
        except OSError:
            return False
        finally:
            self._socket.close()


def wait_until(happened: Callable[[], bool], what: str, *, seconds: float, pause: float) -> float:
    """Wait until something has happened; return the seconds it took, or raise LiveError."""
    began = time.monotonic()
    while not happened():
        if time.monotonic() - began > seconds:
            raise LiveError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)
    return time.monotonic() - began
