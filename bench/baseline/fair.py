"""The fair rival: one writer for each NSG, and group commit.

A request waits while an earlier write settles; the next write carries all that wait. A write is one
PUT of the whole NSG with If-Match. Each VM is read once. Grants are stored before they are written.

No call is slowed down. The rival is spared permission, policies, leases, requests and their states,
the audit record, foreign rules, and every crash: what waits is held in memory.
"""

import io
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from azure.data.tables import TableClient, UpdateMode
from azure.mgmt.network import NetworkManagementClient

from bench.baseline.obvious import USUAL_WORKERS, rule_name
from bench.place import SOURCE, VmPort

_COMPUTE, _NETWORK = "2025-04-01", "2025-05-01"
_ALLOW_FROM, _PRIORITIES = 200, 4097
_ROWS_IN_ONE = 100


@dataclass
class Change:
    """One rule to put, or to remove where there is none; `done` is set once it has settled."""

    nsg_id: str
    name: str
    rule: dict[str, Any] | None
    ends_at: str = ""
    done: Future[float] = field(default_factory=Future)


class Fair:
    """Opens and closes ports in whole writes."""

    def __init__(self, client: NetworkManagementClient, table: TableClient) -> None:
        self._client = client
        self._table = table
        self._lock = threading.Lock()
        self._queued: dict[str, list[Change]] = {}  # an NSG stands here while it has a writer
        self._writers: list[threading.Thread] = []
        self._find = cache(lambda vm_id: _Once(lambda: self._read_vm(vm_id)))
        self._read_subnet = cache(lambda subnet_id: _Once(lambda: self._get(subnet_id, _NETWORK)))

    def open(self, vm_port: VmPort, ends_at: datetime) -> Future[float]:
        """Queue a port to open; the result is the moment when it was open."""
        address, nsg_id = self._find(vm_port.vm_id).value()
        rule = {
            "protocol": "Tcp",
            "access": "Allow",
            "direction": "Inbound",
            "sourcePortRange": "*",
            "sourceAddressPrefix": SOURCE,
            "destinationAddressPrefix": address,
            "destinationPortRange": str(vm_port.port),
        }
        return self._queue(Change(nsg_id, rule_name(vm_port), rule, ends_at.isoformat()))

    def sweep(self, now: datetime) -> list[Future[float]]:
        """Queue the removal of all that has expired."""
        due = self._table.query_entities(
            "ends_at le @now", parameters={"now": now.isoformat()}, results_per_page=1000
        )
        return [self._queue(Change(row["nsg_id"], row["RowKey"], None)) for row in due]

    def _queue(self, change: Change) -> Future[float]:
        """Leave a change to the writer of its NSG; start one if there is none."""
        with self._lock:
            has_writer = change.nsg_id in self._queued
            self._queued.setdefault(change.nsg_id, []).append(change)
            if not has_writer:
                writer = threading.Thread(target=self._write_queued, args=[change.nsg_id])
                self._writers.append(writer)
                writer.start()
        return change.done

    def finish(self) -> None:
        """Wait until every writer has ended."""
        for writer in self._writers:
            writer.join()

    def _write_queued(self, nsg_id: str) -> None:
        """Write all that is queued, again and again until nothing is."""
        while True:
            with self._lock:
                batch, self._queued[nsg_id] = self._queued[nsg_id], []
                if not batch:
                    del self._queued[nsg_id]
                    return
            self._store([each for each in batch if each.rule])
            while not self._write(nsg_id, batch):
                pass
            for each in batch:
                each.done.set_result(time.monotonic())
            self._drop([each for each in batch if not each.rule])

    def _write(self, nsg_id: str, batch: Sequence[Change]) -> bool:
        """Put the whole NSG if it is still as it was read; tell whether that settled."""
        with suppress(HttpResponseError):
            body = self._get(nsg_id, _NETWORK)
            group, name = nsg_id.split("/")[4], nsg_id.split("/")[8]
            _change(body["properties"]["securityRules"], batch)
            self._client.network_security_groups.begin_create_or_update(
                group,
                name,
                io.BytesIO(json.dumps(body).encode()),
                headers={"If-Match": body["etag"]},
            ).result()
            return True
        return False

    def _read_vm(self, vm_id: str) -> tuple[str, str]:
        """Read a VM, its interface and the subnet; return the address and the id of the NSG."""
        vm = self._get(vm_id, _COMPUTE)
        nic = self._get(vm["properties"]["networkProfile"]["networkInterfaces"][0]["id"], _NETWORK)
        ip = nic["properties"]["ipConfigurations"][0]["properties"]
        self._read_subnet(ip["subnet"]["id"]).value()
        return ip["privateIPAddress"], nic["properties"]["networkSecurityGroup"]["id"]

    def _get(self, resource_id: str, version: str) -> Any:
        answer = self._client.send_request(
            HttpRequest("GET", resource_id, params={"api-version": version})
        )
        answer.raise_for_status()
        return answer.json()

    def _store(self, opened: Sequence[Change]) -> None:
        rows = [
            {
                "PartitionKey": each.nsg_id.rpartition("/")[2],
                "RowKey": each.name,
                "nsg_id": each.nsg_id,
                "ends_at": each.ends_at,
            }
            for each in opened
        ]
        for part in _parts(rows):
            replace = {"mode": UpdateMode.REPLACE}
            self._table.submit_transaction([("upsert", row, replace) for row in part])

    def _drop(self, closed: Sequence[Change]) -> None:
        rows = [
            {"PartitionKey": each.nsg_id.rpartition("/")[2], "RowKey": each.name} for each in closed
        ]
        for part in _parts(rows):
            self._table.submit_transaction([("delete", row) for row in part])


class _Once:
    """A read that is made once and shared by all that ask for it."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._values: list[Any] = []

    def value(self) -> Any:
        with self._lock:
            if not self._values:
                self._values.append(self._read())
            return self._values[0]


def _change(rules: list[dict[str, Any]], batch: Iterable[Change]) -> None:
    """Put rules at the lowest free priorities, and remove rules."""
    named = {each.name: each for each in batch}
    rules[:] = [rule for rule in rules if rule["name"] not in named]
    taken = {rule["properties"]["priority"] for rule in rules}
    free = (at for at in range(_ALLOW_FROM, _PRIORITIES) if at not in taken)
    rules += [
        {"name": name, "properties": {**each.rule, "priority": next(free)}}
        for name, each in named.items()
        if each.rule
    ]


def _parts(rows: Sequence[dict[str, str]]) -> Iterable[Sequence[dict[str, str]]]:
    return (rows[at : at + _ROWS_IN_ONE] for at in range(0, len(rows), _ROWS_IN_ONE))


def open_as_they_come(
    app: Fair, vm_ports: Sequence[VmPort], arrivals: Sequence[float], ends_at: datetime
) -> list[float]:
    """Hand each request over at its moment; return the seconds after which each was open."""
    began = time.monotonic()

    def open_one(vm_port: VmPort) -> Future[float]:
        while True:
            with suppress(HttpResponseError):
                return app.open(vm_port, ends_at)

    opening: list[Future[Future[float]]] = []
    with ThreadPoolExecutor(USUAL_WORKERS) as readers:
        for vm_port, at in sorted(zip(vm_ports, arrivals, strict=True), key=lambda each: each[1]):
            time.sleep(max(0.0, began + at - time.monotonic()))
            opening.append(readers.submit(open_one, vm_port))
        return [each.result().result() - began for each in opening]
