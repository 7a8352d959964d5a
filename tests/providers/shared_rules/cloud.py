"""Security groups without deny and priority, in memory: a rule is its protocol, port and source."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from shared.domain.model import Attachment
from shared.domain.network import covers
from shared.ports import FirewallChangedError, OutsideError

Identity = tuple[str, int, int, str]  # protocol, first and last port, source prefix


@dataclass(frozen=True)
class Rule:
    """One rule. Text and id do not tell rules apart: the identity does."""

    protocol: str
    low: int
    high: int
    source: str
    text: str = ""
    id: str = field(default="", compare=False)

    @property
    def identity(self) -> Identity:
        """Return what tells rules apart."""
        return (self.protocol, self.low, self.high, self.source)

    def meets(self, ports: Iterable[int]) -> bool:
        """Tell whether the rule opens one of some ports."""
        return any(self.low <= port <= self.high for port in ports)


@dataclass
class Group:
    """One group: its rules, and the notes about what was taken from it."""

    rules: dict[Identity, Rule] = field(default_factory=dict)
    ledger: dict[str, str] = field(default_factory=dict)  # key of a block -> memory
    version: int = 0


class Cloud:
    """The service: it answers reads, and carries out one call at a time."""

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self.refuse: Callable[[str, str], str] = lambda _verb, _target: ""
        self.before_call: Callable[[str, str], None] = lambda _verb, _target: None
        self.busy_seconds = 0.0
        self.calls: list[tuple[str, str]] = []
        self.attached: dict[str, tuple[Attachment, ...]] = {}  # by the id of a machine
        self._ids = itertools.count(1)

    def add(self, firewall_id: str, *rules: Rule) -> None:
        """Put a group there."""
        self.groups[firewall_id] = Group()
        for rule in rules:
            self.put(firewall_id, rule)

    def put(self, firewall_id: str, rule: Rule) -> None:
        """Add a rule or change its text, as any writer may."""
        group = self.groups[firewall_id]
        stored = group.rules.get(rule.identity)
        rule_id = stored.id if stored else f"rule-{next(self._ids)}"
        group.rules[rule.identity] = replace(rule, id=rule_id)
        group.version += 1

    def remove(self, firewall_id: str, identity: Identity) -> None:
        """Remove a rule, as any writer may; one that is gone is fine."""
        group = self.groups[firewall_id]
        group.rules.pop(identity, None)
        group.version += 1

    def reaches(self, firewall_id: str, source: str, port: int, protocol: str = "tcp") -> bool:
        """Tell whether packets from a source pass."""
        return any(
            rule.protocol in {protocol, "all"}
            and rule.low <= port <= rule.high
            and covers((rule.source,), source)
            for rule in self.groups[firewall_id].rules.values()
        )

    def call(self, firewall_id: str, version: str, verb: str, target: str) -> Group:
        """Begin one call of ours: it may be refused, crash, or find the group changed."""
        self.before_call(verb, target)
        if firewall_id not in self.groups:
            raise OutsideError(f"{firewall_id} does not answer")
        group = self.groups[firewall_id]
        if version != str(group.version):
            raise FirewallChangedError(firewall_id)
        self.calls.append((verb, target))
        return group
