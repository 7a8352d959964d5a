"""Azurite, Microsoft's storage emulator, on ports of its own."""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from local.children import Child
from local.ports import LOOPBACK, PortTakenError, free_ports, listen, wait_until_open

ROOT = Path(__file__).parent.parent
_SCRIPT = ROOT / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"

# The well-known account of every storage emulator; not a secret.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

# Runs the script and leaves when standard input ends: its parent is gone (see Child).
_TETHERED = (
    "process.stdin.on('end',()=>process.kill(process.pid,'SIGKILL')).resume().unref();"
    "require(process.argv[1]=process.env.AZURITE_SCRIPT);"
)
_ATTEMPTS = 3


class AzuriteError(Exception):
    """Azurite cannot be started."""


class Azurite:
    """A running Azurite: blob, queue and table, in memory unless given a location."""

    def __init__(
        self,
        *,
        ports: tuple[int, int, int] | None = None,
        location: Path | None = None,
        log: Path | None = None,
    ) -> None:
        node = _require_node()
        self._is_persistent = location is not None
        self._log = log or ROOT / ".stack" / "azurite.log"
        for attempt in range(1, _ATTEMPTS + 1):
            # A port that was free can be taken by the time Azurite binds it; then others will do.
            chosen = ports or (*free_ports(3),)
            _require_free(ports)
            self._child = _start(node, chosen, location, self._log)
            if self._is_ready(chosen):
                break
            self._child.stop()
            if ports or attempt == _ATTEMPTS:
                raise AzuriteError(f"Azurite did not start: {self._child.last_line()}")
        self.connection_string = connection_string(*chosen)

    @property
    def is_alive(self) -> bool:
        """Tell whether Azurite still runs."""
        return self._child.is_alive

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._child.pid

    def stop(self) -> None:
        """Stop Azurite; what it held in memory is gone."""
        if self._is_persistent:
            # It saves every five seconds and when asked to end, if clients let go of it.
            self._child.stop(seconds=8)
        else:
            self._child.kill()

    def _is_ready(self, ports: tuple[int, ...]) -> bool:
        return all(
            wait_until_open(port, seconds=60, is_alive=lambda: self._child.is_alive)
            for port in ports
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def connection_string(blob: int, queue: int, table: int) -> str:
    """Return the full connection string for Azurite on these ports."""
    base = f"http://{LOOPBACK}"
    return (
        f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};"
        f"BlobEndpoint={base}:{blob}/{_ACCOUNT};"
        f"QueueEndpoint={base}:{queue}/{_ACCOUNT};"
        f"TableEndpoint={base}:{table}/{_ACCOUNT};"
    )


def _require_node() -> str:
    node = shutil.which("node")
    if node is None:
        raise AzuriteError("Node.js 20 or newer is needed for Azurite; 'node' is not on PATH")
    if not _SCRIPT.exists():
        raise AzuriteError("Azurite is not installed: run 'make setup' (or 'npm ci') first")
    return node


def _require_free(ports: tuple[int, int, int] | None) -> None:
    for port in ports or ():
        try:
            listen(port).close()
        except PortTakenError as error:
            raise AzuriteError(f"Azurite cannot start: {error}") from error


def _start(node: str, ports: tuple[int, ...], location: Path | None, log: Path) -> Child:
    blob, queue, table = ports
    where = ["--location", str(location)] if location else ["--inMemoryPersistence"]
    # --skipApiVersionCheck: the Python SDKs send API versions newer than this Azurite knows.
    options = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", *where]
    options += ["--blobPort", str(blob), "--queuePort", str(queue), "--tablePort", str(table)]
    return Child(
        [node, "--eval", _TETHERED, "--", "azurite", *options],
        log=log,
        cwd=ROOT,
        env={**os.environ, "AZURITE_SCRIPT": str(_SCRIPT)},
    )
