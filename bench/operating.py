"""One fresh interpreter that plays the host for single accesses, and counts what they ask for.

python -m bench.operating '{"policy": ..., "vms": [...], "token": ...}'; prints one line of JSON.
"""

import importlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from azure.core.pipeline.transport import RequestsTransport
from azure.storage.queue import QueueClient

from bench.cold import call_initiate, functions_of_app
from bench.people import wire_time
from bench.place import FIRST_PORT, SOURCE
from shared.adapters.queues import FIREWALLS, REQUESTS
from shared.adapters.tables import AzureTables
from shared.domain.model import Status
from shared.store.requests import RequestRows

_OPEN_FOR = timedelta(seconds=20)
_WITHIN = 60.0
_STORAGE = "JitStorage"
_HANDLERS = {REQUESTS: "open_access", FIREWALLS: "converge_firewall"}


class Meter:
    """Counts the calls that leave through the SDKs' transport, by service."""

    def __init__(self, services: dict[str, str]) -> None:
        self._services = services  # by network location
        self._counting = False
        self.calls: Counter[str] = Counter()

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what is called meanwhile, in every thread."""
        self._counting = True
        try:
            yield
        finally:
            self._counting = False

    def wrap(self, send: Callable[..., Any]) -> Callable[..., Any]:
        """Return a transport's send that counts."""

        def counted(transport: Any, request: Any, **options: Any) -> Any:
            if self._counting:
                service = self._services.get(urlsplit(request.url).netloc, "other")
                write = "" if request.method in {"GET", "HEAD"} else " writes"
                self.calls[f"arm{write}" if service == "arm" else service] += 1
            return send(transport, request, **options)

        return counted

    def take(self) -> dict[str, int]:
        """Return the counts so far and begin anew."""
        taken = {name: self.calls[name] for name in ("arm", "arm writes", "tables", "queues")}
        self.calls.clear()
        return taken


def main() -> None:
    """Open and close one access after another; count the last."""
    given = json.loads(sys.argv[1])
    storage = dict(part.partition("=")[::2] for part in os.environ[_STORAGE].split(";") if part)
    meter = Meter(
        {
            urlsplit(os.environ["JIT_ARM_URL"]).netloc: "arm",
            urlsplit(storage["TableEndpoint"]).netloc: "tables",
            urlsplit(storage["QueueEndpoint"]).netloc: "queues",
        }
    )
    with mock.patch.object(RequestsTransport, "send", meter.wrap(RequestsTransport.send)):
        found = [_access(given, vm_id, meter) for vm_id in given["vms"]]
    print(json.dumps(found[-1]))


def _access(given: dict[str, Any], vm_id: str, meter: Meter) -> dict[str, dict[str, int]]:
    """Request, open and close one port; return the calls of each step."""
    end = wire_time(datetime.now(UTC) + _OPEN_FOR)
    port = {"number": FIRST_PORT, "allowedSourceAddressPrefix": SOURCE, "endTimeUtc": end}
    body = {"virtualMachines": [{"id": vm_id, "ports": [port]}]}
    functions = functions_of_app()
    with meter.counting():
        call_initiate(functions["request_access"], given["policy"], given["token"], body)
    found = {"initiate": meter.take()}
    for step, status in (("open", Status.INITIATED), ("close", Status.REVOKED)):
        _handle_messages(functions, meter, given["policy"], vm_id, status)
        found[step] = meter.take()
    for step in ("sweep after the close", "next sweep"):
        with meter.counting():
            functions["sweep_expired"](None)
        found[step] = meter.take()
    return found


def _handle_messages(
    functions: dict[str, Any], meter: Meter, policy_id: str, vm_id: str, status: Status
) -> None:
    """Hand messages to their functions until the port has a status and none is left."""
    storage = os.environ[_STORAGE]
    requests = RequestRows(AzureTables.connect(storage, None).requests)
    queues = {name: QueueClient.from_connection_string(storage, name) for name in _HANDLERS}
    make = importlib.import_module("azure.functions").QueueMessage
    decode = importlib.import_module("base64").b64decode
    deadline = time.monotonic() + _WITHIN
    while True:
        handled = False
        for name, queue in queues.items():
            for message in queue.receive_messages(max_messages=1):
                with meter.counting():
                    functions[_HANDLERS[name]](make(body=decode(message.content)))
                queue.delete_message(message)
                handled = True
        newest = requests.newest(policy_id, 1)[0]
        if newest.ports[0].status is status and not handled:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{vm_id} is {newest.ports[0].status}")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
