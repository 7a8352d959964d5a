"""Run one function app: python -m local.functions_host --app DIR --port N."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import uvicorn

from local.functions_host.config import ConfigError
from local.functions_host.host import FunctionsHost
from local.functions_host.kestrel import PARSER_BUFFER, SERVER, KestrelProtocol
from local.functions_host.logs import log_to
from local.functions_host.web import web_app
from local.ports import LOOPBACK, PortTakenError, listen

_ROOT = Path(__file__).parents[2]
_DRAIN = timedelta(seconds=10)


class _Server(uvicorn.Server):
    """Leaves signals to this module: uvicorn would raise them again before the drain."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main() -> None:
    """Serve until SIGTERM or Ctrl-C, then drain."""
    options = _options()
    _leave_import_path()
    if options.tethered:
        threading.Thread(target=_leave_with_parent, daemon=True, name="tether").start()
    try:
        server = listen(options.port)
        app = options.app.resolve()
        host = FunctionsHost(app, os.environ, options.state.resolve())
    except (PortTakenError, ConfigError) as error:
        sys.exit(f"functions host: {error}")
    log_to(logging.StreamHandler(sys.stderr), host.records)
    ready_file = options.ready_file and options.ready_file.resolve()
    # As on the platform, where the script root is the working directory.
    os.chdir(app)
    asyncio.run(_serve(host, server, ready_file))


async def _serve(host: FunctionsHost, listener: socket.socket, ready_file: Path | None) -> None:
    # No access log: a query string can hold a function key.
    server = _Server(
        uvicorn.Config(
            web_app(host),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # The caller of this process is the hop that the front end appends.
            proxy_headers=False,
            headers=SERVER,
            http=KestrelProtocol,
            h11_max_incomplete_event_size=PARSER_BUFFER,
            timeout_graceful_shutdown=int(_DRAIN.total_seconds()),
        )
    )
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await host.start()
    if ready_file:
        # The socket listens already; who connects now waits a moment.
        url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        await asyncio.to_thread(ready_file.write_text, url, encoding="utf-8")
    serving = asyncio.create_task(server.serve([listener]))
    serving.add_done_callback(lambda _: stopping.set())
    await stopping.wait()
    server.should_exit = True
    await asyncio.gather(serving, host.drain(_DRAIN))
    host.close()
    logging.shutdown()
    # Functions that outlast the drain are cut off here, as on the platform.
    os._exit(0)


def _leave_with_parent() -> None:
    """Exit at once when standard input ends: the process that started this one is gone."""
    # Not sys.stdin: its lock would be held while the interpreter ends in the ordinary way.
    while os.read(0, 1024):
        pass
    os._exit(1)


def _leave_import_path() -> None:
    """Take the host's own folder off the import path: an app has its own and the packages."""
    # What the host itself imports later is found through its package, which is loaded.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _ROOT]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.functions_host")
    parser.add_argument("--app", type=Path, required=True, help="folder of function_app.py")
    parser.add_argument("--port", type=int, default=7071, help="0: any free one")
    parser.add_argument(
        "--state", type=Path, default=Path(".stack"), help="where timers keep their status"
    )
    parser.add_argument("--ready-file", type=Path, help="gets the URL once it serves")
    parser.add_argument("--tethered", action="store_true", help="leave when standard input ends")
    return parser.parse_args()


if __name__ == "__main__":
    main()
