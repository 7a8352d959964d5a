"""Break the app at its k-th call to the outside, let it recover, and look at what is left."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from typing import Any

from shared.domain.model import Status
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.provider import NsgProvider
from shared.firewalls.nsg.rules import allow_rules, deny_rules
from shared.ports import OutsideError
from shared.use_cases.timers.reconcile import reconcile
from tests.fakes import NAMES, MemoryTables, Message
from tests.world import NSG_NIC, NSG_SUBNET, POLICY, World

FOREIGN = (
    SecurityRule("allow-https", Access.ALLOW, "Tcp", ("*",), ("*",), ("443",), priority=100),
    SecurityRule("deny-all", Access.DENY, "*", ("*",), ("*",), ("*",), priority=4096),
    SecurityRule(
        "SecurityCenter-JITRule-1170687618-8C18BF8921F041989344B4F1E3A0C370",
        Access.ALLOW, "*", ("198.51.100.1",), ("10.0.0.9",), ("3389",), priority=101,
    ),
)  # fmt: skip
_HIDDEN = timedelta(minutes=10)


class Died(BaseException):
    """The process is gone: nothing of it runs any more, no handler and no finally."""


class FaultType(Enum):
    """How a call fails."""

    BEFORE = "it had no effect"
    AFTER = "it took effect, and the answer was lost"
    DEATH_BEFORE = "the process died before it"
    DEATH_AFTER = "the process died right after it"


class Faults:
    """Counts calls to the outside and breaks the k-th."""

    def __init__(self) -> None:
        self.armed = 0  # 0: nothing breaks
        self.fault_type = FaultType.BEFORE
        self.calls = 0
        self.fired = False
        self.dead = False

    def arm(self, at: int, fault_type: FaultType) -> None:
        """Break the call that is `at` calls from now."""
        self.armed, self.fault_type, self.calls, self.fired = at, fault_type, 0, False

    def disarm(self) -> None:
        """Stop breaking; a process that died is started again."""
        self.armed, self.dead = 0, False

    def call(self, work: Callable[[], Any]) -> Any:
        """Make a call, or break it."""
        if self.dead:
            raise Died
        self.calls += 1
        if self.calls != self.armed:
            return work()
        self.fired = True
        if self.fault_type in {FaultType.AFTER, FaultType.DEATH_AFTER}:
            work()
        if self.fault_type in {FaultType.DEATH_BEFORE, FaultType.DEATH_AFTER}:
            self.dead = True
            raise Died
        raise OutsideError(f"call {self.calls}: {self.fault_type.value}")


class Breakable:
    """Passes every method call of a part through the faults."""

    def __init__(self, part: object, faults: Faults, methods: frozenset[str]) -> None:
        self._part, self._faults, self._methods = part, faults, methods

    def __getattr__(self, name: str) -> Any:
        """Return a method that may break, or whatever else the part has."""
        found = getattr(self._part, name)
        if name not in self._methods:
            return found
        return lambda *args, **named: self._faults.call(lambda: found(*args, **named))


_TABLE = frozenset(
    {"get", "query", "scan", "insert", "replace", "upsert", "delete", "remove", "transact"}
)
_QUEUES = frozenset({"send_request", "send_firewall", "send_policy", "send_notice", "requested"})


class BreakableTables:
    """The tables, each of them breakable."""

    def __init__(self, tables: MemoryTables, faults: Faults) -> None:
        for name in ("policies", "requests", "firewalls", "due", "activity"):
            setattr(self, name, Breakable(getattr(tables, name), faults, _TABLE))


class FragileWorld(World):
    """A world whose calls to the outside can be broken."""

    def __init__(self, *rules: SecurityRule) -> None:
        super().__init__(*rules)
        self.faults = Faults()
        groups = NsgProvider(self.firewall, NAMES)
        self.machines.look = lambda key: groups.observe(self.firewall.read(key))
        self.kept_requests = self.services.requests  # read by tests, never broken
        breakable = {
            "tables": BreakableTables(self.tables, self.faults),
            "queues": Breakable(self.queues, self.faults, _QUEUES),
            "firewall": Breakable(
                self.firewall, self.faults, frozenset({"read", "write", "list_with_our_rules"})
            ),
            "machines": Breakable(self.machines, self.faults, frozenset({"find", "find_by_reads"})),
        }
        self.rewire(**breakable)

    def deliver(self, message: Message) -> None:
        """Hand out a message; of a worker that dies it stays hidden for ten minutes."""
        try:
            super().deliver(message)
        except Died:
            self.faults.dead = False  # the platform starts another worker
            message.visible_at = self.clock() + _HIDDEN

    def sweep(self) -> int:
        """Run a tick; a sweep that dies is run anew at the next."""
        try:
            return super().sweep()
        except (Died, OutsideError):
            self.faults.dead = False
            return -1

    def attempt(self, work: Callable[[], object]) -> None:
        """Do what a person asks for; they may see it fail."""
        try:
            work()
        except (Died, OutsideError):
            self.faults.dead = False

    def step(self, minutes: int) -> None:
        """Let time pass; a worker that dies is another's to follow."""
        for _ in range(minutes):
            try:
                self.pass_time(1)
            except Died:
                self.faults.dead = False

    def recover(self) -> None:
        """Let ordinary recovery happen: redelivery, sweeps, reconciling."""
        self.faults.disarm()
        self.pass_time(13)
        reconcile(self.services)
        self.pass_time(3)


