"""Bursts and expiries of the obvious implementation, at a size that ends while one waits."""

import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bench.baseline.obvious import (
    NAME,
    USUAL_WORKERS,
    Delivery,
    Obvious,
    make_client,
    make_table,
    utc_now,
)
from bench.counting import count_writes
from bench.place import Cloud, Json, Place
from local.arm.serve import ArmServer
from local.azurite import Azurite


@dataclass(frozen=True)
class Case:
    """One run: how many grants over how many groups, and how many messages at a time."""

    name: str
    grants: int
    groups: int
    workers: int


CASES = (
    Case("one group, 24 at a time", 36, 1, USUAL_WORKERS),
    Case("one group, one at a time", 20, 1, 1),
    Case("10 groups, 24 at a time", 60, 10, USUAL_WORKERS),
)


def run(settle: float) -> Json:
    """Open and close some grants, and tell what each cost."""
    found: Json = {}
    for case in CASES:
        print(f"  obvious: {case.grants} grants, {case.name}", flush=True)
        found[case.name] = _run(case, settle)
    return found


def _run(case: Case, settle: float) -> Json:
    place = Place("obvious", case.groups, case.grants // case.groups)
    log = Path(tempfile.mkdtemp(prefix="bench-")) / "azurite.log"
    with ArmServer() as arm, Azurite(log=log) as storage:
        cloud = Cloud(arm.url)
        cloud.build(place)
        cloud.settle_in(settle)
        cloud.quotas(on=True)
        app = Obvious(make_client(arm.url), make_table(storage.connection_string))
        end = utc_now() + timedelta(hours=1)
        delivered = Delivery(place.doors(), lambda door: app.open(door, end))
        delivered.run(case.workers)
        calls = cloud.calls()
        opening = count_writes(calls, NAME)
        cloud.quotas(on=True)
        began = time.monotonic()
        app.sweep(end, workers=case.groups)
        closed_in = time.monotonic() - began
        closing = count_writes(cloud.calls()[len(calls) :], NAME)
    opened = len(delivered.opened)
    return {
        "grants": case.grants,
        "lost": delivered.lost,
        "open_seconds": max(delivered.opened, default=0.0),
        "open_sent": opening.sent,
        "open_taken": opening.taken,
        "close_seconds": closed_in,
        "closed": opened,
        "close_sent": closing.sent,
        "close_taken": closing.taken,
    }
