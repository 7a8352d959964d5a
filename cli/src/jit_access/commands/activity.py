"""The command `jit activity`."""

from typing import TYPE_CHECKING, Any

import click

from jit_access.commands.base import ActivityCommand, complete_vms
from jit_access.commands.session import Session

if TYPE_CHECKING:
    from jit_access.commands.output import Columns


@click.command("activity", cls=ActivityCommand)
@click.option(
    "--from",
    "since",
    metavar="TIME",
    help="Earliest: 3h or 2d (ago), or an ISO time; else a day ago.",
)
@click.option("--to", "until", metavar="TIME", help="Latest: as --from; else now.")
@click.option("--person", metavar="OBJECT_ID", default="", help="Only what this person did.")
@click.option("--vm", metavar="VM", shell_complete=complete_vms, help="Only events of this VM.")
@click.option("--operation", default="", help="Only this operation, such as opened or refused.")
@click.option("--verify", is_flag=True, help="Verify the exported audit record instead.")
@click.option(
    "--container", metavar="URL", default="", help="With --verify: where it is, or a folder."
)
@click.option("--deployment", metavar="ID", default="", help="With --verify: which, of several.")
@click.option("--anchors", metavar="FILE", default="", help="With --verify: heads kept elsewhere.")
@click.pass_obj
def activity(session: Session, /, **given: Any) -> int:
    """List audit events, oldest first; `-o csv` writes comma-separated values.

    --verify reads the exported audit record and names what was changed, removed, reordered or
    forged in it, and what it does not share with the events of the service since --from.
    """
    from jit_access.commands.output import Result
    from jit_access.commands.texts import now
    from jit_access.commands.times import parse_past
    from jit_access.commands.vms import find_vm

    if given["verify"]:
        return _verify(session, given)
    filters: dict[str, Any] = {
        "since": parse_past(given["since"], now()) if given["since"] else None,
        "until": parse_past(given["until"], now()) if given["until"] else None,
        "person": given["person"],
        "virtual_machine": find_vm(session, given["vm"]).id if given["vm"] else "",
        "operation": given["operation"],
    }
    if session.format == "csv":
        for page in session.client.activity_csv(**filters):
            click.echo(page, nl=False)
        return 0
    events = session.client.every(session.client.get_activity(**filters, top=1000))
    session.show(Result([event.raw for event in events], columns=_columns(), empty="No events."))
    return 0


def _verify(session: Session, given: dict[str, Any]) -> int:
    from jit_access.commands.auditing import verify
    from jit_access.commands.exits import CommandError
    from jit_access.commands.texts import now
    from jit_access.commands.times import parse_past

    if not given["container"]:
        raise CommandError(
            "--verify needs the record",
            "Name it: --container https://ACCOUNT.blob.core.windows.net/audit, or a folder.",
        )
    since = parse_past(given["since"], now()) if given["since"] else None
    return verify(session, given["container"], given["deployment"], given["anchors"], since)


def _columns() -> "Columns":
    from datetime import datetime

    from jit_access.commands.texts import now
    from jit_access.commands.times import clock
    from jit_access.commands.vms import name_of

    return {
        "TIME": lambda row: clock(datetime.fromisoformat(row["time"]), now()),
        "OPERATION": lambda row: row["operation"],
        "PERSON": lambda row: row.get("principalName") or row.get("principal", ""),
        "VM": lambda row: name_of(row.get("virtualMachine", "")),
        "PORT": lambda row: str(row.get("port", "")),
        "FIREWALL": lambda row: name_of(row.get("firewall", "")),
        "SOURCE": lambda row: row.get("sourceAddress", ""),
        "REASON": lambda row: row.get("reason", ""),
    }
