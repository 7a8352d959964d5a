"""IP groups of ours as a firewall provider: one switch for each VM and port."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from shared.domain.desired import (
    Block,
    Change,
    Desired,
    Observed,
    Opening,
    Pace,
    Plan,
    plan_without_firewall,
)
from shared.domain.ids import key_of
from shared.domain.model import Attachment
from shared.firewalls.azure_rules.attaching import Attach, no_attachments
from shared.firewalls.azure_rules.cloud import Body, FirewallCloud
from shared.firewalls.azure_rules.model import AzureSettings, OwnRule, version_of
from shared.firewalls.azure_rules.planning import applied
from shared.firewalls.azure_rules.reading import existing, fault_of, raise_if_under_way
from shared.firewalls.azure_rules.refusals import blamed
from shared.firewalls.ip_group import exposure, wire
from shared.firewalls.ip_group.discovery import read_users
from shared.firewalls.ip_group.plan import GroupBook, plan_group, switches_of
from shared.ports import FirewallChangedError, Machine, RefusedError

PACE = Pace(
    settle=timedelta(minutes=7),
    lease=timedelta(seconds=60),
    overdue=timedelta(minutes=10),
    batch=timedelta(seconds=10),
    grace=timedelta(minutes=45),
)


@dataclass(frozen=True)
class State:
    """An IP group as one settled read showed it."""

    body: Body
    book: GroupBook


@dataclass
class IpGroupProvider:
    """The provider of IP groups; the rules that name them belong to the firewall's owner."""

    cloud: FirewallCloud
    settings: AzureSettings
    attach_vms: Attach = no_attachments
    capacity: int = 40
    label: str = "IP group"
    pace: Pace = PACE
    _warnings: dict[str, str] = field(default_factory=dict)

    def owns(self, firewall_id: str) -> bool:
        """Tell whether an id names an IP group of ours."""
        return wire.is_ours(firewall_id, self.settings)

    def guards(self, machine_id: str) -> bool:
        """Tell that none stands at a machine: they stand on the way to many."""
        del machine_id
        return False

    def lane(self, firewall_id: str) -> str:
        """Return nothing: each resource is written alone."""
        del firewall_id
        return ""

    def batches(self) -> bool:
        """Tell that one write carries several openings."""
        return True

    # --- read

    def read(self, firewall_id: str) -> Observed:
        """Read a settled group, and the rules of every firewall that uses it."""
        body = self.cloud.get(firewall_id) if self.owns(firewall_id) else None
        if body is None:
            return Observed(firewall_id, exists=False)
        raise_if_under_way(body)
        used = read_users(self.cloud, body, self.settings)
        for each in used.settling:
            raise_if_under_way(each)
        faulted = [existing(self.cloud, each) for each in used.firewall_ids]
        for firewall in faulted:
            raise_if_under_way(firewall)
        own = wire.own_entries(body, self.settings)
        book = GroupBook(
            name=str(body.get("name")),
            own=own,
            switches=switches_of(used.switches),
            rules=used.rules,
            tags=len(set(body.get("tags") or {}) - set(own)),
            faulted=fault_of([body, *faulted]),
        )
        self._warn(firewall_id, book)
        version = version_of([body, used.bodies, faulted])
        return Observed(
            firewall_id, version, State(body, book), own=tuple(rule.own for rule in own.values())
        )

    def _warn(self, firewall_id: str, book: GroupBook) -> None:
        unused = "" if book.switches else f"no rule names IP group '{book.name}' as its source"
        self._warnings[key_of(firewall_id)] = unused

    # --- plan and apply

    def plan(
        self, observed: Observed, desired: Desired, refused: Mapping[str, str] | None = None
    ) -> Plan:
        """Compare a group with what is desired."""
        if not observed.exists:
            return plan_without_firewall(desired, self.label)
        return plan_group(_state(observed).book, desired, self.settings, refused or {})

    def apply(self, observed: Observed, plan: Plan) -> None:
        """Start one PUT of the group with all changes; nothing but the group is written."""
        if self.read(observed.firewall_id).version != observed.version:
            raise FirewallChangedError(observed.firewall_id)
        state = _state(observed)
        own = applied(state.book.own, plan.changes)
        body = wire.group_body(state.body, own.values(), self.settings)
        try:
            self.cloud.put(observed.firewall_id, body, str(state.body["etag"]))
        except RefusedError as refusal:
            raise RefusedError(str(refusal), blamed(plan.changes, str(refusal))) from refusal

    # --- the rest

    def exposures(self, observed: Observed, block: Block) -> tuple[Opening, ...]:
        """Return the exposures of a block's ports; rules with our group alone are ours."""
        return exposure.exposures(_state(observed).book, block) if observed.exists else ()

    def attach(self, machines: Sequence[Machine]) -> Mapping[str, tuple[Attachment, ...]]:
        """Return the groups whose rules lead to each VM."""
        return self.attach_vms([machine.id for machine in machines])

    def find_ours(self, scope: str) -> list[str]:
        """Return the groups of ours in a scope, and in those of the hubs beside it."""
        return [
            str(each["id"])
            for place in self.settings.searched(scope)
            for each in self.cloud.list(f"{place}/providers/Microsoft.Network/ipGroups")
            if self.owns(str(each["id"]))
        ]

    def render(self, change: Change) -> dict[str, Any]:
        """Return a change as JSON."""
        shown: dict[str, Any] = {"verb": change.verb, "target": change.target}
        sources = change.body.sources if isinstance(change.body, OwnRule) else ()
        return shown | ({"addresses": list(sources)} if sources else {})

    def warnings(self) -> tuple[str, ...]:
        """Return which groups no rule uses."""
        return tuple(text for text in self._warnings.values() if text)


def _state(observed: Observed) -> State:
    assert isinstance(observed.body, State)  # noqa: S101 - read() has put it there
    return observed.body
