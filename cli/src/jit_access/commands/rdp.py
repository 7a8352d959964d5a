"""The command `jit rdp`."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from jit_access.commands.base import JitCommand, vm_argument
from jit_access.commands.request import ask_on_terminal, request_options
from jit_access.commands.session import Session
from jit_access.commands.ssh import reach_options


@click.command("rdp", cls=JitCommand)
@vm_argument()
@click.option(
    "-p",
    "--port",
    metavar="PORT",
    type=click.IntRange(1, 65535),
    default=3389,
    help="3389 without it.",
)
@click.option("-l", "--login", "user", metavar="USER", help="User name on the VM.")
@click.option("--file", type=click.Path(path_type=Path), help="Write an .rdp file; start nothing.")
@click.option("--end-after", is_flag=True, help="End the access when the client ends.")
@request_options
@reach_options
@click.pass_obj
def rdp(session: Session, /, vm: str, **given: Any) -> int:
    """Connect with Remote Desktop; request access first if none is open."""
    from jit_access.commands.output import Result
    from jit_access.commands.reaching import ReachOptions, reach
    from jit_access.commands.running import run_then_end
    from jit_access.commands.vms import find_vm

    found = find_vm(session, vm)
    options = ReachOptions.read(given, prompt=ask_on_terminal if sys.stdin.isatty() else None)
    reached = reach(session, found, given["port"], options)
    user = given["user"] or session.profile.user
    text = rdp_file(reached.entry.host, reached.entry.port, user)
    if given["file"]:
        given["file"].write_text(text, encoding="utf-8")
        session.show(Result({"file": str(given["file"])}, f"wrote {given['file']}"))
        return 0
    with tempfile.TemporaryDirectory(prefix="jit-") as folder:
        path = Path(folder) / f"{found.name}.rdp"
        path.write_text(text, encoding="utf-8")
        return run_then_end(session, _command(path), reached, end_after=given["end_after"])


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
