"""In-memory parts that keep the contracts of the real ones; tests/contract holds them to it."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Any

from shared.domain.bastion import BastionReach
from shared.domain.desired import Observed
from shared.domain.ids import RuleNames, is_within, key_of, name_of
from shared.domain.model import Attachment
from shared.firewalls.nsg.model import Access, SecurityRule, Snapshot
from shared.firewalls.nsg.rules import Plan, in_order
from shared.ports import (
    FirewallChangedError,
    FirewallRefusedError,
    Item,
    Listed,
    Machine,
    Neighbours,
    OutsideError,
    Result,
    Row,
    RowChangedError,
    RowExistsError,
    SettlingError,
    Value,
    Write,
)
from tests.transactions import all_or_none

START = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
NAMES = RuleNames("SecurityCenter-JITRule", "test1")


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


_MOST_BYTES, _MOST_OF_PROPERTY = 1024 * 1024, 64 * 1024


def bytes_of(row: Row) -> int:
    """Count a row's bytes as Table Storage does: texts in UTF-16, and each property's overhead."""
    texts = [row.partition, row.key, *row.values]
    texts += [value for value in row.values.values() if isinstance(value, str)]
    return 4 + sum(len(text.encode("utf-16-le")) for text in texts) + 20 * len(row.values)


def narrowed(row: Row, columns: Sequence[str]) -> Row:
    """Return a row with some of its columns alone."""
    return replace(row, values={name: row.values[name] for name in columns if name in row.values})


class MemoryTable:
    """A table in memory: etags, key order, and the same refusals as Table Storage."""

    def __init__(self) -> None:
        self._lock = RLock()
        self.rows: dict[tuple[str, str], Row] = {}
        self._versions = itertools.count(1)
        self.rows_read = 0

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row."""
        self.rows_read += 1
        return self.rows.get((partition, key))

    def query(
        self,
        partition: str,
        *,
        start: str = "",
        stop: str = "",
        limit: int = 0,
        columns: Sequence[str] = (),
    ) -> list[Row]:
        """Read a partition's rows in key order."""
        found = [
            row
            for (held, key), row in sorted(dict(self.rows).items())
            if held == partition and key >= start and (not stop or key < stop)
        ]
        found = found[:limit] if limit else found
        self.rows_read += len(found)
        return [narrowed(row, columns) for row in found] if columns else found

    def scan(self, start: str, stop: str, *, limit: int = 0, **equal: Value) -> list[Row]:
        """Read the rows of several partitions whose values equal the given ones."""
        found = [
            row
            for (partition, _), row in sorted(dict(self.rows).items())
            if start <= partition < stop
            and all(row.values.get(name) == value for name, value in equal.items())
        ]
        found = found[:limit] if limit else found
        self.rows_read += len(found)
        return found

    def insert(self, row: Row) -> str:
        """Add a row."""
        with self._lock:
            if (row.partition, row.key) in self.rows:
                raise RowExistsError(row.key)
            return self._write(row)

    def replace(self, row: Row) -> str:
        """Write over the version that was read."""
        with self._lock:
            self._require(row)
            return self._write(row)

    def upsert(self, row: Row) -> str:
        """Write a row whatever was there."""
        return self._write(row)

    def _write(self, row: Row) -> str:
        values = [value for value in row.values.values() if isinstance(value, str)]
        if any(len(value.encode("utf-16-le")) > _MOST_OF_PROPERTY for value in values):
            raise OutsideError(f"PropertyValueTooLarge: {row.key}")
        if bytes_of(row) > _MOST_BYTES:
            raise OutsideError(f"EntityTooLarge: {row.key} takes {bytes_of(row)} bytes")
        version = f'W/"{next(self._versions)}"'
        self.rows[row.partition, row.key] = replace(row, version=version)
        return version

    def delete(self, row: Row) -> None:
        """Remove the version that was read; a row that is gone is fine."""
        with self._lock:
            if (row.partition, row.key) not in self.rows:
                return
            self._require(row)
            del self.rows[row.partition, row.key]

    def remove(self, row: Row) -> None:
        """Remove a row whatever its version; a row that is gone is fine."""
        self.rows.pop((row.partition, row.key), None)

    def transact(self, writes: Sequence[Write]) -> list[str]:
        """Make writes to rows of one partition, all or none."""
        with self._lock:
            return all_or_none(self, self.rows, writes)

    def _require(self, row: Row) -> None:
        held = self.rows.get((row.partition, row.key))
        if held is None or held.version != row.version:
            raise RowChangedError(row.key)


@dataclass
class MemoryTables:
    """The app's tables in memory."""

    policies: MemoryTable = field(default_factory=MemoryTable)
    requests: MemoryTable = field(default_factory=MemoryTable)
    firewalls: MemoryTable = field(default_factory=MemoryTable)
    due: MemoryTable = field(default_factory=MemoryTable)
    activity: MemoryTable = field(default_factory=MemoryTable)

    def all(self) -> list[MemoryTable]:
        """Return every table."""
        return [self.policies, self.requests, self.firewalls, self.due, self.activity]


