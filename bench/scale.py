"""A large estate whose policies are applied: what a reconcile and a listing of its VMs take."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from unittest import mock

from bench.counting import CountingTables, count_calls
from bench.place import Cloud, Json, Place
from bench.stacks import bench_stack
from bench.sweeping import Silent
from bench.tables import Collected, load_azure
from jit_access.client import JitClient, Limits
from local.stack import Stack
from shared.bootstrap import App
from shared.domain.ids import RuleNames
from shared.domain.model import Policy, PolicyState, PolicyVm, PortRule, Protection
from shared.firewalls.nsg.rules import deny_rules
from shared.firewalls.nsg.wire import write_rule
from shared.ports import Row
from shared.settings import read_settings
from shared.store.firewalls import FirewallStore
from shared.store.policies import PolicyRows, VmRow
from shared.use_cases.services import Services
from shared.use_cases.timers.reconcile import reconcile

_RECONCILED = Place("large", 1000, 5)
_LISTED = Place("larger", 4000, 5)
_VMS_IN_A_POLICY = 500
_DENY_FROM = 1000
_CALLER = "network"
_PATIENT = Limits(read_seconds=600, retries=0)  # a page that fails is not measured again
_IDLE = {"AzureWebJobs.reconcile.Disabled": "true", "AzureWebJobs.sweep_expired.Disabled": "true"}


@dataclass
class _Estate:
    """The rows and the resources of a place whose policies are applied."""

    place: Place
    names: RuleNames

    def __post_init__(self) -> None:
        self._tables = {"policies": Collected(), "firewalls": Collected()}
        self._rules: dict[str, list[Json]] = {}
        listed = list(self.place.vms())
        for first in range(0, len(listed), _VMS_IN_A_POLICY):
            self._apply(f"{self.place.policy_id}-{first}", listed[first : first + _VMS_IN_A_POLICY])

    @property
    def rows(self) -> dict[str, list[Row]]:
        """Return every row, by table."""
        return {name: table.rows for name, table in self._tables.items()}

    def resources(self) -> list[Json]:
        """Write everything as ARM returns it, with the deny rules on each NSG."""
        resources = self.place.resources()
        for resource in resources:
            if resource["id"] in self._rules:
                resource["properties"]["securityRules"] += self._rules[resource["id"]]
        return resources

    def _apply(self, policy_id: str, vms: list[tuple[str, str, str, str]]) -> None:
        """Store a policy as it is once it has been applied."""
        policies = PolicyRows(self._tables["policies"], Silent())
        firewalls = FirewallStore(self._tables["firewalls"], Silent())
        ports = tuple(self.place.numbers)
        for vm, _, nsg, address in vms:
            rules = self._rules.setdefault(nsg, [])
            priority = _DENY_FROM + len(rules)
            memory = json.dumps({"priority_v4": priority})
            protection = Protection(
                nsg, policy_id, vm, ports, (address,), proven=True, memory=memory
            )
            firewalls.put_protection(protection)
            policies.put_vm(VmRow(policy_id, vm, (nsg,)))
            rules += [
                write_rule(replace(rule, priority=priority))
                for rule in deny_rules((protection,), self.names)
            ]
        governed = tuple(PolicyVm(vm, tuple(map(PortRule, ports))) for vm, _, _, _ in vms)
        policies.insert(Policy(policy_id, "westeurope", governed, state=PolicyState.SUCCEEDED))


@contextmanager
def _large_stack(place: Place, *tables: str, with_host: bool) -> Iterator[tuple[Stack, Services]]:
    """Run a stack that holds a place whose policies are applied, and the rows of some tables."""
    with bench_stack(settle=0.05, with_host=with_host, environment=_IDLE) as stack:
        with mock.patch.dict(os.environ, stack.environment):
            services = App(read_settings()).services
        estate = _Estate(place, services.names)
        load_azure(stack.storage, {name: estate.rows[name] for name in tables})
        cloud = Cloud(stack.arm)
        cloud.build_all(estate.resources())
        services.firewalls.guard.renew()
        cloud.quotas(on=True)
        yield stack, services


def run_reconcile() -> Json:
    """Compare 5,000 VMs behind 1,000 NSGs, none of which has changed."""
    with _large_stack(_RECONCILED, "policies", "firewalls", with_host=False) as (stack, services):
        counting = CountingTables(services.tables)
        before = _calls(stack)
        began, cpu = time.perf_counter(), time.process_time()
        left = reconcile(replace(services, tables=counting, telemetry=Silent()))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        counted = count_calls(_calls(stack)[len(before) :], _CALLER, "arm")
    return {
        "vms": len(_RECONCILED.vm_ports()),
        "nsgs": _RECONCILED.groups,
        "reads": counted["arm_reads"],
        "writes": counted["arm_sent"],
        "table_calls": sum(counting.count.calls.values()),
        "rows": counting.count.rows,
        "left": left,
        "cpu_seconds": cpu,  # the simulator's included, which shares the process
        "seconds": seconds,
    }


def run_machines() -> Json:
    """List 20,000 VMs over HTTP, page by page."""
    with _large_stack(_LISTED, "policies", with_host=True) as (stack, _):
        before = len(_calls(stack))
        began = time.perf_counter()
        pages = list(_pages(stack))
        seconds = time.perf_counter() - began
        reads = sum(call["method"] == "GET" for call in _calls(stack)[before:])
    return {
        "vms": len(_LISTED.vm_ports()),
        "nsgs": _LISTED.groups,
        "listed": sum(listed for _, listed in pages),
        "pages": len(pages),
        "first_seconds": pages[0][0],
        "longest_seconds": max(took for took, _ in pages),
        "seconds": seconds,
        "reads": reads,
    }


def _calls(stack: Stack) -> list[Json]:
    return Cloud(stack.arm).calls()


def _pages(stack: Stack) -> Iterator[tuple[float, int]]:
    """Read every page; return the seconds and the VMs of each."""
    token = stack.token("admin", ("Jit.Read",))
    with JitClient(stack.api, lambda: token, limits=_PATIENT) as client:
        began = time.perf_counter()
        for page in client.pages(client.list_machines()):
            yield time.perf_counter() - began, len(page.value)
            began = time.perf_counter()
