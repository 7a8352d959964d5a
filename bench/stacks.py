"""The local stack as it is measured: the app's own host.json, nothing made impatient."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from local.stack import Stack

# What is measured is the taking in of requests: nothing opens or sweeps meanwhile.
TAKING_IN = {
    "JIT_CALLS_PER_MINUTE": "10000",
    "AzureWebJobs.open_access.Disabled": "true",
    "AzureWebJobs.sweep_expired.Disabled": "true",
    "AzureWebJobs.reconcile.Disabled": "true",
}
_SETTINGS = {"JIT_MAX_OPEN_PER_CALLER": "800"}


@contextmanager
def bench_stack(
    *, settle: float, with_host: bool = True, environment: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """Run a fresh stack in a folder of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Stack(
            directory=Path(folder),
            settle=settle,
            with_host=with_host,
            environment={**_SETTINGS, **(environment or {})},
        ) as stack,
    ):
        yield stack
