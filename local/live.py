"""The live suite against the local stack: `python -m local.live run`, or `clean`.

The steps, the clean-up and the report are those of Azure. The ARM simulator stands in for Azure, the
functions host of the stack for the deployed app, and local/azd.py for azd.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local.arm.client import ArmClient
from local.json_calls import call
from local.stack import ROOT, Stack
from tools.live.__main__ import main as run_suite
from tools.live.names import Journal, Run
from tools.live.outside import Azd, Rest, Token
from tools.live.session import Target

SUBSCRIPTION, LOCATION = "3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815", "westeurope"
SOURCE = "203.0.113.7"
# The stack runs before the run's resource group has a name: a firewall is looked for in all of it.
# It looks ten times a second here and not every five seconds: one caller makes more calls a minute.
ENVIRONMENT = {
    "JIT_FIREWALL_SCOPES": f"/subscriptions/{SUBSCRIPTION}",
    "JIT_CALLS_PER_MINUTE": "10000",
}
_ARM = "https://management.azure.com"


class SimulatedPort:
    """Port 22 of the VM as the simulator judges its rules. There are no connections."""

    def __init__(self, arm: str, run: Run) -> None:
        self._arm = arm
        self._vm = run.machine

    def reaches(self, address: str, mapped: int = 0) -> bool:
        """Tell whether the rules let the source in, through a firewall where a port is mapped."""
        entry = {"publicAddress": address, "publicPort": mapped} if mapped else {}
        client = ArmClient(self._arm)
        try:
            answer = client.ask("access", vm=self._vm, port=22, source=SOURCE, **entry)
        finally:
            client.close()
        return bool(answer["allowed"])

    def connect(self, _address: str) -> None:
        """Return None: rules are judged, and nothing is connected."""


def connect_local(run: Run, stack_file: Path, folder: Path) -> Target:
    """Return the local stack as a cloud to run in; azd keeps its environments in a folder."""
    stack: dict[str, Any] = json.loads(stack_file.read_text(encoding="utf-8"))

    def token_for(audience: str) -> Token:
        return lambda: "local:live" if audience == _ARM else _mint(stack["issuer"])

    variables = {"JIT_LOCAL_STACK": str(stack_file), "PYTHONPATH": f"{ROOT}:{ROOT / 'cli/src'}"}
    azd = Azd([sys.executable, "-m", "local.azd"], folder, variables)
    rest = Rest(stack["arm"], token_for(_ARM))
    port = SimulatedPort(stack["arm"], run)
    times = {"access": "PT6S", "firewall_access": "PT2M", "patience": 30.0, "pause": 0.1}
    return Target(rest, rest, token_for, azd, port, source=SOURCE, **times)  # type: ignore[arg-type]


def _mint(issuer: str) -> str:
    roles = ["Jit.Admin", "Jit.Request", "Jit.Read"]
    _, minted = call("POST", f"{issuer}/token", {"user": "carol", "roles": roles})
    return str(minted["access_token"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite against a stack that runs, or start one; return the suite's exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.live", description=__doc__)
    parser.add_argument("command", choices=("run", "clean"))
    parser.add_argument("--bastion", action="store_true", help="with Azure Bastion")
    parser.add_argument("--firewall", action="store_true", help="with Azure Firewall")
    parser.add_argument("--stack", type=Path, help="stack.json of a stack that runs")
    parser.add_argument("--folder", type=Path, help="where azd and the journal keep their files")
    options = parser.parse_args(arguments)
    if options.stack is not None and options.folder is not None:
        return _run(options, options.stack.resolve(), options.folder.resolve())
    with tempfile.TemporaryDirectory(prefix="jit-live-") as made:
        folder = Path(made)
        with Stack(directory=folder / "stack", environment=ENVIRONMENT) as stack:
            stack_file = folder / "stack.json"
            stack_file.write_text(json.dumps(stack.describe()), encoding="utf-8")
            return _run(options, stack_file, folder)


def _run(options: argparse.Namespace, stack_file: Path, folder: Path) -> int:
    words = [options.command]
    if options.command == "run":
        words += ["--subscription", SUBSCRIPTION, "--location", LOCATION]
        words += ["--bastion"] if options.bastion else []
        words += ["--firewall"] if options.firewall else []
    return run_suite(
        words,
        connect=lambda run: connect_local(run, stack_file, folder),
        journal=Journal(folder / "journal"),
    )


if __name__ == "__main__":
    sys.exit(main())