@dataclass
class Message:
    """A message waiting on a queue."""

    kind: str
    subject: str
    inserted_at: datetime
    visible_at: datetime
    attempts: int = 0


class MemoryQueues:
    """The app's queues in memory: at least once, in no promised order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.waiting: list[Message] = []
        self.notices: list[str] = []
        self.poison_count = 0

    def send_request(self, request_id: str, *, delay: timedelta = timedelta(0)) -> None:
        """Ask for open_access."""
        self._send("request", request_id, delay)

    def send_firewall(self, firewall_id: str, *, delay: timedelta = timedelta(0)) -> None:
        """Ask for converge_firewall; a queue counts in whole seconds, and may be early."""
        self._send("firewall", firewall_id, timedelta(seconds=delay // timedelta(seconds=1)))

    def send_policy(self, policy_id: str, *, delay: timedelta = timedelta(0)) -> None:
        """Ask for apply_policy."""
        self._send("policy", policy_id, delay)

    def send_notice(self, request_id: str) -> None:
        """Have approvers told."""
        self.notices.append(request_id)

    def requested(self) -> int:
        """Count the requests on their way."""
        return sum(each.kind == "request" for each in self.waiting)

    def poisoned(self) -> int:
        """Count the messages that no handler could take."""
        return self.poison_count

    def _send(self, message_type: str, subject: str, delay: timedelta) -> None:
        now = self._clock()
        self.waiting.append(Message(message_type, subject, now, now + delay))

    def visible(self) -> list[Message]:
        """Return what a worker would be handed now."""
        return [each for each in self.waiting if each.visible_at <= self._clock()]


class MemoryFirewall:
    """NSGs in memory: one version over all rules, child and whole writes, and foreign editors."""

    def __init__(self, names: RuleNames = NAMES) -> None:
        self._names = names
        self.groups: dict[str, dict[str, SecurityRule]] = {}
        self.writes: Counter[str] = Counter()
        self.whole = True
        self.flushing: set[str] = set()
        self.refuse: dict[str, str] = {}  # rule name -> code
        self.refuse_verbs: set[str] = set()  # put or remove
        self.settling = 0.0  # seconds that a write of another writer takes yet
        self.before_write: Callable[[Snapshot, Plan], None] = lambda _snapshot, _plan: None
        self._versions: Counter[str] = Counter()

    def add(self, firewall_id: str, *rules: SecurityRule) -> None:
        """Put a group there."""
        self.groups[key_of(firewall_id)] = {rule.name: rule for rule in rules}

    def rules(self, firewall_id: str) -> dict[str, SecurityRule]:
        """Return a group's rules by name."""
        return self.groups[key_of(firewall_id)]

    def ours(self, firewall_id: str, access: Access | None = None) -> list[SecurityRule]:
        """Return our rules on a group."""
        return [
            rule
            for rule in self.groups.get(key_of(firewall_id), {}).values()
            if self._names.is_ours(rule.name) and access in {None, rule.access}
        ]

    def edit(self, firewall_id: str, *put: SecurityRule, remove: Iterable[str] = ()) -> None:
        """Edit a group as another writer."""
        group = self.groups[key_of(firewall_id)]
        group.update({rule.name: rule for rule in put})
        for name in remove:
            group.pop(name, None)
        self._versions[key_of(firewall_id)] += 1

    def read(self, firewall_id: str) -> Snapshot:
        """Read a settled snapshot."""
        key = key_of(firewall_id)
        if self.settling:
            raise SettlingError("a write is under way", retry_after=self.settling)
        if key not in self.groups:
            return Snapshot(firewall_id, (), exists=False)
        return Snapshot(
            firewall_id,
            tuple(self.groups[key].values()),
            str(self._versions[key]),
            flushes_connections=key in self.flushing,
        )

    def look(self, firewall_id: str) -> tuple[dict[str, Any], Snapshot | None]:
        """Read a group once, with the machines' interfaces left out."""
        return {"properties": {}}, self.read(firewall_id)

    def write(self, snapshot: Snapshot, plan: Plan) -> None:
        """Carry out a plan, or its first change."""
        self.before_write(snapshot, plan)
        key = key_of(snapshot.firewall_id)
        if str(self._versions[key]) != snapshot.version or key not in self.groups:
            raise FirewallChangedError(key)
        changes = in_order(plan, snapshot.rules)
        for change in changes if self.whole else changes[:1]:
            name = change if isinstance(change, str) else change.name
            if name in self.refuse:
                raise FirewallRefusedError("turned down", code=self.refuse[name], rule_name=name)
            if "put" in self.refuse_verbs and not isinstance(change, str):
                raise FirewallRefusedError("turned down", code="Disallowed", rule_name=name)
            if "remove" in self.refuse_verbs and isinstance(change, str):
                self._close_in_place(key, name)
                raise FirewallRefusedError("turned down", code="ScopeLocked", rule_name=name)
        self.writes[key] += 1
        if plan.flush_connections:
            self.flushing.add(key)
        group = self.groups[key]
        for change in changes if self.whole else changes[:1]:
            if isinstance(change, str):
                group.pop(change, None)
            else:
                group[change.name] = change
        self._versions[key] += 1
        assert_legal(group.values())

    def _close_in_place(self, key: str, name: str) -> None:
        """Turn an allow that may not be removed into a deny, as the real adapter does."""
        rule = self.groups[key][name]
        if rule.access is Access.ALLOW:
            self.groups[key][name] = replace(rule, access=Access.DENY)
            self._versions[key] += 1

    def writes_whole(self) -> bool:
        """Tell whether plans are carried out whole."""
        return self.whole

    def probe(self) -> str:
        """Say that guarded whole writes are honoured."""
        return "honoured"

    def list_with_our_rules(self, scopes: Sequence[str]) -> list[str]:
        """Find every group that holds a rule of ours."""
        del scopes
        return [key for key in self.groups if self.ours(key)]


