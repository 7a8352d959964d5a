"""The local stack: storage, ARM simulator, token issuer and functions host, as one."""

import contextlib
import http
import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.app_settings import AWS_AUDIENCE, Addresses, app_environment
from local.arm.estate import EstateError, read_estate
from local.arm.serve import ArmServer
from local.arm.simulator import Settings
from local.azurite import Azurite, AzuriteError
from local.children import Child
from local.issuer import LIFETIME, Issuer
from local.issuer_server import IssuerServer
from local.json_calls import call
from local.ports import LOOPBACK, PortTakenError, free_ports, listen
from local.storage import prepare

ROOT = Path(__file__).parent.parent
ESTATE = ROOT / "local" / "estate.json"
_READY_WITHIN = 90.0
_FOREIGN_SETTINGS = ("JIT_", "AzureWebJobs", "AzureFunctionsJobHost__")


class StackError(Exception):
    """A part of the stack cannot be started, in one line."""


class Stack:
    """A running stack; everything it started ends with it."""

    def __init__(  # noqa: PLR0913  each has a default, and none goes with another
        self,
        *,
        app: Path = ROOT,
        estate: Path | Sequence[Path] = ESTATE,
        port: int = 0,
        settle: float | None = None,
        with_host: bool = True,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        aws: bool = False,
    ) -> None:
        self._with_aws = aws
        self._app = app.resolve()
        self._estate = _read_estate([estate] if isinstance(estate, Path) else estate)
        self._settle = settle
        self._directory = (directory or ROOT / ".stack").resolve()
        # Another program is to listen on the port, so it has to be known before.
        self._port = port if port or with_host else free_ports(1)[0]
        self._parts = contextlib.ExitStack()
        self._host: Child | None = None
        self.host_log = self._directory / "host.log"
        self.api = f"http://{LOOPBACK}:{self._port}"
        try:
            self._require_free_port()
            self._start_services()
            self.environment = {
                **app_environment(
                    Addresses(self.storage, self.arm, self.issuer, self.aws), self._estate
                ),
                **(environment or {}),
            }
            if with_host:
                self.start_host()
        except (AzuriteError, PortTakenError) as error:
            self.stop()
            raise StackError(str(error)) from error
        except BaseException:
            self.stop()
            raise

    def token(
        self,
        user: str,
        roles: Iterable[str] = (),
        *,
        app: bool = False,
        lifetime: timedelta = LIFETIME,
    ) -> str:
        """Return an access token for a person, or for an app."""
        mint = self._issuer.issuer.app_token if app else self._issuer.issuer.person_token
        return mint(user, roles=roles, lifetime=lifetime)

    @property
    def port(self) -> int:
        """Return the port that the app has, or is to have where another host runs it."""
        return self._port

    @property
    def host_environment(self) -> dict[str, str]:
        """Return the environment of a functions host: the app's settings and this process's own."""
        return {**_inherited(), **self.environment}

    @property
    def token_issuer(self) -> Issuer:
        """Return the token issuer, for rotations and hostile tokens."""
        return self._issuer.issuer

    def invoke(self, function: str, text: str = "") -> None:
        """Run a queue or timer function now; it answers before the function has run."""
        status, _ = call("POST", f"{self.api}/admin/functions/{function}", {"input": text})
        if status != http.HTTPStatus.ACCEPTED:
            raise StackError(f"function '{function}' cannot be run: the host answered {status}")

    def start_host(self) -> None:
        """Start the functions host; it comes back at the same address."""
        ready = self._directory / "host.ready"
        ready.unlink(missing_ok=True)
        self._host = Child(
            self.host_command(self._directory, self._port, ready),
            log=self.host_log,
            cwd=ROOT,
            env=self.host_environment,
        )
        self._wait_for_host(self._host, ready)

    def host_command(self, state: Path, port: int, ready: Path) -> list[str]:
        """Return the command of a functions host for the app, with its state in a folder."""
        return [
            sys.executable,
            *("-m", "local.functions_host", "--tethered"),
            *("--app", str(self._app), "--port", str(port)),
            *("--state", str(state), "--ready-file", str(ready)),
        ]

    def stop_host(self) -> None:
        """Stop the functions host with SIGTERM: it drains."""
        if self._host is not None:
            self._host.stop()

    def kill_host(self) -> None:
        """Kill the functions host with SIGKILL: whatever it was doing is cut off."""
        if self._host is not None:
            self._host.kill()

    def restart_host(self) -> None:
        """Stop the functions host and start it again."""
        self.stop_host()
        self.start_host()

    def failed_part(self) -> str | None:
        """Return one line on a part that ended unasked, None while all run."""
        if not self._azurite.is_alive:
            return "Azurite ended unexpectedly"
        if not self._issuer.is_alive:
            return "the token issuer ended unexpectedly"
        if self._host is not None and not self._host.is_alive:
            return (
                f"the functions host ended unexpectedly (exit code {self._host.exit_code}); "
                f"its log: {self.host_log}"
            )
        return None

    def describe(self) -> dict[str, Any]:
        """Return what .stack/stack.json says."""
        return {
            "api": self.api,
            "arm": self.arm,
            "issuer": self.issuer,
            "storage": self.storage,
            **({"aws": self.aws} if self.aws else {}),
            "pid": os.getpid(),
        }

    def stop(self) -> None:
        """Stop everything: first who uses, then what is used."""
        self.stop_host()
        self._parts.close()

    def _start_services(self) -> None:
        # Storage starts empty, so nothing of a former run may stay beside it.
        shutil.rmtree(self._directory / "timers", ignore_errors=True)
        self.host_log.unlink(missing_ok=True)
        azurite_log = self._directory / "azurite.log"
        azurite_log.unlink(missing_ok=True)
        self.arm = self._parts.enter_context(self._arm_server()).url
        self._issuer = self._parts.enter_context(IssuerServer())
        self.issuer = self._issuer.url
        self.aws = self._start_aws() if self._with_aws else ""
        self._azurite = self._parts.enter_context(Azurite(log=azurite_log))
        self.storage = self._azurite.connection_string
        prepare(self.storage)

    def _start_aws(self) -> str:
        """Start EC2 and STS, which trust the local issuer's managed identity; return where."""
        from local.aws.identity import trust_of  # noqa: PLC0415 - loads botocore's model of EC2
        from local.aws.serve import AwsServer  # noqa: PLC0415

        issuer = self._issuer.issuer
        server = AwsServer(trusts=(trust_of(issuer, audience=AWS_AUDIENCE),), keys=issuer.jwks)
        return self._parts.enter_context(server).url

    def _arm_server(self) -> ArmServer:
        settings = Settings() if self._settle is None else Settings(settle=self._settle)
        try:
            return ArmServer(self._estate, settings=settings)
        except (OSError, ValueError) as error:
            raise StackError(f"the estate cannot be loaded: {error}") from error

    def _require_free_port(self) -> None:
        if self._port:
            listen(self._port).close()

    def _wait_for_host(self, host: Child, ready: Path) -> None:
        deadline = time.monotonic() + _READY_WITHIN
        while time.monotonic() < deadline and host.is_alive:
            # The file appears before its text does.
            if ready.exists() and (url := ready.read_text(encoding="utf-8")):
                self.api = url
                self._port = int(url.rpartition(":")[2])
                self._require_functions()
                return
            time.sleep(0.02)
        host.kill()
        raise StackError(f"the functions host did not start: {host.last_line()}")

    def _require_functions(self) -> None:
        # As on the platform, the host of a broken app runs, without functions.
        _, functions = call("GET", f"{self.api}/admin/functions")
        if not functions:
            reason = self._first_error() or "it has no functions"
            raise StackError(f"{reason} (more in {self.host_log})")

    def _first_error(self) -> str:
        lines = self.host_log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = (line.partition(" ERROR functions_host ")[2] for line in lines)
        return next(filter(None, errors), "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _read_estate(paths: Sequence[Path]) -> dict[str, Any]:
    try:
        return read_estate(*paths)
    except EstateError as error:
        raise StackError(f"the estate cannot be loaded: {error}") from error


def _inherited() -> dict[str, str]:
    """Return this process's environment without settings that are the stack's to give."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN_SETTINGS)
    }
