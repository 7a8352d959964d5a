"""A test provider without deny and priority: it revokes what is open, remembers and restores it."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from shared.domain.desired import Block, Change, Desired, Observed, Opening, Pace, Plan
from shared.domain.model import Attachment
from shared.ports import Machine, RefusedError, SettlingError
from tests.providers.shared_rules.cloud import Cloud, Rule
from tests.providers.shared_rules.plan import MARK, NOWHERE, is_ours, own_of, plan_group

PREFIX = "shared:"


class SharedRules:
    """The provider."""

    label = "shared group"
    capacity = 60
    pace = Pace()

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
        """Return nothing: each group is written alone."""
        del firewall_id
        return ""

    def batches(self) -> bool:
        """Tell that each rule is written alone."""
        return False

    def read(self, firewall_id: str) -> Observed:
        """Read a group."""
        if self._cloud.busy_seconds:
            raise SettlingError("a write is under way", retry_after=self._cloud.busy_seconds)
        group = self._cloud.groups.get(firewall_id)
        if group is None:
            return Observed(firewall_id, exists=False)
        return Observed(firewall_id, str(group.version), copy.deepcopy(group), own=own_of(group))

    def plan(
        self, observed: Observed, desired: Desired, refused: Mapping[str, str] | None = None
    ) -> Plan:
        """Compare."""
        return plan_group(observed, desired, refused or {})

    def apply(self, observed: Observed, plan: Plan) -> None:
        """Carry out changes one by one, the notes first."""
        version = observed.version
        for change in sorted(plan.changes, key=lambda each: each.verb != "hold"):
            refusal = self._cloud.refuse(change.verb, change.target)
            if refusal:
                raise RefusedError(refusal, {change.id})
            group = self._cloud.call(observed.firewall_id, version, change.verb, change.target)
            self._carry_out(observed.firewall_id, change)
            version = str(group.version)

    def _carry_out(self, firewall_id: str, change: Change) -> None:
        group = self._cloud.groups[firewall_id]
        if change.verb == "hold":
            group.ledger[change.target] = str(change.body)
        elif change.verb == "release":
            group.ledger.pop(change.target, None)
        elif change.verb in {"put", "restore"}:
            assert isinstance(change.body, Rule)
            self._cloud.put(firewall_id, change.body)
        elif change.verb == "neutralise":
            rule = group.rules[change.body]  # type: ignore[index]
            self._cloud.remove(firewall_id, rule.identity)
            nowhere = replace(rule, source=NOWHERE, text=f"{MARK} closed")
            self._cloud.put(firewall_id, nowhere)
        else:
            self._cloud.remove(firewall_id, change.body)  # type: ignore[arg-type]

    def exposures(self, observed: Observed, block: Block) -> tuple[Opening, ...]:
        """Return what reaches the ports of a block."""
        group = observed.body
        return tuple(
            Opening(f"rule '{rule.id}'", port, (rule.source,), ours=is_ours(rule))
            for rule in (group.rules.values() if observed.exists else ())  # type: ignore[attr-defined]
            for port in block.ports
            if rule.meets((port,))
        )

    def attach(self, machines: Sequence[Machine]) -> Mapping[str, tuple[Attachment, ...]]:
        """Return what the tests have placed in front of each machine."""
        return {each.id: self._cloud.attached.get(each.id, ()) for each in machines}

    def find_ours(self, scope: str) -> list[str]:
        """Return the groups that bear our mark, notes included."""
        return [
            key
            for key, group in self._cloud.groups.items()
            if key.startswith(scope) and own_of(group)
        ]

    def render(self, change: Change) -> dict[str, Any]:
        """Return a change as JSON."""
        return {"verb": change.verb, "target": change.target}

    def warnings(self) -> tuple[str, ...]:
        """Return nothing."""
        return ()
