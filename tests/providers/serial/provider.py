"""A test provider whose writes take minutes, and whose entry is another address and port."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from shared.domain.desired import (
    AGREES,
    PENDING,
    Allow,
    Block,
    Change,
    Desired,
    Entry,
    Finding,
    Observed,
    Opening,
    Own,
    Pace,
    Plan,
    impossible,
    plan_without_firewall,
)
from shared.domain.ids import digest
from shared.domain.model import Attachment
from shared.domain.times import format_instant, parse_instant
from shared.ports import Machine, RefusedError, SettlingError
from tests.providers.serial.cloud import WRITE, Cloud, Content, Translation, Wall

PREFIX = "serial:"
_TEXT = re.compile(r"JIT (?P<key>\S+) until (?P<until>\S+)")
_PORTS = range(20_000, 20_100)
_PACE = Pace(
    settle=WRITE + timedelta(minutes=1),
    overdue=timedelta(minutes=10),
    batch=timedelta(seconds=10),
    grace=timedelta(minutes=30),
)


class Serial:
    """The provider."""

    label = "serial firewall"
    capacity = 100
    pace = _PACE

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def owns(self, firewall_id: str) -> bool:
        """Tell whether an id is of this provider."""
        return firewall_id.startswith(PREFIX)

    def guards(self, machine_id: str) -> bool:
        """Tell that none stands at a machine: they stand on the way to many."""
        del machine_id
        return False

    def lane(self, firewall_id: str) -> str:
        """Return the tree, whose firewalls are written one at a time."""
        wall = self._cloud.walls.get(firewall_id)
        return f"{PREFIX}tree:{wall.tree}" if wall else ""

    def batches(self) -> bool:
        """Tell that one write carries every change."""
        return True

    def read(self, firewall_id: str) -> Observed:
        """Read a firewall, unless a write is under way on it."""
        if self._cloud.busy_seconds:
            raise SettlingError("a write is under way", retry_after=self._cloud.busy_seconds)
        wall = self._cloud.wall(firewall_id)
        if wall is None:
            return Observed(firewall_id, exists=False)
        self._raise_if_busy(wall.settles_at)
        own = tuple(_own(rule) for rule in wall.content.values() if _is_ours(rule))
        return Observed(firewall_id, str(wall.version), replace(wall), own=own)

    def plan(
        self, observed: Observed, desired: Desired, refused: Mapping[str, str] | None = None
    ) -> Plan:
        """Compare."""
        if not observed.exists:
            return plan_without_firewall(desired, self.label)
        assert isinstance(observed.body, Wall)
        return _plan(observed.body, desired, refused or {})

    def apply(self, observed: Observed, plan: Plan) -> None:
        """Start one write with all changes; it is enforced when it has settled."""
        assert isinstance(observed.body, Wall)
        content: Content = dict(observed.body.content)
        for change in plan.changes:
            self._cloud.before_call(change.verb, change.target)
            refusal = self._cloud.refuse(change.verb, change.target)
            if refusal:
                raise RefusedError(refusal, {change.id})
            content.pop(change.target, None)
            if change.body is not None:
                assert isinstance(change.body, Translation)
                content[change.target] = change.body
        self._raise_if_busy(self._cloud.busy_until(observed.firewall_id))
        self._cloud.write(observed.firewall_id, observed.version, content)

    def _raise_if_busy(self, until: datetime | None) -> None:
        if until is not None:
            seconds = (until - self._cloud.clock()).total_seconds()
            raise SettlingError("a write is under way", retry_after=seconds)

    def exposures(self, observed: Observed, block: Block) -> tuple[Opening, ...]:
        """Return what leads to the ports of a block."""
        wall = observed.body
        assert isinstance(wall, Wall)
        return tuple(
            Opening(f"rule '{rule.name}'", rule.port, rule.sources, ours=_is_ours(rule))
            for rule in wall.content.values()
            if rule.port in block.ports and rule.address in block.addresses
        )

    def attach(self, machines: Sequence[Machine]) -> Mapping[str, tuple[Attachment, ...]]:
        """Return what the tests have placed in front of each machine."""
        return {each.id: self._cloud.attached.get(each.id, ()) for each in machines}

    def find_ours(self, scope: str) -> list[str]:
        """Return the firewalls that bear our mark."""
        return [
            key
            for key, wall in self._cloud.walls.items()
            if key.startswith(scope) and any(map(_is_ours, wall.content.values()))
        ]

    def render(self, change: Change) -> dict[str, Any]:
        """Return a change as JSON."""
        return {"verb": change.verb, "target": change.target}

    def warnings(self) -> tuple[str, ...]:
        """Return nothing."""
        return ()


def _name(allow: Allow) -> str:
    return f"jit-{digest(allow.key, length=16)}"


def _text(allow: Allow) -> str:
    return f"JIT {allow.key} until {format_instant(allow.until)}"


def _is_ours(rule: Translation) -> bool:
    return rule.name.startswith("jit-")


def _own(rule: Translation) -> Own:
    match = _TEXT.fullmatch(rule.text)
    try:
        until = parse_instant(match["until"]) if match else None
    except ValueError:
        match, until = None, None
    return Own(rule.name, rule.sources != (), (match["key"],) if match else (), until)


def _plan(wall: Wall, desired: Desired, refused: Mapping[str, str]) -> Plan:
    changes: list[Change] = []
    findings: dict[str, Finding] = {}
    wanted = {_name(allow): allow for allow in desired.allows if allow.wanted}
    keys = {_name(allow): allow.key for allow in desired.allows}
    ours = {name: rule for name, rule in wall.content.items() if _is_ours(rule)}
    blamed: dict[str, str] = {}
    for name, rule in ours.items():
        if name in wanted or name in desired.keep:
            continue
        serves = (keys[name],) if name in keys else ()
        change = Change("remove", name, "", serves)
        if change.id in refused:
            blamed |= dict.fromkeys(serves, refused[change.id])
            # Another way: a rule without a source lets no packet in.
            change = Change("empty", name, "", serves, body=replace(rule, sources=()))
        if change.id not in refused and rule.sources:
            changes.append(change)
    for allow in desired.allows:
        present = ours.get(_name(allow))
        if allow.wanted:
            findings[allow.key] = _open(wall, allow, changes, refused)
        elif present is None or not present.sources:
            findings[allow.key] = AGREES
        else:
            findings[allow.key] = PENDING
    for block in desired.blocks:
        findings[block.key] = _judge(wall, block)
    return Plan(tuple(changes), findings)


def _open(wall: Wall, allow: Allow, changes: list[Change], refused: Mapping[str, str]) -> Finding:
    if not allow.sources or not allow.addresses:
        return impossible("no source or address to open")
    present = wall.content.get(_name(allow))
    taken = {rule.entry_port for rule in wall.content.values()}
    taken |= {c.body.entry_port for c in changes if isinstance(c.body, Translation)}
    port = present.entry_port if present else next((p for p in _PORTS if p not in taken), 0)
    if not port:
        return impossible("no free entry port")
    protocol = "any" if allow.protocol == "*" else allow.protocol.lower()
    rule = Translation(
        _name(allow), port, protocol, allow.sources, allow.addresses[0], allow.port, _text(allow)
    )
    if present == rule:
        return Finding(AGREES.verdict, entry=Entry(wall.public_address, port))
    meaning = digest(repr(replace(rule, entry_port=0)))
    change = Change("put", rule.name, meaning, (allow.key,), True, rule)
    if change.id in refused:
        return impossible(refused[change.id])
    changes.append(change)
    return PENDING


def _judge(wall: Wall, block: Block) -> Finding:
    """Return whether anything foreign leads to the ports; there is nothing to write for a block."""
    for rule in wall.content.values():
        foreign = not _is_ours(rule) and rule.address in block.addresses
        if block.wanted and foreign and rule.port in block.ports:
            return impossible(f"rule '{rule.name}' leads to port {rule.port}")
    return AGREES