def check(world: World, where: str, *, rows_lost: bool = False) -> None:
    """Assert what must hold once things are quiet.

    After the firewalls' rows were lost, what was open is closed before its request's end.
    """
    now = world.clock()
    for nsg in (NSG_NIC, NSG_SUBNET):
        if nsg.casefold() not in world.firewall.groups:
            continue
        rows = world.services.rows.read(nsg)
        wanted = {
            rule.name
            for grant in rows.grants
            if not grant.is_sealed and grant.expires_at > now
            for rule in allow_rules(grant, NAMES)
        }
        open_rules = {rule.name for rule in world.firewall.ours(nsg, Access.ALLOW)}
        assert open_rules <= wanted, f"{where}: a rule without a live grant on {nsg}"
        denies = {rule.name for rule in deny_rules(rows.protections, NAMES)}
        standing = {rule.name for rule in world.firewall.ours(nsg, Access.DENY)}
        assert standing == denies, f"{where}: denies {standing ^ denies} on {nsg}"
    for rule in FOREIGN:
        assert world.firewall.rules(NSG_SUBNET).get(rule.name) == rule, f"{where}: {rule.name}"
    for request in world.services.requests.newest(POLICY, 100):
        for port in request.ports:
            assert not (port.closing and not port.is_final), f"{where}: closing for ever"
            assert port.status is not Status.INITIATING, f"{where}: opening for ever"
            if port.status is Status.INITIATED and not rows_lost:
                for front in port.fronts or ():
                    names = {r.description for r in world.firewall.ours(front.firewall_id)}
                    assert any(request.id in text for text in names), f"{where}: not open"
            _check_activity(world, where)


def _check_activity(world: World, where: str) -> None:
    rows = [row for (day, _), row in world.tables.activity.rows.items() if day != "closes"]
    ids = Counter(row.key.partition("|")[2] for row in rows)
    assert all(count == 1 for count in ids.values()), f"{where}: an event twice"
    told = "".join(str(row.values["doc"]) for row in rows)
    for request in world.services.requests.newest(POLICY, 100):
        assert f"{request.id}|requested" in told, f"{where}: the request is not on record"
        for port in request.ports:
            for front in port.fronts or ():
                ids_of = f"{request.id}|{port.vm_id.casefold()}|{port.port}|{front.firewall_id.casefold()}"
                assert not front.opened_at or f"{ids_of}|opened" in told, f"{where}: opening untold"
                assert not front.closed_at or f"{ids_of}|closed" in told, f"{where}: closing untold"


def check_all_over(world: World, where: str) -> None:
    """Assert that after everything has ended nothing is open, kept or due."""
    check(world, where)
    for nsg in (NSG_NIC, NSG_SUBNET):
        assert not world.firewall.ours(nsg, Access.ALLOW), f"{where}: still open on {nsg}"
        assert not world.services.rows.read(nsg).grants, f"{where}: grants kept on {nsg}"
    assert not world.tables.due.rows, f"{where}: still due: {list(world.tables.due.rows)}"
    for request in world.services.requests.newest(POLICY, 100):
        assert request.is_final, f"{where}: {[port.status for port in request.ports]}"
    live = [key for key in world.tables.requests.rows if key[0].startswith("live|")]
    stale = [k for k in live if world.services.requests.get(k[1]) is not None]
    assert not stale, f"{where}: listed as live: {stale}"
