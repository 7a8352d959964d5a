"""The command `jit ssh`."""

import sys
from typing import Any

import click

from jit_access.commands.base import JitCommand, vm_argument
from jit_access.commands.request import ask_on_terminal, request_options
from jit_access.commands.session import Session


def reach_options(command: Any) -> Any:
    """Add the options that say where to connect."""
    options = (
        click.option(
            "--via",
            type=click.Choice(("direct", "bastion")),
            help="How to connect; 'bastion' opens a tunnel with az.",
        ),
        click.option("--address", default="", metavar="HOST", help="Connect to this address."),
        click.option("--new", is_flag=True, help="Request access even if some is open."),
        click.option("--no-probe", is_flag=True, help="Do not wait until the port answers."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command("ssh", cls=JitCommand)
@vm_argument()
@click.argument("arguments", metavar="[-- ARGS...]", nargs=-1, type=click.UNPROCESSED)
@click.option("-l", "--login", "user", metavar="USER", help="User name on the VM.")
@click.option(
    "-p",
    "--port",
    metavar="PORT",
    type=click.IntRange(1, 65535),
    default=22,
    help="Port; 22 without it.",
)
@click.option("--end-after", is_flag=True, help="End the access when ssh ends.")
@request_options
@reach_options
@click.pass_obj
def ssh(session: Session, /, vm: str, arguments: tuple[str, ...], **given: Any) -> int:
    """Connect with ssh; request access first if none is open.

    Arguments after `--` are given to ssh after the host: options, or a command to run there. The
    exit code is ssh's.
    """
    from jit_access.commands.reaching import ReachOptions, reached
    from jit_access.commands.running import run_ssh
    from jit_access.commands.vms import find_vm

    found = find_vm(session, vm)
    options = ReachOptions.read(given, prompt=ask_on_terminal if sys.stdin.isatty() else None)
    user = given["user"] or session.profile.user
    with reached(session, found, given["port"], options) as way:
        return run_ssh(session, found, way, user, arguments, end_after=given["end_after"])
