"""The local stack as it is measured: the app's own host.json, nothing made impatient."""

import contextlib
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from function_app import app
from local.children import Child
from local.stack import ROOT, Stack

# What is measured is the taking in of requests: nothing opens or sweeps meanwhile.
TAKING_IN = {
    "JIT_CALLS_PER_MINUTE": "10000",
    "AzureWebJobs.open_access.Disabled": "true",
    "AzureWebJobs.sweep_expired.Disabled": "true",
    "AzureWebJobs.reconcile.Disabled": "true",
}
# Flex Consumption gives each function that no HTTP call triggers instances of its own.
# https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#per-function-scaling
INSTANCES = (("open_access",), ("converge_firewall",), ("sweep_expired", "reconcile"))
_SETTINGS = {"JIT_MAX_OPEN_PER_CALLER": "800"}
_READY_WITHIN = 90.0


@contextmanager
def bench_stack(
    *, settle: float, with_host: bool = True, environment: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """Run a fresh stack in a folder of its own, all functions in one process."""
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


@contextmanager
def bench_instances(*, settle: float) -> Iterator[Stack]:
    """Run a fresh stack whose functions have processes of their own, as Flex Consumption scales."""
    apart = {name for names in INSTANCES for name in names}
    with (
        bench_stack(settle=settle, environment=_disabled(apart)) as stack,
        contextlib.ExitStack() as instances,
    ):
        for names in INSTANCES:
            instances.enter_context(_instance(stack, names))
        yield stack


@contextmanager
def _instance(stack: Stack, names: Sequence[str]) -> Iterator[Child]:
    """Run some functions of a stack in a functions host of their own."""
    others = _function_names() - set(names)
    state = stack.host_log.parent / names[0]
    ready = state / "host.ready"
    command = stack.host_command(state, 0, ready)
    given = {k: v for k, v in stack.host_environment.items() if k not in _disabled(names)}
    environment = {**given, **_disabled(others)}
    with Child(command, log=state / "host.log", cwd=ROOT, env=environment) as child:
        deadline = time.monotonic() + _READY_WITHIN
        while not ready.exists():
            if time.monotonic() > deadline or not child.is_alive:
                raise RuntimeError(f"{names} did not start: {child.last_line()}")
            time.sleep(0.02)
        yield child


@cache
def _function_names() -> frozenset[str]:
    """Name the app's functions, which it lists once."""
    return frozenset(str(each.get_function_name()) for each in app.get_functions())


def _disabled(names: Collection[str]) -> dict[str, str]:
    return {f"AzureWebJobs.{name}.Disabled": "true" for name in names}
