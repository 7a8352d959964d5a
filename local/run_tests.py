"""Run all tests: `make test` calls this.

The tests that wait for servers run in the foreground. The other tests run beside them at the
lowest priority: they use the time in which the servers are idle and slow no server down.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from local import priority
from local.children import Child

ROOT = Path(__file__).parent.parent
# The unit and function tests alone have to reach every line and branch of domain and use cases:
# they are quick and depend on no timing.
MEASURED = ("tests/unit", "tests/functions")
# These start whole stacks, terminals and browsers, and wait for closes as time passes.
WAITING = ("tests/e2e", "tests/cli", "tests/live", "tests/browser", "local/tests/demo")
# Files run side by side, the tests of one file in one process.
_SIDE_BY_SIDE = ("--dist", "loadfile", "--no-loadscope-reorder")
_CORES = os.cpu_count() or 2
_STOP_SECONDS = 30


def main(arguments: Sequence[str]) -> int:
    """Run all tests, or with `computing` the part that computes; return the exit code."""
    if list(arguments) == ["computing"]:
        return _run_computing()
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryDirectory() as folder:
        return run_both(_waiting(), _computing_part(), Path(folder) / "computing.log")


def run_both(waiting: Sequence[str], computing: Sequence[str], log: Path) -> int:
    """Run one command in the foreground and one beside it; print the output of the second.

    Return the first exit code that is not 0. An interrupt stops both.
    """
    with Child(computing, log=log, cwd=ROOT, env=environment(os.environ)) as beside:
        try:
            waited = _run(waiting)
            computed = beside.wait()
        except KeyboardInterrupt:
            beside.stop(seconds=_STOP_SECONDS)
            raise
        finally:
            sys.stdout.write(log.read_text(encoding="utf-8", errors="replace"))
            sys.stdout.flush()
        return waited or computed


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the tests: each file is compiled once, not in each process."""
    return {name: value for name, value in given.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _waiting() -> list[str]:
    """Return the command of the tests that wait for servers.

    TEST_PROCESSES says how many run at once, 0 one test at a time; else one for each core.
    """
    processes = os.environ.get("TEST_PROCESSES", str(_CORES))
    return _python("pytest", "-n", processes, *_SIDE_BY_SIDE, *WAITING)


def _computing_part() -> list[str]:
    return [sys.executable, "-u", "-m", "local.run_tests", "computing"]


def computing() -> Iterator[list[str]]:
    """Yield the commands of the other tests."""
    pytest = ("pytest", "-n", str(_CORES), *_SIDE_BY_SIDE)
    yield _python("coverage", "erase")
    yield _python("coverage", "run", "-m", *pytest, *MEASURED)
    yield _python("coverage", "combine", "--quiet")
    yield _python("coverage", "report")
    others = (f"--ignore={folder}" for folder in (*MEASURED, *WAITING))
    yield _python(*pytest, "tests", "local/tests", *others)


def _run_computing() -> int:
    """Run the tests that compute at the lowest priority, and all of them whichever fails."""
    priority.lower()
    end_with_parent()
    return max([_run(command) for command in computing()])


def _python(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]


def _run(command: Sequence[str]) -> int:
    """Run one command and return its exit code, 1 if a signal ended it."""
    finished = subprocess.run(command, cwd=ROOT, env=environment(os.environ), check=False)
    return finished.returncode if finished.returncode >= 0 else 1


def end_with_parent() -> None:
    """End this process and what it runs on SIGTERM, and when standard input ends."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: _end_group())
    threading.Thread(target=_end_after_input, daemon=True).start()


def _end_after_input() -> None:
    while os.read(0, 1024):
        pass
    _end_group()


def _end_group() -> None:
    os.killpg(0, signal.SIGKILL)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
