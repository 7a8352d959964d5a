"""The command `jit completion`."""

import click

from jit_access.commands.base import CONTEXT

_SHELLS = ("bash", "zsh", "fish", "powershell")


@click.command("completion", context_settings=CONTEXT)
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    For bash: eval "$(jit completion bash)" in ~/.bashrc. VM names are completed from the
    last list of VMs.
    """
    from click.shell_completion import get_completion_class

    from jit_access.commands.main import main

    shell_class = get_completion_class(shell)
    if shell_class is None:
        raise click.UsageError(f"this version of click has no completion for {shell}")
    click.echo(shell_class(main, {}, "jit", "_JIT_COMPLETE").source())
