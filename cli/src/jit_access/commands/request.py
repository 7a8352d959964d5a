"""The command `jit request`."""

import sys
from typing import Any

import click

from jit_access.commands.base import JitCommand, complete_vms
from jit_access.commands.exits import CommandError, Exit
from jit_access.commands.session import Session


def request_options(command: Any) -> Any:
    """Add the options that say what is requested."""
    options = (
        click.option("--for", "lasting", metavar="TIME", help="Length: 30m, 1h, 1h30m or PT1H."),
        click.option("--until", metavar="TIME", help="End: 15:40, or an ISO time."),
        click.option("-j", "--reason", metavar="TEXT", help="Reason; the policy may require one."),
        click.option(
            "--source",
            metavar="SOURCE",
            help="Addresses, 'me', 'bastion' or a Bastion host's id; without it, your address.",
        ),
        click.option(
            "--break-glass",
            is_flag=True,
            help="Skip the approval; requires a reason, and is notified.",
        ),
        click.option(
            "--timeout", metavar="TIME", help="Stop waiting after this time; exit code 5."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def ask_on_terminal(prompt: str) -> str:
    """Ask a person on the terminal."""
    return str(click.prompt(prompt, err=True))


@click.command("request", cls=JitCommand)
@click.argument("vms", metavar="VM...", nargs=-1, required=True, shell_complete=complete_vms)
@click.option(
    "-p",
    "--port",
    "ports",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    multiple=True,
    help="Port; may be repeated. Without it: 22, or 3389 on Windows.",
)
@request_options
@click.option("--dry-run", is_flag=True, help="Show what would happen; change nothing.")
@click.option("--no-wait", is_flag=True, help="Return once the request is accepted.")
@click.option("--no-probe", is_flag=True, help="Do not try whether the open port answers.")
@click.pass_obj
def request(session: Session, /, **given: Any) -> int:
    """Request access to a VM and wait until it is open.

    VM is a name, group/name, or a resource id. Several VMs are several requests.
    """
    from jit_access.commands.opening import RequestOptions
    from jit_access.commands.requesting import Following, request_all

    if given["lasting"] and given["until"]:
        raise CommandError("give --for or --until, not both")
    options = RequestOptions(
        ports=given["ports"],
        lasting=given["lasting"] or "",
        until=given["until"] or "",
        source=given["source"] or "",
        reason=given["reason"] or "",
        break_glass=given["break_glass"],
        timeout=given["timeout"] or "",
    )
    following = Following(
        dry_run=given["dry_run"],
        wait=not given["no_wait"],
        probe=not given["no_probe"],
        prompt=ask_on_terminal if sys.stdin.isatty() else None,
    )
    return int(max(request_all(session, given["vms"], options, following), default=Exit.DONE))
