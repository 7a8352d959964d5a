"""Stand in for `az network bastion tunnel`: listen on --port and relay to a port of this machine.

Usage: stand_in_az.py LOG TARGET ARGUMENTS...; it logs its process id and its arguments.
"""

import contextlib
import json
import os
import socket
import sys
import threading
from pathlib import Path


def main() -> None:
    """Log the call, then serve one connection after the other, as az does."""
    log, target, *arguments = sys.argv[1:]
    with Path(log).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"pid": os.getpid(), "arguments": arguments}) + "\n")
    options = dict(zip(arguments[3::2], arguments[4::2], strict=True))
    with socket.create_server(("127.0.0.1", int(options["--port"]))) as listening:
        sys.stderr.write(f"Tunnel is ready, connect on port {options['--port']}\n")
        while True:
            connection, _ = listening.accept()
            with connection, socket.create_connection(("127.0.0.1", int(target))) as far:
                relay(connection, far)


def relay(near: socket.socket, far: socket.socket) -> None:
    """Copy both directions until both have ended."""
    back = threading.Thread(target=copy, args=(far, near))
    back.start()
    copy(near, far)
    back.join()


def copy(source: socket.socket, sink: socket.socket) -> None:
    """Copy one direction and pass on its end."""
    with contextlib.suppress(OSError):
        while block := source.recv(65536):
            sink.sendall(block)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main()
