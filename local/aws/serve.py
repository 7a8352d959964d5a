"""Serve the EC2 and STS simulator on a loopback port, from a thread of this process."""

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from local.arm.serve import HOST, START_SECONDS, listen, server
from local.aws.app import create_app
from local.aws.endpoint import Endpoint
from local.aws.sts import Keys, Trust


class AwsServer:
    """The simulator on a port; it serves from the start."""

    def __init__(
        self,
        estate: Mapping[str, Any] | None = None,
        *,
        trusts: tuple[Trust, ...] = (),
        keys: Keys | None = None,
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        app = create_app(estate, trusts=trusts, keys=keys, clock=clock)
        self.endpoint: Endpoint = app.state.endpoint
        self._socket = listen(port)
        self._server = server(app)
        self.url = f"http://{HOST}:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )
        self._thread.start()
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the AWS simulator did not start")
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
