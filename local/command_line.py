"""Run the `jit` command line as one of the sample people, and tell what it says."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jit_access

_PATIENCE_SECONDS = 120.0


class CommandFailedError(Exception):
    """A command ended with another exit code than the story says, in one line."""


@dataclass(frozen=True)
class CommandLine:
    """The command line against one service; `say` gets each line that people would read."""

    url: str
    token: Callable[[str], str]
    say: Callable[[str], None]

    def run(self, person: str, *arguments: str, code: int = 0, given: str = "") -> Any:
        """Run a command and return its JSON; raises CommandFailedError for another exit code.

        `given` is written to its stdin. Its stderr is printed below the command.
        """
        self.say(f"   {person}$ {shlex.join(['jit', *arguments])}")
        done = self._start(person, arguments, given)
        for line in done.stderr.splitlines():
            self.say(f"     {line}")
        if done.returncode != code:
            raise CommandFailedError(f"jit {arguments[0]} ended with {done.returncode}, not {code}")
        return json.loads(done.stdout) if done.stdout else None

    def _start(
        self, person: str, arguments: Sequence[str], given: str
    ) -> "subprocess.CompletedProcess[str]":
        own = {
            "PYTHONPATH": str(Path(jit_access.__file__).parents[1]),
            "JIT_CONFIG": os.devnull,
            "JIT_URL": self.url,
            "JIT_TOKEN": self.token(person),
        }
        return subprocess.run(
            [sys.executable, "-m", "jit_access", *arguments],
            env={**os.environ, **own},
            input=given,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
