"""The command `jit rdp`."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jit_access.commands.base import JitCommand, vm_argument
from jit_access.commands.exits import CommandError
from jit_access.commands.request import ask_on_terminal, request_options
from jit_access.commands.session import Session
from jit_access.commands.ssh import reach_options

if TYPE_CHECKING:
    from jit_access.commands.reaching import Reached
    from jit_access.commands.vms import Vm


@click.command("rdp", cls=JitCommand)
@vm_argument()
@click.option(
    "-p",
    "--port",
    metavar="PORT",
    type=click.IntRange(1, 65535),
    default=3389,
    help="Port; 3389 without it.",
)
@click.option("-l", "--login", "user", metavar="USER", help="User name on the VM.")
@click.option("--file", type=click.Path(path_type=Path), help="Write an .rdp file; start nothing.")
@click.option("--end-after", is_flag=True, help="End the access when the client ends.")
@request_options
@reach_options
@click.pass_obj
def rdp(session: Session, /, vm: str, **given: Any) -> int:
    """Connect with Remote Desktop; request access first if none is open."""
    from jit_access.commands.reaching import ReachOptions, reached
    from jit_access.commands.vms import find_vm

    found = find_vm(session, vm)
    options = ReachOptions.read(given, prompt=ask_on_terminal if sys.stdin.isatty() else None)
    if given["file"] and options.is_through_bastion(session.profile.source):
        raise CommandError("a tunnel ends with jit, so that no file can name it", "Omit --file.")
    user = given["user"] or session.profile.user
    with reached(session, found, given["port"], options) as way:
        text = rdp_file(way.entry.host, way.entry.port, user)
        if given["file"]:
            return _write(session, given["file"], text)
        return _run(session, found, way, text, end_after=given["end_after"])


def _write(session: Session, file: Path, text: str) -> int:
    from jit_access.commands.output import Result

    file.write_text(text, encoding="utf-8")
    session.show(Result({"file": str(file)}, f"wrote {file}"))
    return 0


def _run(session: Session, vm: "Vm", way: "Reached", text: str, *, end_after: bool) -> int:
    """Run this system's client with a file that is removed afterwards."""
    from jit_access.commands.running import run_then_end

    with tempfile.TemporaryDirectory(prefix="jit-") as folder:
        path = Path(folder) / f"{vm.name}.rdp"
        path.write_text(text, encoding="utf-8")
        return run_then_end(session, _command(path), way, end_after=end_after)


def rdp_file(host: str, port: int, user: str) -> str:
    """Return the text of an .rdp file."""
    shown = f"[{host}]" if ":" in host else host
    lines = [f"full address:s:{shown}:{port}", "prompt for credentials:i:1"]
    lines += [f"username:s:{user}"] if user else []
    return "\r\n".join(lines) + "\r\n"


def _command(path: Path) -> list[str]:
    """Return the command of this system's client."""
    from jit_access.commands.running import program

    if sys.platform == "win32":
        return [program("mstsc"), str(path)]
    if sys.platform == "darwin":
        return [program("open"), "-W", str(path)]
    return [program("xfreerdp3", "xfreerdp"), str(path)]
