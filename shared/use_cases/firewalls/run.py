"""The state of one converge: all that the lease holder has read of one firewall."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from shared.domain.desired import Change, Observed, Plan
from shared.domain.model import FirewallRows
from shared.domain.times import format_sortable
from shared.ports import FirewallProvider, RefusedError, Row
from shared.use_cases.firewalls.drift import RepairParts, Repairs
from shared.use_cases.firewalls.failures import Failures
from shared.use_cases.firewalls.known_requests import KnownRequests
from shared.use_cases.firewalls.planning import Judged

_MORE_READS = 3  # of rows that other writers changed meanwhile
_MORE_TRIES = 1  # for rows that outside systems kept from being confirmed


@dataclass(frozen=True)
class Seen:
    """A settled state that was read for another purpose, by a read that began at a time."""

    observed: Observed
    at: datetime

    def is_before(self, lease: Row) -> bool:
        """Tell whether another worker has held the lease since the read began."""
        return str(lease.values.get("before", "")) >= format_sortable(self.at)


@dataclass(frozen=True)
class Before:
    """A caller's reads of a firewall and its requests just before it is converged.

    The rows are younger than the firewall's settled state, where there is one.
    """

    seen: Seen | None = None
    rows: FirewallRows | None = None
    lease: Row | None = None
    known: KnownRequests | None = None
    taken: Row | None = None  # the lease, where this worker holds it already


class Run:
    """The state of one run; a refused change is not tried again in it."""

    def __init__(
        self,
        services: RepairParts,
        provider: FirewallProvider,
        firewall_id: str,
        lease: Row,
        until: datetime,
    ) -> None:
        self.services = services
        self.provider = provider
        self.firewall_id = firewall_id
        self.lease = lease
        self.until = until
        self.repairs = Repairs(services, firewall_id)
        self.failed = Failures(services, firewall_id)
        self.judged: Judged | None = None
        self.refused: dict[str, str] = {}  # ids of changes -> reason
        self.failures = 0
        self.tries = _MORE_TRIES
        self.rereads = _MORE_READS
        self.written: frozenset[str] = frozenset()  # by the write before, if it was accepted
        self.in_vain = 0
        self.may_defer = False
        self.deferred = False
        self.settled: Callable[[Observed], None] | None = None
        self.seen: Observed | None = None
        self.known: KnownRequests | None = None
        self.rows: FirewallRows | None = None
        self._parts: list[frozenset[str]] = []  # ids of changes to be tried apart
        self._tried = Plan()

    def start_from(self, before: Before) -> None:
        """Take up what was read before, unless another worker has held the lease since then."""
        self.known = before.known
        if before.seen is not None and not before.seen.is_before(self.lease):
            self.seen, self.rows = before.seen.observed, before.rows

    def take_known(self) -> KnownRequests | None:
        """Return the requests as they were read for the write that has just been made, once."""
        known, self.known = self.known, None
        return known

    def take_rows(self) -> FirewallRows | None:
        """Return the rows that were read a moment ago, once."""
        rows, self.rows = self.rows, None
        return rows

    def part_of(self, plan: Plan) -> Plan:
        """Return the part of a plan that is to be tried now: all, unless a refusal blamed none."""
        while self._parts:
            part = plan.only(self._parts[0])
            if part.changes:
                return part
            self._parts.pop(0)
        return plan

    def apply(self, observed: Observed, plan: Plan) -> None:
        """Start a write, and keep what was tried for a refusal of it."""
        self._tried = plan
        self.provider.apply(observed, plan)

    def note_refusal(self, refusal: RefusedError) -> None:
        """Remember what the firewall refuses, so that it stalls nothing else.

        A refusal that blames no change: closes are tried alone, then the others by halves.
        """
        changes = self._tried.changes
        blamed = refusal.changes or (self._tried.ids if len(changes) == 1 else frozenset())
        if blamed and blamed <= self.refused.keys():
            raise refusal
        if blamed:
            self.refused |= dict.fromkeys(blamed, str(refusal))
            return
        self.services.telemetry.fault("jit.write.split", refusal, firewall=self.firewall_id)
        if self._parts and self._parts[0] >= self._tried.ids:
            self._parts.pop(0)
        self._parts[:0] = _apart(changes)


def _apart(changes: tuple[Change, ...]) -> list[frozenset[str]]:
    closes = frozenset(change.id for change in changes if not change.opens)
    opens = frozenset(change.id for change in changes if change.opens)
    if closes and opens:
        return [closes, opens]
    ids, middle = [change.id for change in changes], len(changes) // 2
    return [frozenset(ids[:middle]), frozenset(ids[middle:])]
