"""The live suite as one command, against the app on the local stack."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.arm.client import ArmClient
from local.stack import Stack

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
STEPS = 15


class Suite:
    """The command `python -m local.live`, on a stack that runs."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._arm = stack.arm
        self._stack_file = folder / "stack.json"
        self._stack_file.write_text(json.dumps(stack.describe()), encoding="utf-8")
        self._folder = folder
        self.output = folder / "output.txt"

    def start(self, command: str, *options: str) -> subprocess.Popen[bytes]:
        """Start the command."""
        with self.output.open("wb") as output:
            return subprocess.Popen(
                [
                    *(sys.executable, "-u", "-m", "local.live", command, *options),
                    *("--stack", str(self._stack_file), "--folder", str(self._folder)),
                ],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'cli/src'}"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def run(self, command: str, *options: str) -> int:
        """Run the command and return its exit code."""
        return self.start(command, *options).wait(PATIENCE)

    def wait_for(self, text: str) -> None:
        """Wait until the command has printed a text."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.text():
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.05)

    def text(self) -> str:
        """Return what the command has printed."""
        return self.output.read_text(encoding="utf-8")

    def created(self) -> list[str]:
        """Return the ids of what runs have created and not removed."""
        client = ArmClient(self._arm)
        try:
            return [each for each in client.ask("resources")["ids"] if "live" in each.lower()]
        finally:
            client.close()


@pytest.fixture
def suite(stack: Stack, tmp_path: Path) -> Iterator[Suite]:
    """Give the command, and see that nothing is left by it."""
    found = Suite(stack, tmp_path)
    yield found
    assert found.created() == []


def test_the_suite_passes_and_leaves_nothing() -> None:
    """Every step passes, those of Bastion and Azure Firewall too, and the exit code is 0.

    The command starts a stack of its own, whose app looks for firewalls.
    """
    done = subprocess.run(
        [sys.executable, "-m", "local.live", "run", "--bastion", "--firewall"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'cli/src'}"},
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == STEPS
    assert all("| passed |" in row for row in rows), rows
    assert "- nothing is left" in done.stdout


@pytest.mark.parametrize("step", ["VM", "policy"])
def test_what_a_killed_suite_left_is_removed_by_clean(suite: Suite, step: str) -> None:
    """The suite is killed while it deploys, or with access open; `clean` then removes everything."""
    process = suite.start("run")
    suite.wait_for(f"passed   {step}:")
    time.sleep(1.0)  # somewhere within the next step
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
    assert suite.created()

    assert suite.run("clean") == 0, suite.text()


def test_a_suite_that_is_stopped_removes_everything_first(suite: Suite) -> None:
    """SIGTERM ends the steps, not the clean-up; the exit code says that it was stopped."""
    process = suite.start("run")
    suite.wait_for("passed   If-Match:")
    process.send_signal(signal.SIGTERM)

    assert process.wait(PATIENCE) == 130, suite.text()
    assert "removing everything" in suite.text()
