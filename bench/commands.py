"""The start time of `jit --help`, against a bare click program of as many commands."""

import os
import statistics
import sys
from pathlib import Path

from bench.place import Json

_ROOT = Path(__file__).parent.parent
_TIMES = 20
_JIT = "from jit_access.commands.main import main; main(prog_name='jit')"
_BARE = """
import click

@click.group()
def main():
    "A program."

for number in range(20):
    @main.command(f"command-{number}", short_help="Does one thing.")
    @click.option("--option", help="Changes it.")
    def command(option):
        "Does one thing."

main(prog_name="bare")
"""


def run() -> Json:
    """Start both in turn, and compare the medians of the CPU time that each start took."""
    jit, bare = measure(_TIMES)
    return {
        "jit": statistics.median(jit),
        "bare": statistics.median(bare),
        "ratio": statistics.median(jit) / statistics.median(bare),
    }


def measure(times: int) -> tuple[list[float], list[float]]:
    """Start `jit` and a bare program in turn; return the CPU seconds of each start of each."""
    pairs = [(_cpu_seconds(_JIT), _cpu_seconds(_BARE)) for _ in range(times)]
    return [jit for jit, _ in pairs], [bare for _, bare in pairs]


def _cpu_seconds(code: str) -> float:
    """Run a program for its help and return its CPU seconds, which a busy machine adds little to."""
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", code, "--help"],
        {**os.environ, "PYTHONPATH": str(_ROOT / "cli" / "src")},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise RuntimeError(f"a program failed with status {status}")
    return usage.ru_utime + usage.ru_stime
