"""How late grants close that end one after another, as the app itself records it."""

import random
import time
from datetime import UTC, datetime, timedelta

from bench.numbers import quantile
from bench.people import People
from bench.place import Cloud, Json, Place
from bench.stacks import bench_stack
from shared.adapters.tables import AzureTables
from shared.store.audit import ActivityRows

_PLACE = Place("late", 10, 5, 10)
_PER_SECOND = 2.0
_PATIENCE = 180.0
_SEED = 6


def run(settle: float, lasting: float) -> Json:
    """Open 500 ports on 10 groups, and let two of them end in each second."""
    vm_ports = _PLACE.vm_ports()
    random.Random(_SEED).shuffle(vm_ports)
    with bench_stack(settle=0.05) as stack:
        cloud, people = Cloud(stack.arm), People(stack)
        cloud.build(_PLACE)
        people.put_policy(_PLACE)
        first = datetime.now(UTC) + timedelta(seconds=45 + lasting * len(vm_ports))
        ends = [first + timedelta(seconds=n / _PER_SECOND) for n in range(len(vm_ports))]
        people.ask(_PLACE, vm_ports, ends, at_once=24)
        time.sleep(max(0.0, (first - datetime.now(UTC)).total_seconds() - 5))
        cloud.settle_in(settle)
        cloud.quotas(on=True)
        activity = ActivityRows(AzureTables.connect(stack.storage, None).activity)
        over = ends[-1] + timedelta(seconds=_PATIENCE)
        while len(late := activity.newest_lateness(1000)) < len(vm_ports):
            if datetime.now(UTC) > over:
                break
            time.sleep(3)
    return {
        "grants": len(vm_ports),
        "closed": len(late),
        "settle": settle,
        "seconds": sorted(round(each, 3) for each in late),
        "p50": quantile(late, 0.5),
        "p99": quantile(late, 0.99),
        "max": max(late),
    }
