"""One rule for each grant, written and awaited as the SDK's samples show; a row to remember it.

Nothing here is slowed down on purpose. It is given more than it would have: which group and which
address belong to a VM comes for free, no caller is authorised, and nothing is checked.
"""

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from azure.core.exceptions import HttpResponseError
from azure.data.tables import TableClient, TableServiceClient
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.network.models import SecurityRule, SecurityRulePropertiesFormat

from bench.place import SOURCE, SUBSCRIPTION, VmPort
from shared.adapters.arm_clients import LocalName

NAME = "obvious"
PARTITION = "grants"
_ALLOW_FROM = 200
_PRIORITY_TRIES = 20
# What host.json gives a queue trigger unless told otherwise: 16 messages, and more at 8.
USUAL_WORKERS = 24
_DELIVERIES = 5
_VISIBLE_AGAIN_SECONDS = 10.0


class _NoCredential:
    """Satisfies the client; the simulator takes a name instead of a token."""

    def get_token(self, *_scopes: str, **_options: object) -> object:
        """Refuse: it is never asked."""
        raise NotImplementedError


def make_client(arm_url: str, **options: Any) -> NetworkManagementClient:
    """Make Microsoft's network client with its own retries and its own poller."""
    client: NetworkManagementClient = NetworkManagementClient(
        credential=_NoCredential(),  # type: ignore[arg-type]
        subscription_id=SUBSCRIPTION,
        base_url=arm_url,
        credential_scopes=[f"{arm_url}/.default"],
        authentication_policy=LocalName(NAME),
        **options,
    )
    return client


def make_table(connection: str) -> TableClient:
    """Make the one table of grants."""
    service = TableServiceClient.from_connection_string(connection)
    return service.create_table_if_not_exists("obviousgrants")


@dataclass(frozen=True)
class Obvious:
    """Opens and closes ports, one rule each."""

    client: NetworkManagementClient
    table: TableClient

    def open(self, vm_port: VmPort, expires_at: datetime) -> None:
        """Open a port, and remember when it ends."""
        name = rule_name(vm_port)
        self._put_rule(vm_port, name)
        self.table.upsert_entity(
            {
                "PartitionKey": PARTITION,
                "RowKey": name,
                "expires_at": expires_at.isoformat(),
                "nsg": vm_port.nsg_id,
            }
        )

    def due(self, now: datetime) -> list[dict[str, str]]:
        """Find the grants that have expired; the table has no index but its keys."""
        found = self.table.query_entities(
            "PartitionKey eq @partition and expires_at le @now",
            parameters={"partition": PARTITION, "now": now.isoformat()},
        )
        return [dict(entity) for entity in found]

    def close(self, grant: dict[str, str]) -> None:
        """Close one port and delete its row."""
        group, nsg = _group_and_name(grant["nsg"])
        self.client.security_rules.begin_delete(group, nsg, grant["RowKey"]).result()
        self.table.delete_entity(PARTITION, grant["RowKey"])

    def sweep(self, now: datetime, *, workers: int) -> None:
        """Close what has expired: one group after another's rules, as many groups as workers."""
        by_group: dict[str, list[dict[str, str]]] = {}
        for grant in self.due(now):
            by_group.setdefault(grant["nsg"], []).append(grant)

        def close_those(grants: list[dict[str, str]]) -> None:
            for grant in grants:
                self.close(grant)

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(close_those, by_group.values()))

    def _put_rule(self, vm_port: VmPort, name: str) -> None:
        """Take the lowest free priority; where another worker was quicker, look again."""
        group, nsg = _group_and_name(vm_port.nsg_id)
        for tries_left in reversed(range(_PRIORITY_TRIES)):
            taken = {rule.priority for rule in self.client.security_rules.list(group, nsg)}
            free = next(at for at in range(_ALLOW_FROM, 4097) if at not in taken)
            rule = SecurityRule(
                properties=SecurityRulePropertiesFormat(
                    protocol="Tcp",
                    access="Allow",
                    direction="Inbound",
                    priority=free,
                    source_port_range="*",
                    source_address_prefix=SOURCE,
                    destination_address_prefix=vm_port.address,
                    destination_port_range=str(vm_port.port),
                )
            )
            try:
                self.client.security_rules.begin_create_or_update(group, nsg, name, rule).result()
            except HttpResponseError as error:
                code = error.error.code if error.error else ""
                if code != "SecurityRuleConflict" or not tries_left:
                    raise
            else:
                return


def rule_name(vm_port: VmPort) -> str:
    """Name the rule of a port."""
    text = f"{vm_port.vm_id}|{vm_port.port}".casefold()
    return f"jit-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def _group_and_name(nsg_id: str) -> tuple[str, str]:
    parts = nsg_id.split("/")
    return parts[4], parts[8]


class Delivery:
    """Hands requests to workers as a queue trigger does: five times, ten seconds apart."""

    def __init__(
        self,
        vm_ports: Sequence[VmPort],
        open_one: Callable[[VmPort], None],
        arrivals: Sequence[float],
    ) -> None:
        self.opened: list[float] = []  # seconds after the start
        self.lost = 0
        self._open = open_one
        self._left = len(vm_ports)
        self._waiting: queue.Queue[tuple[VmPort, int]] = queue.Queue()
        self._arriving = sorted(zip(arrivals, vm_ports, strict=True), key=lambda each: each[0])
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def run(self, workers: int) -> None:
        """Open everything, or lose it."""
        self._began = time.monotonic()
        threads = [threading.Thread(target=self._work) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for at, vm_port in self._arriving:
            time.sleep(max(0.0, self._began + at - time.monotonic()))
            self._waiting.put((vm_port, 1))
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        while self._left:
            try:
                vm_port, delivery = self._waiting.get(timeout=0.2)
            except queue.Empty:
                continue
            try:
                self._open(vm_port)
            except HttpResponseError:
                self._failed(vm_port, delivery)
            else:
                with self._lock:
                    self.opened.append(time.monotonic() - self._began)
                    self._left -= 1

    def _failed(self, vm_port: VmPort, delivery: int) -> None:
        if delivery < _DELIVERIES:
            again = (vm_port, delivery + 1)
            threading.Timer(_VISIBLE_AGAIN_SECONDS, self._waiting.put, [again]).start()
            return
        with self._lock:
            self.lost += 1
            self._left -= 1


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)
