"""Translate intents to security rules, and the comparison of rules to findings. Pure."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from shared.domain.desired import (
    AGREES,
    PENDING,
    Allow,
    Block,
    Change,
    Desired,
    Finding,
    Plan,
    impossible,
)
from shared.domain.ids import RuleNames, digest, key_of
from shared.domain.model import Grant, Protection
from shared.domain.network import of_family
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.rules import Band, allow_rules, deny_rules
from shared.firewalls.nsg.rules import Plan as RulePlan
from shared.firewalls.nsg.rules import plan as plan_rules
from shared.firewalls.nsg.sharing import Member, Sharing, share

PUT, REMOVE, FLUSH = "put", "remove", "flush"
_FAMILIES = (4, 6)


@dataclass(frozen=True)
class Group:
    """The properties of a security group that a plan needs."""

    rules: tuple[SecurityRule, ...]
    flushes_sessions: bool
    writes_whole: Callable[[], bool]


def plan_group(
    group: Group,
    desired: Desired,
    names: RuleNames,
    band: Band,
    refused: Mapping[str, str],
) -> Plan:
    """Compare a security group with what is desired; closes come first."""
    rules = {allow.key: rules_of_allow(allow, names) for allow in desired.allows if allow.wanted}
    own = deny_rules(
        map(_protection, desired.blocks), names, first_priorities(desired.blocks, names)
    )
    sharing = share(group.rules, _members(desired.blocks, own, names), names, band)
    kept = {rule.name.lower(): rule for rule in group.rules if rule.name in desired.keep}
    denies = [_widest(rule, kept.get(rule.name.lower())) for rule in sharing.rules]
    compared = plan_rules(
        group.rules, [*denies, *(r for each in rules.values() for r in each)], names, band
    )
    planner = _Planner(group, desired, names, refused, compared, sharing)
    return planner.plan(rules, {rule.name.lower() for rule in own})


def rules_of_allow(allow: Allow, names: RuleNames) -> list[SecurityRule]:
    """Return the rules of an allow intent, one for each address family."""
    return allow_rules(_grant(allow), names)


def _members(
    blocks: Sequence[Block], denies: Iterable[SecurityRule], names: RuleNames
) -> list[Member]:
    """Return the stored state of each VM in each address family."""
    wanted = {rule.name.lower(): rule for rule in denies}
    of_vm: dict[str, list[Block]] = {}
    for block in blocks:
        of_vm.setdefault(key_of(block.vm_id), []).append(block)
    found = []
    for same in of_vm.values():
        addresses = [address for block in same for address in block.addresses]
        stored = frozenset(name for block in same for name in read_shared(block.memory))
        for family in _FAMILIES:
            name = names.deny(same[0].vm_id, family)
            here = of_family(addresses, family)
            found.append(Member(name, here, wanted.get(name.lower()), stored))
    return found


def _widest(rule: SecurityRule, kept: SecurityRule | None) -> SecurityRule:
    if kept is None:
        return rule
    return replace(
        rule,
        ports=tuple(dict.fromkeys((*rule.ports, *kept.ports))),
        destinations=tuple(dict.fromkeys((*rule.destinations, *kept.destinations))),
    )


def first_priorities(blocks: Iterable[Block], names: RuleNames) -> dict[str, int]:
    """Return where each deny was first seen; one that was moved or deleted goes back there."""
    found: dict[str, int] = {}
    for block in blocks:
        memory = _read_memory(block.memory) if block.wanted else {}
        for family, place in _PLACE.items():
            name, priority = names.deny(block.vm_id, family), memory.get(place, 0)
            if priority:
                found[name] = min(priority, found.get(name, priority))
    return found


class _Planner:
    def __init__(
        self,
        group: Group,
        desired: Desired,
        names: RuleNames,
        refused: Mapping[str, str],
        compared: RulePlan,
        sharing: Sharing,
    ) -> None:
        self._group = group
        self._desired = desired
        self._names = names
        self._refused = refused
        self._compared = compared
        self._sharing = sharing
        self._carried = {rule.name.lower() for rule in sharing.rules}
        self._present = {rule.name.lower(): rule for rule in group.rules}
        self._serves = self._keys_by_name()
        self._blamed: dict[str, str] = {}

    def plan(self, rules: Mapping[str, list[SecurityRule]], denies: set[str]) -> Plan:
        changes = tuple(self._not_refused([*self._removals(), *self._puts(), *self._flush()]))
        pending = {change.target.lower() for change in changes}
        findings = {
            allow.key: self._open(rules[allow.key], pending)
            if allow.wanted
            else self._closed(self._names_of(allow))
            for allow in self._desired.allows
        }
        findings |= {
            block.key: self._blocked(block, denies, pending) for block in self._desired.blocks
        }
        return Plan(changes, findings, self._remember(findings), self._strays())

    # --- changes

    def _removals(self) -> list[Change]:
        removable = {name for block in self._desired.blocks for name in self._denies_of(block)}
        removable |= self._sharing.removable
        found = []
        for name in self._compared.remove:
            rule = self._present[name.lower()]
            stray = rule.access is Access.DENY and _is_deny_name(name, self._names)
            if name in self._desired.keep or (stray and name.lower() not in removable):
                continue
            found.append(Change(REMOVE, name, "", self._serves.get(name.lower(), ())))
        return found

    def _puts(self) -> list[Change]:
        return [
            Change(
                PUT,
                rule.name,
                _meaning(rule),
                self._serves.get(rule.name.lower(), ()),
                rule.access is Access.ALLOW,
                rule,
            )
            for rule in self._compared.put
        ]

    def _flush(self) -> list[Change]:
        asking = tuple(b.key for b in self._desired.blocks if b.wanted and b.ends_sessions)
        if not asking or self._group.flushes_sessions or not self._group.writes_whole():
            return []
        return [Change(FLUSH, "flushConnection", "", asking)]

    def _not_refused(self, changes: Iterable[Change]) -> Iterable[Change]:
        for change in changes:
            if change.id in self._refused:
                self._blamed[change.target.lower()] = self._refused[change.id]
            else:
                yield change

    # --- findings

    def _open(self, rules: list[SecurityRule], pending: set[str]) -> Finding:
        if not rules:
            return impossible("no source and address of the same family")
        return self._finding([rule.name for rule in rules], pending)

    def _finding(self, names: Iterable[str], pending: set[str]) -> Finding:
        listed = list(names)
        for name in listed:
            reason = self._compared.blocked.get(name) or self._blamed.get(name.lower())
            if reason:
                return impossible(reason)
        return PENDING if any(name.lower() in pending for name in listed) else AGREES

    def _closed(self, names: set[str]) -> Finding:
        standing = names & self._present.keys()
        if not standing:
            return AGREES
        reason = next((self._blamed[name] for name in standing if name in self._blamed), "")
        return impossible(reason) if reason else PENDING

    def _blocked(self, block: Block, denies: set[str], pending: set[str]) -> Finding:
        own = self._denies_of(block)
        wanted = own & denies
        left = self._left(own - wanted, pending)
        if not left.agrees:
            return left
        if not wanted.isdisjoint(self._sharing.awaiting):
            return PENDING
        reasons = (self._sharing.blocked.get(name, "") for name in sorted(wanted))
        reason = next(filter(None, reasons), "")
        return impossible(reason) if reason else self._carrying(wanted, pending)

    def _carrying(self, wanted: set[str], pending: set[str]) -> Finding:
        """Tell whether the rules that carry some denies stand, and those they replace are gone."""
        homes = {name: self._sharing.homes.get(name, name) for name in wanted}
        replaced = self._closed({name for name, home in homes.items() if name != home})
        carried = self._finding(sorted(self._spelled(home) for home in homes.values()), pending)
        return carried if not carried.agrees else replaced

    def _left(self, names: set[str], pending: set[str]) -> Finding:
        """Tell whether no rule of a removed block is left, shared rules included."""
        shared = {rule for name in names for rule in self._sharing.leaving.get(name, ())}
        gone = self._closed((names | shared) - self._carried)
        if not gone.agrees:
            return gone
        return self._finding(
            sorted(self._spelled(each) for each in shared & self._carried), pending
        )

    def _spelled(self, name: str) -> str:
        """Return a rule's name in the letter case in which the comparison holds it."""
        rule = next((r for r in self._sharing.rules if r.name.lower() == name), None)
        return rule.name if rule else name

    def _remember(self, findings: Mapping[str, Finding]) -> dict[str, str]:
        """Return where the denies of a block were first seen: they go back there."""
        found = {}
        for block in self._desired.blocks:
            if block.wanted and findings[block.key].agrees:
                before = {**_read_memory(block.memory), **_shared_memory(read_shared(block.memory))}
                places = _join(_read_memory(block.memory), self._places(block))
                memory = {**places, **_shared_memory(self._homes_of(block))}
                if memory != before:
                    found[block.key] = json.dumps(memory, sort_keys=True)
        return found

    def _places(self, block: Block) -> dict[str, int]:
        names = {_PLACE[family]: self._names.deny(block.vm_id, family) for family in _FAMILIES}
        return {
            place: self._present[name.lower()].priority
            for place, name in names.items()
            if name.lower() in self._present
        }

    def _homes_of(self, block: Block) -> tuple[str, ...]:
        own = sorted(self._denies_of(block))
        return tuple(self._sharing.homes[name] for name in own if name in self._sharing.homes)

    def _strays(self) -> tuple[str, ...]:
        known = {name for block in self._desired.blocks for name in self._denies_of(block)}
        return tuple(
            rule.name
            for rule in self._group.rules
            if self._names.is_ours(rule.name)
            and rule.access is Access.DENY
            and _is_deny_name(rule.name, self._names)
            and rule.name.lower() not in known | self._carried | self._sharing.removable
        )

    # --- names

    def _keys_by_name(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for allow in self._desired.allows:
            for name in self._names_of(allow):
                found[name] = (allow.key,)
        for block in self._desired.blocks:
            for name in self._carriers_of(block):
                found[name] = (*found.get(name, ()), block.key)
        return found

    def _names_of(self, allow: Allow) -> set[str]:
        return {
            self._names.allow(allow.request_id, allow.vm_id, allow.port, family).lower()
            for family in _FAMILIES
        }

    def _carriers_of(self, block: Block) -> set[str]:
        """Return the block's own denies, and the shared rules that carry or carried them."""
        own = self._denies_of(block)
        homes = {self._sharing.homes[name] for name in own if name in self._sharing.homes}
        return own | homes | {r for name in own for r in self._sharing.leaving.get(name, ())}

    def _denies_of(self, block: Block) -> set[str]:
        return {self._names.deny(block.vm_id, family).lower() for family in _FAMILIES}


_SHARED = "shared_rules"
_PLACE = {4: "priority_v4", 6: "priority_v6"}


def _read_memory(memory: str) -> dict[str, int]:
    try:
        stored = json.loads(memory or "{}")
    except ValueError:
        return {}
    if not isinstance(stored, dict):
        return {}
    return {
        name: int(stored[name]) for name in _PLACE.values() if isinstance(stored.get(name), int)
    }


def read_shared(memory: str) -> tuple[str, ...]:
    """Return the names of the shared rules that carried a block."""
    try:
        stored = json.loads(memory or "{}")
    except ValueError:
        return ()
    found = stored.get(_SHARED) if isinstance(stored, dict) else None
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _shared_memory(names: tuple[str, ...]) -> dict[str, object]:
    return {_SHARED: list(names)} if names else {}


def _join(first: Mapping[str, int], then: Mapping[str, int]) -> dict[str, int]:
    return {**then, **{name: place for name, place in first.items() if place}}


def _is_deny_name(name: str, names: RuleNames) -> bool:
    return f"_{names.deployment}_".lower() in name.lower()


def _meaning(rule: SecurityRule) -> str:
    return digest(repr(replace(rule, priority=0)), length=16)


def _grant(allow: Allow) -> Grant:
    return Grant(
        firewall_id="",
        request_id=allow.request_id,
        policy_id="",
        vm_id=allow.vm_id,
        port=allow.port,
        protocol=allow.protocol,
        sources=allow.sources,
        addresses=allow.addresses,
        requestor="",
        requested_at=allow.until,
        expires_at=allow.until,
    )


def _protection(block: Block) -> Protection:
    return Protection(
        firewall_id="",
        policy_id="",
        vm_id=block.vm_id,
        ports=block.ports,
        addresses=block.addresses,
        lifted=not block.wanted,
    )


def rule_plan(plan: Plan) -> RulePlan:
    """Return the security rules that a plan puts and removes."""
    return RulePlan(
        put=tuple(c.body for c in plan.changes if isinstance(c.body, SecurityRule)),
        remove=tuple(c.target for c in plan.changes if c.verb == REMOVE),
        flush_connections=any(c.verb == FLUSH for c in plan.changes),
    )
