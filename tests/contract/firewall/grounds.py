"""Firewalls in memory and simulated ones that the contract is tried on, with their rules."""

import copy
import itertools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Protocol

from local.arm.client import ArmClient
from shared.adapters.arm_clients import LocalName, network_client
from shared.firewalls.nsg.client import NetworkSecurityGroups
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.ports import Firewall
from shared.firewalls.nsg.rules import Plan
from shared.firewalls.nsg.wire import write_rule
from tests.fakes import NAMES, MemoryFirewall

Json = dict[str, Any]
SUBSCRIPTION = "3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/app-rg"
GROUPS = f"{GROUP}/providers/Microsoft.Network/networkSecurityGroups"
GONE = f"{GROUPS}/was-deleted"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/web-1"
HASH = "263253CF04815D139612DC89CBC89967"
SETTLE_SECONDS = 0.02
_numbers = itertools.count(1)


def allow(number: int, priority: int = 0, **changes: Any) -> SecurityRule:
    """Make a rule of ours for a grant."""
    made = SecurityRule(
        name=NAMES.allow(f"request-{number}", VM, 22, 4),
        access=Access.ALLOW,
        protocol="Tcp",
        sources=("203.0.113.7",),
        destinations=("10.0.1.4",),
        ports=("22",),
        description=f"JIT access request request-{number} until 2026-11-22T15:00:00Z",
        priority=priority or 200 + number,
    )
    return replace(made, **changes)


def deny(priority: int = 1000) -> SecurityRule:
    """Make a deny rule of ours."""
    return SecurityRule(
        name=NAMES.deny(VM, 4),
        access=Access.DENY,
        protocol="*",
        sources=("*",),
        destinations=("10.0.1.4", "10.0.1.5"),
        ports=("22", "3389"),
        description="JIT access: management ports of VM 'web-1' stay closed.",
        priority=priority,
    )


def foreign(name: str = "allow-https", priority: int = 310, **changes: Any) -> SecurityRule:
    """Make a rule of another writer."""
    made = SecurityRule(
        name=name,
        access=Access.ALLOW,
        protocol="Tcp",
        sources=("10.0.0.0/8",),
        destinations=("*",),
        ports=("443",),
        description="not ours",
        priority=priority,
    )
    return replace(made, **changes)


def one_of_each() -> tuple[SecurityRule, SecurityRule]:
    """Return two rules to put: a plan of more than one change."""
    return allow(1), allow(2)


class Ground(Protocol):
    """Firewalls in memory or simulated, and another writer's changes to them."""

    @property
    def firewall(self) -> Firewall:
        """Return the firewall under test."""
        ...

    def add(self, *rules: SecurityRule) -> str:
        """Put a firewall there that holds the rules."""
        ...

    def edit(self, firewall_id: str, *put: SecurityRule, remove: Iterable[str] = ()) -> None:
        """Edit it as another writer."""
        ...

    def refuse(self, rule_name: str) -> None:
        """Have the firewall turn that rule down for good."""
        ...

    def write_whole(self, *, on: bool) -> None:
        """Allow or forbid whole writes."""
        ...

    def writes(self, firewall_id: str) -> int:
        """Count the writes that were sent."""
        ...


class MemoryGround:
    """Firewalls in memory."""

    def __init__(self) -> None:
        self.firewall = MemoryFirewall()

    def add(self, *rules: SecurityRule) -> str:
        """Put a firewall there."""
        firewall_id = f"{GROUPS}/nsg-{next(_numbers)}"
        self.firewall.add(firewall_id, *rules)
        return firewall_id

    def edit(self, firewall_id: str, *put: SecurityRule, remove: Iterable[str] = ()) -> None:
        """Edit it as another writer."""
        self.firewall.edit(firewall_id, *put, remove=remove)

    def refuse(self, rule_name: str) -> None:
        """Have that rule turned down."""
        self.firewall.refuse[rule_name] = "RequestDisallowedByPolicy"

    def write_whole(self, *, on: bool) -> None:
        """Allow or forbid whole writes."""
        self.firewall.whole = on

    def writes(self, firewall_id: str) -> int:
        """Count the writes."""
        return self.firewall.writes[firewall_id.casefold()]


