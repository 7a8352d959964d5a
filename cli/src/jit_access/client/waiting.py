"""Wait for what becomes of a request."""

import time
from collections.abc import Callable

from jit_access.client import models
from jit_access.client.client import POLL_SECONDS, JitClient


class WaitTimeoutError(Exception):
    """The time to wait is over; `request` is the last state that was seen."""

    def __init__(self, request: models.RequestStatus) -> None:
        super().__init__(f"request {request.id} is still {request.status}")
        self.request = request


def wait_for_request(  # noqa: PLR0913 - each has a default
    client: JitClient,
    location: str,
    *,
    is_done: Callable[[models.RequestStatus], bool] = lambda request: not request.is_undecided,
    on_poll: Callable[[models.RequestStatus], None] = lambda _: None,
    timeout_seconds: float | None = None,
    longest_pause_seconds: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> models.RequestStatus:
    """Poll a request as its answers ask until it is done; raises WaitTimeoutError.

    `on_poll` is called with each state that is seen.
    """
    deadline = None if timeout_seconds is None else clock() + timeout_seconds
    while True:
        polled = client.poll(location)
        on_poll(polled.request)
        if is_done(polled.request):
            return polled.request
        pause = min(polled.retry_after or POLL_SECONDS, longest_pause_seconds)
        if deadline is not None:
            left = deadline - clock()
            if left <= 0:
                raise WaitTimeoutError(polled.request)
            pause = min(pause, left)
        sleep(pause)
