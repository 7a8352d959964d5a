"""Azure Firewall with classic rules as a firewall provider. Opt-in: it may write all of it.

The firewall is one resource: a PUT replaces everything. So only our two collections differ from
what was just read, the write is guarded by the etag, and everything foreign is compared before
and after by a digest. A difference raises an alarm and is never repaired from a copy.
"""

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
from shared.firewalls.azure_firewall import exposure, wire
from shared.firewalls.azure_firewall.plan import plan_firewall
from shared.firewalls.azure_rules.attaching import Attach, no_attachments
from shared.firewalls.azure_rules.cloud import Body, FirewallCloud
from shared.firewalls.azure_rules.making import RuleBook
from shared.firewalls.azure_rules.model import DNAT, NETWORK, AzureSettings, version_of
from shared.firewalls.azure_rules.planning import applied
from shared.firewalls.azure_rules.reading import (
    fault_of,
    raise_if_under_way,
    read_fronts,
    resolve_groups,
    unsupported,
)
from shared.firewalls.azure_rules.refusals import blamed
from shared.firewalls.azure_rules.warning import (
    is_other_jit,
    limit_warning,
)
from shared.ports import FirewallChangedError, Machine, RefusedError

PACE = Pace(
    settle=timedelta(minutes=7),
    lease=timedelta(seconds=60),
    overdue=timedelta(minutes=10),
    batch=timedelta(seconds=10),
    grace=timedelta(minutes=45),
)
_NEVER = 'W/"00000000-0000-0000-0000-000000000000"'  # an etag that no version has


@dataclass(frozen=True)
class State:
    """A firewall as one settled read showed it."""

    body: Body
    book: RuleBook


