"""Rows and rules of an estate whose policies have been applied, and a count of what reads it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.domain.ids import key_of
from shared.domain.model import Attachment, Policy, PolicyState, PolicyVm, PortRule, Protection
from shared.firewalls.nsg.rules import deny_rules
from shared.store.policies import VmRow
from tests.fakes import NAMES
from tests.world import GROUP, POLICY, World, vm_id

NSGS = f"{GROUP}/providers/Microsoft.Network/networkSecurityGroups"
POLICIES = POLICY.rpartition("/")[0]
METHODS = ("get", "query", "scan", "insert", "replace", "upsert", "delete", "remove", "transact")
PAGE = 1000


class Counted:
    """A world whose calls of tables, firewalls and machines are counted."""

    def __init__(self, world: World, patch: pytest.MonkeyPatch) -> None:
        self.calls: Counter[str] = Counter()
        self._nested = 0  # calls that the table in memory makes of itself, for a transaction
        for table in world.tables.all():
            for method in METHODS:
                patch.setattr(table, method, self._counting(method, getattr(table, method)))
        for part, method in ((world.firewall, "read"), (world.machines, "find")):
            patch.setattr(part, method, self._counting(method, getattr(part, method)))

    def _counting(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            counts = not self._nested
            self._nested += name == "transact"
            try:
                answer = call(*args, **named)
            finally:
                self._nested -= name == "transact"
            more = len(answer) // PAGE if isinstance(answer, list) else 0
            self.calls["arm" if name in {"read", "find"} else "tables"] += (1 + more) * counts
            return answer

        return counted


def estate(world: World, policies: int, vms: int, nsgs: int) -> None:
    """Put rows and rules there as they are once some policies have been applied."""
    for policy in range(policies):
        listed = []
        for number in range(policy, vms, policies):
            vm = vm_id(f"vm-{number:05}")
            nsg = f"{NSGS}/nsg-{number % nsgs:04}"
            address = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
            world.machines.add(vm, Attachment(nsg, (address,)))
            group = world.firewall.groups.setdefault(key_of(nsg), {})
            priority = 1000 + len(group)
            protection = Protection(
                nsg,
                f"{POLICIES}/p{policy:03}",
                vm,
                (22, 3389),
                (address,),
                proven=True,
                memory=f'{{"priority_v4": {priority}}}',
            )
            world.services.rows.put_protection(protection)
            world.services.policies.put_vm(VmRow(protection.policy_id, vm, (nsg,)))
            for rule in deny_rules((protection,), NAMES):
                group[rule.name] = replace(rule, priority=priority)
            listed.append(PolicyVm(vm, (PortRule(22), PortRule(3389))))
        made = Policy(
            f"{POLICIES}/p{policy:03}", "westeurope", tuple(listed), state=PolicyState.SUCCEEDED
        )
        world.services.policies.insert(made)
    world.services.policies.mark_all_noted()  # as the first reconcile does
