"""An access through each type of Azure Firewall, broken at its writes; ordinary recovery mends it."""

import json
import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.model import Attachment, Status
from shared.firewalls.azure_firewall.provider import PACE, AzureFirewallProvider
from shared.firewalls.azure_firewall.wire import RULE_MEMBERS as COLLECTIONS
from shared.firewalls.firewall_policy.provider import FirewallPolicyProvider
from shared.firewalls.ip_group.provider import IpGroupProvider
from shared.firewalls.registry import Registry
from shared.ports import FirewallProvider
from tests.contract.provider import test_azure_firewall_foreign as azure
from tests.faults.harness import (
    FOREIGN,
    Breakable,
    BreakableTables,
    FaultType,
    FragileWorld,
    check_all_over,
)
from tests.world import NSG_NIC, SOURCE, WEB

ADDRESS, SUBNET = "10.1.0.4", "10.0.0.0/26"
WRITE = timedelta(minutes=3)
IDS = {"policy": azure.OURS, "ip_group": azure.IP_GROUP, "classic": azure.FIREWALL}
FAILURES = (FaultType.DEATH_BEFORE, FaultType.DEATH_AFTER, FaultType.AFTER)
POINTS = 1_000 if os.environ.get("JIT_SOAK") else 15  # writes that are broken, evenly spread
_WRITES = frozenset({"insert", "replace", "upsert", "delete", "remove", "transact"})
Body = dict[str, Any]


class SlowCloud(azure.Cloud):
    """Takes a write at once and enforces it minutes later; the group keeps its references."""

    def __init__(self, world: FragileWorld, *bodies: Body) -> None:
        super().__init__(*bodies)
        self._clock = world.clock
        self._settles: dict[str, Any] = {}
        self._enforced = dict(self.bodies)

    def get(self, resource_id: str) -> Body | None:
        """Read one; it is Updating while a write is under way."""
        found = super().get(resource_id)
        if found is not None and self._is_busy(resource_id):
            found["properties"]["provisioningState"] = "Updating"
        return found

    def list(self, path: str) -> list[Body]:
        """Read children as they read one by one."""
        found = [self.get(each["id"]) for each in super().list(path)]
        return [each for each in found if each is not None]

    def put(self, resource_id: str, body: Body, etag: str = "") -> None:
        """Start a write."""
        super().put(resource_id, body, etag)
        self._start(resource_id)

    def delete(self, resource_id: str, etag: str = "") -> None:
        """Start a removal."""
        super().delete(resource_id, etag)
        self._start(resource_id)

    def stored(self, resource_id: str, body: Body, present: Any) -> Body:
        """Return what is stored; references to users are the service's own."""
        kept = super().stored(resource_id, body, present)
        if resource_id == azure.IP_GROUP:
            kept["properties"]["firewallPolicies"] = [{"id": azure.POLICY}]
        return kept

    def lets_in(self, source: str) -> bool:
        """Tell whether anything that is enforced names a source."""
        for key in list(self._settles):
            if not self._is_busy(key):
                self._enforce(key)
        return source in json.dumps(list(self._enforced.values()))

    def _start(self, resource_id: str) -> None:
        self._settles[resource_id.lower()] = self._clock() + WRITE

    def _is_busy(self, resource_id: str) -> bool:
        return bool(self._settles.get(resource_id.lower(), self._clock()) > self._clock())

    def _enforce(self, key: str) -> None:
        del self._settles[key]
        self._enforced.pop(key, None)
        if key in self.bodies:
            self._enforced[key] = self.bodies[key]


