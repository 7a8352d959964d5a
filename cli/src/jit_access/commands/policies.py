"""The commands `jit policy ls`, `show`, `put` and `rm`."""

from pathlib import Path
from typing import Any

import click

from jit_access.commands.base import CONTEXT, JitCommand, confirmed
from jit_access.commands.exits import Exit
from jit_access.commands.session import Session

_NAME = click.argument("name", metavar="POLICY")


@click.group("policy", context_settings=CONTEXT)
def policy() -> None:
    """List, show, write and remove policies."""


@policy.command("ls", cls=JitCommand)
@click.option("--subscription", metavar="ID", help="Only policies of this subscription.")
@click.pass_obj
def policy_ls(session: Session, subscription: str | None) -> None:
    """List policies."""
    from jit_access.commands.output import Result
    from jit_access.commands.policy_files import all_policies
    from jit_access.commands.vms import group_of

    rows = [found.raw for found in all_policies(session, subscription)]
    columns: dict[str, Any] = {
        "POLICY": lambda row: row["name"],
        "GROUP": lambda row: group_of(row["id"]),
        "LOCATION": lambda row: row["location"],
        "STATE": lambda row: row["properties"]["provisioningState"],
        "VMS": lambda row: str(len(row["properties"]["virtualMachines"])),
        "ID": lambda row: row["id"],
    }
    session.show(Result(rows, columns=columns, empty="No policies."))


@policy.command("show", cls=JitCommand)
@_NAME
@click.pass_obj
def policy_show(session: Session, name: str) -> None:
    """Show a policy; its JSON or YAML can be edited and put back."""
    from jit_access.commands.output import Result
    from jit_access.commands.policy_files import find_policy, to_yaml, written_part

    found = session.client.get_policy(find_policy(session, name))
    session.show(Result(found.raw, to_yaml(written_part(found.raw))))


@policy.command("put", cls=JitCommand)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("name", metavar="[POLICY]", required=False)
@click.option("--dry-run", is_flag=True, help="Show the difference and the rules; write nothing.")
@click.option("--no-wait", is_flag=True, help="Do not wait until it is applied.")
@click.pass_obj
def policy_put(
    session: Session, file: Path, name: str | None, *, dry_run: bool, no_wait: bool
) -> int:
    """Write a policy from a JSON or YAML file ('-': stdin); it replaces the whole list of VMs.

    POLICY is a name or an id; without it the file's 'id' is taken.
    """
    from jit_access.commands.policy_files import read_policy, target_of
    from jit_access.commands.policy_writing import apply_policy, show_dry_run

    body = read_policy(file)
    policy_id = target_of(session, body, name)
    if dry_run:
        return show_dry_run(session, policy_id, body)
    return apply_policy(session, policy_id, body, wait=not no_wait)


@policy.command("rm", cls=JitCommand)
@_NAME
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def policy_rm(session: Session, name: str, *, yes: bool) -> int:
    """Remove a policy and its deny rules, and close its open access."""
    from jit_access.commands.output import Result
    from jit_access.commands.policy_files import find_policy

    policy_id = find_policy(session, name)
    confirmed(f"Remove {policy_id}? Its VMs are no longer protected by it.", yes=yes)
    session.client.delete_policy(policy_id)
    session.show(Result({"id": policy_id, "removed": True}, f"removed {policy_id}"))
    return Exit.DONE
