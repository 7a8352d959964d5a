"""Health report: time of the last sweep, lateness of closes, overdue work."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from shared.domain.desired import Pace
from shared.domain.model import MINUTE
from shared.domain.times import format_sortable, parse_instant
from shared.ports import Row, RowChangedError, RowExistsError, UnknownFirewallError
from shared.store.due import Due
from shared.use_cases.parts import (
    HasActivity,
    HasClock,
    HasDue,
    HasFirewalls,
    HasPace,
    HasQueues,
    HasTables,
    HasTelemetry,
)
from shared.use_cases.policies.findings import FindingType, read_findings, read_warnings

LATE = timedelta(minutes=3)
KEPT_CLOSES = 1000
UNKNOWN_FIREWALL = "unknown"
_PARTITION = "health"
_FIRST_REPORT = "first-report"


class LatenessParts(HasActivity, HasFirewalls, Protocol):
    """The parts for measuring how late accesses closed."""


class LateSweepParts(HasClock, HasTables, HasTelemetry, Protocol):
    """The parts for taking over a late sweep."""


class FirstReportParts(HasClock, HasTables, Protocol):
    """The parts for noting the first health report."""


class HealthParts(LatenessParts, HasClock, HasDue, HasPace, HasQueues, HasTables, Protocol):
    """The parts for the health report."""


@dataclass(frozen=True)
class Lateness:
    """How late rules were seen gone, in seconds, over the newest closes."""

    count: int = 0
    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0


@dataclass(frozen=True)
class KindLateness:
    """How late one kind of firewall closes, beside what its pace allows."""

    measured: Lateness = Lateness()
    allowed: timedelta = Pace().overdue

    @property
    def share(self) -> float:
        """Return the p99 as a share of what is allowed: above 1 the closes are too late."""
        return self.measured.p99 / self.allowed.total_seconds()


@dataclass(frozen=True)
class Health:
    """A report; `problems` makes it unhealthy, `warnings` does not."""

    last_sweep_at: datetime | None
    overdue: int
    poisoned: int
    probe: str
    probed_at: datetime | None
    lateness: Lateness
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    lateness_by_kind: Mapping[str, KindLateness] = field(default_factory=dict)


def note_sweep(services: HasTables, started: datetime) -> None:
    """Note that a sweep is at work; a worker that finds none recent runs one."""
    values = {"at": format_sortable(started)}
    services.tables.firewalls.upsert(Row(_PARTITION, "sweep", values))


def last_sweep(services: HasTables) -> datetime | None:
    """Return when a sweep last started."""
    row = services.tables.firewalls.get(_PARTITION, "sweep")
    return parse_instant(str(row.values["at"])) if row else None


def reserve_late_sweep(services: LateSweepParts) -> bool:
    """Tell whether the sweep is late and this caller is the one to run it."""
    row = services.tables.firewalls.get(_PARTITION, "sweep")
    now = services.clock()
    values = {"at": format_sortable(now)}
    try:
        if row is None:
            services.tables.firewalls.insert(Row(_PARTITION, "sweep", values))
            return False  # a first start: the timer has had no chance yet
        if now - parse_instant(str(row.values["at"])) <= LATE:
            return False
        services.tables.firewalls.replace(Row(_PARTITION, "sweep", values, row.version))
    except (RowChangedError, RowExistsError):
        return False
    services.telemetry.event("jit.sweep.late", last=str(row.values["at"]))
    return True


def _first_report(services: FirstReportParts) -> datetime:
    """Return when health was first reported: a timer that never runs is silent since then."""
    row = services.tables.firewalls.get(_PARTITION, _FIRST_REPORT)
    if row:
        return parse_instant(str(row.values["at"]))
    now = services.clock()
    with suppress(RowExistsError):  # another report of the same moment was first
        values = {"at": format_sortable(now)}
        services.tables.firewalls.insert(Row(_PARTITION, _FIRST_REPORT, values))
    return now


def report(services: HealthParts) -> Health:
    """Read how the app is."""
    now = services.clock()
    swept = last_sweep(services)
    proof = services.firewalls.guard.proof()
    overdue = sum(_is_overdue(services, due, now) for due in services.due.until(now - MINUTE))
    poisoned = services.queues.poisoned()
    problems, warnings = [], []
    if now - (swept or _first_report(services)) > LATE:
        problems.append("the sweep has been silent for more than three minutes")
    if overdue:
        problems.append(f"{overdue} firewalls are overdue by more than {_allowed(services)}")
    if poisoned:
        warnings.append(f"{poisoned} messages could not be handled")
    warnings += _findings(services)
    warnings += read_warnings(services)
    if proof.warning:
        warnings.append(proof.warning)
    measured = lateness_by_kind(services)
    return Health(
        swept,
        overdue,
        poisoned,
        proof.state,
        proof.at,
        _latest(measured),
        tuple(problems),
        tuple(warnings),
        measured,
    )


def _is_overdue(services: HasPace, due: Due, now: datetime) -> bool:
    """Tell whether a firewall is overdue by the pace of its provider."""
    return due.kind == "firewall" and due.at < now - services.pace(due.subject).overdue


def _allowed(services: HasFirewalls) -> str:
    """Say by how much each kind of firewall may be overdue."""
    allowed = {provider.label: provider.pace.overdue for provider in services.firewalls}
    if set(allowed.values()) <= {2 * MINUTE}:
        return "two minutes"
    told = (f"{each // MINUTE} minutes ({label})" for label, each in sorted(allowed.items()))
    return " or ".join(told)


def _findings(services: HasTables) -> list[str]:
    """Say which policies need a person, and what to do."""
    failed = read_findings(services, FindingType.FAILED)
    exposed = read_findings(services, FindingType.EXPOSED)
    told = []
    if failed:
        told.append(
            f"{_count(len(failed), 'policy has', 'policies have')} failed, first "
            f"'{failed[0].policy_id}': {failed[0].text}. Mend what it names and PUT the policy "
            "again, or wait for the next reconciliation"
        )
    if exposed:
        machines = sum(each.count for each in exposed)
        told.append(
            f"governed ports stand open on {_count(machines, 'VM', 'VMs')}, first under "
            f"'{exposed[0].policy_id}': {exposed[0].text}. Remove or narrow the rule; "
            "GET /api/machines names every one"
        )
    return told


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def lateness(services: LatenessParts) -> Lateness:
    """Measure the newest closes of the kind of firewall that is latest by its own pace."""
    return _latest(lateness_by_kind(services))


def lateness_by_kind(services: LatenessParts) -> dict[str, KindLateness]:
    """Measure the newest closes of each kind of firewall apart, by the label of its provider.

    One provider takes minutes for a write and another seconds: figures over both describe neither.
    """
    found: dict[str, list[float]] = {}
    paces: dict[str, Pace] = {}
    for firewall_id, seconds in services.activity.newest_closes(KEPT_CLOSES):
        label, pace = _provider_of(services, firewall_id)
        found.setdefault(label, []).append(seconds)
        paces[label] = pace
    return {
        label: KindLateness(_measure(found[label]), paces[label].overdue) for label in sorted(found)
    }


def _provider_of(services: HasFirewalls, firewall_id: str) -> tuple[str, Pace]:
    try:
        provider = services.firewalls.of(firewall_id)
    except UnknownFirewallError:
        return UNKNOWN_FIREWALL, Pace()
    return provider.label, provider.pace


def _measure(seconds: Iterable[float]) -> Lateness:
    found = sorted(seconds)
    return Lateness(
        count=len(found),
        p50=found[(len(found) - 1) // 2],
        p99=found[-(-len(found) * 99 // 100) - 1],  # of ten, the worst: never below the rank
        max=found[-1],
    )


def _latest(by_label: Mapping[str, KindLateness]) -> Lateness:
    return max(by_label.values(), key=lambda each: each.share, default=KindLateness()).measured
