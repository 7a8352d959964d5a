"""The commands `jit ls`, `jit show` and `jit wait`."""

import sys
import time

import click

from jit_access.commands.base import JitCommand, complete_vms
from jit_access.commands.session import Session

_WATCH_SECONDS = 5.0


@click.command("ls", cls=JitCommand)
@click.option("--mine", is_flag=True, help="Only your requests.")
@click.option("--pending", is_flag=True, help="Only requests that wait for approval.")
@click.option("--open", "is_open", is_flag=True, help="Only open requests.")
@click.option("--vm", metavar="VM", shell_complete=complete_vms, help="Only requests for this VM.")
@click.option("--watch", is_flag=True, help="Show the list again every 5 seconds, until Ctrl-C.")
@click.pass_obj
def ls(
    session: Session, *, mine: bool, pending: bool, is_open: bool, vm: str | None, watch: bool
) -> None:
    """List requests."""
    from jit_access.commands.output import Result
    from jit_access.commands.requests import Filter, requests_that
    from jit_access.commands.texts import COLUMNS
    from jit_access.commands.vms import find_vm

    wanted = Filter(mine, pending, is_open, find_vm(session, vm).id if vm else "")
    while True:
        found = [request.raw for request in requests_that(session, wanted)]
        if watch and sys.stdout.isatty():
            click.clear()
        session.show(Result(found, columns=COLUMNS, empty="No requests."))
        if not watch:
            return
        time.sleep(_WATCH_SECONDS)


@click.command("show", cls=JitCommand)
@click.argument("request_id", metavar="ID")
@click.pass_obj
def show(session: Session, request_id: str) -> None:
    """Show one request."""
    from jit_access.commands.output import Result
    from jit_access.commands.texts import COLUMNS, details

    found = session.client.get_request(request_id)
    session.show(Result(found.raw, details(found), COLUMNS))


@click.command("wait", cls=JitCommand)
@click.argument("request_id", metavar="ID")
@click.option(
    "--timeout", metavar="TIME", default="", help="Stop waiting after this time; exit code 5."
)
@click.pass_obj
def wait(session: Session, request_id: str, timeout: str) -> int:
    """Wait until a request is open or refused.

    The exit code tells the outcome: 0 open, 5 still waiting, 6 denied, 7 failed or closed.
    """
    from jit_access.commands.opening import follow
    from jit_access.commands.output import Result
    from jit_access.commands.requests import location_of
    from jit_access.commands.texts import COLUMNS, OUTCOMES, details

    found = follow(session, request_id, location_of(request_id), timeout)
    session.show(Result(found.raw, details(found), COLUMNS))
    return OUTCOMES[found.status]