@dataclass
class AzureFirewallProvider:
    """The provider of firewalls with classic rules."""

    cloud: FirewallCloud
    settings: AzureSettings
    attach_vms: Attach = no_attachments
    capacity: int = 200
    label: str = "Azure Firewall"
    pace: Pace = PACE
    _sent: dict[str, str] = field(default_factory=dict)  # digest of what is foreign, as written
    _guarded: dict[str, bool] = field(default_factory=dict)  # whether If-Match is honoured
    _warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _alarms: dict[tuple[str, str], str] = field(default_factory=dict)

    def owns(self, firewall_id: str) -> bool:
        """Tell whether an id names a firewall."""
        return wire.is_firewall(firewall_id)

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
        """Read a settled firewall, its addresses and what its rules name."""
        body = self.cloud.get(firewall_id) if wire.is_firewall(firewall_id) else None
        if body is None:
            return Observed(firewall_id, exists=False)
        raise_if_under_way(body)
        deployed = [] if unsupported(body) else [body]
        fronts = read_fronts(self.cloud, deployed, self.settings)
        addresses, ip_groups = resolve_groups(self.cloud, wire.named_groups(body))
        before = {wire.NET: wire.own_priority(body, NETWORK, self.settings)}
        book = RuleBook(
            own=wire.own_rules(body, self.settings),
            rules=wire.rules_in_order(body, self.settings, addresses),
            earlier=wire.rules_in_order(body, self.settings, addresses, before=before),
            fronts=fronts.fronts,
            faulted=fault_of([body]),
            unsupported=refusal_of(body),
            closes_only=double_management(body),
        )
        self._compare(firewall_id, body)
        text = limit_warning(str(body.get("name")), book.rules, book.fronts, self.settings)
        self._warnings[key_of(firewall_id)] = (text,) if text else ()
        version = version_of([body, fronts.bodies, ip_groups])
        own = tuple(rule.own for rule in book.own.values())
        return Observed(firewall_id, version, State(body, book), own=own)

    def _compare(self, firewall_id: str, body: Body) -> None:
        """Raise an alarm where something foreign is not as it was when we wrote."""
        sent = self._sent.pop(key_of(firewall_id), "")
        if sent and sent != wire.foreign_hash(body, self.settings):
            self._alarms[key_of(firewall_id), "changed"] = (
                f"what others wrote on firewall '{body.get('name')}' changed while it was "
                "written: compare it with its source; nothing is put back"
            )

    # --- plan and apply

    def plan(
        self, observed: Observed, desired: Desired, refused: Mapping[str, str] | None = None
    ) -> Plan:
        """Compare a firewall with what is desired."""
        if not observed.exists:
            return plan_without_firewall(desired, self.label)
        return plan_firewall(_state(observed).book, desired, self.settings, refused or {})

    def apply(self, observed: Observed, plan: Plan) -> None:
        """Start one PUT of the firewall with all changes, from a read of this moment."""
        fresh = self.read(observed.firewall_id)
        if fresh.version != observed.version:
            raise FirewallChangedError(observed.firewall_id)
        state = _state(fresh)
        if state.book.unsupported:
            raise RefusedError(state.book.unsupported, plan.ids)
        body = wire.with_own(
            state.body, applied(state.book.own, plan.changes).values(), self.settings
        )
        try:
            self._probe(observed.firewall_id, state.body)
            self.cloud.put(observed.firewall_id, body, str(state.body["etag"]))
        except RefusedError as refusal:
            raise RefusedError(str(refusal), blamed(plan.changes, str(refusal))) from refusal
        self._sent[key_of(observed.firewall_id)] = wire.foreign_hash(body, self.settings)

    def _probe(self, firewall_id: str, body: Body) -> None:
        """Find out once whether the service honours If-Match, with a write that changes nothing.

        Without it a change of others between our read and our write would be lost unseen.
        """
        key = key_of(firewall_id)
        if key in self._guarded:
            return
        try:
            self.cloud.put(firewall_id, wire.without_owned(body), _NEVER)
        except FirewallChangedError:
            self._guarded[key] = True
            return
        self._guarded[key] = False
        self._alarms[key, "unguarded"] = (
            f"the service ignores If-Match on firewall '{body.get('name')}': a change of others "
            "in the moment of our write can be lost"
        )

    # --- the rest

    def exposures(self, observed: Observed, block: Block) -> tuple[Opening, ...]:
        """Return the exposures of a block's ports, foreign and ours."""
        return exposure.exposures(_state(observed).book, block) if observed.exists else ()

    def attach(self, machines: Sequence[Machine]) -> Mapping[str, tuple[Attachment, ...]]:
        """Return the firewalls with classic rules that stand before each VM."""
        return self.attach_vms([machine.id for machine in machines])

    def find_ours(self, scope: str) -> list[str]:
        """Return the firewalls in a scope, or beside it, that hold a collection of ours."""
        listed = [
            each
            for place in self.settings.searched(scope)
            for each in self.cloud.list(f"{place}/providers/Microsoft.Network/azureFirewalls")
        ]
        names = {
            wire.collection_name(rule_type, self.settings).lower() for rule_type in (DNAT, NETWORK)
        }
        return [
            str(firewall["id"])
            for firewall in listed
            for member in wire.RULE_MEMBERS
            if any(
                str(each.get("name", "")).lower() in names
                for each in firewall["properties"].get(member) or ()
            )
        ]

    def render(self, change: Change) -> dict[str, Any]:
        """Return a change as JSON."""
        shown: dict[str, Any] = {"verb": change.verb, "target": change.target}
        return shown | ({"rule": wire.written(change.body)} if change.body else {})  # type: ignore[arg-type]

    def warnings(self) -> tuple[str, ...]:
        """Return alarms, then what the last reads found."""
        found = (text for each in self._warnings.values() for text in each)
        return tuple(dict.fromkeys([*self._alarms.values(), *found]))


def refusal_of(firewall: Mapping[str, Any]) -> str:
    """Return why nothing may be written to a firewall; empty: it may."""
    name = firewall.get("name")
    if (firewall["properties"].get("firewallPolicy") or {}).get("id"):
        return f"firewall '{name}' has a firewall policy: its rules belong there"
    return unsupported(firewall)


def double_management(firewall: Mapping[str, Any]) -> str:
    """Return why nothing new is opened beside Defender's own rules; empty: there are none."""
    if not is_other_jit(firewall):
        return ""
    return (
        f"firewall '{firewall.get('name')}' holds just-in-time rules of Microsoft Defender for "
        "Cloud: one of the two must manage it"
    )


def _state(observed: Observed) -> State:
    assert isinstance(observed.body, State)  # noqa: S101 - read() has put it there
    return observed.body
