"""The commands `jit approve`, `jit deny` and `jit revoke`."""

from typing import Any

import click

from jit_access.commands.base import JitCommand, complete_vms, confirmed
from jit_access.commands.exits import CommandError
from jit_access.commands.session import Session

_ID = click.argument("request_id", metavar="[ID]", required=False)
_COMMENT = click.option(
    "-c", "--comment", metavar="TEXT", default="", help="Comment, shown with your decision."
)


@click.command("approve", cls=JitCommand)
@_ID
@_COMMENT
@click.pass_obj
def approve(session: Session, request_id: str | None, comment: str) -> None:
    """Approve a request; without an id, list the requests that wait."""
    _decide(session, request_id, comment, "approve_request")


@click.command("deny", cls=JitCommand)
@_ID
@_COMMENT
@click.pass_obj
def deny(session: Session, request_id: str | None, comment: str) -> None:
    """Deny a request; without an id, list the requests that wait."""
    _decide(session, request_id, comment, "deny_request")


def _decide(session: Session, request_id: str | None, comment: str, operation: str) -> None:
    from jit_access.client import NewDecision
    from jit_access.commands.output import Result
    from jit_access.commands.requests import Filter, requests_that
    from jit_access.commands.texts import COLUMNS, details

    if not request_id:
        waiting = [request.raw for request in requests_that(session, Filter(pending=True))]
        session.show(Result(waiting, columns=COLUMNS, empty="Nothing waits for approval."))
        return
    decide = getattr(session.client, operation)
    found = decide(request_id, NewDecision(comment=comment))
    session.show(Result(found.raw, details(found), COLUMNS))


@click.command("revoke", cls=JitCommand)
@click.option("--vm", metavar="VM", shell_complete=complete_vms, help="All access to this VM.")
@click.option("--person", metavar="OBJECT_ID", help="All access that this person requested.")
@click.option("-c", "--comment", metavar="TEXT", default="", help="Reason.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def revoke(
    session: Session, vm: str | None, person: str | None, comment: str, *, yes: bool
) -> None:
    """Revoke all access of a VM or of a person."""
    from jit_access.client import RevokeAll
    from jit_access.commands.output import Result
    from jit_access.commands.texts import COLUMNS
    from jit_access.commands.vms import find_vm

    if bool(vm) == bool(person):
        raise CommandError("give one of --vm and --person")
    body: dict[str, Any] = {"comment": comment}
    if vm:
        body["virtual_machine"] = find_vm(session, vm).id
    else:
        body["requestor_object_id"] = person
    confirmed(f"Revoke all access of {vm or person}?", yes=yes)
    page = session.client.revoke_all(RevokeAll(**body))
    found = [request.raw for request in session.client.every(page)]
    session.show(Result(found, columns=COLUMNS, empty="Nothing was open."))
