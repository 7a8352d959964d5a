"""Network security groups as a firewall provider: read settled, write guarded."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.domain.desired import (
    Block,
    Change,
    Desired,
    Observed,
    Opening,
    Own,
    Pace,
    Plan,
    plan_without_firewall,
)
from shared.domain.ids import VM_TYPE, RuleNames, is_resource, parse_id
from shared.domain.model import Attachment
from shared.firewalls.nsg.discovery import in_sequence
from shared.firewalls.nsg.expiry import MARGIN, end_of
from shared.firewalls.nsg.exposure import openings_of
from shared.firewalls.nsg.model import NSG_TYPE, Access, SecurityRule, Snapshot
from shared.firewalls.nsg.plan import REMOVE, Group, plan_group, rule_plan
from shared.firewalls.nsg.ports import Firewall
from shared.firewalls.nsg.rules import Band
from shared.firewalls.nsg.wire import write_rule
from shared.ports import FirewallRefusedError, Machine, RefusedError, SettlingError

_TEXT = re.compile(r"JIT access request (?P<request>\S+) until ")
_PACE = Pace(margin=MARGIN)


@dataclass(frozen=True)
class NsgProvider:
    """The provider of network security groups over a client that reads and writes them."""

    groups: Firewall
    names: RuleNames
    band: Band = Band()  # noqa: RUF009 - frozen
    capacity: int = 750
    label: str = "network security group"

    pace: Pace = _PACE

    def guards(self, machine_id: str) -> bool:
        """Tell whether an id names an Azure VM: a group stands at its interface or subnet."""
        return is_resource(machine_id, VM_TYPE)

    def lane(self, firewall_id: str) -> str:
        """Return nothing: groups are written independently of each other."""
        del firewall_id
        return ""

    def batches(self) -> bool:
        """Tell whether one write carries several openings: where whole writes are proven."""
        return self.groups.writes_whole()

    def owns(self, firewall_id: str) -> bool:
        """Tell whether an id names a network security group."""
        try:
            parse_id(firewall_id, NSG_TYPE)
        except ValueError:
            return False
        return True

    def read(self, firewall_id: str) -> Observed:
        """Read a settled group."""
        try:
            return self.observe(self.groups.read(firewall_id))
        except SettlingError as busy:
            if isinstance(busy.snapshot, Snapshot):
                busy.observed = self.observe(busy.snapshot)
            raise

    def look(self, firewall_id: str) -> tuple[dict[str, Any], Observed | None]:
        """Read a group once, as it is, and its observed state where that can be planned from."""
        group, snapshot = self.groups.look(firewall_id)
        return group, self.observe(snapshot) if snapshot else None

    def observe(self, snapshot: Snapshot) -> Observed:
        """Return the observed state of a group that was read or listed."""
        own = tuple(_own(rule) for rule in snapshot.rules if self.names.is_ours(rule.name))
        return Observed(snapshot.firewall_id, snapshot.version, snapshot, snapshot.exists, own)

    def plan(
        self, observed: Observed, desired: Desired, refused: Mapping[str, str] | None = None
    ) -> Plan:
        """Compare a group with what is desired."""
        if not observed.exists:
            return plan_without_firewall(desired, self.label)
        snapshot = _snapshot(observed)
        group = Group(snapshot.rules, snapshot.flushes_connections, self.groups.writes_whole)
        return plan_group(group, desired, self.names, self.band, refused or {})

    def apply(self, observed: Observed, plan: Plan) -> None:
        """Start one write with all changes, or with the first where rules go one by one."""
        try:
            self.groups.write(_snapshot(observed), rule_plan(plan))
        except FirewallRefusedError as refusal:
            blamed = {c.id for c in plan.changes if c.target == refusal.rule_name}
            raise RefusedError(f"{refusal.code}: {refusal}", blamed) from refusal

    def exposures(self, observed: Observed, block: Block) -> tuple[Opening, ...]:
        """Return each way through a group's rules to the ports of a block, foreign and ours."""
        rules = _snapshot(observed).rules if observed.exists else ()
        return openings_of(rules, block.addresses, block.ports, self.names)

    def attach(self, machines: Sequence[Machine]) -> dict[str, tuple[Attachment, ...]]:
        """Return the groups in front of each machine, as its interfaces and subnets name them."""
        return {each.id: in_sequence(filter(self._owns, each.attachments)) for each in machines}

    def _owns(self, attachment: Attachment) -> bool:
        return self.owns(attachment.firewall_id)

    def find_ours(self, scope: str) -> list[str]:
        """Return the groups in a scope that hold a rule of ours."""
        return self.groups.list_with_our_rules([scope])

    def render(self, change: Change) -> dict[str, object]:
        """Return a rule as Azure writes it, or the name of one that goes; flushing: nothing."""
        if isinstance(change.body, SecurityRule):
            return write_rule(change.body)
        return {"name": change.target} if change.verb == REMOVE else {}

    def warnings(self) -> tuple[str, ...]:
        """Return nothing: where whole writes are off, the health report says so with its reason."""
        return ()


def _snapshot(observed: Observed) -> Snapshot:
    assert isinstance(observed.body, Snapshot)  # noqa: S101 - read() has put it there
    return observed.body


def _own(rule: SecurityRule) -> Own:
    """Read the content of a rule of ours."""
    match = _TEXT.match(rule.description)
    keys = (match["request"],) if match else ()
    return Own(rule.name, rule.access is Access.ALLOW, keys, end_of(rule))
