"""The desired rules of a firewall, and the changes that lead there. Pure functions alone.

wanted(rows, now)      -> the security rules that ought to exist
plan(present, wanted)  -> what to put, what to remove, what cannot be placed
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby

from shared.domain.grants import current_grants, other_vm_at
from shared.domain.ids import RuleNames, allow_description, deny_description, key_of, name_of
from shared.domain.model import ANY, FirewallRows, Grant, Protection
from shared.domain.network import (
    canonical,
    canonical_ports,
    of_family,
)
from shared.firewalls.nsg.judgement import admits_sources, meets
from shared.firewalls.nsg.model import Access, SecurityRule

_WIRE_PROTOCOL = {"tcp": "Tcp", "udp": "Udp"}
_FAMILIES = (4, 6)


@dataclass(frozen=True)
class Band:
    """Where our rules may stand. Defender's allows stand at 100 to 140, ours below them."""

    allow_from: int = 200
    allow_to: int = 999
    deny_from: int = 1000
    deny_to: int = 4096
    most_rules: int = 1000  # per NSG, both directions together (Azure's limit)


@dataclass(frozen=True)
class Wanted:
    """The rules that ought to exist, and the grants that cannot have one, with the reason."""

    rules: tuple[SecurityRule, ...] = ()
    impossible: Mapping[tuple[str, str, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The changes that make a firewall hold what is wanted; `blocked` maps a name to why."""

    put: tuple[SecurityRule, ...] = ()
    remove: tuple[str, ...] = ()
    blocked: Mapping[str, str] = field(default_factory=dict)
    flush_connections: bool = False  # switch on the re-evaluation of live sessions

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to write."""
        return not self.put and not self.remove and not self.flush_connections

    @property
    def size(self) -> int:
        """Count the changes."""
        return len(self.put) + len(self.remove)

    @property
    def names(self) -> frozenset[str]:
        """Name the rules to change."""
        return frozenset({*(rule.name for rule in self.put), *self.remove})

    def only(self, names: Container[str]) -> "Plan":
        """Keep the changes of some rules."""
        return replace(
            self,
            put=tuple(rule for rule in self.put if rule.name in names),
            remove=tuple(name for name in self.remove if name in names),
        )


def wanted(rows: FirewallRows, now: datetime, names: RuleNames) -> Wanted:
    """Return the desired rules of one firewall."""
    rules: list[SecurityRule] = []
    impossible: dict[tuple[str, str, int], str] = {}
    for grant in current_grants(rows, now):
        stranger = other_vm_at(rows, grant)
        if stranger:
            impossible[grant.key] = (
                f"the address of '{name_of(grant.vm_id)}' also belongs to '{name_of(stranger)}' "
                "behind the same network security group; opening it would open both"
            )
        else:
            rules += allow_rules(grant, names)
    return Wanted((*deny_rules(rows.protections, names), *rules), impossible)


def allow_rules(grant: Grant, names: RuleNames) -> list[SecurityRule]:
    """Make the rules of a grant: one for each address family that both sides have."""
    rules = []
    for family in _FAMILIES:
        sources = of_family(grant.sources_here, family)
        destinations = of_family(grant.addresses, family)
        if sources and destinations:
            rules.append(
                SecurityRule(
                    name=names.allow(grant.request_id, grant.vm_id, grant.port, family),
                    access=Access.ALLOW,
                    protocol=_WIRE_PROTOCOL.get(grant.protocol.lower(), ANY),
                    sources=sources,
                    destinations=destinations,
                    ports=(str(grant.port),),
                    description=allow_description(grant.request_id, grant.expires_at),
                )
            )
    return rules


def deny_rules(
    protections: Iterable[Protection],
    names: RuleNames,
    first_priorities: Mapping[str, int] | None = None,
) -> list[SecurityRule]:
    """Make one deny for each VM and family, over all policies that protect it.

    Protocol and source are `*` whatever the policy says, as Defender writes them: a port that is
    governed is closed. A rule carries the priority at which its name was first seen.
    """
    in_force = (p for p in protections if not p.lifted)
    standing = sorted(in_force, key=lambda p: (key_of(p.vm_id), p.vm_id))
    rules = []
    for _, of_vm in groupby(standing, key=lambda p: key_of(p.vm_id)):
        same = list(of_vm)
        ports = tuple(str(port) for port in sorted({port for p in same for port in p.ports}))
        for family in _FAMILIES:
            addresses = of_family((a for p in same for a in p.addresses), family)
            if ports and addresses:
                name = names.deny(same[0].vm_id, family)
                rules.append(
                    SecurityRule(
                        name=name,
                        access=Access.DENY,
                        protocol=ANY,
                        sources=(ANY,),
                        destinations=addresses,
                        ports=ports,
                        description=deny_description(name_of(same[0].vm_id)),
                        priority=(first_priorities or {}).get(name, 0),
                    )
                )
    return rules


def plan(
    present: Sequence[SecurityRule],
    want: Sequence[SecurityRule],
    names: RuleNames,
    band: Band,
    refused: Mapping[str, str] | None = None,
) -> Plan:
    """Compare what a firewall holds with what it should, and say what to change.

    Foreign rules are read and never changed. A rule in `refused` was turned down by the firewall
    in this run and is not tried again, so that one bad rule stalls no other.
    """
    turned_down = refused or {}
    ours = {rule.name.lower(): rule for rule in present if names.is_ours(rule.name)}
    placing = _Placing(present, band, names)
    put: list[SecurityRule] = []
    blocked: dict[str, str] = {}
    for rule in sorted(want, key=lambda each: each.access is Access.ALLOW):
        held = ours.get(rule.name.lower())
        if held is not None and placing.keeps(held, rule) and same_meaning(held, rule):
            continue
        if rule.name in turned_down:
            blocked[rule.name] = turned_down[rule.name]
            continue
        try:
            put.append(placing.place(rule, held))
        except NoRoomError as no_room:
            blocked[rule.name] = str(no_room)
    kept = {rule.name.lower() for rule in want}
    remove = [rule.name for key, rule in ours.items() if key not in kept]
    blocked |= {name: turned_down[name] for name in remove if name in turned_down}
    remove = [name for name in remove if name not in turned_down]
    return Plan(tuple(put), tuple(remove), blocked)


def same_meaning(held: SecurityRule, rule: SecurityRule) -> bool:
    """Compare two rules by what they do and say, their priority apart."""
    return _meaning(held) == _meaning(rule)


def _meaning(rule: SecurityRule) -> tuple[object, ...]:
    return (
        rule.access,
        rule.inbound,
        rule.protocol.lower(),
        canonical(rule.sources),
        canonical(rule.destinations),
        canonical_ports(rule.ports),
        canonical_ports(rule.source_ports),
        rule.description,
        rule.unresolved_sources,
        rule.unresolved_destinations,
        frozenset(map(key_of, rule.source_groups)),
        frozenset(map(key_of, rule.destination_groups)),
    )


class NoRoomError(Exception):
    """A rule has no place where it would do what it is for."""


class _Placing:
    """Give out priorities: each once, and never another to a rule that has a good one."""

    def __init__(self, present: Sequence[SecurityRule], band: Band, names: RuleNames) -> None:
        self._band = band
        self._foreign = [rule for rule in present if not names.is_ours(rule.name)]
        # Ours too: a rule that could not be removed may stand as a deny where it was an allow.
        self._denies = [rule for rule in present if rule.access is Access.DENY]
        # The priorities of rules that will be removed count as taken until they are seen gone.
        self._taken = {rule.priority for rule in present if rule.inbound}
        self._room = band.most_rules - len(present)

    def keeps(self, held: SecurityRule, rule: SecurityRule) -> bool:
        """Tell whether a rule already stands at a priority that is good for it."""
        low, high = self._limits(rule)
        before = range(max(low, rule.priority), held.priority) if rule.priority else ()
        moved = any(at not in self._taken for at in before)
        return held.inbound and low <= held.priority <= high and not moved

    def place(self, rule: SecurityRule, held: SecurityRule | None) -> SecurityRule:
        """Give a rule its priority; raises NoRoomError."""
        if held is not None and self.keeps(held, rule):
            return replace(rule, priority=held.priority)
        if held is None and self._room <= 0:
            raise NoRoomError(
                f"the network security group is full: it holds {self._band.most_rules} rules"
            )
        priority = self._free_slot(rule)
        self._taken.add(priority)
        self._room -= held is None
        return replace(rule, priority=priority)

    def _limits(self, rule: SecurityRule) -> tuple[int, int]:
        if rule.access is Access.ALLOW:
            return (self._band.allow_from, self._band.allow_to)
        return (self._band.deny_from, self._band.deny_to)

    def _free_slot(self, rule: SecurityRule) -> int:
        low, high = self._limits(rule)
        lows = [low]
        if rule.priority:
            # What was added behind it since then has no older right.
            lows = [max(low, rule.priority)]
        elif rule.access is Access.DENY:
            lows = [max(low, at + 1) for at in self._ends_of_allows(rule)]
        free = (at for first in lows for at in range(first, high + 1) if at not in self._taken)
        slot = next(free, 0)
        if not slot:
            raise NoRoomError(f"no free priority from {lows[-1]} to {high}")
        if rule.access is Access.ALLOW:
            self._refuse_if_outranked(rule, slot)
        return slot

    def _ends_of_allows(self, rule: SecurityRule) -> Iterator[int]:
        """Say after which priorities a deny may stand, the best first.

        Every foreign allow that meets it keeps its say. If no priority is free behind them, the
        allows that let no source in are passed over: nothing opens or closes by that.
        """
        allows = [each for each in self._foreign if each.access is Access.ALLOW]
        met = [each for each in allows if meets(each, rule, with_probes=True)]
        yield _last(met)
        yield _last(each for each in met if admits_sources(each, self._foreign, rule))

    def _refuse_if_outranked(self, rule: SecurityRule, slot: int) -> None:
        for deny in self._denies:
            itself = deny.name.lower() == rule.name.lower()
            if not itself and deny.priority < slot and meets(deny, rule):
                raise NoRoomError(
                    f"rule '{deny.name}' (priority {deny.priority}) denies this port and "
                    f"outranks every free priority from {slot} on"
                )


def last_foreign_allow(
    present: Sequence[SecurityRule], deny: SecurityRule, names: RuleNames
) -> int:
    """Return the priority after which a deny of ours closes all that it can close."""
    foreign = [rule for rule in present if not names.is_ours(rule.name)]
    allows = [each for each in foreign if each.access is Access.ALLOW]
    met = (each for each in allows if meets(each, deny, with_probes=True))
    return _last(each for each in met if admits_sources(each, foreign, deny))


def _last(rules: Iterable[SecurityRule]) -> int:
    return max((rule.priority for rule in rules), default=0)


def in_order(changes: Plan, present: Sequence[SecurityRule]) -> tuple[SecurityRule | str, ...]:
    """Order the changes for a firewall that takes them one by one; a name means its removal.

    Closing comes first, since only part may go through. The one exception: a rule that a new one
    replaces goes after it, so that the person who asked again is not cut off in between.
    """
    allows = [rule for rule in changes.put if rule.access is Access.ALLOW]
    by_name = {rule.name: rule for rule in present}
    late = {
        name
        for name in changes.remove
        if any(_replaces(rule, by_name[name]) for rule in allows if name in by_name)
    }
    first = tuple(name for name in changes.remove if name not in late)
    return (*first, *changes.put, *(name for name in changes.remove if name in late))


def _replaces(new: SecurityRule, old: SecurityRule) -> bool:
    return _meaning(replace(new, description="")) == _meaning(replace(old, description=""))
