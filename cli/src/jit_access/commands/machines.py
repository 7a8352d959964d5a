"""The commands `jit vm ls` and `jit vm show`."""

from typing import TYPE_CHECKING, Any

import click

from jit_access.commands.base import CONTEXT, JitCommand, vm_argument
from jit_access.commands.exits import Exit
from jit_access.commands.session import Session

if TYPE_CHECKING:
    from jit_access.client.models import BastionHost, Machine

CATEGORIES = ("configured", "not-configured", "exposed", "unsupported", "unknown")


@click.group("vm", context_settings=CONTEXT)
def vm() -> None:
    """List VMs and their protection."""


@vm.command("ls", cls=JitCommand)
@click.option("--category", type=click.Choice(CATEGORIES), help="Only VMs of this category.")
@click.option("--fail-on", type=click.Choice(CATEGORIES), help="Exit with 8 if there is any.")
@click.option("--scope", default="", metavar="ID", help="A subscription, resource group or VM.")
@click.pass_obj
def vm_ls(session: Session, category: str | None, fail_on: str | None, scope: str) -> int:
    """List VMs and whether their ports are closed."""
    from jit_access.commands.output import Result
    from jit_access.commands.vms import group_of, list_machines, name_of

    machines = list_machines(session, scope)
    rows = [machine.raw for machine in machines if category in {None, _word(machine)}]
    columns: dict[str, Any] = {
        "VM": lambda row: name_of(row["id"]),
        "GROUP": lambda row: group_of(row["id"]),
        "CATEGORY": lambda row: row["category"],
        "PORTS": lambda row: ",".join(str(rule["number"]) for rule in row["ports"]),
        "LAST ACCESS": lambda row: row["lastAccess"] or "",
        "LAST REQUESTOR": lambda row: row["lastRequestor"] or "",
        "REASON": lambda row: _exposure(row) or row["reason"],
    }
    session.show(Result(rows, columns=columns, empty="No VMs."))
    fails = any(_word(machine) == fail_on for machine in machines)
    return Exit.EXPOSED if fails else Exit.DONE


@vm.command("show", cls=JitCommand)
@vm_argument()
@click.pass_obj
def vm_show(session: Session, vm: str) -> int:
    """Show a VM: policy, firewalls, Bastion hosts, and rules that leave a port open."""
    from jit_access.commands.exits import CommandError
    from jit_access.commands.output import Result
    from jit_access.commands.vms import find_vm

    found = find_vm(session, vm)
    if found.machine is None:
        message = f"you may not read {found.id}"
        raise CommandError(message, "Ask for the Reader role on it.", Exit.NOT_PERMITTED)
    session.show(Result(found.machine.raw, _details(found.machine)))
    return Exit.DONE


def _word(machine: "Machine") -> str:
    return machine.category.lower().replace(" ", "-")


def _exposure(row: Any) -> str:
    return "; ".join(
        f"{rule['port']} is open to {','.join(rule['sources'])} by {rule['rule']}"
        for rule in row["exposedBy"]
    )


def bastion_text(host: "BastionHost") -> str:
    """Return a Bastion host in words: its name, SKU, id, and whether `--via bastion` can use it."""
    tunnels = "" if host.enable_tunneling else ", without native client support"
    return f"{host.name} ({host.sku}{tunnels})  {host.id}"


def _details(machine: "Machine") -> str:
    from jit_access.commands.output import printable
    from jit_access.commands.texts import now
    from jit_access.commands.times import clock, length, parse_length
    from jit_access.commands.vms import name_of

    lines = [("vm", machine.id), ("category", machine.category), ("reason", machine.reason)]
    lines += [("policy", policy) for policy in machine.policies]
    for rule in machine.ports:
        sources = rule.allowed_source_address_prefixes or (
            rule.allowed_source_address_prefix or "",
        )
        longest = length(parse_length(rule.max_request_access_duration))
        lines.append(
            ("port", f"{rule.number} {rule.protocol}, {longest} at most, from {','.join(sources)}")
        )
    lines += [("firewall", name_of(firewall)) for firewall in machine.firewalls]
    lines += [("bastion", bastion_text(host)) for host in machine.bastions or ()]
    lines.append(("exposed", _exposure(machine.raw)))
    if machine.last_access:
        last = f"{clock(machine.last_access, now())} by {machine.last_requestor or 'an app'}"
        lines.append(("last access", last))
    return "\n".join(f"{name:<12}{printable(value)}" for name, value in lines if value)
