"""The command `jit proxy`, which ssh runs for each connection."""

from typing import Any

import click

from jit_access.commands.base import JitCommand
from jit_access.commands.exits import CommandError
from jit_access.commands.request import request_options
from jit_access.commands.session import Session
from jit_access.commands.ssh import reach_options


@click.command("proxy", cls=JitCommand)
@click.argument("host", metavar="HOST")
@click.argument("port", metavar="PORT", type=click.IntRange(1, 65535))
@click.option("--suffix", default=".jit", show_default=True, help="Ending of HOST to remove.")
@click.option(
    "--fdpass", is_flag=True, help="Hand the connection to ssh (ProxyUseFdpass) and exit."
)
@request_options
@reach_options
@click.pass_obj
def proxy(session: Session, /, host: str, port: int, **given: Any) -> None:
    """Connect for ssh's ProxyCommand; ssh-config writes the lines for it.

    Requests access if none is open, waits, and connects. A question is asked on the terminal,
    never on stdin, which belongs to ssh.
    """
    from jit_access.commands.connecting import connect
    from jit_access.commands.piping import ask_on_tty, hand_over, pump
    from jit_access.commands.reaching import ReachOptions, reached
    from jit_access.commands.vms import find_vm

    vm = find_vm(session, host.removesuffix(given["suffix"]))
    options = ReachOptions.read(given, prompt=ask_on_tty)
    if given["fdpass"] and options.is_through_bastion(session.profile.source):
        raise CommandError(
            "a tunnel ends with jit, so that its connection cannot be handed over",
            "Write the lines with: jit ssh-config --via bastion",
        )
    with reached(session, vm, port, options) as way:
        connection = connect(way.entry, 15.0)
        if given["fdpass"]:
            hand_over(connection)
        else:
            pump(connection)
