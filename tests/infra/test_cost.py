"""The quantities behind docs/cost.md: what the app asks of storage, and what it logs, counted."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.adapters import queues
from shared.domain.ids import key_of
from shared.domain.model import Attachment
from shared.firewalls.nsg.model import Snapshot
from shared.firewalls.nsg.rules import Plan
from shared.use_cases.timers import health as watch
from shared.use_cases.timers.reconcile import reconcile
from tests.estates import Counted, estate
from tests.fakes import MemoryQueues, MemoryTable
from tests.infra.bicep import INFRA, ROOT
from tests.world import World, vm_id

READS = ("get", "query", "scan")
WRITES = ("insert", "replace", "upsert", "delete", "remove", "transact")
SENDS = ("send_request", "send_firewall", "send_policy", "send_notice")
# Each run of a function: "Executing", "Executed" and the request, at the levels of host.json.
ROWS_OF_A_RUN = 3
# The availability test writes a row of its own beside the run that it causes.
ROWS_OF_THE_TEST = 1
KILOBYTES_OF_A_ROW = 1.5
SWEEPS, RECONCILES, TESTS = 30 * 24 * 60, 30 * 24 * 4, 30 * 24 * 12 * 3
MORE_VMS = 40
SWEEP = "a sweep with nothing due"
RECONCILE = "a reconcile, two VMs under one policy"
VM_MORE = "a reconcile, each VM more"
THOUSAND_MORE = "a reconcile, each thousand VMs more"
SETTLE = 2.0  # seconds that a write takes where waiting is counted
TEST = "a run of the health test"
ACCESS = "an access to one port behind two groups"
ROW = re.compile(
    r"^\| (?P<what>[^|]+) \| (?P<transactions>\d+) \| (?P<writes>\d+) \| (?P<rows>\d+) \|$",
    re.MULTILINE,
)
TEXT = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Count:
    """The cost of some work: transactions, those of them that write, and rows in the log."""

    transactions: float
    writes: float
    rows: float


class Meter:
    """Counts calls to tables and queues, runs of functions and events."""

    def __init__(self, patch: pytest.MonkeyPatch, world: World) -> None:
        self.transactions = 0
        self.writes = 0
        self.runs = 0
        self._world = world
        self._nested = 0  # calls that the table in memory makes of itself, for a transaction
        for name in (*READS, *WRITES):
            self._count(patch, MemoryTable, name, writes=int(name in WRITES))
        for name in SENDS:
            self._count(patch, MemoryQueues, name, writes=1)
        self._count(patch, MemoryQueues, "requested")
        # One question for each queue: a queue tells its own length only.
        self._count(patch, MemoryQueues, "poisoned", transactions=len(queues.NAMES))
        self._count(patch, World, "run", transactions=0, runs=1)

    def _count(self, patch: pytest.MonkeyPatch, owner: type, name: str, **steps: int) -> None:
        operation = getattr(owner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            if not self._nested:
                self.transactions += steps.get("transactions", 1)
                self.writes += steps.get("writes", 0)
                self.runs += steps.get("runs", 0)
            self._nested += name == "transact"
            try:
                return operation(*arguments, **named)
            finally:
                self._nested -= name == "transact"

        patch.setattr(owner, name, call)

    def during(self, work: Callable[[], object], *, runs: int = 1) -> Count:
        """Return what some work took; `runs` are those beside the messages that it sends."""
        before = self.transactions, self.writes, self.runs, len(self._world.telemetry.events)
        work()
        rows = len(self._world.telemetry.events) - before[3]
        rows += ROWS_OF_A_RUN * (self.runs - before[2] + runs)
        return Count(self.transactions - before[0], self.writes - before[1], rows)


def _documented() -> dict[str, Count]:
    return {
        match["what"].strip(): Count(
            int(match["transactions"]), int(match["writes"]), int(match["rows"])
        )
        for match in ROW.finditer(TEXT)
    }


def _one_access(world: World) -> None:
    world.ask(minutes=5)
    world.pass_time(30)


def _each_vm_more(patch: pytest.MonkeyPatch) -> Count:
    """Compare many VMs, each behind a group of its own, with two."""
    world = World()
    names = [f"vm-{number}" for number in range(MORE_VMS)]
    for name in names:
        nsg = f"{vm_id(name).rpartition('/providers/')[0]}/providers/Microsoft.Network"
        nsg += f"/networkSecurityGroups/{name}"
        world.firewall.add(nsg)
        world.machines.add(vm_id(name), Attachment(nsg, ("10.0.1.4",)))
    counts = []
    for listed in (names[:2], names):
        with patch.context() as within:
            world.protect(*(vm_id(name) for name in listed))
            meter = Meter(within, world)
            counts.append(meter.during(lambda: reconcile(world.services)))
    few, many = counts
    more = MORE_VMS - 2
    return Count(
        (many.transactions - few.transactions) / more,
        (many.writes - few.writes) / more,
        (many.rows - few.rows) / more,
    )


def _each_thousand_more(patch: pytest.MonkeyPatch) -> Count:
    """Compare many VMs with few; a query is a transaction for each thousand rows of its answer."""
    calls = []
    for vms in (1_000, 3_000):
        world = World()
        estate(world, policies=2, vms=vms, nsgs=vms // 5)
        with patch.context() as within:
            counted = Counted(world, within)
            assert reconcile(world.services) == 0
        calls.append(counted.calls["tables"])
    few, many = calls
    return Count((many - few) / 2, 0, 0)


def _waited(patch: pytest.MonkeyPatch) -> float:
    """Return the seconds that the runs of one access wait, with writes that take a while."""
    world = World()
    world.protect()
    world.pass_time(30)
    settled: dict[str, datetime] = {}
    waits: list[float] = []
    read, write = world.firewall.read, world.firewall.write

    def wait(seconds: float) -> None:
        waits.append(seconds)
        world.clock.advance(seconds)

    def read_settled(firewall_id: str) -> Snapshot:
        left = settled.get(key_of(firewall_id), world.clock()) - world.clock()
        if left > timedelta(0):
            wait(left.total_seconds())
        return read(firewall_id)

    def write_slowly(snapshot: Snapshot, plan: Plan) -> None:
        write(snapshot, plan)
        settled[key_of(snapshot.firewall_id)] = world.clock() + timedelta(seconds=SETTLE)

    world.rewire(sleep=wait)
    patch.setattr(world.firewall, "read", read_settled)
    patch.setattr(world.firewall, "write", write_slowly)
    _one_access(world)
    return sum(waits)


def _measured(patch: pytest.MonkeyPatch) -> dict[str, Count]:
    world = World()
    kept = {"keep_requests": timedelta(days=365), "keep_activity": timedelta(days=365)}
    world.services = replace(world.services, **kept)  # type: ignore[arg-type]  # the defaults
    world.protect()
    world.pass_time(30)
    reconcile(world.services)  # the first one marks that each policy is noted by its VMs
    with patch.context() as within:
        meter = Meter(within, world)
        idle = meter.during(world.sweep)
        compared = meter.during(lambda: reconcile(world.services))
        tested = meter.during(lambda: watch.report(world.services))
        whole = meter.during(lambda: _one_access(world))
    sweeps = 31
    return {
        SWEEP: idle,
        RECONCILE: compared,
        TEST: Count(tested.transactions, tested.writes, tested.rows + ROWS_OF_THE_TEST),
        ACCESS: Count(
            whole.transactions - sweeps * idle.transactions,
            whole.writes - sweeps * idle.writes,
            whole.rows - sweeps * (idle.rows - ROWS_OF_A_RUN),
        ),
        VM_MORE: _each_vm_more(patch),
        THOUSAND_MORE: _each_thousand_more(patch),
    }


def _faults(measured: dict[str, Count], documented: dict[str, Count]) -> list[str]:
    """Name each documented figure that is below its count, or far above it."""
    return [
        f"{what}: {name} is {getattr(documented[what], name)}, counted {counted}"
        for what, count in measured.items()
        for name, counted in vars(count).items()
        if not counted <= getattr(documented[what], name) <= max(counted * 1.5, counted + 1)
    ]


def test_the_document_s_quantities_are_the_app_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """A documented count is never below what the app does, nor far above it."""
    measured = _measured(monkeypatch)
    documented = _documented()

    assert set(documented) == set(measured)
    assert _faults(measured, documented) == []


def test_a_page_below_the_count_is_noticed() -> None:
    """A figure one below its count fails, whatever its size; so does one far above."""
    measured = {ACCESS: Count(250, 133, 15)}

    assert _faults(measured, {ACCESS: Count(250, 133, 15)}) == []
    assert len(_faults(measured, {ACCESS: Count(249, 132, 14)})) == 3
    assert len(_faults(measured, {ACCESS: Count(376, 133, 15)})) == 1


def test_the_sums_of_a_month_are_the_table_s() -> None:
    """Each sum on the page follows from the table: runs in a month, times what a run takes."""
    documented = _documented()
    for name in ("transactions", "writes", "rows"):
        sweep, compared, tested = (
            int(getattr(documented[what], name)) for what in (SWEEP, RECONCILE, TEST)
        )
        total = SWEEPS * sweep + RECONCILES * compared + TESTS * tested
        terms = f"{SWEEPS:,} x {sweep} + {RECONCILES:,} x {compared} + {TESTS:,} x {tested}"
        assert f"{terms} = {total:,} " in TEXT, terms


def test_the_volume_of_the_logs_is_the_rows_volume() -> None:
    """The gigabytes of an idle month are not below the rows of the app and of the storage account."""
    documented = _documented()
    rows = sum(
        runs * (getattr(documented[what], name))
        for what, runs in ((SWEEP, SWEEPS), (RECONCILE, RECONCILES), (TEST, TESTS))
        for name in ("rows", "writes")
    )
    (gigabytes,) = re.findall(r"an idle month: (\d\.\d) GB", TEXT)

    assert (
        rows * KILOBYTES_OF_A_ROW / 1e6 <= float(gigabytes) <= rows * KILOBYTES_OF_A_ROW / 1e6 + 0.1
    )


def test_a_vm_more_costs_more() -> None:
    """The page says what each VM adds in a month, from the table."""
    more = _documented()[VM_MORE]

    assert f"{RECONCILES:,} x {more.transactions} = {RECONCILES * int(more.transactions):,}" in TEXT


def test_a_thousand_vms_more_cost_more() -> None:
    """The page says what a thousand VMs add in a month, from the table."""
    more = int(_documented()[THOUSAND_MORE].transactions)

    assert f"for each thousand {RECONCILES:,} x {more} = {RECONCILES * more:,}" in TEXT


def test_the_waiting_of_an_access_is_not_told_too_low(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seconds that the page bills for waiting are not below those that the runs wait."""
    waited = _waited(monkeypatch)
    (told,) = re.findall(r"an access waits (\d+) s", TEXT)

    assert waited <= int(told) <= waited * 1.5
    assert f"{2 * int(told)} GB-s" in TEXT


def test_the_levels_are_those_that_the_rows_are_counted_at() -> None:
    """Functions log two rows and a request for each run, none is sampled away, all else is quiet."""
    logging = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))["logging"]

    assert logging["applicationInsights"]["samplingSettings"]["isEnabled"] is False
    levels = logging["logLevel"]
    assert (levels["default"], levels["Function"], levels["Host.Results"]) == (
        "Warning",
        "Information",
        "Information",
    )


def test_the_health_test_runs_as_often_as_counted() -> None:
    """The availability test calls from as many places and as often as the page multiplies by."""
    extras = json.loads((INFRA / "extras" / "extras.json").read_text(encoding="utf-8"))
    places = len(extras["parameters"]["testLocations"]["defaultValue"])
    (test,) = (each for each in extras["resources"] if each["type"].endswith("/webtests"))

    assert 30 * 24 * 3600 // test["properties"]["Frequency"] * places == TESTS
