"""Let denies of the same ports share a rule where free priorities run short. Pure.

A shared rule bears the name of one VM's deny and the addresses of several VMs; its text tells of
how many. A VM stays in the rule that it shares, and the rule keeps its name and place when the VM
it is named after leaves: no rule can be renamed without opening ports for a moment.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from shared.domain.ids import RuleNames
from shared.domain.model import ANY
from shared.domain.network import canonical_ports, covers, of_family
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.rules import Band, last_foreign_allow
from shared.firewalls.nsg.rules import plan as plan_rules

_TEXT = re.compile(r"JIT access: management ports of (?P<count>\d+) VMs stay closed\.")
NO_SHARE = "; no deny of ours for the same ports stands where this one could share its rule"
OTHER_PORTS = "its rule closes other ports of VMs that share it, and no other rule has room"


@dataclass(frozen=True)
class Member:
    """The stored state of one VM in one address family."""

    name: str  # of its own deny
    addresses: tuple[str, ...]  # those that are closed, or were until its removal
    deny: SecurityRule | None  # None: it is removed
    stored: frozenset[str] = frozenset()  # names of rules that it shared


@dataclass
class _Host:
    """A rule that several VMs share."""

    rule: SecurityRule
    members: dict[str, tuple[str, ...]]  # name of a VM's own deny -> its addresses
    lost: int = 0  # VMs in the rule of which nothing is stored
    kept: tuple[str, ...] = ()  # addresses that stay, although no member has them

    def build(self) -> SecurityRule:
        """Return the rule as it is wanted."""
        found = [address for each in self.members.values() for address in each]
        count = len(self.members) + self.lost
        if self.members.keys() == {self.rule.name.lower()} and not self.lost and not self.kept:
            return self.rule
        text = f"JIT access: management ports of {count} VMs stay closed."
        addresses = tuple(sorted({*found, *self.kept}))
        return replace(self.rule, destinations=addresses, description=text)


@dataclass
class Sharing:
    """Which rules are wanted for the denies, and which rule carries which deny."""

    rules: list[SecurityRule] = field(default_factory=list)
    homes: dict[str, str] = field(default_factory=dict)  # name of a deny -> the rule it shares
    leaving: dict[str, set[str]] = field(default_factory=dict)  # of a removed VM -> rules it leaves
    removable: set[str] = field(default_factory=set)  # shared rules that nothing needs any more
    blocked: dict[str, str] = field(default_factory=dict)
    awaiting: set[str] = field(default_factory=set)  # denies for which a place is being freed


def is_shared(rule: SecurityRule) -> bool:
    """Tell whether the text of a rule says that several VMs share it."""
    return rule.access is Access.DENY and _TEXT.fullmatch(rule.description) is not None


def share(
    present: Sequence[SecurityRule], members: Sequence[Member], names: RuleNames, band: Band
) -> Sharing:
    """Return the rules that close what the members want closed, shared where room is short."""
    planner = _Planner(present, members, names, band)
    planner.take_over()
    planner.find_room()
    return planner.result()


class _Planner:
    def __init__(
        self,
        present: Sequence[SecurityRule],
        members: Sequence[Member],
        names: RuleNames,
        band: Band,
    ) -> None:
        self._present = present
        self._ours = {r.name.lower(): r for r in present if names.is_ours(r.name)}
        self._members = members
        self._denies = {m.name.lower(): m.deny for m in members if m.deny is not None}
        self._names, self._band = names, band
        self._hosts: dict[str, _Host] = {}
        self._staying: set[str] = set()  # denies that keep their rule until another is seen
        self._found = Sharing()

    # --- what is shared already

    def take_over(self) -> None:
        """Keep each VM in the rule that it shares, and take removed VMs out of it."""
        shared = [rule for rule in self._ours.values() if is_shared(rule) and rule.inbound]
        for rule in sorted(shared, key=lambda each: each.priority):
            known = [each for each in self._members if _knows(each, rule)]
            if known:
                self._take_over(rule, known)

    def _take_over(self, rule: SecurityRule, known: list[Member]) -> None:
        key = rule.name.lower()
        staying = [each for each in known if self._stays(each, rule)]
        counted = [m for m in known if m.deny is not None or _covers(rule, m.addresses)]
        lost = max(0, _count(rule) - len(counted))
        for each in known:
            if each.deny is None:
                self._found.leaving.setdefault(each.name.lower(), set()).add(key)
        if not lost and all(each.name.lower() == key for each in staying):
            if key not in self._denies:
                self._found.removable.add(key)
            return
        owner = self._denies.get(key)
        kept = _without_member(rule, known) if lost else ()
        if owner is not None and not _same_ports(owner, rule):
            self._found.blocked[key] = OTHER_PORTS
            kept = (*kept, *(a for a in owner.destinations if covers(rule.destinations, a)))
        members = {each.name.lower(): _destinations(each) for each in staying}
        base = owner if owner is not None and _same_ports(owner, rule) else rule
        self._hosts[key] = _Host(base, members, lost, kept)
        self._found.homes |= {name: key for name in members if name != key}

    def _stays(self, member: Member, rule: SecurityRule) -> bool:
        if member.deny is None or not _same_ports(member.deny, rule):
            return False
        own = member.name.lower()
        if own == rule.name.lower():
            return True
        mine = self._ours.get(own)
        return (
            own not in self._found.homes
            and not (mine is not None and is_shared(mine))
            and _covers(rule, member.deny.destinations)
        )

    # --- what has no room

    def find_room(self) -> None:
        """Let denies without a place share a rule; free a place where none can be shared."""
        while True:
            rules = self._rules()
            compared = plan_rules(self._present, rules, self._names, self._band)
            blocked = [r for r in rules if r.name in compared.blocked]
            places = {r.name.lower(): self._ours[r.name.lower()].priority for r in rules
                      if r.name.lower() in self._ours}  # fmt: skip
            places |= {rule.name.lower(): rule.priority for rule in compared.put}
            placed = [
                replace(r, priority=places[r.name.lower()])
                for r in rules
                if r.name not in compared.blocked
            ]
            single = [r for r in blocked if r.name.lower() not in self._hosts]
            joined = [self._join(rule, placed) for rule in single]
            if not any(joined):
                break
        for rule in single:
            if not self._found.awaiting:
                self._free_place(rule, placed)
        without = {r.name.lower() for r in single} - self._found.awaiting
        self._found.blocked |= {
            name: compared.blocked[self._denies[name].name] + NO_SHARE for name in without
        }

    def _join(self, deny: SecurityRule, placed: Iterable[SecurityRule]) -> bool:
        """Let a deny share the first rule that stands where it may; False: none does."""
        last = self._last_allow(deny)
        for rule in sorted(placed, key=lambda each: each.priority):
            if rule.priority > last and _may_share(deny, rule):
                self._add(deny, rule)
                self._found.homes[deny.name.lower()] = rule.name.lower()
                return True
        return False

    def _free_place(self, deny: SecurityRule, placed: list[SecurityRule]) -> None:
        """Have two denies share one rule, so that the place of the other comes free.

        The other rule goes once the shared one is seen: until then both stand.
        """
        last = self._last_allow(deny)
        ordered = sorted(placed, key=lambda each: each.priority)
        standing = [rule for rule in ordered if rule.name.lower() in self._ours]
        for rule in reversed(standing):
            if rule.priority <= last or rule.name.lower() in self._hosts:
                continue
            before = self._last_allow(rule)
            for other in standing:
                if other is not rule and other.priority > before and _may_share(rule, other):
                    self._add(rule, other)
                    self._found.awaiting.add(deny.name.lower())
                    return

    def _add(self, deny: SecurityRule, rule: SecurityRule) -> None:
        key = rule.name.lower()
        if key not in self._hosts:
            own = self._denies[key]
            self._hosts[key] = _Host(own, {key: own.destinations})
        self._hosts[key].members[deny.name.lower()] = deny.destinations

    def _last_allow(self, deny: SecurityRule) -> int:
        if deny.name.lower() in self._denies and self._denies[deny.name.lower()].priority:
            return self._denies[deny.name.lower()].priority - 1
        return last_foreign_allow(self._present, deny, self._names)

    # --- the result

    def _rules(self) -> list[SecurityRule]:
        alone = [
            rule
            for name, rule in self._denies.items()
            if name not in self._hosts and name not in self._found.homes
        ]
        return [*(each.build() for each in self._hosts.values()), *alone]

    def result(self) -> Sharing:
        """Return the result."""
        self._found.rules = self._rules()
        return self._found


def _knows(member: Member, rule: SecurityRule) -> bool:
    key = rule.name.lower()
    return member.name.lower() == key or key in member.stored or _covers(rule, member.addresses)


def _covers(rule: SecurityRule, addresses: Sequence[str]) -> bool:
    return bool(addresses) and all(covers(rule.destinations, each) for each in addresses)


def _same_ports(one: SecurityRule, other: SecurityRule) -> bool:
    return canonical_ports(one.ports) == canonical_ports(other.ports)


def _may_share(deny: SecurityRule, rule: SecurityRule) -> bool:
    families = [{f for f in (4, 6) if of_family(r.destinations, f)} for r in (deny, rule)]
    return families[0] == families[1] and rule.sources == (ANY,) and _same_ports(deny, rule)


def _count(rule: SecurityRule) -> int:
    found = _TEXT.fullmatch(rule.description)
    return int(found["count"]) if found else 1


def _without_member(rule: SecurityRule, known: Iterable[Member]) -> tuple[str, ...]:
    listed = [address for each in known for address in each.addresses]
    return tuple(a for a in rule.destinations if not covers(listed, a))


def _destinations(member: Member) -> tuple[str, ...]:
    return member.deny.destinations if member.deny is not None else ()
