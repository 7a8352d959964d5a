"""The local stack's command line: python -m local up | token | demo."""

import argparse
import http
import importlib
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from local.app_settings import local_settings
from local.json_calls import call
from local.sign_in import SAMPLE_PEOPLE
from local.stack import ESTATE, ROOT, Stack, StackError


class _StopError(Exception):
    """A signal asked the stack to stop."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options, rest = _parser().parse_known_args(arguments)
    if options.command == "demo":
        scenes = {"firewall": "local.demo_firewall", "aws": "local.demo_aws"}
        scene = next((scenes[each] for each in rest if each in scenes), "local.demo")
        return int(importlib.import_module(scene).main(rest) or 0)
    if rest:
        _parser().error(f"unknown arguments: {' '.join(rest)}")
    try:
        return _up(options) if options.command == "up" else _token(options)
    except StackError as error:
        print(f"local: {error}", file=sys.stderr)
        return 1


def _up(options: argparse.Namespace) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    described = _stack_file(options)
    described.unlink(missing_ok=True)
    try:
        with Stack(
            app=options.app,
            port=options.port,
            estate=options.estate,
            settle=options.settle,
            with_host=options.with_host,
            directory=options.directory,
            aws=options.aws,
        ) as stack:
            if not options.with_host:
                _write_local_settings(stack, options.app)
            _announce(stack, described, with_host=options.with_host)
            return _stay(stack)
    except _StopError:
        return 0
    finally:
        described.unlink(missing_ok=True)


def _write_local_settings(stack: Stack, app: Path) -> None:
    path = app / "local.settings.json"
    path.write_text(local_settings(stack.environment, stack.port), encoding="utf-8")
    print(f"wrote {path}; start the app there with: func start", file=sys.stderr)


def _announce(stack: Stack, described: Path, *, with_host: bool) -> None:
    # A rename, so that no reader ever sees half a file.
    fresh = described.with_suffix(".new")
    fresh.write_text(json.dumps(stack.describe(), indent=2) + "\n", encoding="utf-8")
    fresh.replace(described)
    for name in ("api", "arm", "issuer"):
        print(f"{name:7} {getattr(stack, name)}", file=sys.stderr)
    if with_host:
        print(f"page    {stack.api}/ui/", file=sys.stderr)
        print(f"people  {_sample_people()}", file=sys.stderr)
        print("        protect machines as erin, request access as alice", file=sys.stderr)
    log = f"log of the app: {stack.host_log}; " if with_host else ""
    print(f"ready; {log}Ctrl-C stops all", file=sys.stderr)


def _sample_people() -> str:
    """Return the sample people of the issuer, each with its app roles."""
    return "; ".join(
        f"{n} ({', '.join(roles) or 'no roles'})" for n, roles in SAMPLE_PEOPLE.items()
    )


def _stack_file(options: argparse.Namespace) -> Path:
    return Path(options.directory) / "stack.json"


def _stay(stack: Stack) -> int:
    while (failed := stack.failed_part()) is None:
        time.sleep(0.2)
    print(f"local: {failed}", file=sys.stderr)
    return 1


def _stop(_number: int, _frame: FrameType | None) -> None:
    # Once is enough: a second signal must not cut the stopping short.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise _StopError


def _token(options: argparse.Namespace) -> int:
    try:
        stack = json.loads(_stack_file(options).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StackError("no stack is running here; start one with: python -m local up") from error
    asked = {
        "user": options.user,
        "roles": [role for role in options.roles.split(",") if role],
        "app": options.app,
        "expires": options.expires,
    }
    try:
        status, answer = call("POST", f"{stack['issuer']}/token", asked)
    except OSError as error:
        raise StackError(f"the token issuer does not answer: {error}") from error
    if status != http.HTTPStatus.OK:
        raise StackError(f"the token issuer refuses: {answer['error_description']}")
    print(answer["access_token"])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="The local stack.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the stack and stay until interrupted")
    up.add_argument("--port", type=int, default=7071, help="port of the app; 0: any free one")
    up.add_argument(
        "--without-host",
        dest="with_host",
        action="store_false",
        help="all but the functions host; writes local.settings.json for `func start`",
    )
    up.add_argument(
        "--estate",
        type=Path,
        nargs="+",
        default=[ESTATE],
        metavar="FILE",
        help="what the ARM simulator holds: its own form, or what az network nsg list, az network "
        "nic list and az vm list print",
    )
    up.add_argument("--app", type=Path, default=ROOT, help="folder of function_app.py")
    up.add_argument("--settle", type=float, help="seconds that an ARM write stays Updating")
    up.add_argument("--aws", action="store_true", help="with EC2 and STS of one account as well")
    token = commands.add_parser("token", help="print a bearer token")
    token.add_argument("--user", required=True, help="a name: the same name, the same object id")
    token.add_argument("--roles", default="", help="app roles, separated by commas")
    token.add_argument("--app", action="store_true", help="an app's token, not a person's")
    token.add_argument("--expires", type=float, default=3600, help="seconds; negative: expired")
    for command in (up, token):
        command.add_argument(
            "--directory", type=Path, default=ROOT / ".stack", help="holds stack.json and logs"
        )
    commands.add_parser(
        "demo",
        help="play one access end to end; `demo firewall`, `demo aws`: through those",
        add_help=False,
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