def assert_legal(rules: Iterable[SecurityRule]) -> None:
    """Fail where Azure would refuse a group: equal priorities, texts too long."""
    held = list(rules)
    taken = Counter(rule.priority for rule in held if rule.inbound)
    assert all(count == 1 for count in taken.values()), "two rules have one priority"
    assert all(100 <= rule.priority <= 4096 for rule in held)
    assert all(len(rule.description) <= 140 for rule in held)


class MemoryMachines:
    """The cloud's inventory in memory."""

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self.look: Callable[[str], Observed] | None = None  # how neighbours read groups
        self.twice: frozenset[tuple[str, str]] = frozenset()

    def add(self, vm_id: str, *attachments: Attachment, system: str = "linux") -> None:
        """Put a VM there."""
        self.machines[key_of(vm_id)] = Machine(vm_id, "westeurope", system, attachments)

    def find(self, vm_id: str) -> Machine | None:
        """Read one VM."""
        return self.machines.get(key_of(vm_id))

    def find_by_reads(self, vm_id: str) -> Machine | None:
        """Read one VM."""
        return self.find(vm_id)

    def shared_address(self, machine: Machine) -> str:
        """Look for another VM with the same address behind the same firewall."""
        own = {(key_of(a.firewall_id), ip) for a in machine.attachments for ip in a.addresses}
        for other in self.machines.values():
            held = {(key_of(a.firewall_id), ip) for a in other.attachments for ip in a.addresses}
            if key_of(other.id) != key_of(machine.id) and own & held:
                return f"its address also belongs to '{name_of(other.id)}'"
        return ""

    def addresses_given_twice(self, subscription: str) -> frozenset[tuple[str, str]]:
        """Return what a test has put there."""
        del subscription
        return self.twice

    def neighbours(self, machine: Machine, *, lists: bool = True) -> Neighbours:
        """Look for a shared address; groups are read where a test says how."""
        del lists
        looks = {key_of(each.firewall_id): each.firewall_id for each in machine.attachments}
        seen = {key: self.look(each) for key, each in looks.items()} if self.look else {}
        return Neighbours(self.shared_address(machine), seen)


class MemoryInventory:
    """The lists of the cloud, over the machines and firewalls in memory; it counts its reads."""

    def __init__(self, machines: MemoryMachines, firewall: MemoryFirewall) -> None:
        self._machines, self._firewall = machines, firewall
        self.unsettled: frozenset[str] = frozenset()
        self.reads = 0

    def read(self, places: tuple[str, ...]) -> Listed:
        """Read everything in some places."""
        self.reads += 1
        machines = tuple(
            machine
            for machine in self._machines.machines.values()
            if any(is_within(machine.id, place) for place in places)
        )
        firewalls = {key: MemoryFirewall.read(self._firewall, key) for key in self._firewall.groups}
        return Listed(machines, firewalls, self.unsettled)


class MemoryBastions:
    """The Bastion hosts in memory, by network."""

    def __init__(self) -> None:
        self.known = BastionReach()
        self.error: Exception | None = None

    def reach(self, networks: Sequence[str]) -> BastionReach:
        """Return the hosts; a test may let Azure fail."""
        del networks
        if self.error:
            raise self.error
        return self.known

    def reach_each(self, networks: Sequence[str]) -> dict[str, BastionReach]:
        """Return the hosts of each network; a test may let Azure fail."""
        return {key_of(each): self.reach((each,)) for each in networks}


class MemoryTelemetry:
    """Events kept for tests to look at."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Value | None]]] = []
        self.faults: list[tuple[str, BaseException]] = []

    def event(self, name: str, **attributes: Value | None) -> None:
        """Keep an event."""
        self.events.append((name, attributes))

    def fault(self, name: str, error: BaseException, **attributes: Value | None) -> None:
        """Keep a fault."""
        self.faults.append((name, error))
        self.events.append((name, attributes))

    def named(self, name: str) -> list[Mapping[str, Value | None]]:
        """Return the events of a name."""
        return [attributes for held, attributes in self.events if held == name]


def one_by_one(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Run pieces of work in order: a test repeats exactly."""
    return [work(item) for item in items]
