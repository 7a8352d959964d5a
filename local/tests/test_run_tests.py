"""`make test` runs each test once, says what failed, and leaves nothing running."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from local import run_tests
from local.children import Child

PATIENCE_SECONDS = 90
GROUPED = Path("/proc/self/autogroup").exists()


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_each_folder_of_tests_is_run_once() -> None:
    """The last command runs every folder except those that other commands name."""
    commands = list(run_tests.computing())
    others = {word.removeprefix("--ignore=") for word in commands[-1] if "--ignore=" in word}
    named = [*run_tests.MEASURED, *run_tests.WAITING]
    assert {"tests", "local/tests"} <= set(commands[-1])
    assert others == set(named)
    assert len(named) == len(others)
    assert all((run_tests.ROOT / folder).is_dir() for folder in named)
    assert set(run_tests.MEASURED) <= set(commands[1])
    assert set(run_tests.WAITING) <= set(run_tests._waiting())


@pytest.mark.parametrize(
    ("waiting", "computing", "code"), [(0, 0, 0), (3, 0, 3), (0, 4, 4), (3, 4, 3)]
)
def test_a_failure_of_either_part_is_the_exit_code(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], waiting: int, computing: int, code: int
) -> None:
    """The exit code is 0 only if both parts succeed, and the output of both is printed."""
    ended = run_tests.run_both(
        _python(f"print('first part'); exit({waiting})"),
        _python(f"print('second part'); exit({computing})"),
        tmp_path / "log",
    )
    assert ended == code
    assert capfd.readouterr().out.splitlines() == ["first part", "second part"]


def test_a_part_that_a_signal_ends_has_failed() -> None:
    """A command that is killed has exit code 1."""
    assert run_tests._run(_python("import os; os.kill(os.getpid(), 9)")) == 1


def test_tests_compile_each_file_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that run tests keep bytecode, though the caller's own keep none."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert run_tests._run(_python("import sys; exit(sys.dont_write_bytecode)")) == 0


_PARENT = """
import subprocess, sys
from local import run_tests
run_tests.end_with_parent()
started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(started.pid, flush=True)
started.wait()
"""


@pytest.mark.parametrize("end", ["its parent is gone", "it is asked to end"])
def test_the_computing_part_ends_with_what_it_runs(end: str) -> None:
    """Without its parent, and on SIGTERM, the second part ends and so does its command."""
    with subprocess.Popen(
        _python(_PARENT),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=run_tests.ROOT,
        start_new_session=True,
    ) as part:
        assert part.stdin is not None
        assert part.stdout is not None
        command = int(part.stdout.readline())
        if end == "its parent is gone":
            part.stdin.close()
        else:
            part.terminate()
        assert part.wait(PATIENCE_SECONDS) == -9
    _until(lambda: not _runs(command))


def _runs(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


_LOWERED = """
import os, sys
from pathlib import Path
from local import priority
from local.children import Child
priority.lower()
with Child([sys.executable, "-c", "input()"], log=Path(sys.argv[1]), cwd=Path(), env=os.environ) as child:
    print(Path(f"/proc/{child.pid}/autogroup").read_text())
"""


@pytest.mark.skipif(not GROUPED, reason="this system does not group processes by session")
def test_children_of_a_lowered_process_are_lowered(tmp_path: Path) -> None:
    """A child in a session of its own has the lowered priority of the process that started it."""
    answer = subprocess.run(
        [*_python(_LOWERED), str(tmp_path / "log")],
        cwd=run_tests.ROOT,
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
    )
    assert answer.stdout.split()[-2:] == ["nice", "19"]


@pytest.mark.skipif(not GROUPED, reason="this system does not group processes by session")
def test_children_keep_the_priority_of_their_parent(tmp_path: Path) -> None:
    """A child has the priority of this process: the usual one, unless this one was lowered."""
    nice = max(0, os.getpriority(os.PRIO_PROCESS, 0))
    command = _python("input()")
    with Child(command, log=tmp_path / "log", cwd=Path(), env=os.environ) as child:
        group = Path(f"/proc/{child.pid}/autogroup").read_text(encoding="ascii")
    assert group.split()[-2:] == ["nice", str(nice)]
