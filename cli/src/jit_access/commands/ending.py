"""The commands `jit extend` and `jit end`."""

import click

from jit_access.commands.base import JitCommand
from jit_access.commands.exits import CommandError, Exit
from jit_access.commands.session import Session


@click.command("extend", cls=JitCommand)
@click.argument("request_id", metavar="ID")
@click.option("--for", "lasting", metavar="TIME", help="Length from now on: 30m, 1h, PT1H.")
@click.option("--until", metavar="TIME", help="End: 15:40, or an ISO time.")
@click.pass_obj
def extend(session: Session, request_id: str, lasting: str | None, until: str | None) -> int:
    """Give open access a later end.

    Where the policy requires an approval, the exit code is 5 and the present end stands.
    """
    from jit_access.client import NewEnd
    from jit_access.commands.output import Result
    from jit_access.commands.texts import COLUMNS, details, now, state
    from jit_access.commands.times import iso_length, parse_end, parse_length

    if bool(lasting) == bool(until):
        raise CommandError("give one of --for and --until")
    body = (
        NewEnd(end_time_utc=parse_end(until, now()))
        if until
        else NewEnd(duration=iso_length(parse_length(lasting or "")))
    )
    found = session.client.extend_request(request_id, body)
    session.show(Result(found.raw, details(found), COLUMNS))
    waits = found.approval is not None and found.approval.end_time_utc is not None
    if waits:
        session.say(state(found))
    return Exit.WAITING if waits else Exit.DONE


@click.command("end", cls=JitCommand)
@click.argument("request_id", metavar="[ID]", required=False)
@click.option("--all", "all_of_them", is_flag=True, help="End all your open and waiting access.")
@click.option("-j", "--reason", metavar="TEXT", default="", help="Reason.")
@click.option("--no-wait", is_flag=True, help="Do not wait until it is closed.")
@click.pass_obj
def end(
    session: Session, request_id: str | None, *, all_of_them: bool, reason: str, no_wait: bool
) -> None:
    """End access early and wait until it is closed."""
    from jit_access.commands.closing import end_requests
    from jit_access.commands.output import Result
    from jit_access.commands.requests import Filter, requests_that
    from jit_access.commands.texts import COLUMNS

    if bool(request_id) == all_of_them:
        raise CommandError("give an ID or --all", "`jit ls --mine --open` lists open access.")
    ids = (
        [request_id]
        if request_id
        else [
            request.id
            for request in requests_that(session, Filter(mine=True))
            if request.status in {"Initiated", "Initiating", "PendingApproval"}
        ]
    )
    found = [request.raw for request in end_requests(session, ids, reason, wait=not no_wait)]
    session.show(
        Result(found if all_of_them else found[0], columns=COLUMNS, empty="Nothing is open.")
    )
