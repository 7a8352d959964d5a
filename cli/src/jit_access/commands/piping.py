"""Give a connection to ssh: as a descriptor, or byte by byte."""

import os
import socket
import sys
import threading

from jit_access.commands.exits import CommandError, Exit

_STDIN, _STDOUT, _BLOCK = 0, 1, 65536


def ask_on_tty(prompt: str) -> str:
    """Ask a person on the terminal; raises CommandError where there is none."""
    try:
        with open("/dev/tty", "r+", encoding="utf-8", buffering=1) as terminal:  # noqa: PTH123 - a device
            terminal.write(f"{prompt}: ")
            answer = terminal.readline().strip()
    except OSError:
        answer = ""
    if not answer:
        raise CommandError(
            "the policy wants a reason", "Give one: jit request VM -j REASON", Exit.OUTSIDE_POLICY
        )
    return answer


def hand_over(connection: socket.socket) -> None:
    """Send the connection to ssh over stdout, which is a socket under ProxyUseFdpass."""
    try:
        with socket.socket(fileno=os.dup(_STDOUT)) as to_ssh:
            socket.send_fds(to_ssh, [b"\0"], [connection.fileno()])
    except OSError as error:
        raise CommandError(
            f"the connection cannot be handed over: {error}",
            "--fdpass works under ssh's ProxyUseFdpass alone.",
        ) from None


def pump(connection: socket.socket) -> None:
    """Copy between ssh and the connection until both have ended."""
    sending = threading.Thread(target=_send, args=(connection,), daemon=True)
    sending.start()
    try:
        while block := connection.recv(_BLOCK):
            _write_all(block)
    except (BrokenPipeError, ConnectionResetError):
        return
    finally:
        connection.close()


def _send(connection: socket.socket) -> None:
    """Copy ssh's side; its end is passed on, so that the other side can finish."""
    try:
        while block := os.read(_STDIN, _BLOCK):
            connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)
    except OSError as error:
        sys.stderr.write(f"jit: {error}\n")


def _write_all(block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(_STDOUT, view) :]
