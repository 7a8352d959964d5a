"""Run the live suite: `python -m tools.live run`, or remove what a killed run left: `... clean`.

Exit code 0: every step passed and nothing is left; 1: a step failed or something is left; 2: the
suite could not begin; 130: it was stopped by a signal, and cleaned up.
"""

import argparse
import secrets
import signal
import string
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from tools.live.names import Journal, Run
from tools.live.outside import Azd, LiveError, Rest, SshPort, Token
from tools.live.report import estimate, minutes
from tools.live.session import Session, Target
from tools.live.suite import clean, play

ROOT = Path(__file__).parents[2]
JOURNAL = ROOT / ".live"
_ARM, _GRAPH = "https://management.azure.com", "https://graph.microsoft.com"
_LETTERS = string.ascii_lowercase + string.digits


class StopRequested(BaseException):
    """A signal asked the suite to stop."""


def main(
    arguments: Sequence[str] | None = None,
    *,
    connect: Callable[[Run], Target] | None = None,
    journal: Journal | None = None,
) -> int:
    """Run one command and return its exit code."""
    options = _options(arguments)
    kept = journal or Journal(JOURNAL)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        if options.command == "clean":
            return _clean_all(kept, connect or connect_azure)
        return _run(options, kept, connect or connect_azure)
    except LiveError as error:
        print(f"live: {error}", file=sys.stderr)
        return 2
    except StopRequested:
        print("live: stopped", file=sys.stderr)
        if options.command == "run":  # the signal may have cut the clean-up short
            _clean_all(kept, connect or connect_azure)
        return 130


def _run(options: argparse.Namespace, journal: Journal, connect: Callable[[Run], Target]) -> int:
    if _clean_all(journal, connect):
        raise LiveError("a run before this one could not be removed; nothing was begun")
    name = "".join(secrets.choice(_LETTERS) for _ in range(8))
    run = Run(name, options.subscription, options.location, options.bastion, options.firewall)
    took = minutes(run)
    print(f"run {run.id}: about ${estimate(run, took / 60):.2f}, about {took} minutes")
    report = play(Session(run, connect(run)), journal)
    print()
    print(report.text())
    return 0 if report.is_good else 1


def _clean_all(journal: Journal, connect: Callable[[Run], Target]) -> int:
    """Remove what runs before have left; 1: something is still there."""
    results = [clean(Session(run, connect(run)), journal) for run in journal.unfinished()]
    return 1 if any(results) else 0


def connect_azure(_run: Run) -> Target:
    """Return Azure, with the identity that the Azure CLI is signed in as."""
    from azure.core.exceptions import ClientAuthenticationError  # noqa: PLC0415
    from azure.identity import AzureCliCredential  # noqa: PLC0415 - not for the local stack

    credential = AzureCliCredential(process_timeout=30)

    def token_for(audience: str) -> Token:
        def token() -> str:
            try:
                return str(credential.get_token(f"{audience.rstrip('/')}/.default").token)
            except ClientAuthenticationError as error:
                raise LiveError(f"sign in with `az login` first: {error}") from error

        return token

    azd = Azd(["azd"], ROOT, {"JIT_DRAIN_ANYWAY": "true", "JIT_DRAIN_SECONDS": "120"})
    arm, graph = Rest(_ARM, token_for(_ARM)), Rest(_GRAPH, token_for(_GRAPH))
    return Target(arm, graph, token_for, azd, SshPort(), is_azure=True)


def _stop(_number: int, _frame: FrameType | None) -> None:
    # The clean-up follows. A second signal must not cut it short, nor end the azd that it starts.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise StopRequested


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.live", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="deploy, measure, remove, report")
    run.add_argument("--subscription", required=True, help="id of the subscription")
    run.add_argument("--location", required=True, help="region, such as westeurope")
    run.add_argument("--bastion", action="store_true", help="with Azure Bastion")
    run.add_argument("--firewall", action="store_true", help="with Azure Firewall")
    commands.add_parser("clean", help="remove what a killed run has left")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
