"""EC2 security groups as a firewall provider.

Two kinds of firewall: an instance's ARN stands for the group of our own that carries its grants;
a group's ARN for a foreign group, which is narrowed in mode revoke and never bears a grant.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.domain.aws_accounts import AwsAccounts
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
from shared.domain.ids import digest, is_within
from shared.domain.machine_ids import Ec2Instance, parse_machine_id
from shared.domain.model import Attachment
from shared.firewalls.ec2 import taking
from shared.firewalls.ec2.discovery import Ec2Machine, attach, find_ours, list_machines
from shared.firewalls.ec2.exposure import openings
from shared.firewalls.ec2.ledger import Held
from shared.firewalls.ec2.plan import MAX_RULES, own_of_instance, plan_instance
from shared.firewalls.ec2.states import GroupState, InstanceState
from shared.firewalls.ec2.taking import own_of_group, plan_group
from shared.firewalls.ec2.texts import Names, target_of
from shared.firewalls.ec2.wire import (
    DEPLOYMENT_TAG,
    Ec2Api,
    FirewallId,
    Group,
    Reader,
    Rule,
    parse_firewall_id,
)
from shared.firewalls.ec2.writes import Writer
from shared.ports import (
    FirewallChangedError,
    ListedMachines,
    Machine,
    OutsideError,
    SettlingError,
    Unanswered,
)

_PACE = Pace()
_UNSTEADY_SECONDS = 2.0
_EVERY_ADDRESS = frozenset({"0.0.0.0/0", "::/0"})
_CUTS_SESSIONS = (
    "sessions that this rule let in from every address are not tracked where egress is open to "
    "all: they are cut at once"
)


@dataclass(frozen=True)
class Ec2Provider:
    """The provider over the calls of EC2."""

    api: Ec2Api
    accounts: AwsAccounts
    deployment: str
    label: str = "EC2 security group"
    capacity: int = MAX_RULES
    pace: Pace = _PACE

    @property
    def names(self) -> Names:
        """Return how our groups are named."""
        return Names(self.deployment)

    def owns(self, firewall_id: str) -> bool:
        """Tell whether an id is the ARN of an instance or a security group."""
        return parse_firewall_id(firewall_id) is not None

    def guards(self, machine_id: str) -> bool:
        """Tell whether an id names an EC2 instance."""
        return isinstance(parse_machine_id(machine_id), Ec2Instance)

    def lane(self, firewall_id: str) -> str:  # noqa: ARG002 - each is alone
        """Return nothing: no write to a group keeps off writes to another."""
        return ""

    def batches(self) -> bool:
        """Tell that one call carries the rules of one grant: openings wait for no others."""
        return False

    def read(self, firewall_id: str) -> Observed:
        """Read twice: EC2's answers lag, and only two equal ones are believed."""
        first, again = self._read(firewall_id), self._read(firewall_id)
        if first != again:
            raise SettlingError("EC2's answers still change", retry_after=_UNSTEADY_SECONDS)
        return again

    def plan(
        self, observed: Observed, desired: Desired, refused: Mapping[str, str] | None = None
    ) -> Plan:
        """Compare a firewall with what is desired."""
        if isinstance(observed.body, InstanceState):
            return plan_instance(observed.body, desired, self.names, refused or {})
        if isinstance(observed.body, GroupState):
            return plan_group(observed.body, desired, self.names, refused or {})
        return plan_without_firewall(desired, self.label)

    def apply(self, observed: Observed, plan: Plan) -> None:
        """Carry out changes one by one, unless the firewall has changed since it was read."""
        if self._read(observed.firewall_id).version != observed.version:
            raise FirewallChangedError(observed.firewall_id)
        state = observed.body
        if isinstance(state, InstanceState | GroupState):
            Writer(self.api, state.place, self.names).apply(state, plan)

    def exposures(self, observed: Observed, block: Block) -> tuple[Opening, ...]:
        """Return the exposures of a block's ports through the groups that were read."""
        state = observed.body
        if isinstance(state, GroupState):
            return openings(state.group, block.ports, ours=False)
        if not isinstance(state, InstanceState):
            return ()
        foreign = [o for group in state.foreign for o in openings(group, block.ports, ours=False)]
        ours = openings(state.own, block.ports, ours=True) if state.own is not None else ()
        return (*foreign, *ours)

    def attach(self, machines: Sequence[Machine]) -> Mapping[str, tuple[Attachment, ...]]:
        """Return the firewalls in front of each instance; complete, or raises OutsideError."""
        return attach(self.api, self.accounts, [each.id for each in machines])

    def machines(self, subscription: str) -> ListedMachines:
        """Return the instances of the accounts whose connector is in a subscription.

        A region that does not answer is named, and keeps no other from being listed.
        """
        found: list[Machine] = []
        unanswered = []
        for account in self.accounts.listed:
            if not is_within(account.connector, _scope(subscription)):
                continue
            for region in account.regions:
                try:
                    found += map(_described, list_machines(self.api, account, region))
                except OutsideError as error:
                    unanswered.append(Unanswered(account.connector, region, str(error)))
        return ListedMachines(tuple(found), tuple(unanswered))

    def find_ours(self, scope: str) -> list[str]:
        """Return the firewalls of the configured accounts that bear our mark, found by tag."""
        return find_ours(self.api, self.accounts, self.deployment, scope)

    def render(self, change: Change) -> dict[str, Any]:
        """Return a change as JSON, with a warning where it cuts live sessions."""
        shown: dict[str, Any] = {"verb": change.verb, "target": change.target}
        rule = change.body.rule if isinstance(change.body, Held) else change.body
        if isinstance(rule, Rule):
            shown |= {"rule": target_of(rule), "description": rule.description}
            closes = change.verb in {taking.HOLD, taking.REVOKE, taking.NARROW}
            if closes and rule.source in _EVERY_ADDRESS:
                shown["warning"] = _CUTS_SESSIONS
        return shown

    def warnings(self) -> tuple[str, ...]:
        """Return the present limits of this provider."""
        owners = [each.account for each in self.accounts.listed if not each.attaches]
        return (
            (f"groups are attached by the owner in the accounts {', '.join(owners)}",)
            if owners
            else ()
        )

    # --- reading

    def _read(self, firewall_id: str) -> Observed:
        parsed = parse_firewall_id(firewall_id)
        if parsed is None:
            raise OutsideError(f"{firewall_id} is not an ARN of EC2")
        state = self._instance(parsed) if parsed.is_instance else self._group(parsed)
        if state is None:
            return Observed(firewall_id, exists=False)
        own = own_of_instance(state) if isinstance(state, InstanceState) else own_of_group(state)
        return Observed(firewall_id, digest(repr(state)), state, own=own)

    def _instance(self, firewall: FirewallId) -> InstanceState | None:
        reader = Reader(self.api, firewall.place)
        interfaces = _in_order(reader.interfaces("attachment.instance-id", [firewall.resource_id]))
        named = reader.groups("group-name", [self.names.group(firewall.resource_id)])
        vpcs = {interface.vpc_id for interface in interfaces}
        ours = [g for g in named if self._is_ours(g) and (g.vpc_id in vpcs or not vpcs)]
        squatters = [g.id for g in named if not self._is_ours(g) and g.vpc_id in vpcs]
        own = ours[0] if ours else None
        if own is None and not interfaces:
            return None
        bearing = reader.interfaces("group-id", [own.id]) if own is not None else ()
        known = {interface.id for interface in interfaces}
        attached = {g for i in interfaces for g, _ in i.groups if own is None or g != own.id}
        account = self.accounts.of_account(firewall.place.account)
        return InstanceState(
            place=firewall.place,
            instance_id=firewall.resource_id,
            attaches=account is not None and account.attaches,
            interfaces=interfaces,
            own=own,
            foreign=_sorted(reader.groups("group-id", sorted(attached))),
            strangers=_in_order(i for i in bearing if i.id not in known),
            squatter=squatters[0] if squatters else "",
        )

    def _group(self, firewall: FirewallId) -> GroupState | None:
        reader = Reader(self.api, firewall.place)
        found = reader.groups("group-id", [firewall.resource_id])
        if not found:
            return None
        named = reader.bare_groups("group-name", [self.names.ledger(firewall.resource_id)])
        ledgers = [g for g in named if self._is_ours(g) and g.vpc_id == found[0].vpc_id]
        return GroupState(
            place=firewall.place,
            group=found[0],
            interfaces=_in_order(reader.interfaces("group-id", [firewall.resource_id])),
            ledger=ledgers[0] if ledgers else None,
        )

    def _is_ours(self, group: Group) -> bool:
        return group.tag(DEPLOYMENT_TAG) == self.deployment


def _described(machine: Ec2Machine) -> Machine:
    return Machine(machine.id, location=machine.region, system=machine.system, attachments=())


def _scope(subscription: str) -> str:
    return f"/subscriptions/{subscription}"


def _in_order(interfaces: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(interfaces, key=lambda each: each.id))


def _sorted(groups: Iterable[Group]) -> tuple[Group, ...]:
    return tuple(sorted(groups, key=lambda each: each.id))
