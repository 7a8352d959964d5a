"""Child processes that never outlive the process that started them."""

import contextlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from local import priority


class Child:
    """A child process that ends with its parent, however that one ends.

    Its standard input is a pipe without a writer: the system closes it when the parent is
    gone, SIGKILL included, and the child leaves when it reads the end. PR_SET_PDEATHSIG would
    do it only on Linux, and fires already when the *thread* that started the child ends.
    """

    def __init__(
        self, command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str]
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=dict(env),
                # Ctrl-C goes to the whole foreground group; the stack stops its parts in order.
                start_new_session=True,
            )
        priority.pass_on(self._process.pid)

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Return the exit code (negative: the signal), None while it runs."""
        return self._process.poll()

    @property
    def is_alive(self) -> bool:
        """Tell whether the process still runs."""
        return self.exit_code is None

    def last_line(self) -> str:
        """Return the last line that the process wrote."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it wrote nothing; exit code {self.exit_code}"

    def wait(self) -> int:
        """Wait until the process has ended and return its exit code."""
        return self._process.wait()

    def stop(self, *, seconds: float = 20) -> None:
        """Ask the process to end, kill it when it has not after so many seconds."""
        if self.is_alive:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """Kill the process at once and collect it."""
        if self.is_alive:
            self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
