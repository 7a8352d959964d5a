"""EC2 security groups for the provider contract: the simulator behind the real botocore.

In mode revoke, what the suite calls one firewall is two on EC2: the instance's own group, which
carries the grants, and the owner's group, from which rules are taken. `Both` puts them together
as the use cases do: each intent goes to the firewalls that carry it, and all must agree.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shared.domain.desired import (
    Block,
    Change,
    Desired,
    Finding,
    Observed,
    Opening,
    Pace,
    Plan,
    Verdict,
)
from shared.domain.model import Attachment
from shared.firewalls.ec2.provider import Ec2Provider
from shared.firewalls.ec2.wire import PIECE_TAG
from shared.ports import FirewallProvider, Machine
from tests.aws_cloud import ACCOUNT, DEPLOYMENT, REGION, AwsCloud, accounts
from tests.contract.provider.crashing import KilledError
from tests.fakes import Clock

_numbers = itertools.count(1)
_ACTIONS = {
    "put": "AuthorizeSecurityGroupIngress|ModifySecurityGroupRules",
    "remove": "RevokeSecurityGroupIngress",
}
ADDRESS = "10.0.1.4"


class Ec2Ground:
    """An instance with one interface, on which its owner's group stands; mode report."""

    restores = False
    busy_seconds = 2.0  # EC2 tells of no write under way: answers that differ are read again soon

    def __init__(self) -> None:
        self.left = 0
        self.clock = Clock()
        self.cloud = AwsCloud(self.clock)
        self.cloud.before_call = self._before_call
        self.ec2 = Ec2Provider(self.cloud.api(), accounts(), DEPLOYMENT)
        self.provider: FirewallProvider = self.ec2
        self.group = ""
        self.instance = ""
        self._flaps = False

    def fresh(self) -> str:
        """Put an instance there, with a group of its owner."""
        number = f"{next(_numbers):017x}"
        self.group, self.instance = f"sg-{number}", f"i-{number}"
        self.cloud.add_group(self.group, tags={"jit:manage": "revoke"})
        self.cloud.add_instance(self.instance, (f"eni-{number}", ADDRESS, [self.group]))
        return f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{self.instance}"

    def settle(self) -> None:
        """Let late writes land."""
        self.clock.advance(30)

    def open_foreign(self, firewall_id: str, source: str, port: int) -> None:
        """Add a rule to the owner's group."""
        del firewall_id
        source = source if "/" in source else f"{source}/32"
        self.cloud.authorize(self.group, "tcp", port, port, source, text=f"theirs {port}")

    def add_odd_foreign(self, firewall_id: str) -> None:
        """Add a rule for every protocol from the members of a group."""
        del firewall_id
        self.cloud.authorize(self.group, "-1", -1, -1, self.group, text="odd")

    def foreign(self, firewall_id: str) -> object:
        """Return the rules of the owner's group, ids apart."""
        del firewall_id
        return {
            (rule.identity, rule.description, tuple(rule.tags.items()))
            for rule in self.cloud.rules(self.group)
            if PIECE_TAG not in rule.tags
        }

    def reaches(self, firewall_id: str, source: str, port: int = 22, protocol: str = "tcp") -> bool:
        """Evaluate every group on the interface."""
        del firewall_id
        return self.cloud.reaches(self.instance, source, port, protocol)

    def damage(self, firewall_id: str) -> None:
        """Cut the texts of our rules off."""
        del firewall_id
        own = self.cloud.own_group(self.instance)
        for rule in list(own.rules.values()) if own else []:
            self.cloud.edit_rule(rule, description="JIT request-1 until")

    def respell(self, firewall_id: str) -> None:
        """Return groups and rules in another order."""
        del firewall_id
        for group in self.cloud.region.groups.values():
            group.rules = dict(reversed(group.rules.items()))
        for interface in self.cloud.region.interfaces.values():
            interface.groups.reverse()

    def be_busy(self, seconds: float) -> None:
        """Have another writer change the owner's group between any two reads."""
        self._flaps = bool(seconds)

    def refuse(self, *verbs: str) -> None:
        """Refuse the actions behind some verbs."""
        self.cloud.endpoint.faults.order(
            {"kind": "refuse", "action": _ACTIONS[verb], "times": None} for verb in verbs
        )

    def crash_before(self, call: int) -> None:
        """Kill the worker before its n-th write."""
        self.left = call

    def _before_call(self, action: str) -> None:
        if action == "DescribeSecurityGroupRules" and self._flaps:
            port = next(_numbers)
            self.cloud.authorize(self.group, "udp", 40_000, 40_000 + port, "10.9.0.0/16")
        if self.left and not action.startswith(("Describe", "Assume")):
            self.left -= 1
            if not self.left:
                raise KilledError


