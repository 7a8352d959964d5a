"""Shared parts of every command: the common options, the session, and errors as exit codes."""

import sys
from collections.abc import Callable
from typing import Any

import click

from jit_access.commands.exits import CommandError, Exit

FORMATS = ("text", "json", "table", "tsv")
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class JitCommand(click.Command):
    """A command with `-o`, `--query`, `-q` and `--profile`; its callback gets the session."""

    formats: tuple[str, ...] = FORMATS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings = {**CONTEXT, **self.context_settings}
        self.params = [*self.params, *_common(self.formats)]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error becomes one message and its exit code."""
        from jit_access.commands.session import Session

        names = ("output", "query", "quiet", "profile")
        session = Session(**{name: ctx.params.pop(name) for name in names})
        ctx.obj = session
        try:
            code = super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except BrokenPipeError:
            sys.stderr.close()  # the reader has closed the pipe
            code = Exit.DONE
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - each becomes one message
            from jit_access.commands.failures import report

            code = report(error, session)
        finally:
            session.close()
        ctx.exit(int(code or 0))


class ActivityCommand(JitCommand):
    """A command that writes CSV too."""

    formats = (*FORMATS, "csv")


def _common(formats: tuple[str, ...]) -> list[click.Parameter]:
    return [
        click.Option(
            ["-o", "--output"],
            type=click.Choice(formats),
            help="Form of the result; text on a terminal, else json.",
        ),
        click.Option(["--query"], help="JMESPath query on the result.", metavar="JMESPATH"),
        click.Option(["-q", "--quiet"], is_flag=True, help="Show no progress on stderr."),
        click.Option(["--profile"], help="Profile of the configuration to use.", metavar="NAME"),
    ]


def confirmed(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone; without a terminal `-y` has to be given."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Not confirmed.", "Give -y to go on without a question.")
    if not click.confirm(question, err=True):
        raise CommandError("Not confirmed; nothing was changed.")


def complete_vms(_ctx: click.Context, _param: click.Parameter, typed: str) -> list[str]:
    """Return the names of VMs that begin with what was typed, from the last list that was seen."""
    from jit_access.commands.cache import names

    return [name for name in names() if name.lower().startswith(typed.lower())]


def vm_argument(**more: Any) -> Callable[[Any], Any]:
    """Declare the VM argument: an id, a name, or group/name."""
    return click.argument("vm", metavar="VM", shell_complete=complete_vms, **more)
