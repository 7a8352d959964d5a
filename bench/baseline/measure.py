"""Bursts and expiries of the two rivals: the fair one, and the obvious one."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bench.baseline.fair import Fair, open_as_they_come
from bench.baseline.obvious import (
    NAME,
    USUAL_WORKERS,
    Delivery,
    Obvious,
    make_client,
    make_table,
    utc_now,
)
from bench.counting import count_calls
from bench.place import Cloud, Json, Place
from local.arm.serve import ArmServer
from local.azurite import Azurite

QUICK_SETTLE = 0.05
# The fair rival waits for a quota as long as that takes; the SDK gives up after three refusals.
_PATIENT = {"retry_total": 100, "retry_status": 100}


@dataclass(frozen=True)
class Case:
    """One run of the obvious rival: how many grants, NSGs, and messages at a time."""

    name: str
    grants: int
    groups: int
    workers: int


CASES = (
    Case("one group, 24 at a time", 36, 1, USUAL_WORKERS),
    Case("one group, one at a time", 20, 1, 1),
    Case("10 groups, 24 at a time", 60, 10, USUAL_WORKERS),
    Case("150 groups, 24 at a time", 150, 150, USUAL_WORKERS),
)


@dataclass(frozen=True)
class Rival:
    """A simulated cloud and a storage of its own for one run of a rival."""

    cloud: Cloud
    arm_url: str
    storage: str


@contextmanager
def _rival(place: Place, settle: float, *, quotas: bool) -> Iterator[Rival]:
    log = Path(tempfile.mkdtemp(prefix="bench-")) / "azurite.log"
    with ArmServer() as arm, Azurite(log=log) as storage:
        cloud = Cloud(arm.url)
        cloud.build(place)
        cloud.settle_in(settle)
        cloud.quotas(on=quotas)
        yield Rival(cloud, arm.url, storage.connection_string)


def run(settle: float) -> Json:
    """Open and close some grants the obvious way, all handed over at once."""
    found: Json = {}
    for case in CASES:
        print(f"  obvious: {case.grants} grants, {case.name}", flush=True)
        place = Place("obvious", case.groups, case.grants // case.groups)
        arrivals = [0.0] * case.grants
        found[case.name] = run_obvious(place, arrivals, settle, workers=case.workers)
    return found


def run_obvious(place: Place, arrivals: Sequence[float], settle: float, *, workers: int) -> Json:
    """Open and close every port of a place the obvious way."""
    with _rival(place, settle, quotas=True) as rival:
        app = Obvious(make_client(rival.arm_url), make_table(rival.storage))
        end = utc_now() + timedelta(hours=1)
        delivered = Delivery(place.vm_ports(), lambda each: app.open(each, end), arrivals)
        opening = _counted(rival.cloud, "open", lambda: delivered.run(workers))
        rival.cloud.quotas(on=True)
        began = time.monotonic()
        at_once = min(workers, place.groups) if place.groups > 1 else 1
        closing = _counted(rival.cloud, "close", lambda: app.sweep(end, workers=at_once))
        closed_in = time.monotonic() - began
    return {
        "grants": len(arrivals),
        "lost": delivered.lost,
        "open_seconds": max(delivered.opened, default=0.0),
        "close_seconds": closed_in,
        "closed": len(delivered.opened),
        **opening,
        **closing,
    }


def run_fair(
    place: Place,
    arrivals: Sequence[float],
    settle: float,
    *,
    hasty: bool,
    opening_only: bool = False,
) -> Json:
    """Open and close every port as the fair rival does. Hasty: the quotas bind closes alone."""
    opened: list[float] = []
    with _rival(place, QUICK_SETTLE if hasty else settle, quotas=not hasty) as rival:
        client = make_client(rival.arm_url, **_PATIENT)
        app = Fair(client, make_table(rival.storage))
        end = utc_now() + timedelta(hours=1)

        def open_all() -> None:
            opened.extend(open_as_they_come(app, place.vm_ports(), arrivals, end))

        opening = _counted(rival.cloud, "open", open_all)
        opening |= {
            "grants": len(arrivals),
            "opened": len(opened),
            "open_seconds": max(opened),
        }
        if opening_only:
            app.finish()
            return opening
        rival.cloud.settle_in(settle)
        rival.cloud.quotas(on=True)
        began = time.monotonic()
        closed: list[float] = []
        closing = _counted(
            rival.cloud, "close", lambda: closed.extend(each.result() for each in app.sweep(end))
        )
        app.finish()
    return {
        **opening,
        **closing,
        "closed": len(closed),
        "close_seconds": max(closed) - began,
    }


def _counted(cloud: Cloud, name: str, work: Callable[[], object]) -> Json:
    before = len(cloud.calls())
    work()
    return count_calls(cloud.calls()[before:], NAME, name)
