"""The stack's command line, run as a person runs it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.json_calls import call
from local.ports import free_ports, listen
from local.sign_in import SAMPLE_PEOPLE
from local.tests.platform_app.harness import APP, until

ROOT = Path(__file__).parents[2]


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "local", *arguments]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the platform app and an estate."""
    shutil.copytree(APP, tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "estate.json").write_text('{"resources": []}', encoding="utf-8")
    return tmp_path


@contextlib.contextmanager
def _up(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    where = ["--app", f"{folder}/app", "--directory", f"{folder}/stack"]
    command = _command("up", "--estate", f"{folder}/estate.json", *where, *arguments)
    environment = {**os.environ, "PLATFORM_QUEUE": "platform-work"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        described = folder / "stack" / "stack.json"
        until(lambda: described.exists() or process.poll() is not None, "the stack is up")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _described(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "stack" / "stack.json").read_text())
    return content


def _ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def _is_away(url: str) -> bool:
    try:
        call("GET", url, seconds=1)
    except OSError:
        return True
    return False


def test_up_until_asked_to_stop(folder: Path) -> None:
    """`up` says where all is, `token` prints a token that fits, SIGTERM stops all of it."""
    with _up(folder, "--port", "0") as process:
        stack = _described(folder)
        assert set(stack) == {"api", "arm", "issuer", "storage", "pid"}
        assert stack["pid"] == process.pid
        assert call("GET", f"{stack['api']}/answer/empty")[0] == 204
        asked = ["token", "--user", "alice", "--roles", "Jit.Request,Jit.Read"]
        printed = subprocess.run(
            _command(*asked, "--directory", f"{folder}/stack"),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert printed.stderr == ""
        assert printed.stdout.count("\n") == 1
        assert len(printed.stdout.strip().split(".")) == 3
        process.send_signal(signal.SIGTERM)
        code, errors = _ended(process)
    assert code == 0
    assert printed.stdout.strip() not in errors
    assert f"page    {stack['api']}/ui/\n" in errors
    assert all(f"{person} (" in errors for person in SAMPLE_PEOPLE)
    assert not (folder / "stack" / "stack.json").exists()
    assert all(_is_away(stack[part]) for part in ("api", "arm", "issuer"))
    assert not _children_of(stack["storage"])


def test_part_that_ends_unasked_is_one_line(folder: Path) -> None:
    """When the functions host is killed, `up` says so in one line and ends, not with 0."""
    with _up(folder, "--port", "0") as process:
        (host,) = _processes("local.functions_host", str(folder))
        os.kill(host, signal.SIGKILL)
        code, errors = _ended(process)
    assert code == 1
    (line,) = [line for line in errors.splitlines() if line.startswith("local:")]
    assert "functions host ended unexpectedly" in line


def test_killed_stack_leaves_nothing(folder: Path) -> None:
    """Even SIGKILL of `up` leaves no process of its own behind."""
    with _up(folder, "--port", "0") as process:
        stack = _described(folder)
        assert _processes("local.functions_host", str(folder))
        process.kill()
        process.wait()
        until(lambda: not _processes("local.functions_host", str(folder)), "the host is gone")
        until(lambda: not _children_of(stack["storage"]), "Azurite is gone")


def test_without_host_leaves_settings_for_func(folder: Path) -> None:
    """`--without-host` starts the rest and writes what `func start` needs."""
    port = free_ports(1)[0]
    with _up(folder, "--without-host", "--port", str(port)) as process:
        stack = _described(folder)
        written = json.loads((folder / "app" / "local.settings.json").read_text())
        assert written["Values"]["AzureWebJobsStorage"] == stack["storage"]
        assert written["Values"]["JIT_ARM_URL"] == stack["arm"]
        assert written["Host"]["LocalHttpPort"] == port
        assert stack["api"] == f"http://127.0.0.1:{port}"
        assert _processes("local.functions_host", str(folder)) == []
        process.send_signal(signal.SIGINT)
        assert _ended(process)[0] == 0


def _func_environment(written: dict[str, Any], scripts: Path) -> dict[str, str]:
    """Return the environment that `func start` makes of a local.settings.json.

    It adds some settings itself, and stops where one is there already, in any letter case.
    """
    added = {
        "WEBSITE_HOSTNAME": f"localhost:{written['Host']['LocalHttpPort']}",
        "AzureWebJobsScriptRoot": str(scripts),
        "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
        "FUNCTIONS_CORETOOLS_ENVIRONMENT": "True",
    }
    values: dict[str, str] = written["Values"]
    assert all(isinstance(value, str) for value in values.values())
    assert {name.lower() for name in added} & {name.lower() for name in values} == set()
    return {**os.environ, **values, **added, "PLATFORM_QUEUE": "platform-work"}


def test_func_start_runs_on_the_settings_with_any_free_port(folder: Path) -> None:
    """With `--port 0` a real port is chosen, printed and written, and a host started there serves."""
    with _up(folder, "--without-host", "--port", "0") as process:
        stack = _described(folder)
        written = json.loads((folder / "app" / "local.settings.json").read_text())
        port = written["Host"]["LocalHttpPort"]
        assert port
        assert stack["api"] == f"http://127.0.0.1:{port}"
        host = subprocess.Popen(
            [
                *(sys.executable, "-m", "local.functions_host"),
                *("--app", f"{folder}/app", "--port", str(port), "--state", f"{folder}/state"),
            ],
            cwd=ROOT,
            env=_func_environment(written, folder / "app"),
            stderr=subprocess.DEVNULL,
        )
        try:
            until(lambda: not _is_away(f"{stack['api']}/admin/host/status"), "the host serves")
            assert call("GET", f"{stack['api']}/answer/empty")[0] == 204
        finally:
            host.terminate()
            host.wait(30)
        process.send_signal(signal.SIGINT)
        code, errors = _ended(process)
    assert code == 0
    assert f"api     {stack['api']}" in errors


def test_sample_settings_are_taken_by_func_start() -> None:
    """The sample holds nothing that `func start` adds itself."""
    sample = json.loads((ROOT / "local.settings.sample.json").read_text(encoding="utf-8"))
    _func_environment({"Host": {"LocalHttpPort": 7071}, **sample}, ROOT)


def test_taken_port_is_one_line(folder: Path) -> None:
    """A port that is taken ends `up` with one line that names it."""
    with listen(0) as taken:
        port = str(taken.getsockname()[1])
        with _up(folder, "--port", port) as process:
            code, errors = _ended(process)
    assert code == 1
    assert errors.count("\n") == 1
    assert port in errors


def test_token_without_a_stack_is_one_line(folder: Path) -> None:
    """Without a running stack `token` says how to start one, on stderr."""
    asked = _command("token", "--user", "alice", "--directory", f"{folder}/stack")
    printed = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert printed.returncode == 1
    assert printed.stdout == ""
    assert "python -m local up" in printed.stderr


def _processes(*words: str) -> list[int]:
    """Return the processes whose command line holds all of the words."""
    everything = ["ps", "-ww", "-eo", "pid=,args="]
    listed = subprocess.run(everything, capture_output=True, text=True, check=True)
    lines = (line.strip().partition(" ") for line in listed.stdout.splitlines())
    return [int(pid) for pid, _, command in lines if all(word in command for word in words)]


def _children_of(storage: str) -> list[int]:
    """Return the Azurite that has this connection string's queue port."""
    queue = storage.partition("QueueEndpoint=http://127.0.0.1:")[2].partition("/")[0]
    return _processes("--queuePort", queue)
