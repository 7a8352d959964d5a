"""Firewall Policy as a firewall provider: one rule collection group of our own."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
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
from shared.domain.ids import key_of, name_of
from shared.domain.model import Attachment
from shared.firewalls.azure_rules.attaching import Attach, no_attachments
from shared.firewalls.azure_rules.cloud import Body, FirewallCloud
from shared.firewalls.azure_rules.making import RuleBook
from shared.firewalls.azure_rules.model import AzureSettings, version_of
from shared.firewalls.azure_rules.planning import CLEAR, applied
from shared.firewalls.azure_rules.reading import (
    existing,
    fault_of,
    raise_if_under_way,
    read_fronts,
    resolve_groups,
    unsupported,
)
from shared.firewalls.azure_rules.refusals import blamed
from shared.firewalls.azure_rules.warning import (
    draft_warning,
    limit_warning,
    other_jit_warning,
)
from shared.firewalls.firewall_policy import exposure, wire
from shared.firewalls.firewall_policy.plan import plan_policy
from shared.firewalls.firewall_policy.reading import read_policies, read_tree
from shared.ports import FirewallChangedError, Machine, OutsideError, RefusedError

PACE = Pace(
    settle=timedelta(minutes=7),
    lease=timedelta(seconds=60),
    overdue=timedelta(minutes=10),
    batch=timedelta(seconds=10),
    grace=timedelta(minutes=45),
)


@dataclass(frozen=True)
class State:
    """A policy as one settled read showed it."""

    group: Body | None
    book: RuleBook


@dataclass
class FirewallPolicyProvider:
    """The provider of policies over the resources that a policy consists of."""

    cloud: FirewallCloud
    settings: AzureSettings
    attach_vms: Attach = no_attachments
    capacity: int = 200
    label: str = "firewall policy"
    pace: Pace = PACE
    _warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _roots: dict[str, str] = field(default_factory=dict)  # key of a policy -> key of its root

    def owns(self, firewall_id: str) -> bool:
        """Tell whether an id names our group on a policy."""
        return bool(wire.policy_of(firewall_id, self.settings))

    def guards(self, machine_id: str) -> bool:
        """Tell that none stands at a machine: they stand on the way to many."""
        del machine_id
        return False

    def lane(self, firewall_id: str) -> str:
        """Return the root of the policy's tree, in which one group is written at a time.

        Where the tree cannot be read it is the policy itself, until the next read: a close must
        not fail for that, and a write beside one of a neighbour is refused as busy and comes again.
        """
        policy_id = wire.policy_of(firewall_id, self.settings)
        key = key_of(policy_id)
        if key not in self._roots:
            self._roots[key] = key
            with suppress(OutsideError):
                self._note_root(self.cloud.get(policy_id))
        return self._roots[key]

    def _note_root(self, policy: Body | None) -> None:
        if policy is not None:
            self._note_tree(read_tree(self.cloud, policy))

    def _note_tree(self, policies: Sequence[Body]) -> None:
        """Remember the root of each policy from the root to a child."""
        root = key_of(policies[0]["id"])
        self._roots.update({key_of(each["id"]): root for each in policies})

    def batches(self) -> bool:
        """Tell that one write carries several openings."""
        return True

    # --- read

    def read(self, firewall_id: str) -> Observed:
        """Read a policy, its parents, its firewalls and what their rules name."""
        policy_id = wire.policy_of(firewall_id, self.settings)
        policy = self.cloud.get(policy_id) if policy_id else None
        if policy is None:
            return Observed(firewall_id, exists=False)
        parts = read_policies(self.cloud, policy)
        policies, groups = parts.policies, parts.groups
        self._note_tree(policies)
        named = [existing(self.cloud, each) for each in parts.firewall_ids]
        for body in (*policies, *(g for each in groups for g in each), *named):
            raise_if_under_way(body)
        return self._observed(firewall_id, policies, groups, named)

    def _observed(
        self, firewall_id: str, policies: list[Body], groups: list[list[Body]], named: list[Body]
    ) -> Observed:
        deployed = [each for each in named if not unsupported(each)]
        fronts = read_fronts(self.cloud, deployed, self.settings)
        listed = [group for each in groups for group in each]
        addresses, ip_groups = resolve_groups(self.cloud, wire.named_groups(listed))
        group = next((g for g in groups[-1] if key_of(g["id"]) == key_of(firewall_id)), None)
        priority = _priority(group, self.settings.group_priority)
        earlier = [*groups[:-1], [g for g in groups[-1] if _priority(g, 0) <= priority]]
        earlier[-1] = [g for g in earlier[-1] if g is not group]
        book = RuleBook(
            own=wire.own_rules(group),
            rules=wire.rules_in_order(groups, self.settings, addresses, firewall_id),
            earlier=wire.rules_in_order(earlier, self.settings, addresses),
            fronts=fronts.fronts,
            container=name_of(firewall_id),
            faulted=fault_of((*([group] if group else ()), *policies, *named)),
            closes_only=_closes_only(policies[-1], named, deployed),
        )
        self._warnings[key_of(firewall_id)] = self._warn(policies[-1], listed, book)
        version = version_of([policies, groups, named, fronts.bodies, ip_groups])
        own = tuple(rule.own for rule in book.own.values())
        return Observed(firewall_id, version, State(group, book), own=own)

    # --- plan and apply

    def plan(
        self, observed: Observed, desired: Desired, refused: Mapping[str, str] | None = None
    ) -> Plan:
        """Compare a policy with what is desired."""
        if not observed.exists:
            return plan_without_firewall(desired, self.label)
        return plan_policy(_state(observed).book, desired, self.settings, refused or {})

    def apply(self, observed: Observed, plan: Plan) -> None:
        """Start one write of our group with all changes.

        The policy is read again first: a mapped port may have been taken since.
        """
        if self.read(observed.firewall_id).version != observed.version:
            raise FirewallChangedError(observed.firewall_id)
        state = _state(observed)
        own = applied(state.book.own, plan.changes)
        etag = str(state.group["etag"]) if state.group else ""
        clears = any(change.verb == CLEAR for change in plan.changes)
        try:
            if not own and (clears or self.settings.delete_empty):
                if state.group is not None:
                    self.cloud.delete(observed.firewall_id, etag)
                return
            body = wire.group_body(state.group, own.values(), self.settings.group_priority)
            self.cloud.put(observed.firewall_id, body, etag)
        except RefusedError as refusal:
            raise RefusedError(str(refusal), blamed(plan.changes, str(refusal))) from refusal

    # --- the rest

    def exposures(self, observed: Observed, block: Block) -> tuple[Opening, ...]:
        """Return the exposures of a block's ports, inherited rules included."""
        return exposure.exposures(_state(observed).book, block) if observed.exists else ()

    def attach(self, machines: Sequence[Machine]) -> Mapping[str, tuple[Attachment, ...]]:
        """Return the policies whose firewall stands before each VM."""
        return self.attach_vms([machine.id for machine in machines])

    def find_ours(self, scope: str) -> list[str]:
        """Return our groups on the policies of a scope, and of the hubs beside it."""
        return [
            str(reference["id"])
            for place in self.settings.searched(scope)
            for policy in self.cloud.list(f"{place}/providers/Microsoft.Network/firewallPolicies")
            for reference in policy["properties"].get("ruleCollectionGroups") or ()
            if self.owns(str(reference["id"]))
        ]

    def render(self, change: Change) -> dict[str, Any]:
        """Return a change as JSON."""
        shown: dict[str, Any] = {"verb": change.verb, "target": change.target}
        return shown | ({"rule": wire.written(change.body)} if change.body else {})  # type: ignore[arg-type]

    def warnings(self) -> tuple[str, ...]:
        """Return the warnings of the last reads: drafts, limits, double management by others."""
        return tuple(dict.fromkeys(text for each in self._warnings.values() for text in each))

    def _warn(self, policy: Body, groups: list[Body], book: RuleBook) -> tuple[str, ...]:
        name = str(policy.get("name"))
        found = (
            draft_warning(self.cloud, policy),
            limit_warning(name, book.rules, book.fronts, self.settings),
            other_jit_warning(name, groups),
        )
        return tuple(text for text in found if text)


def _closes_only(policy: Body, named: list[Body], deployed: list[Body]) -> str:
    """Return why nothing new is opened on a policy; our group is still closed there."""
    if policy["properties"].get("afcManaged"):
        return f"policy '{policy.get('name')}' is managed by Azure Firewall for Containers"
    if named and not deployed:
        return unsupported(named[0])
    return ""


def _priority(group: Mapping[str, Any] | None, otherwise: int) -> int:
    return int(((group or {}).get("properties") or {}).get("priority") or otherwise)


def _state(observed: Observed) -> State:
    assert isinstance(observed.body, State)  # noqa: S101 - read() has put it there
    return observed.body
