"""One fresh interpreter: load a part of the app, use it once, and say what that took.

python -m bench.cold bare|app|http|worker|obvious; prints one line of JSON.
"""

import importlib
import json
import re
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

_WARM_CALLS = 100
_MANAGEMENT = "azure.mgmt."
_PIPELINE = "azure.mgmt.core"  # the ARM pipeline, not a management SDK


def main() -> None:
    """Do what is asked and print the figures."""
    part = sys.argv[1]
    began, cpu = time.perf_counter(), time.process_time()
    figures: dict[str, Any] = {}
    if part == "app":
        importlib.import_module("function_app")
    elif part == "http":
        figures = _call_http(sys.argv[2])
    elif part == "worker":
        figures = _call_worker(sys.argv[2])
    elif part == "obvious":
        # As the samples have it: every client imported at the top of function_app.py.
        for name in ("azure.functions", "azure.identity", "azure.mgmt.network"):
            importlib.import_module(name)
        for name in ("azure.data.tables", "azure.storage.queue"):
            importlib.import_module(name)
    seconds = figures.pop("first_seconds", time.perf_counter() - began)
    cpu = figures.pop("first_cpu", time.process_time()) - cpu
    loaded = sorted(name for name in sys.modules if name.startswith(_MANAGEMENT))
    figures |= {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "rss_mib": _resident_mib(),
        "modules": len(sys.modules),
        "management": [name for name in loaded if not name.startswith(_PIPELINE)],
    }
    print(json.dumps(figures))


def _resident_mib() -> float:
    """Read what this process holds now; getrusage would tell the parent's peak as well."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


@cache
def functions_of_app() -> dict[str, Any]:
    """Load the app and return its functions by name."""
    app = importlib.import_module("function_app").app
    return {each.get_function_name(): each.get_user_function() for each in app.get_functions()}


def _call_http(text: str) -> dict[str, Any]:
    """Take in one request as the trigger does, from nothing; then some more."""
    given = json.loads(text)
    began = time.perf_counter()
    initiate = functions_of_app()["request_access"]

    def call(token: str, body: dict[str, Any]) -> None:
        call_initiate(initiate, given["policy"], token, body)

    call(given["tokens"][0], given["bodies"][0])
    first, first_cpu = time.perf_counter() - began, time.process_time()
    cpu, wall = time.process_time(), time.perf_counter()
    for number in range(1, _WARM_CALLS + 1):
        token = given["tokens"][number % len(given["tokens"])]
        call(token, given["bodies"][number % len(given["bodies"])])
    return {
        "first_seconds": first,
        "first_cpu": first_cpu,
        "warm_cpu_seconds": (time.process_time() - cpu) / _WARM_CALLS,
        "warm_seconds": (time.perf_counter() - wall) / _WARM_CALLS,
    }


def call_initiate(initiate: Any, policy: str, token: str, body: dict[str, Any]) -> None:
    """Call the function behind `initiate` as the host does; it has to accept."""
    path = policy.strip("/").split("/")
    names = ("subscription", "group", "location", "name")
    request = importlib.import_module("azure.functions").HttpRequest(
        "POST",
        f"https://app{policy}/initiate",
        headers={"Authorization": f"Bearer {token}"},
        route_params=dict(zip(names, path[1::2][:2] + path[7::2], strict=True)),
        body=json.dumps(body).encode(),
    )
    answer = initiate(request)
    assert answer.status_code == 202, answer.get_body()


def _call_worker(request_id: str) -> dict[str, Any]:
    """Open one request as the trigger does, from nothing."""
    began = time.perf_counter()
    open_access = functions_of_app()["open_access"]
    message = importlib.import_module("azure.functions").QueueMessage(
        body=json.dumps({"request": request_id}).encode()
    )
    open_access(message)
    return {"first_seconds": time.perf_counter() - began}


if __name__ == "__main__":
    main()
