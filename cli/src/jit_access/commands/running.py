"""Run ssh or a Remote Desktop client, and pass on its exit code."""

import shutil
import signal
import subprocess
from collections.abc import Iterable, Sequence

from jit_access.commands.closing import end_requests
from jit_access.commands.exits import CommandError
from jit_access.commands.reaching import Reached
from jit_access.commands.session import Session
from jit_access.commands.vms import Vm, group_of

_SIGNALLED = 128


def host_alias(vm: Vm) -> str:
    """Return the name under which known_hosts keeps the VM's key, whatever address it has."""
    return f"{vm.name}.{group_of(vm.id)}.jit".lower()


def run_ssh(
    session: Session,
    vm: Vm,
    reached: Reached,
    user: str,
    arguments: Sequence[str],
    *,
    end_after: bool,
) -> int:
    """Run ssh to where the VM is reached, and return its exit code."""
    options = {"HostKeyAlias": host_alias(vm), "CheckHostIP": "no", "Port": str(reached.entry.port)}
    given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    login = ["-l", user] if user else []
    command = [program("ssh"), *given, *login, reached.entry.host, *arguments]
    return run_then_end(session, command, reached, end_after=end_after)


def run_then_end(
    session: Session, command: Sequence[str], reached: Reached, *, end_after: bool
) -> int:
    """Run a program; afterwards end the access, or say how to."""
    session.say("")
    try:
        return run(command)
    finally:
        if end_after:
            end_requests(session, [reached.request.id], wait=False)
            session.say(f"ended {reached.request.id}")
        else:
            session.say(f"still open; end it with: jit end {reached.request.id}")
        session.settles(reached.request.id)


def run(command: Iterable[str]) -> int:
    """Run a program on this terminal; Ctrl-C is the program's.

    NB. A handler of ours, unlike SIG_IGN, is not inherited: the program still ends on Ctrl-C.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        code = subprocess.call(list(command))  # noqa: S603 - the user's own ssh
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else _SIGNALLED - code


def program(*names: str) -> str:
    """Return the path of the first program that is installed; raises CommandError otherwise."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise CommandError(f"{' or '.join(names)} is not installed")
    return found