class FirewalledWorld(FragileWorld):
    """web behind its NSG and one type of Azure Firewall, whose writes and rows' writes can break."""

    def __init__(self, firewall_type: str) -> None:
        super().__init__(*FOREIGN)
        self.cloud = SlowCloud(self, *_bodies(firewall_type))
        cloud: Any = Breakable(self.cloud, self.faults, frozenset({"put", "delete"}))
        attached = (Attachment(IDS[firewall_type], (ADDRESS,), stage=0, shows_public_as=(SUBNET,)),)
        pace = replace(PACE, poll=timedelta(seconds=30))
        provider: FirewallProvider = {
            "policy": FirewallPolicyProvider,
            "ip_group": IpGroupProvider,
            "classic": AzureFirewallProvider,
        }[firewall_type](cloud, azure.SETTINGS, lambda ids: dict.fromkeys(ids, attached), pace=pace)
        self.machines.add(WEB, Attachment(NSG_NIC, (ADDRESS,)))
        groups = tuple(self.services.firewalls)
        tables: Any = BreakableTables(self.tables, self.faults)
        for name in ("policies", "requests", "firewalls", "due", "activity"):
            setattr(tables, name, Breakable(getattr(self.tables, name), self.faults, _WRITES))
        self.services = replace(
            self.services,
            tables=tables,
            queues=self.queues,
            machines=self.machines,
            firewalls=Registry((*groups, provider)),
        )
        self.protect(WEB, ports=(22,))
        self.pass_time(1)

    def live(self, at: int, failure: FaultType) -> None:
        """Request an access of twenty minutes, and break one write of its life."""
        self.faults.arm(at, failure)
        self.attempt(lambda: self.ask(WEB, minutes=20, work=False))
        self.step(24)
        self.faults.disarm()


def _bodies(firewall_type: str) -> list[Body]:
    firewall = azure.plain_firewall() | {"etag": "1", "location": "westeurope"}
    attached = {"firewalls": [{"id": azure.FIREWALL}]}
    policy = {"id": azure.POLICY, "name": "policy", "properties": attached}
    group = {"id": azure.IP_GROUP, "name": "ipg-jit-test1-web-22", "etag": "1", "tags": {}}
    users = {"ipAddresses": ["192.0.2.1/32"], "firewallPolicies": [{"id": azure.POLICY}]}
    if firewall_type == "classic":
        firewall["properties"] |= {key: [] for key in COLLECTIONS}
        return [*azure.surroundings(), firewall]
    if firewall_type == "ip_group":
        group |= {"location": "westeurope", "properties": users}
        return [*azure.surroundings(), firewall, policy, group, _switch()]
    return [*azure.surroundings(), firewall, policy]


def _switch() -> Body:
    rule = {
        "ruleType": "NatRule",
        "name": "switch",
        "ipProtocols": ["TCP"],
        "sourceIpGroups": [azure.IP_GROUP],
        "destinationAddresses": ["20.1.2.3"],
        "destinationPorts": ["20022"],
        "translatedAddress": ADDRESS,
        "translatedPort": "22",
    }
    collection = {"name": "c", "priority": 100, "action": {"type": "Dnat"}, "rules": [rule]}
    properties = {"priority": 100, "ruleCollections": [collection]}
    return {"id": f"{azure.POLICY}/ruleCollectionGroups/s", "name": "s", "properties": properties}


@pytest.mark.parametrize("firewall_type", IDS)
def test_an_unbroken_life_opens_and_closes(firewall_type: str) -> None:
    """The scene does what the crashes are tried on: the source is let in, and not after the end."""
    world = FirewalledWorld(firewall_type)
    request = world.ask(WEB, minutes=20)
    world.pass_time(5)
    assert world.status(request.id) is Status.INITIATED
    assert world.cloud.lets_in(SOURCE)
    world.pass_time(20)
    assert world.status(request.id) is Status.REVOKED
    assert not world.cloud.lets_in(SOURCE)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda each: each.name)
@pytest.mark.parametrize("firewall_type", IDS)
def test_a_life_broken_at_any_write_leaves_nothing_open(
    firewall_type: str, failure: FaultType
) -> None:
    """A worker that dies at a write to ARM or to a row, or loses its answer, delays and no more."""
    measured = FirewalledWorld(firewall_type)
    measured.live(0, failure)
    calls = measured.faults.calls
    for at in range(1, calls + 1, max(1, calls // POINTS)):
        world = FirewalledWorld(firewall_type)
        world.live(at, failure)
        assert world.faults.fired, f"call {at}"
        world.step(14)
        assert not world.cloud.lets_in(SOURCE), f"call {at}: open past its end"
        assert not world.firewall.ours(NSG_NIC) or all(
            rule.access == "Deny" for rule in world.firewall.ours(NSG_NIC)
        ), f"call {at}: the NSG is open without a grant"
        world.step(80)
        check_all_over(world, f"{firewall_type}, call {at}, {failure.value}")
        assert not world.services.rows.read(IDS[firewall_type]).grants
