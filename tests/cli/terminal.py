"""Run the installed `jit`: through pipes, or in a real terminal."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from jit_access.commands.main import main

_OURS = ("JIT_TOKEN", "JIT_URL", "JIT_PROFILE", "JIT_CONFIG")
# Enough for a busy machine; met only when something is wrong.
_PATIENCE = 60.0
CTRL_C = "\x03"
# A session of its own with the terminal it was given, so that Ctrl-C reaches it as a signal; a
# shell lets what it starts in the background ignore SIGINT, and a terminal does not.
_TAKE_TERMINAL = (
    "import fcntl, os, signal, sys, termios; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True)
class Done:
    """How a run ended."""

    code: int
    out: str
    err: str = ""


@dataclass(frozen=True)
class Jit:
    """The command with an environment of its own."""

    command: str
    environment: Mapping[str, str] = field(repr=False)

    def using(self, **environment: str) -> "Jit":
        """Return the command with some variables set."""
        return Jit(self.command, {**self.environment, **environment})

    def run(self, *arguments: str, given: str = "", code: int = 0) -> Done:
        """Run it through pipes and check its exit code."""
        with subprocess.Popen(
            [self.command, *arguments],
            env=dict(self.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as running:
            try:
                out, err = running.communicate(given, _PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)  # what it started, too
                raise
        assert running.returncode == code, (running.returncode, out, err)
        return Done(running.returncode, out, err)

    def within(self, *arguments: str, given: str = "", code: int = 0) -> Done:
        """Run it in this process, where only its own words matter: a start costs half a second."""
        runner = CliRunner(env={**dict.fromkeys(_OURS), **self.environment})
        done = runner.invoke(main, arguments, input=given, prog_name="jit")
        assert done.exit_code == code, (done.exit_code, done.output)
        return Done(done.exit_code, done.stdout, done.stderr)

    def on_terminal(self, *arguments: str, keys: Mapping[str, str] | None = None) -> Done:
        """Run it in a terminal; each key is typed once its text has been shown."""
        return run_on_terminal([self.command, *arguments], self.environment, keys or {})


def run_on_terminal(
    command: list[str], environment: Mapping[str, str], keys: Mapping[str, str]
) -> Done:
    """Run a program in a terminal of its own and return everything it showed."""
    terminal, other_end = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-c", _TAKE_TERMINAL, *command],
        env=dict(environment),
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
    )
    os.close(other_end)
    shown, waiting = "", dict(keys)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                block = os.read(terminal, 65536)
            except OSError:
                block = b""
            if not block:
                break
            shown += block.decode(errors="replace")
        for text in [text for text in waiting if text in shown]:
            os.write(terminal, waiting.pop(text).encode())
    try:
        code = running.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()
        raise AssertionError(f"not ended; not typed: {waiting}; shown: {shown}") from None
    finally:
        os.close(terminal)
    return Done(code, shown)


def install(folder: Path, root: Path, python: str) -> str:
    """Install the distribution in a fresh environment and return the path of its command.

    Its dependencies are those of this environment, so that nothing is downloaded.
    """
    uv = str(Path(python).parent / "uv")
    environment: dict[str, Any] = {**os.environ, "UV_CACHE_DIR": str(folder / "cache")}
    fresh = str(folder / "venv")
    offline = ["--quiet", "--offline", "--no-deps", "--python", f"{fresh}/bin/python"]
    for command in (
        [uv, "venv", "--quiet", "--python", python, fresh],
        [uv, "pip", "install", *offline, str(root / "cli")],
    ):
        subprocess.run(command, env=environment, check=True)
    ours = next(Path(fresh).glob("lib/python*/site-packages"))
    theirs = next(Path(python).parent.parent.glob("lib/python*/site-packages"))
    (ours / "shared.pth").write_text(f"{theirs}\n", encoding="utf-8")
    return f"{fresh}/bin/jit"
