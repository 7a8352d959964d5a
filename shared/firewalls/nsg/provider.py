"""Network security groups as a firewall provider: read settled, write guarded."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from shared.domain.desired import (
    Desired,
    Observed,
    Own,
    Pace,
    Plan,
    plan_without_firewall,
)
from shared.domain.ids import NSG_TYPE, RuleNames, parse_id
from shared.domain.model import Access, SecurityRule
from shared.domain.rules import Band
from shared.domain.times import parse_instant
from shared.firewalls.nsg.plan import Group, plan_group, rule_plan
from shared.ports import Firewall, FirewallRefusedError, RefusedError, Snapshot

_TEXT = re.compile(r"JIT access request (?P<request>\S+) until (?P<until>\S+)")
_PACE = Pace()


@dataclass(frozen=True)
class NsgProvider:
    """The provider of network security groups over a client that reads and writes them."""

    groups: Firewall
    names: RuleNames
    band: Band = Band()  # noqa: RUF009 - frozen
    capacity: int = 750
    label: str = "network security group"

    @property
    def pace(self) -> Pace:
        """Return the pace; openings wait for each other only where one write carries many."""
        if self.groups.writes_whole():
            return _PACE
        return replace(_PACE, batch=timedelta(0))

    def owns(self, firewall_id: str) -> bool:
        """Tell whether an id names a network security group."""
        try:
            parse_id(firewall_id, NSG_TYPE)
        except ValueError:
            return False
        return True

    def read(self, firewall_id: str) -> Observed:
        """Read a settled group."""
        snapshot = self.groups.read(firewall_id)
        own = tuple(_own(rule) for rule in snapshot.rules if self.names.is_ours(rule.name))
        return Observed(firewall_id, snapshot.version, snapshot, snapshot.exists, own)

    def plan(
        self, observed: Observed, desired: Desired, refused: Mapping[str, str] | None = None
    ) -> Plan:
        """Compare a group with what is desired."""
        if not observed.exists:
            return plan_without_firewall(desired, self.label)
        snapshot = _snapshot(observed)
        group = Group(snapshot.rules, snapshot.flushes_connections, self.groups.writes_whole())
        return plan_group(group, desired, self.names, self.band, refused or {})

    def apply(self, observed: Observed, plan: Plan) -> None:
        """Start one write with all changes, or with the first where rules go one by one."""
        try:
            self.groups.write(_snapshot(observed), rule_plan(plan))
        except FirewallRefusedError as refusal:
            blamed = {c.id for c in plan.changes if c.target == refusal.rule_name}
            raise RefusedError(f"{refusal.code}: {refusal}", blamed) from refusal

    def find_ours(self, scope: str) -> list[str]:
        """Return the groups in a scope that hold a rule of ours."""
        return self.groups.list_with_our_rules([scope])

    def warnings(self) -> tuple[str, ...]:
        """Return what limits writes at present."""
        return () if self.groups.writes_whole() else ("whole writes are off",)


def _snapshot(observed: Observed) -> Snapshot:
    assert isinstance(observed.body, Snapshot)  # noqa: S101 - read() has put it there
    return observed.body


def _own(rule: SecurityRule) -> Own:
    """Read what a rule of ours says of itself."""
    match = _TEXT.match(rule.description)
    try:
        until = parse_instant(match["until"]) if match else None
    except ValueError:
        until = None
    keys = (match["request"],) if match else ()
    return Own(rule.name, rule.access is Access.ALLOW, keys, until)