@dataclass
class AzureGround:
    """Network security groups in the simulator."""

    arm: ArmClient
    whole: bool = True
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the adapter as the app does."""
        self.firewall = NetworkSecurityGroups(
            cache(lambda subscription: _client(self.arm.url, subscription)),
            NAMES,
            self._sleep,
            whole_writes=lambda: self.whole,
        )

    def add(self, *rules: SecurityRule) -> str:
        """Put a group there."""
        return self.add_raw([write_rule(rule) for rule in rules])

    def add_raw(self, rules: list[Json], **group: Any) -> str:
        """Put a group there whose rules are written as ARM returns them."""
        firewall_id = f"{GROUPS}/nsg-{next(_numbers)}"
        properties = {**group.pop("properties", {}), "securityRules": rules}
        resource = {"id": firewall_id, "location": "westeurope", "properties": properties, **group}
        resource["type"] = "Microsoft.Network/networkSecurityGroups"
        self.arm.control("edit", {"resources": [resource]})
        return firewall_id

    def edit(self, firewall_id: str, *put: SecurityRule, remove: Iterable[str] = ()) -> None:
        """Edit it as another writer."""
        bodies = [write_rule(rule) for rule in put]
        self.arm.control("edit", {"nsg": firewall_id, "put": bodies, "delete": list(remove)})

    def refuse(self, rule_name: str) -> None:
        """Have that rule turned down."""
        self.order(kind="policyDenied", path=f"/securityRules/{rule_name}$", times=None)

    def write_whole(self, *, on: bool) -> None:
        """Allow or forbid whole writes."""
        self.whole = on

    def writes(self, firewall_id: str) -> int:
        """Count the writes."""
        return len(self.calls(firewall_id))

    def order(self, *faults: Mapping[str, Any], **fault: Any) -> None:
        """Put faults on order in place of those before."""
        self.arm.control("faults", {"faults": [*faults, *([fault] if fault else [])]})

    def calls(self, firewall_id: str, *, reads: bool = False) -> list[tuple[str, str]]:
        """Return the calls about a group: the method, and the last word of the path's type."""
        return [
            (call["method"], "rule" if "/securityRules/" in call["path"] else "group")
            for call in self.arm.ask("log")["calls"]
            if call["path"].startswith(firewall_id) and (call["method"] == "GET") is reads
        ]

    def raw(self, firewall_id: str) -> Json:
        """Return a group as ARM shows it once it has settled, without what every write changes."""
        while True:
            body: Json = self.arm.call("GET", firewall_id).body
            if body["properties"]["provisioningState"] == "Succeeded":
                stable: Json = _without(body, {"etag", "provisioningState"})
                return stable
            time.sleep(SETTLE_SECONDS)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        time.sleep(min(seconds, SETTLE_SECONDS))


@cache
def _client(url: str, subscription: str) -> Any:
    return network_client(url, LocalName("network"), subscription)


def _without(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {k: _without(v, names) for k, v in value.items() if k not in names}
    return [_without(each, names) for each in value] if isinstance(value, list) else value


def held(ground: Ground, firewall_id: str) -> dict[str, SecurityRule]:
    """Read a firewall's rules by name."""
    return {rule.name: rule for rule in ground.firewall.read(firewall_id).rules}


def by_name(*rules: SecurityRule) -> dict[str, SecurityRule]:
    """Return rules by name."""
    return {rule.name: rule for rule in rules}


def snapshot_write(ground: Ground, firewall_id: str, changes: Plan) -> None:
    """Read and write."""
    ground.firewall.write(ground.firewall.read(firewall_id), changes)


def foreign_part(group: Json) -> Json:
    """Return everything of a group but our rules."""
    part = copy.deepcopy(group)
    part["properties"]["securityRules"] = [
        rule for rule in rules_of(part) if not NAMES.is_ours(rule["name"])
    ]
    return part


def rules_of(group: Json) -> list[Json]:
    """Return the rules of a group as ARM shows it."""
    found: list[Json] = group["properties"]["securityRules"]
    return found
