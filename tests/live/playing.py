"""A run of the live suite in the ARM simulator, which can be killed at any of its calls."""

import contextlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from local import azd as local_azd
from local.arm.client import ArmClient
from local.live import LOCATION, SUBSCRIPTION
from tools.live.names import Journal, Run
from tools.live.outside import Answer, Azd, LiveError, Rest
from tools.live.session import Session, Target
from tools.live.suite import STEPS, Step

# The steps that need no app: they create everything that a clean-up has to find.
BUILDING: tuple[Step, ...] = STEPS[:5]


class Killed(BaseException):
    """The process is gone: no handler of the suite sees this."""


class Fate:
    """Decides at which call the process is killed: before it is made, or after."""

    def __init__(self, at: int = 0, *, after: bool = False) -> None:
        self.at, self.after = at, after
        self.calls = 0
        self.is_dead = False

    def around(self, call: Callable[[], Any]) -> Any:
        """Make a call, unless the process is or gets killed."""
        self.calls += 1
        if self.is_dead or (self.calls == self.at and not self.after):
            self.is_dead = True
            raise Killed
        result = call()
        if self.calls == self.at:
            self.is_dead = True
            raise Killed
        return result


class FatedRest(Rest):
    """Calls of a process that may be killed. `faults` answers some of them differently."""

    def __init__(self, url: str, fate: Fate) -> None:
        super().__init__(url, lambda: "local:live")
        self._fate = fate

    def call(self, *arguments: Any, **named: Any) -> Answer:
        """Make one call."""
        answer: Answer = self._fate.around(lambda: super(FatedRest, self).call(*arguments, **named))
        return answer


class InProcessAzd(Azd):
    """azd's stand-in, called in this process."""

    def __init__(self, stack_file: Path, folder: Path, fate: Fate) -> None:
        super().__init__(["azd"], folder, {})
        self._stack_file, self._fate = stack_file, fate
        self.failing: set[str] = set()

    def run(self, *arguments: str, environment: str = "", seconds: float = 60) -> str:
        """Run a command; those in `failing` fail."""
        del seconds
        named = ["-e", environment] if environment else []
        text: str = self._fate.around(lambda: self._run([*arguments, *named]))
        return text

    def _run(self, words: list[str]) -> str:
        if words[0] in self.failing:
            raise LiveError(f"azd {words[0]}: it failed")
        output = io.StringIO()
        variables = {"JIT_LOCAL_STACK": str(self._stack_file)}
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
            mock.patch.dict(os.environ, variables),
        ):
            failed = local_azd.main(words)
        if failed:
            raise LiveError(output.getvalue())
        return output.getvalue()


class ClosedPort:
    """A port that nothing opens."""

    def reaches(self, _address: str, _mapped: int = 0) -> bool:
        """Return False."""
        return False

    def connect(self, _address: str) -> None:
        """Return None."""


@dataclass(frozen=True)
class Cloud:
    """The simulator and the files of runs in it."""

    arm: str
    folder: Path

    @property
    def journal(self) -> Journal:
        """Return the journal of runs."""
        return Journal(self.folder / "journal")

    def session(
        self, fate: Fate | None = None, run_id: str = "abcd1234", **options: bool
    ) -> Session:
        """Return a run, or the same run again."""
        fate = fate or Fate()
        stack_file = self.folder / "stack.json"
        stack_file.write_text(json.dumps({"arm": self.arm}), encoding="utf-8")
        rest = FatedRest(self.arm, fate)
        azd = InProcessAzd(stack_file, self.folder, fate)
        target = Target(rest, rest, lambda _: lambda: "", azd, ClosedPort(), pause=0.0)
        return Session(Run(run_id, SUBSCRIPTION, LOCATION, **options), target)

    def ids(self) -> list[str]:
        """Return the ids of all that exists."""
        found: list[str] = self.ask("resources")["ids"]
        return found

    def ask(self, control: str) -> Any:
        """Ask a control of the simulator."""
        client = ArmClient(self.arm)
        try:
            return client.ask(control)
        finally:
            client.close()

    def control(self, name: str, given: dict[str, Any]) -> None:
        """Post to a control of the simulator."""
        client = ArmClient(self.arm)
        try:
            client.control(name, given)
        finally:
            client.close()
