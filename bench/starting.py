"""The cost of a fresh interpreter: to load the app, to take in a request, to open one."""

import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from azure.storage.queue import QueueClient

from bench.people import People, wire_time
from bench.place import SOURCE, Cloud, Json, Place
from bench.stacks import TAKING_IN, bench_stack
from local.stack import ROOT, Stack
from shared.adapters.queues import REQUESTS

_TIMES = 5
_TIMES_UNCOMPILED = 3  # these take long
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")
_PLACE = Place("cold", 2, 5, 20)


def run() -> Json:
    """Start interpreters one after another, several of each type; return medians."""
    with bench_stack(settle=0.05, environment=TAKING_IN) as stack:
        people = People(stack)
        Cloud(stack.arm).build(_PLACE)
        people.put_policy(_PLACE)
        given = json.dumps(_asking(stack))
        return {
            "bare": _median("bare", {}),
            "app": _median("app", {}),
            "http": _median("http", stack.environment, given),
            "worker": _worker(people, stack),
            "obvious": _median("obvious", {}),
            **_without_bytecode(people, stack, given),
        }


def _without_bytecode(people: People, stack: Stack, given: str) -> Json:
    """Start with no bytecode but the standard library's, as a package that holds none does."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = {"PYTHONPYCACHEPREFIX": folder}
        _start("http", {**stack.environment, **environment}, given)
        for path in Path(folder).rglob("*.pyc"):
            if not path.is_relative_to(f"{folder}{_STANDARD_LIBRARY}"):
                path.unlink()
        environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
        both = {**stack.environment, **environment}
        return {
            "app, no bytecode": _median("app", environment, times=_TIMES_UNCOMPILED),
            "http, no bytecode": _median("http", both, given, times=_TIMES_UNCOMPILED),
            "worker, no bytecode": _worker(people, stack, environment),
        }


def _worker(people: People, stack: Stack, more: Mapping[str, str] = MappingProxyType({})) -> Json:
    """Open another request each time, with no other request queued: concurrent openings wait for their batch."""
    vm_ports = _PLACE.vm_ports()[_TIMES : 2 * _TIMES] if more else _PLACE.vm_ports()[:_TIMES]
    end = datetime.now(UTC) + timedelta(hours=1)
    people.ask(_PLACE, vm_ports, [end] * len(vm_ports), at_once=1)
    with people.client("p0") as client:
        ids = [request.id for request in client.list_requests().value][:_TIMES]
    QueueClient.from_connection_string(stack.storage, REQUESTS).clear_messages()
    return _middle([_start("worker", {**stack.environment, **more}, each) for each in ids])


def _asking(stack: Stack) -> Json:
    """Write the requests of a hundred people's calls."""
    end = wire_time(datetime.now(UTC) + timedelta(hours=1))
    bodies = []
    for vm_port in _PLACE.vm_ports()[:100]:
        port = {"number": vm_port.port, "allowedSourceAddressPrefix": SOURCE, "endTimeUtc": end}
        bodies.append({"virtualMachines": [{"id": vm_port.vm_id, "ports": [port]}]})
    tokens = [stack.token(f"cold{number}", ("Jit.Request",)) for number in range(50)]
    return {"policy": _PLACE.policy_id, "bodies": bodies, "tokens": tokens}


def _median(part: str, environment: Mapping[str, str], *given: str, times: int = _TIMES) -> Json:
    return _middle([_start(part, environment, *given) for _ in range(times)])


def _middle(runs: list[Json]) -> Json:
    numbers = [name for name, value in runs[0].items() if isinstance(value, float)]
    middle = {name: statistics.median(each[name] for each in runs) for name in numbers}
    return {**runs[0], **middle}


def _start(part: str, environment: Mapping[str, str], *given: str) -> Json:
    done = subprocess.run(  # noqa: S603 - this interpreter, on this package
        [sys.executable, "-m", "bench.cold", part, *given],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    figures: Json = json.loads(done.stdout.splitlines()[-1])
    return figures
