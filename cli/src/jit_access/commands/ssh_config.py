"""The command `jit ssh-config`."""

import os
import shlex
import sys
from pathlib import Path

import click

from jit_access.commands.base import JitCommand
from jit_access.commands.session import Session


@click.command("ssh-config", cls=JitCommand)
@click.option(
    "--write", is_flag=True, help="Write ~/.ssh/jit.config and include it in ~/.ssh/config."
)
@click.option("--suffix", default=".jit", show_default=True, help="Ending of the host names.")
@click.option(
    "--via",
    type=click.Choice(("direct", "bastion")),
    default="direct",
    help="How to connect; 'bastion' opens a tunnel with az for each connection.",
)
@click.pass_obj
def ssh_config(session: Session, *, write: bool, suffix: str, via: str) -> None:
    """Print or write the configuration for plain ssh.

    With it ssh, scp, rsync, Ansible and VS Code reach a VM as NAME.jit, or NAME.GROUP.jit where
    several have the name.
    """
    from jit_access.commands.exits import CommandError
    from jit_access.commands.output import Result

    if not suffix.startswith(".") or not suffix[1:].replace("-", "").replace(".", "").isalnum():
        raise CommandError(f"'{suffix}' cannot end a host name", "Write one such as .jit")
    text = config_text(suffix, session.profile_option, via)
    if not write:
        session.show(Result({"config": text}, text.rstrip("\n")))
        return
    path = Path.home() / ".ssh" / "jit.config"
    _write_files(path, text)
    session.show(Result({"path": str(path)}, f"wrote {path}; try: ssh NAME{suffix}"))


def config_text(suffix: str, profile: str, via: str = "direct") -> str:
    """Return the lines for ssh's configuration.

    A connection through a tunnel is not handed over: its jit stays and ends the tunnel.
    """
    is_posix = hasattr(os, "fork")  # Windows hands no descriptors from process to process
    passes = is_posix and via == "direct"
    words = [_own_command(), "proxy"]
    words += ["--suffix", suffix] if suffix != ".jit" else []
    words += ["--profile", profile] if profile else []
    words += ["--via", via] if via != "direct" else []
    words += ["--fdpass"] if passes else []
    quote = shlex.quote if is_posix else _quoted_for_windows
    command = " ".join(quote(word).replace("%", "%%") for word in words)
    # ssh puts the name into a shell's command line; old versions take any character in it.
    host = "'%h'" if is_posix else "%h"
    lines = [
        "# Written by `jit ssh-config`; written anew each time.",
        f"Host *{suffix}",
        f"    ProxyCommand {command} -- {host} %p",
        *(["    ProxyUseFdpass yes"] if passes else []),
        "    CheckHostIP no",
    ]
    return "\n".join(lines) + "\n"


def _quoted_for_windows(word: str) -> str:
    return f'"{word}"' if " " in word else word


def _own_command() -> str:
    """Return the path of this `jit`, so that programs without our PATH find it."""
    path = Path(sys.argv[0])
    return str(path.absolute()) if path.exists() else "jit"


def _write_files(path: Path, text: str) -> None:
    """Write our file, and include it at the head of ssh's own."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    main = path.parent / "config"
    line = f"Include {path.name}\n"
    current = main.read_text(encoding="utf-8") if main.exists() else ""
    if line not in current:
        # An Include below a Host line would belong to that host alone.
        main.write_text(line + current, encoding="utf-8")
        main.chmod(0o600)
