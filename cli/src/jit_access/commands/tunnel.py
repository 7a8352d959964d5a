"""Run `az network bastion tunnel` for as long as a connection needs it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import IO

from jit_access.commands.connecting import Entry, connect
from jit_access.commands.exits import CommandError, Exit
from jit_access.commands.vms import group_of, name_of

LOOPBACK = "127.0.0.1"
# az imports its parts, signs in and reads the Bastion host before it listens.
_PATIENCE_SECONDS, _PAUSE_SECONDS, _END_SECONDS = 90.0, 0.2, 5.0
_SIGNALLED = 128
_ENDING = ("SIGHUP", "SIGTERM")


@dataclass(frozen=True)
class Target:
    """A port of a VM, the Bastion host that reaches it, and the `az` to use."""

    az: str
    host_id: str
    vm_id: str
    port: int


@contextlib.contextmanager
def tunnel(target: Target) -> Iterator[Entry]:
    """Open a tunnel, yield the entry that listens on this machine, and end it.

    Raises CommandError with what az wrote where no tunnel comes of it. SIGHUP and SIGTERM end
    the tunnel too: ssh hangs up on its ProxyCommand.
    """
    entry = Entry(LOOPBACK, _free_port())
    with _ending_on_signals(), tempfile.TemporaryFile() as output:
        running = None
        try:
            with _holding_signals():
                running = _start(target, entry.port, output)
            _wait(running, entry, output)
            yield entry
        finally:
            if running is not None:
                with _holding_signals():
                    _end(running)


def command_of(target: Target, local_port: int) -> list[str]:
    """Return the command line of the tunnel."""
    options = {
        "--subscription": target.host_id.split("/")[2],
        "--resource-group": group_of(target.host_id),
        "--name": name_of(target.host_id),
        "--target-resource-id": target.vm_id,
        "--resource-port": str(target.port),
        "--port": str(local_port),
    }
    given = [part for option in options.items() for part in option]
    return [target.az, "network", "bastion", "tunnel", *given]


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def _start(target: Target, local_port: int, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start az apart from this terminal, so that Ctrl-C in ssh does not end the tunnel."""
    return subprocess.Popen(  # noqa: S603 - the user's own az
        command_of(target, local_port),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def _wait(running: subprocess.Popen[bytes], entry: Entry, output: IO[bytes]) -> None:
    """Wait until the tunnel's port takes a connection; raises CommandError."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while running.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), connect(entry, _PATIENCE_SECONDS):
            return
        time.sleep(_PAUSE_SECONDS)
    output.seek(0)
    written = output.read().decode(errors="replace").strip() or "it wrote nothing"
    raise CommandError(f"az opened no tunnel: {written}", _advice(written), Exit.EXPOSED)


def _advice(written: str) -> str:
    if "az login" in written:
        return "Sign in: az login."
    if "extension" in written:
        return "Install the extension: az extension add --name bastion."
    return "You need Reader on the VM, its interface and the Bastion host."


def _end(running: subprocess.Popen[bytes]) -> None:
    """End az and what it started: the command is a script that starts the interpreter."""
    if sys.platform == "win32":
        killer = ["taskkill", "/T", "/F", "/PID", str(running.pid)]
        subprocess.run(killer, capture_output=True, check=False)  # noqa: S603
        running.wait()
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(_END_SECONDS)


@contextlib.contextmanager
def _holding_signals() -> Iterator[None]:
    """Hold signals back while az is started or ended; the first that came is raised afterwards.

    Between its start and the note of its process, Ctrl-C would leave az behind.
    """
    came: list[int] = []
    numbers = [getattr(signal, name) for name in ("SIGINT", *_ENDING) if hasattr(signal, name)]
    before = {
        number: signal.signal(number, lambda sent, _frame: came.append(sent)) for number in numbers
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Let SIGHUP and SIGTERM unwind this program, so that it ends what it has started."""
    names = [name for name in _ENDING if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), _leave) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(_SIGNALLED + number)
