"""The local stack as it is measured: the app's own host.json, nothing made impatient."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from local.stack import Stack

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
