"""Serve an ASGI app from a thread of this process."""

import threading
import time
from types import TracebackType
from typing import Any, Self

import uvicorn

from local.ports import LOOPBACK, listen

# A client whose next call comes late on a busy machine finds its connection still open.
KEEP_ALIVE_SECONDS = 600


class BackgroundServer:
    """An ASGI app served on a loopback port until stopped."""

    def __init__(self, app: Any, *, port: int = 0, name: str = "server") -> None:
        self._socket = listen(port)
        self.url = f"http://{LOOPBACK}:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            log_level="warning",
            lifespan="off",
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name=name, daemon=True
        )
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)

    @property
    def is_alive(self) -> bool:
        """Tell whether the server still serves."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop serving and give the port back."""
        self._server.should_exit = True
        # Clients keep connections open; a stop does not wait for them.
        self._server.force_exit = True
        self._thread.join(timeout=5)
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
