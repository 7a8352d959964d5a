"""Compare rules of ours with what is desired. Pure; shared by all three providers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared.domain.desired import (
    AGREES,
    PENDING,
    Allow,
    Block,
    Change,
    Desired,
    Entry,
    Finding,
    Opening,
    Plan,
    Verdict,
    impossible,
)
from shared.firewalls.azure_rules.model import DNAT, NETWORK, NOWHERE, OwnRule, rule_name

PUT, REMOVE, NARROW, CLEAR, REPEAT = "put", "remove", "narrow", "clear", "repeat"
Made = tuple[OwnRule, ...] | str
"""The rules of a grant, or why there can be none."""


@dataclass(frozen=True)
class Situation:
    """The input of a plan."""

    own: Mapping[str, OwnRule]
    make: Callable[[Allow], Made]
    exposures: Callable[[Block], Sequence[Opening]]
    names: Callable[[Allow], frozenset[str]] = lambda allow: names_of(allow)  # noqa: PLW0108
    container: str = ""  # what holds our rules, where it can be removed whole
    faulted: str = ""  # a write failed: instances may differ, nothing agrees
    unsupported: str = ""  # why nothing can be written here
    closes_only: str = ""  # why nothing new is opened here; what stands goes on, and closes


@dataclass
class Planner:
    """Plans closes first; each way to close that was refused is followed by another."""

    situation: Situation
    desired: Desired
    refused: Mapping[str, str]
    changes: list[Change] = field(default_factory=list)
    blamed: dict[str, str] = field(default_factory=dict)  # rule name -> why a change was refused
    findings: dict[str, Finding] = field(default_factory=dict)

    def plan(self) -> Plan:
        """Return the changes and a finding for each key."""
        made = {a.key: self.situation.make(a) for a in self.desired.allows if a.wanted}
        rules = {key: each for key, each in made.items() if not isinstance(each, str)}
        if not self.situation.unsupported:
            self._close({rule.name for each in rules.values() for rule in each})
        for allow in self.desired.allows:
            if allow.wanted:
                self.findings[allow.key] = self._open(allow, made[allow.key])
            else:
                self.findings[allow.key] = self._closed(allow)
        for block in self.desired.blocks:
            self.findings[block.key] = self._blocked(block)
        if self.situation.faulted:
            self._doubt()
        return Plan(tuple(self.changes), self.findings)

    def _close(self, wanted: set[str]) -> None:
        cleared = False
        for name, rule in self.situation.own.items():
            if name in wanted or name in self.desired.keep:
                continue
            serves = self._serves(rule)
            ways = [Change(REMOVE, name, "", serves)]
            if rule.opens:
                ways.append(Change(NARROW, name, "", serves))
            if rule.opens and self.situation.container and not self.desired.keep:
                ways.append(Change(CLEAR, self.situation.container, "", serves))
            for change in ways:
                if change.id not in self.refused:
                    if not (change.verb == CLEAR and cleared):
                        self.changes.append(change)
                    cleared |= change.verb == CLEAR
                    break
                self.blamed[name] = self.refused[change.id]

    def _serves(self, rule: OwnRule) -> tuple[str, ...]:
        return tuple(
            allow.key
            for allow in self.desired.allows
            if rule.key == allow.key or rule.name in self.situation.names(allow)
        )

    def _open(self, allow: Allow, made: Made) -> Finding:
        if self.situation.unsupported:
            return impossible(self.situation.unsupported)
        if isinstance(made, str):
            return impossible(self.situation.closes_only or made)
        missing, reason = False, ""
        for rule in made:
            present = self.situation.own.get(rule.name)
            if present is None or present.exact != rule.exact:
                missing = True
                change = Change(PUT, rule.name, rule.meaning, (allow.key,), True, rule)
                if change.id in self.refused:
                    reason = self.refused[change.id]
                elif not self.situation.closes_only:
                    self.changes.append(change)
        if reason or (missing and self.situation.closes_only):
            return impossible(reason or self.situation.closes_only)
        entry = next((r for r in made if r.public_port), None)
        place = Entry(entry.public_address, entry.public_port) if entry else None
        return PENDING if missing else Finding(Verdict.AGREES, entry=place)

    def _closed(self, allow: Allow) -> Finding:
        standing = [
            name
            for name, rule in self.situation.own.items()
            if rule.opens and (rule.key == allow.key or name in self.situation.names(allow))
        ]
        if not standing:
            return AGREES
        if self.situation.unsupported:
            return impossible(self.situation.unsupported)
        at_work = any(
            change.verb == CLEAR or change.target in standing
            for change in self.changes
            if change.verb != PUT
        )
        reason = next((self.blamed[name] for name in standing if name in self.blamed), "")
        return PENDING if at_work or not reason else impossible(reason)

    def _blocked(self, block: Block) -> Finding:
        """Return whether anything foreign reaches the ports: the firewall denies by default."""
        if not block.wanted:
            return AGREES
        foreign = [each for each in self.situation.exposures(block) if not each.ours]
        if not foreign:
            return AGREES
        first = foreign[0]
        return impossible(f"{first.what} leads to port {first.port}")

    def _doubt(self) -> None:
        """Let nothing agree after a failed write, and repeat it until the service succeeds."""
        for key, finding in self.findings.items():
            if finding.agrees:
                self.findings[key] = replace(PENDING, reason=self.situation.faulted)
        if not self.changes and not self.situation.unsupported:
            target = self.situation.container or "firewall"
            self.changes.append(Change(REPEAT, target, "", tuple(self.findings)))


def names_of(allow: Allow) -> frozenset[str]:
    """Return the names that the rules of a grant may have."""
    return frozenset({rule_name(allow, DNAT), rule_name(allow, NETWORK)})


def applied(own: Mapping[str, OwnRule], changes: Iterable[Change]) -> dict[str, OwnRule]:
    """Return the rules of ours after some changes."""
    after = dict(own)
    for change in changes:
        if change.verb == CLEAR:
            return {}
        if change.verb == REMOVE:
            after.pop(change.target, None)
        elif change.verb == NARROW and change.target in after:
            narrowed = replace(after[change.target], sources=(NOWHERE,), raw={})
            after[change.target] = narrowed
        elif isinstance(change.body, OwnRule):
            after[change.target] = change.body
    return after
