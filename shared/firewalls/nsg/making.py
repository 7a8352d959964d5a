"""Make the provider of network security groups, and what finds VMs behind them, from the app's parts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from shared.domain.ids import RuleNames
from shared.firewalls.nsg.application_groups import Membership
from shared.firewalls.nsg.discovery import ArmInventory, VirtualMachines, read_membership
from shared.firewalls.nsg.model import Snapshot
from shared.firewalls.nsg.ports import Firewall
from shared.firewalls.nsg.probe import WriteProbe
from shared.firewalls.nsg.provider import NsgProvider
from shared.firewalls.nsg.rules import Band, Plan
from shared.ports import Clock, Inventory, Machines, Resources, Table, Telemetry


@dataclass(frozen=True)
class GroupParts:
    """The parts that the app hands in. The clients are made when they are first used."""

    client: Callable[[str], Any]  # Microsoft's network client of a subscription
    resources: Callable[[], Resources]  # raw reads of Azure Resource Manager
    read_pace: Callable[[], Any]  # of reads that callers share
    scopes: Sequence[str]
    table: Callable[[], Table]  # the table of firewalls
    names: RuleNames
    telemetry: Telemetry
    clock: Clock
    whole_writes: bool  # whether they are allowed where they are proven
    probe_group: str  # id of the empty group that they are proven on
    allow_from: int  # where our allows start


class Groups:
    """The network security groups of an installation."""

    def __init__(self, parts: GroupParts) -> None:
        self._parts = parts
        self.groups: Firewall = _WhenUsed(lambda: self._client)

    @cached_property
    def provider(self) -> NsgProvider:
        """Return the provider."""
        return NsgProvider(self.groups, self._parts.names, Band(allow_from=self._parts.allow_from))

    @cached_property
    def machines(self) -> Machines:
        """Return the reader of VMs and the groups in front of them."""
        parts = self._parts
        return VirtualMachines(parts.resources(), parts.scopes, self.provider.look)

    @cached_property
    def inventory(self) -> Inventory:
        """Return the lists of VMs and the groups in front of them."""
        return ArmInventory(self._parts.resources())

    @cached_property
    def probe(self) -> WriteProbe:
        """Return the proof that whole writes are guarded; its answer stands in the tables."""
        parts = self._parts
        return WriteProbe(self.groups.probe, parts.table, parts.telemetry, parts.clock)

    def _read_membership(self, subscription: str) -> Membership | None:
        parts = self._parts
        return read_membership(parts.resources(), parts.scopes, subscription)

    def _may_write_whole(self) -> bool:
        return self._parts.whole_writes and self.probe.allows()

    @cached_property
    def _client(self) -> Firewall:
        from shared.adapters.shared_reads import SharedReads  # noqa: PLC0415 - an SDK
        from shared.firewalls.nsg.client import NetworkSecurityGroups  # noqa: PLC0415 - an SDK

        groups = NetworkSecurityGroups(
            self._parts.client,
            self._parts.names,
            time.sleep,
            whole_writes=self._may_write_whole,
            probe_nsg=self._parts.probe_group,
            membership=self._read_membership,
        )
        groups.looks = SharedReads(self._parts.read_pace())
        return groups


@dataclass(frozen=True)
class _WhenUsed:
    """A client that is made, and its SDK imported, when it is first used."""

    made: Callable[[], Firewall]

    def read(self, firewall_id: str) -> Snapshot:
        return self.made().read(firewall_id)

    def look(self, firewall_id: str) -> tuple[dict[str, Any], Snapshot | None]:
        return self.made().look(firewall_id)

    def write(self, snapshot: Snapshot, plan: Plan) -> None:
        self.made().write(snapshot, plan)

    def list_with_our_rules(self, scopes: Sequence[str]) -> list[str]:
        return self.made().list_with_our_rules(scopes)

    def writes_whole(self) -> bool:
        return self.made().writes_whole()

    def probe(self) -> str:
        return self.made().probe()
