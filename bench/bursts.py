"""Bursts and expiries of the app itself, on the whole local stack with the real quotas."""

import contextlib
import http.client
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench.baseline.measure import run_fair, run_obvious
from bench.baseline.obvious import USUAL_WORKERS
from bench.counting import count_calls
from bench.people import People
from bench.place import Cloud, Json, Place
from bench.stacks import bench_instances
from local.arm.client import ArmClient
from shared.adapters.tables import AzureTables
from shared.domain.model import AccessRequest, Status
from shared.store.requests import RequestRows

NAME = "network"  # the identity that writes to network security groups
_AT_ONCE = 24
_QUICK_SETTLE = 0.05
_WARM_UP_LASTS = timedelta(seconds=10)
_OPEN_WITHIN, _CLOSED_WITHIN = timedelta(minutes=15), timedelta(minutes=5)
_PAUSE = 3.0
_WARM_UP = Place("warm-up", 1, 1)
_READY_BEFORE = 8.0  # seconds before the end at which the quotas are full
# A neighbour who writes as soon as the group has settled and three more seconds have passed.
_NEIGHBOUR, _NEIGHBOUR_PAUSE = "neighbour", 3.0


@dataclass(frozen=True)
class Case:
    """One run. A hasty one opens without quotas: what is measured is the closing."""

    name: str
    place: Place
    hasty: bool = False
    neighbour: bool = False
    times: int = 1
    against_obvious: bool = False
    opening_only: bool = False

    @property
    def grants(self) -> int:
        """Count the grants."""
        return len(self.place.vm_ports())


CASES = (
    Case("burst-200-1", Place("burst200", 1, 200), opening_only=True),
    Case("burst-700-10", Place("burst700", 10, 7, 10), opening_only=True, times=3),
    Case("own-150", Place("own150", 150, 1), against_obvious=True),
    Case("close-700-1", Place("quiet", 1, 70, 10), hasty=True),
    Case("close-700-1-neighbour", Place("rival", 1, 70, 10), hasty=True, neighbour=True),
    Case("close-700-10", Place("ten", 10, 7, 10), hasty=True),
    Case("own-700", Place("own700", 700, 1), hasty=True),
)


