"""Serve the simulator over HTTP, from a thread or as a process of its own."""

import asyncio
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from local.arm.app import Clock, create_app, load_estate
from local.arm.simulator import Settings

HOST = "127.0.0.1"
START_SECONDS = 10.0


class ReachableTransport(H11Protocol):
    """HTTP as ever, with the connection in the request's state, so that a fault can close it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note the connection."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def server(app: Starlette) -> uvicorn.Server:
    """Make the HTTP server; what it says about itself is left to the application."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=ReachableTransport,
            server_header=False,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
    )


def listen(port: int, host: str = HOST) -> socket.socket:
    """Take a port, 0 for any free one; from then on no connection is refused.

    With the protocol named, asyncio turns Nagle off; without, each answer waits 40 ms.
    """
    taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind((host, port))
    taken.listen(128)
    return taken


class ArmServer:
    """The simulator on a port, in a thread of this process; it serves from the start.

    `estate` is an estate, the path of one, or None for the default one.
    """

    def __init__(
        self,
        estate: Mapping[str, Any] | Path | None = None,
        *,
        port: int = 0,
        settings: Settings | None = None,
        clock: Clock = time.time,
    ) -> None:
        loaded = load_estate(estate) if isinstance(estate, Path) else estate
        self._socket = listen(port)
        self._server = server(create_app(loaded, clock=clock, settings=settings))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )
        self.url = f"http://{HOST}:{self._socket.getsockname()[1]}"

        self._start()

    def _start(self) -> None:
        """Start serving, and return when calls are answered."""
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the ARM simulator did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop serving and free the port."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
