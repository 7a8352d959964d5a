"""What the app knows of itself: when it last swept, how late it closed, what is overdue."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.model import MINUTE
from shared.domain.times import format_sortable, parse_instant
from shared.ports import Row, RowChangedError, RowExistsError
from shared.store.rows import Due
from shared.use_cases.policies.findings import Kind, read_findings, read_warnings
from shared.use_cases.services import Services

LATE = timedelta(minutes=3)
KEPT_CLOSES = 1000
_PARTITION = "health"
_PROBE_HOLDS = timedelta(hours=24)
_UNKNOWN_HOLDS = timedelta(minutes=15)
_AWAY_HOLDS = timedelta(seconds=30)


@dataclass(frozen=True)
class Lateness:
    """How late rules were seen gone, in seconds, over the newest closes."""

    count: int = 0
    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0


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


def note_sweep(services: Services, started: datetime) -> None:
    """Note that a sweep is at work; whoever notices that none was runs one."""
    values = {"at": format_sortable(started)}
    services.tables.firewalls.upsert(Row(_PARTITION, "sweep", values))


def last_sweep(services: Services) -> datetime | None:
    """Return when a sweep last started."""
    row = services.tables.firewalls.get(_PARTITION, "sweep")
    return parse_instant(str(row.values["at"])) if row else None


def claim_late_sweep(services: Services) -> bool:
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


def may_write_whole(services: Services) -> bool:
    """Tell whether If-Match on an NSG is proven to be honoured, and lately.

    The answer is asked for anew once it is a day old, and sooner where it told nothing.
    """
    state, at = probe_state(services)
    holds = _PROBE_HOLDS if state == "honoured" else _UNKNOWN_HOLDS
    if at is None or services.clock() - at > holds:
        state = probe(services)
    return state == "honoured"


class WholeWrites:
    """Tell whether whole writes are allowed; while the store is away, as it was last known."""

    def __init__(self, services: Callable[[], Services]) -> None:
        self._services = services
        self._known = False
        self._away_since: datetime | None = None

    def __call__(self) -> bool:
        """Ask the store, and not again within half a minute of its failing: a close waits."""
        services = self._services()
        now = services.clock()
        if self._away_since is not None and now - self._away_since < _AWAY_HOLDS:
            return self._known
        self._away_since = None
        try:
            self._known = may_write_whole(services)
        except Exception as error:  # noqa: BLE001 - without the store, rules must still close
            self._away_since = now
            services.telemetry.fault("jit.probe.unread", error)
        return self._known


def probe_state(services: Services) -> tuple[str, datetime | None]:
    """Return what the last probe found, and when."""
    row = services.tables.firewalls.get(_PARTITION, "probe")
    if row is None:
        return "unknown", None
    return str(row.values["state"]), parse_instant(str(row.values["at"]))


def probe(services: Services) -> str:
    """Ask the service whether it honours If-Match, and keep the answer with its age.

    Only a 412 to an etag that cannot match allows whole writes; anything else does not.
    """
    state = services.firewall.probe()
    values = {"state": state, "at": format_sortable(services.clock())}
    services.tables.firewalls.upsert(Row(_PARTITION, "probe", values))
    services.telemetry.event("jit.probe.completed", state=state)
    return state


def report(services: Services) -> Health:
    """Read how the app is."""
    now = services.clock()
    swept = last_sweep(services)
    state, probed_at = probe_state(services)
    overdue = sum(_is_overdue(services, due, now) for due in services.due.until(now - MINUTE))
    poisoned = services.queues.poisoned()
    problems, warnings = [], []
    if swept is None or now - swept > LATE:
        problems.append("the sweep has been silent for more than three minutes")
    if overdue:
        problems.append(f"{overdue} firewalls are overdue by more than {_allowed(services)}")
    if poisoned:
        warnings.append(f"{poisoned} messages could not be handled")
    warnings += _findings(services)
    warnings += read_warnings(services)
    if state != "honoured":
        warnings.append(f"whole writes are off: If-Match is {state}")
    return Health(
        swept,
        overdue,
        poisoned,
        state,
        probed_at,
        lateness(services),
        tuple(problems),
        tuple(warnings),
    )


def _is_overdue(services: Services, due: Due, now: datetime) -> bool:
    """Tell whether a firewall is overdue by the pace of its kind."""
    return due.kind == "firewall" and due.at < now - services.pace(due.subject).overdue


def _allowed(services: Services) -> str:
    """Say by how much each kind of firewall may be overdue."""
    allowed = {provider.label: provider.pace.overdue for provider in services.firewalls}
    if set(allowed.values()) <= {2 * MINUTE}:
        return "two minutes"
    told = (f"{each // MINUTE} minutes ({label})" for label, each in sorted(allowed.items()))
    return " or ".join(told)


def _findings(services: Services) -> list[str]:
    """Say which policies need a person, and what to do."""
    failed = read_findings(services, Kind.FAILED)
    exposed = read_findings(services, Kind.EXPOSED)
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


def lateness(services: Services) -> Lateness:
    """Measure the newest closes."""
    found = sorted(services.activity.newest_lateness(KEPT_CLOSES))
    if not found:
        return Lateness()
    return Lateness(
        count=len(found),
        p50=found[(len(found) - 1) // 2],
        p99=found[-(-len(found) * 99 // 100) - 1],  # of ten, the worst: never below the rank
        max=found[-1],
    )