def run(settle: float, lasting: float, only: str = "") -> Json:
    """Run every case, or one, and the rivals right after it."""
    found: Json = {}
    for case in CASES:
        if only in {"", case.name}:
            runs = [_run_all(case, settle, lasting) for _ in range(case.times)]
            runs.sort(key=lambda run: float(run["open_seconds"]))
            middle = runs[len(runs) // 2]
            found[case.name] = {**middle, "runs": [_in_short(run) for run in runs]}
    return found


def _run_all(case: Case, settle: float, lasting: float) -> Json:
    print(f"  app: {case.name}", flush=True)
    at, load = datetime.now(UTC).isoformat(timespec="seconds"), round(os.getloadavg()[0], 1)
    ours, arrivals = _run(case, settle, lasting)
    ours |= {"at": at, "load_before": load}
    print(f"    {ours}", flush=True)
    if not case.neighbour:
        print("  fair rival", flush=True)
        ours["fair"] = run_fair(
            case.place, arrivals, settle, hasty=case.hasty, opening_only=case.opening_only
        )
        print(f"    {ours['fair']}", flush=True)
    if case.against_obvious:
        print("  obvious rival", flush=True)
        ours["obvious"] = run_obvious(case.place, arrivals, settle, workers=USUAL_WORKERS)
        print(f"    {ours['obvious']}", flush=True)
    return ours


def _warm_up(cloud: Cloud, people: People, requests: RequestRows) -> None:
    """Open and close one port elsewhere: a rival, too, has loaded what it needs."""
    cloud.build(_WARM_UP)
    people.put_policy(_WARM_UP)
    end = datetime.now(UTC).replace(microsecond=0) + _WARM_UP_LASTS
    people.ask(_WARM_UP, _WARM_UP.vm_ports(), [end], at_once=1)
    until = end + _CLOSED_WITHIN
    while requests.newest(_WARM_UP.policy_id, 1)[0].ports[0].status is not Status.REVOKED:
        if datetime.now(UTC) > until:
            raise RuntimeError("the request before the measured ones was not closed")
        time.sleep(_PAUSE)


def _until_end(case: Case, lasting: float) -> timedelta:
    """Return how long after the first request all end; late where nothing is to close."""
    if case.opening_only:
        return timedelta(hours=2)
    return timedelta(seconds=45 + lasting * case.grants)


def _in_short(run: Json) -> Json:
    return {
        "open_seconds": run["open_seconds"],
        "open_sent": run["open_sent"],
        "fair_seconds": run.get("fair", {}).get("open_seconds"),
        "fair_sent": run.get("fair", {}).get("open_sent"),
    }


def _run(case: Case, settle: float, lasting: float) -> tuple[Json, tuple[float, ...]]:
    """Return what the app took, and when it accepted each request."""
    with bench_instances(settle=_QUICK_SETTLE) as stack:
        cloud, people = Cloud(stack.arm), People(stack)
        cloud.build(case.place)
        people.put_policy(case.place)
        requests = RequestRows(AzureTables.connect(stack.storage, None).requests)
        cloud.settle_in(settle)
        _warm_up(cloud, people, requests)
        if case.hasty:
            cloud.settle_in(_QUICK_SETTLE)
        else:
            cloud.quotas(on=True)
        before = len(cloud.calls())
        vm_ports = case.place.vm_ports()
        began = datetime.now(UTC)
        end = began.replace(microsecond=0) + _until_end(case, lasting)
        accepted = people.ask(case.place, vm_ports, [end] * len(vm_ports), at_once=_AT_ONCE)
        until = began + _OPEN_WITHIN if case.opening_only else end
        opened = _wait(requests, case, Status.INITIATED, until=until)
        opening = count_calls(cloud.calls()[before:], NAME, "open")
        found = {
            "grants": len(vm_ports),
            "groups": case.place.groups,
            "accepted_seconds": accepted.all_in,
            "opened": len(opened),
            "open_seconds": _last([r.ports[0].opened_at for r in opened], began),
            **opening,
        }
        if case.opening_only:
            return found, accepted.at
        time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds() - _READY_BEFORE))
        before = len(cloud.calls())
        cloud.settle_in(settle)
        cloud.quotas(on=True)
        with (
            _neighbour(stack.arm, case, end, settle) if case.neighbour else contextlib.nullcontext()
        ):
            time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()))
            closed = _wait(requests, case, Status.REVOKED, until=end + _CLOSED_WITHIN)
        closing = count_calls(cloud.calls()[before:], NAME, "close")
    found |= {
        "closed": len(closed),
        "close_seconds": _last([r.ports[0].closed_at for r in closed], end),
        **closing,
    }
    return found, accepted.at


def _wait(
    requests: RequestRows, case: Case, status: Status, *, until: datetime
) -> list[AccessRequest]:
    """Wait until every request has a status, or the time is over; return those that have."""
    while True:
        found = requests.newest(case.place.policy_id, 0)
        reached = [each for each in found if each.ports[0].status is status]
        if len(reached) == case.grants or datetime.now(UTC) >= until:
            return reached
        time.sleep(_PAUSE)


def _last(instants: list[datetime | None], since: datetime) -> float:
    found = [at for at in instants if at is not None]
    return (max(found) - since).total_seconds() if found else 0.0


@contextmanager
def _neighbour(arm_url: str, case: Case, end: datetime, settle: float) -> Iterator[None]:
    """Let another writer write to the same group, from shortly before the end on."""
    over = threading.Event()

    def write() -> None:
        over.wait(max(0.0, (end - datetime.now(UTC)).total_seconds() - 2 * _NEIGHBOUR_PAUSE))
        client = ArmClient(arm_url, f"local:{_NEIGHBOUR}")
        number = 0
        while not over.is_set():
            number += 1
            with contextlib.suppress(OSError, http.client.HTTPException):
                client.call("PUT", f"{case.place.nsgs[0]}/securityRules/theirs", _theirs(number))
            over.wait(settle + _NEIGHBOUR_PAUSE)
        client.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(write)
        try:
            yield
        finally:
            over.set()


def _theirs(number: int) -> Json:
    return {
        "properties": {
            "protocol": "Tcp",
            "access": "Allow",
            "direction": "Inbound",
            "priority": 160,
            "description": f"Release {number}",
            "sourcePortRange": "*",
            "sourceAddressPrefix": "Internet",
            "destinationPortRange": "8443",
            "destinationAddressPrefix": "*",
        }
    }
