"""The reads and the duration of a sweep, with few and with many grants open."""

import os
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from unittest import mock

from bench.baseline.obvious import PARTITION, Obvious, make_client, make_table
from bench.counting import CountingTables
from bench.estate import Estate
from bench.place import Cloud, Json, Place
from bench.stacks import bench_stack
from bench.tables import SortedTables, load_azure, load_entities
from local.stack import Stack
from shared.bootstrap import App
from shared.ports import Tables, Value
from shared.settings import read_settings
from shared.use_cases.services import Services
from shared.use_cases.timers.sweep import sweep_expired

DUE = 100
LIVE = (100, 10_000, 100_000)
# 10 groups with ten grants that are due and ten that stay open; all others are elsewhere.
_BUSY = Place("busy", 10, 2, 10)
_FULL = Place("full", 10, 71, 10)
_PER_GROUP = 500
_OPEN_FOR = timedelta(hours=2)
_A_SECOND = timedelta(seconds=1)
_SETTLE = 0.05


class Silent:
    """Tells nothing: printing is not what is measured."""

    def event(self, name: str, **attributes: Value | None) -> None:
        """Pass over an event."""

    def fault(self, name: str, error: BaseException, **attributes: Value | None) -> None:
        """Show what failed."""
        print(f"    {name}: {error} {attributes}", flush=True)


@dataclass(frozen=True)
class Case:
    """How many grants are open, where the rows are kept, and whether they share the groups."""

    live: int
    where: str
    full: bool = False

    @property
    def name(self) -> str:
        """Return a name for the figures."""
        return f"{self.live}-{'full-' if self.full else ''}{self.where}"


def run(azurite_up_to: int) -> Json:
    """Sweep with each size, in memory and as far as it goes in Azurite."""
    cases = [Case(live, "memory") for live in LIVE]
    cases += [Case(live, "azurite") for live in LIVE if live <= azurite_up_to]
    cases += [Case(7_000, "memory", full=True)]
    found: Json = {}
    for case in cases:
        print(f"  app: sweep, {case.name}", flush=True)
        found[case.name] = _run(case)
        print(f"    {found[case.name]}", flush=True)
    for live in LIVE:
        print(f"  obvious: sweep, {live}", flush=True)
        # It walks every row of its partition, whether that is measured or not.
        found[f"{live}-obvious"] = {"live": live, "rows": live + DUE}
        if live <= azurite_up_to:
            found[f"{live}-obvious"] |= {"find_seconds": _find_obviously(live)}
    return found


def _run(case: Case) -> Json:
    place = _FULL if case.full else _BUSY
    with bench_stack(settle=_SETTLE, with_host=False) as stack:
        services = _services(stack)
        estate = _estate(services, place, case.live)
        cloud = Cloud(stack.arm)
        cloud.build(place)
        estate.put_rules(cloud, place)
        tables: Tables
        if case.where == "memory":
            tables = in_memory = SortedTables()
            in_memory.load(estate.rows)
        else:
            tables = services.tables
            load_azure(stack.storage, estate.rows)
        counting = CountingTables(tables)
        # Whole writes are allowed by what a former day's probe found.
        services.firewalls.guard.renew()
        proven = services.tables.firewalls.get("health", "probe")
        assert proven is not None
        tables.firewalls.upsert(proven)
        # The clock goes on from where the rows were written, however long that took.
        late = datetime.now(UTC) - estate.now
        services = replace(
            services, tables=counting, clock=lambda: datetime.now(UTC) - late, telemetry=Silent()
        )
        began = time.perf_counter()
        due = services.due.until(estate.now)
        found_in = time.perf_counter() - began
        assert len(due) == place.groups, due
        counting.count.rows = 0
        counting.count.calls.clear()
        before = len(cloud.calls())
        began = time.perf_counter()
        left = sweep_expired(services)
        took = time.perf_counter() - began
        writes = [each for each in cloud.calls()[before:] if each["method"] != "GET"]
    assert left == 0, f"{left} firewalls were not finished"
    return {
        "live": case.live,
        "rows": counting.count.rows,
        "calls": sum(counting.count.calls.values()),
        "find_seconds": found_in,
        "seconds": took,
        "writes": len(writes),
    }


def _services(stack: Stack) -> Services:
    with mock.patch.dict(os.environ, stack.environment):
        app = App(read_settings())
    return app.services


def _estate(services: Services, place: Place, live: int) -> Estate:
    """Open what is due on every group in turn, then what stays open: there, and elsewhere."""
    now = datetime.now(UTC)
    estate = Estate(services.names, now)
    estate.protect(place)
    vm_ports = place.vm_ports()
    for number, vm_port in enumerate(vm_ports):
        ends = now - timedelta(milliseconds=1) if number < DUE else now + _OPEN_FOR
        estate.open(place, vm_port, ends)
    elsewhere = live - (len(vm_ports) - DUE)
    if elsewhere > 0:
        other = Place("elsewhere", -(-elsewhere // _PER_GROUP), 50, _PER_GROUP // 50)
        estate.protect(other)
        for number, vm_port in enumerate(other.vm_ports()[:elsewhere]):
            # Two hours and more ahead, each at a second of its own as far as they go.
            estate.open(other, vm_port, now + _OPEN_FOR + timedelta(seconds=number % 7200))
    return estate


def _find_obviously(live: int) -> float:
    """Let the obvious implementation find what is due; closing it is measured elsewhere."""
    now = datetime.now(UTC)
    with bench_stack(settle=_SETTLE, with_host=False) as stack:
        app = Obvious(make_client(stack.arm), make_table(stack.storage))
        load_entities(
            app.table,
            [
                {
                    "PartitionKey": PARTITION,
                    "RowKey": f"jit-{number:024x}",
                    "expires_at": (
                        now - _A_SECOND if number < DUE else now + _OPEN_FOR
                    ).isoformat(),
                    "nsg": f"{_BUSY.nsgs[number % 10]}",
                }
                for number in range(live + DUE)
            ],
        )
        began = time.perf_counter()
        found = app.due(now)
        took = time.perf_counter() - began
    assert len(found) == DUE
    return took