@dataclass(frozen=True)
class Both:
    """An instance's own group and its owner's group, as one firewall."""

    ec2: Ec2Provider
    ground: Ec2Ground
    label: str = "EC2 security group"
    capacity: int = 60
    pace: Pace = field(default_factory=Pace)

    def owns(self, firewall_id: str) -> bool:
        """Tell whether an id names an instance."""
        return self.ec2.owns(firewall_id)

    def guards(self, machine_id: str) -> bool:
        """Tell whether an id names an instance."""
        return self.ec2.guards(machine_id)

    def read(self, firewall_id: str) -> Observed:
        """Read both."""
        own = self.ec2.read(firewall_id)
        if not own.exists:
            return own
        theirs = self.ec2.read(f"arn:aws:ec2:{REGION}:{ACCOUNT}:security-group/{self.ground.group}")
        return replace(
            own,
            version=f"{own.version} {theirs.version}",
            body=(own, theirs),
            own=(*own.own, *theirs.own),
        )

    def plan(
        self, observed: Observed, desired: Desired, refused: Mapping[str, str] | None = None
    ) -> Plan:
        """Plan both: grants on the one, blocks on both."""
        if not observed.exists:
            return self.ec2.plan(observed, desired, refused)
        one, other = self._plans(observed, desired, refused)
        findings = dict(one.findings)
        for key, finding in other.findings.items():
            findings[key] = _worse(findings[key], finding)
        changes = sorted((*one.changes, *other.changes), key=lambda change: change.opens)
        return Plan(tuple(changes), findings, other.remember, (*one.strays, *other.strays))

    def _plans(
        self, observed: Observed, desired: Desired, refused: Mapping[str, str] | None
    ) -> tuple[Plan, Plan]:
        own, theirs = _bodies(observed)
        blocks = tuple(replace(block, revoke_foreign=True) for block in desired.blocks)
        narrowing = Desired(blocks=blocks, keep=desired.keep)
        return self.ec2.plan(own, desired, refused), self.ec2.plan(theirs, narrowing, refused)

    def apply(self, observed: Observed, plan: Plan) -> None:
        """Apply to the owner's group what is its own, then the rest."""
        own, theirs = _bodies(observed)
        taking = {
            "hold",
            "piece",
            "narrow",
            "revoke",
            "restore",
            "trim",
            "release",
            "delete-ledger",
        }
        for body, part in ((theirs, taking), (own, None)):
            ids = {c.id for c in plan.changes if (c.verb in taking) is (part is not None)}
            if ids:
                self.ec2.apply(body, plan.only(ids))

    def exposures(self, observed: Observed, block: Block) -> tuple[Opening, ...]:
        """Return the exposures of the instance."""
        return self.ec2.exposures(_bodies(observed)[0], block)

    def lane(self, firewall_id: str) -> str:
        """Return the lane of an instance."""
        return self.ec2.lane(firewall_id)

    def batches(self) -> bool:
        """Tell whether openings wait for each other."""
        return self.ec2.batches()

    def attach(self, machines: Sequence[Machine]) -> Mapping[str, tuple[Attachment, ...]]:
        """Return the attachments."""
        return self.ec2.attach(machines)

    def find_ours(self, scope: str) -> list[str]:
        """Return what is ours."""
        return self.ec2.find_ours(scope)

    def render(self, change: Change) -> dict[str, Any]:
        """Return a change as JSON."""
        return self.ec2.render(change)

    def warnings(self) -> tuple[str, ...]:
        """Return nothing."""
        return ()


class Ec2RevokeGround(Ec2Ground):
    """The same instance in mode revoke."""

    restores = True

    def __init__(self) -> None:
        super().__init__()
        self.provider = Both(self.ec2, self)


def _bodies(observed: Observed) -> tuple[Observed, Observed]:
    assert isinstance(observed.body, tuple)
    own, theirs = observed.body
    return own, theirs


def _worse(one: Finding, other: Finding) -> Finding:
    order = [Verdict.AGREES, Verdict.PENDING, Verdict.IMPOSSIBLE]
    return max(one, other, key=lambda finding: order.index(finding.verdict))
