"""Plan for groups whose rules serve several grants, and which are restored from memory."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

from shared.domain.desired import (
    AGREES,
    PENDING,
    Allow,
    Block,
    Change,
    Desired,
    Finding,
    Observed,
    Own,
    Plan,
    impossible,
    plan_without_firewall,
)
from shared.domain.ids import digest
from shared.domain.times import format_instant, parse_instant
from tests.providers.shared_rules.cloud import Group, Identity, Rule

MARK = "JIT test1"
NOWHERE = "192.0.2.1/32"  # reserved for documentation: no packet comes from there
_TEXT = re.compile(rf"{MARK} (?P<keys>\S+) until (?P<until>\S+)")


def text_of(allows: Iterable[Allow]) -> str:
    """Return the text of a rule that serves some grants: their keys and the latest end."""
    listed = sorted(allows, key=lambda allow: allow.key)
    until = max(allow.until for allow in listed)
    return f"{MARK} {','.join(allow.key for allow in listed)} until {format_instant(until)}"


def is_ours(rule: Rule) -> bool:
    """Tell whether a rule bears our mark."""
    return rule.text.startswith(MARK)


def own_of(group: Group) -> tuple[Own, ...]:
    """Return what of a group bears our mark."""
    rules = [
        Own(_target(rule.identity), True, *_read_text(rule.text))
        for rule in group.rules.values()
        if is_ours(rule)
    ]
    notes = [Own(f"ledger {key}", False, (key,), memory=text) for key, text in group.ledger.items()]
    return (*rules, *notes)


def _read_text(text: str) -> tuple[tuple[str, ...], datetime | None]:
    match = _TEXT.fullmatch(text)
    if match is None:
        return (), None
    try:
        return tuple(match["keys"].split(",")), parse_instant(match["until"])
    except ValueError:
        return (), None


def plan_group(observed: Observed, desired: Desired, refused: Mapping[str, str]) -> Plan:
    """Compare a group with what is desired."""
    if not observed.exists:
        return plan_without_firewall(desired, "shared group")
    group = observed.body
    assert isinstance(group, Group)
    return _Planner(group, desired, refused).plan()


class _Planner:
    def __init__(self, group: Group, desired: Desired, refused: Mapping[str, str]) -> None:
        self._group = group
        self._desired = desired
        self._refused = refused
        self._changes: list[Change] = []
        self._blamed: dict[str, str] = {}  # key -> why a change that serves it was refused
        self._findings: dict[str, Finding] = {}
        self._remember: dict[str, str] = {}

    def plan(self) -> Plan:
        for block in self._desired.blocks:
            if block.wanted:
                self._take(block)
        self._close()
        for block in self._desired.blocks:
            if not block.wanted:
                self._give_back(block)
        self._open()
        known = {block.key for block in self._desired.blocks}
        strays = tuple(f"ledger {key}" for key in self._group.ledger if key not in known)
        return Plan(tuple(self._changes), self._findings, self._remember, strays)

    # --- blocks

    def _take(self, block: Block) -> None:
        """Revoke foreign rules on governed ports, once they are stored here and on the group."""
        foreign = [r for r in self._group.rules.values() if not is_ours(r) and r.meets(block.ports)]
        stored = _rules(block.memory)
        for rule in _rules(self._group.ledger.get(block.key, "")):
            stored.setdefault(rule, None)
        needed = {**stored, **dict.fromkeys(foreign)}
        memory = _memory(needed)
        if needed and memory != block.memory:
            self._remember[block.key] = memory
        if needed and self._group.ledger.get(block.key, "") != memory:
            self._change("hold", block.key, memory, (block.key,), body=memory)
        for rule in foreign:
            self._change("revoke", _target(rule.identity), "", (block.key,), body=rule.identity)
        self._findings[block.key] = self._verdict(block.key, agrees=not foreign)

    def _give_back(self, block: Block) -> None:
        """Hand what was taken over to the blocks that still need it, and restore the rest."""
        stored = {**_rules(block.memory), **_rules(self._group.ledger.get(block.key, ""))}
        agrees = True
        for rule in stored:
            heirs = [b for b in self._desired.blocks if b.wanted and rule.meets(b.ports)]
            for heir in heirs:
                memory = self._remember.get(heir.key, heir.memory)
                if rule not in _rules(memory):
                    self._remember[heir.key] = _memory({**_rules(memory), rule: None})
                    agrees = False
            present = self._group.rules.get(rule.identity)
            if not heirs and present != rule and (present is None or is_ours(present)):
                body = rule
                self._change(
                    "restore", _target(rule.identity), digest(rule.text), (block.key,), True, body
                )
                agrees = False
        if agrees and block.key in self._group.ledger:
            self._change("release", block.key, "", (block.key,), body=None)
            agrees = False
        self._findings[block.key] = self._verdict(block.key, agrees=agrees)

    # --- grants

    def _wanted(self) -> dict[Identity, list[Allow]]:
        found: dict[Identity, list[Allow]] = {}
        for allow in self._desired.allows:
            if allow.wanted:
                for identity in _identities(allow):
                    found.setdefault(identity, []).append(allow)
        return found

    def _close(self) -> None:
        wanted = self._wanted()
        for identity, rule in self._group.rules.items():
            if (
                is_ours(rule)
                and identity not in wanted
                and _target(identity) not in self._desired.keep
            ):
                keys = _read_text(rule.text)[0]
                target = _target(identity)
                if f"remove {target} " in self._refused and identity[3] != NOWHERE:
                    # Another way: a source of the documentation range reaches from nowhere.
                    self._change("neutralise", target, "", keys, body=identity)
                else:
                    self._change("remove", target, "", keys, body=identity)
        for allow in self._desired.allows:
            if not allow.wanted:
                named = any(
                    allow.key in _read_text(rule.text)[0]
                    for rule in self._group.rules.values()
                    if is_ours(rule)
                )
                self._findings[allow.key] = self._verdict(allow.key, agrees=not named)

    def _open(self) -> None:
        wanted = self._wanted()
        missing: set[str] = set()
        for identity, allows in wanted.items():
            text = text_of(allows)
            present = self._group.rules.get(identity)
            keys = tuple(allow.key for allow in allows)
            if present is not None and not is_ours(present):
                missing.update(keys)  # a foreign rule is taken first
            elif present is None or present.text != text:
                told = _read_text(present.text) if present else ((), None)
                opens = any(
                    a.key not in told[0] or told[1] is None or told[1] < a.until for a in allows
                )
                missing.update(
                    a.key
                    for a in allows
                    if a.key not in told[0] or told[1] is None or told[1] < a.until
                )
                rule = Rule(*identity, text=text)
                self._change("put", _target(identity), digest(text), keys, opens, rule)
        for allow in self._desired.allows:
            if allow.wanted:
                if not _identities(allow):
                    self._findings[allow.key] = impossible("no source or address to open")
                else:
                    self._findings[allow.key] = self._verdict(
                        allow.key, agrees=allow.key not in missing
                    )

    # --- shared

    def _change(
        self,
        verb: str,
        target: str,
        meaning: str,
        serves: Sequence[str],
        opens: bool = False,
        body: object = None,
    ) -> None:
        change = Change(verb, target, meaning, tuple(serves), opens, body)
        if change.id in self._refused:
            self._blamed |= dict.fromkeys(serves, self._refused[change.id])
        else:
            self._changes.append(change)

    def _verdict(self, key: str, *, agrees: bool) -> Finding:
        if agrees:
            return AGREES
        return impossible(self._blamed[key]) if key in self._blamed else PENDING


def _identities(allow: Allow) -> list[Identity]:
    if not allow.addresses:
        return []
    protocols = ("tcp", "udp") if allow.protocol == "*" else (allow.protocol.lower(),)
    sources = ("0.0.0.0/0",) if "*" in allow.sources else allow.sources
    return [(protocol, allow.port, allow.port, s) for protocol in protocols for s in sources]


def _target(identity: Identity) -> str:
    protocol, low, high, source = identity
    return f"{protocol}:{low}-{high}:{source}"


def _memory(rules: Mapping[Rule, None]) -> str:
    listed = [{k: v for k, v in asdict(rule).items() if k != "id"} for rule in rules]
    return json.dumps(sorted(listed, key=lambda each: json.dumps(each, sort_keys=True)))


def _rules(memory: str) -> dict[Rule, None]:
    return {Rule(**stored): None for stored in json.loads(memory or "[]")}
