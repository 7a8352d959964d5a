"""TCP ports of the local stack: take one, find a free one, wait for one."""

import socket
import time
from collections.abc import Callable

LOOPBACK = "127.0.0.1"


class PortTakenError(Exception):
    """Another process listens on the port."""


def listen(port: int) -> socket.socket:
    """Return a listening socket on the port, any free one for 0."""
    # The protocol by name: asyncio switches Nagle's algorithm off only where it reads TCP, and with
    # it on, each small answer waits 40 ms for the other side's acknowledgement.
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # A restarted part gets its old port back while connections of the former one linger.
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((LOOPBACK, port))
        server.listen(2048)
    except OSError as error:
        server.close()
        raise PortTakenError(f"port {port} on {LOOPBACK} is already taken") from error
    return server


def free_ports(count: int) -> list[int]:
    """Return ports without a listener now, all different."""
    servers = [listen(0) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def wait_until_open(port: int, *, seconds: float, is_alive: Callable[[], bool]) -> bool:
    """Tell whether the port accepts connections before the deadline, while its process lives."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and is_alive():
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False
