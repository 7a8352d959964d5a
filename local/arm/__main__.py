"""Run the simulator as a process: python -m local.arm --port 8400 --estate FILE."""

import argparse
from pathlib import Path

from local.arm.app import DEFAULT_ESTATE, create_app, load_estate
from local.arm.estate import EstateError
from local.arm.serve import HOST, listen, server
from local.arm.simulator import CONCURRENCY, DEFAULT_PAGE_SIZE, DEFAULT_SETTLE_SECONDS, Settings


def main() -> None:
    """Serve until a signal comes; the address is the first line on stdout."""
    parser = argparse.ArgumentParser(prog="python -m local.arm", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    parser.add_argument("--estate", type=Path, nargs="+", default=[DEFAULT_ESTATE])
    parser.add_argument("--settle", type=float, default=DEFAULT_SETTLE_SECONDS)
    parser.add_argument("--concurrency", choices=CONCURRENCY, default=CONCURRENCY[0])
    parser.add_argument("--page-size", type=int, default=DEFAULT_PAGE_SIZE)
    given = parser.parse_args()
    settings = Settings(given.settle, given.concurrency, given.page_size)
    try:
        estate = load_estate(*given.estate)
    except EstateError as error:
        parser.error(str(error))
    taken = listen(given.port)
    print(f"http://{HOST}:{taken.getsockname()[1]}", flush=True)
    server(create_app(estate, settings=settings)).run(sockets=[taken])


if __name__ == "__main__":
    main()
