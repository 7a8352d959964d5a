"""`jit`: the table of commands. Nothing but click is imported before a command is chosen."""

import importlib

import click

from jit_access import __version__
from jit_access.commands.base import CONTEXT

# name: module, help on one line. Tests hold the help to the command's own.
Table = dict[str, tuple[str, str]]
COMMANDS: Table = {
    "request": ("request", "Request access to a VM and wait until it is open."),
    "ssh": ("ssh", "Connect with ssh; request access first if none is open."),
    "rdp": ("rdp", "Connect with Remote Desktop; request access first if none is open."),
    "proxy": ("proxy", "Connect for ssh's ProxyCommand; ssh-config writes the lines for it."),
    "ssh-config": ("ssh_config", "Print or write the configuration for plain ssh."),
    "ls": ("listing", "List requests."),
    "show": ("listing", "Show one request."),
    "wait": ("listing", "Wait until a request is open or refused."),
    "extend": ("ending", "Give open access a later end."),
    "end": ("ending", "End access early and wait until it is closed."),
    "approve": ("deciding", "Approve a request; without an id, list the requests that wait."),
    "deny": ("deciding", "Deny a request; without an id, list the requests that wait."),
    "revoke": ("deciding", "Revoke all access of a VM or of a person."),
    "vm": ("machines", "List VMs and their protection."),
    "policy": ("policies", "List, show, write and remove policies."),
    "activity": (
        "activity",
        "List audit events, oldest first; `-o csv` writes comma-separated values.",
    ),
    "doctor": (
        "doctor",
        "Check configuration, service and sign-in; name a remedy for each failure.",
    ),
    "whoami": ("whoami", "Show the caller: name, roles and expiry of the access token."),
    "config": ("config", "Show and change the configuration."),
    "completion": ("completion", "Print the completion script of a shell."),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is used."""

    table: Table = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return list(self.table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if name not in self.table:
            return None
        module = importlib.import_module(f"jit_access.commands.{self.table[name][0]}")
        command: click.Command = getattr(module, name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing a command."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, short_help) for name, (_, short_help) in self.table.items()])


@click.group(
    cls=LazyGroup,
    context_settings=CONTEXT,
    epilog="Exit codes: 0 done, 1 service, 2 usage, 3 not found, 4 not permitted, 5 still waiting,"
    " 6 denied, 7 failed, 8 exposed or unreachable, 9 outside the policy, 130 Ctrl-C.",
)
@click.version_option(__version__, prog_name="jit")
def main() -> None:
    """Just-in-time VM access: open a management port for one address and a limited time."""
