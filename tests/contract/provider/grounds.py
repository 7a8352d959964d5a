"""One firewall of each provider that the contract is tried on, and other writers' changes."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from shared.domain.network import covers, port_range
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.provider import NsgProvider
from shared.firewalls.nsg.rules import Band
from shared.ports import FirewallProvider
from tests.contract.provider.crashing import Crashing, KilledError
from tests.contract.provider.grounds_azure_firewall import (
    ClassicGround,
    IpGroupGround,
    PolicyGround,
)
from tests.contract.provider.grounds_ec2 import Ec2Ground, Ec2RevokeGround
from tests.fakes import NAMES, Clock, MemoryFirewall
from tests.providers.serial.cloud import Cloud as SerialCloud
from tests.providers.serial.cloud import Translation
from tests.providers.serial.provider import Serial
from tests.providers.shared_rules.cloud import Cloud as SharedCloud
from tests.providers.shared_rules.cloud import Rule
from tests.providers.shared_rules.provider import SharedRules

ADDRESS = "10.0.1.4"
GROUP = "/subscriptions/3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815/resourceGroups/app-rg"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/web-1"
OTHER_VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/web-2"
__all__ = ["GROUNDS", "Ground", "KilledError"]
_numbers = itertools.count(1)


class Ground(Protocol):
    """One firewall, and the other writers who change it."""

    clock: Clock
    restores: bool  # whether blocks take foreign openings away and restore them
    busy_seconds: float  # when to come back to a busy firewall, as it tells

    @property
    def provider(self) -> FirewallProvider:
        """Return the provider under test."""
        ...

    def fresh(self) -> str:
        """Put an empty firewall in front of the VM."""
        ...

    def settle(self) -> None:
        """Let every write settle."""
        ...

    def open_foreign(self, firewall_id: str, source: str, port: int) -> None:
        """Open a port as another writer, with a text of their own."""
        ...

    def add_odd_foreign(self, firewall_id: str) -> None:
        """Add something foreign that cannot be resolved."""
        ...

    def foreign(self, firewall_id: str) -> object:
        """Return everything foreign, to compare."""
        ...

    def reaches(self, firewall_id: str, source: str, port: int = 22, protocol: str = "tcp") -> bool:
        """Tell whether packets from a source reach the VM's port through this firewall."""
        ...

    def damage(self, firewall_id: str) -> None:
        """Damage the text of each opening of ours."""
        ...

    def respell(self, firewall_id: str) -> None:
        """Have the service spell what it stores in another way."""
        ...

    def be_busy(self, seconds: float) -> None:
        """Have a write of another writer under way for so long; 0: over."""
        ...

    def refuse(self, *verbs: str) -> None:
        """Have the service refuse changes of some verbs for good; none: accept all again."""
        ...

    def crash_before(self, call: int) -> None:
        """Have the worker killed before its n-th call to the service; 0: never."""
        ...


class NsgGround(Crashing):
    """Network security groups in memory."""

    restores = False
    busy_seconds = 7.0

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cloud = MemoryFirewall()
        self.cloud.before_write = self.before_call
        self.provider: FirewallProvider = NsgProvider(self.cloud, NAMES, Band())

    def fresh(self) -> str:
        """Put an empty group there."""
        name = f"{GROUP}/providers/Microsoft.Network/networkSecurityGroups/nsg-{next(_numbers)}"
        self.cloud.add(name)
        return name

    def settle(self) -> None:
        """Do nothing: a write in memory has settled at once."""

    def open_foreign(self, firewall_id: str, source: str, port: int) -> None:
        """Add an allow rule that stands before our denies."""
        rule = SecurityRule(
            f"theirs-{port}",
            Access.ALLOW,
            "Tcp",
            (source,),
            ("*",),
            (str(port),),
            "theirs",
            4000 if port % 2 else 3000,
        )
        self.cloud.edit(firewall_id, rule)

    def add_odd_foreign(self, firewall_id: str) -> None:
        """Add an allow rule whose source is an application security group."""
        odd = SecurityRule(
            "odd", Access.ALLOW, "Tcp", (), ("*",), ("22",), "", 3500, unresolved_sources=True
        )
        self.cloud.edit(firewall_id, odd)

    def foreign(self, firewall_id: str) -> object:
        """Return the foreign rules."""
        rules = self.cloud.rules(firewall_id)
        return {name: rule for name, rule in rules.items() if not NAMES.is_ours(name)}

    def reaches(self, firewall_id: str, source: str, port: int = 22, protocol: str = "tcp") -> bool:
        """Evaluate the rules in order; without a match the default denies."""
        for rule in sorted(self.cloud.rules(firewall_id).values(), key=lambda r: r.priority):
            ports = any(low <= port <= high for low, high in map(port_range, rule.ports))
            there = covers(rule.destinations, ADDRESS) and covers(rule.sources, source)
            if ports and there and rule.protocol.lower() in {"*", protocol}:
                return rule.access is Access.ALLOW
        return False

    def damage(self, firewall_id: str) -> None:
        """Rewrite the descriptions of our allows."""
        for rule in self.cloud.ours(firewall_id, Access.ALLOW):
            self.cloud.edit(firewall_id, replace(rule, description="JIT access request x until ?"))

    def respell(self, firewall_id: str) -> None:
        """Spell protocols and prefixes as Azure may."""
        for rule in self.cloud.ours(firewall_id):
            spelled = replace(rule, protocol=rule.protocol.upper(), ports=tuple(rule.ports))
            sources = tuple(
                f"{s}/32" if s[0].isdigit() and "/" not in s else s for s in rule.sources
            )
            self.cloud.edit(firewall_id, replace(spelled, sources=sources))

    def be_busy(self, seconds: float) -> None:
        """Have the group settle later."""
        self.cloud.settling = seconds

    def refuse(self, *verbs: str) -> None:
        """Refuse puts or removals."""
        self.cloud.refuse_verbs = set(verbs)

    def crash_before(self, call: int) -> None:
        """Kill the worker before its n-th write."""
        self.left = call


class SharedGround(Crashing):
    """Groups without deny and priority."""

    restores = True
    busy_seconds = 7.0

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cloud = SharedCloud()
        self.cloud.before_call = self.before_call
        self.provider: FirewallProvider = SharedRules(self.cloud)

    def fresh(self) -> str:
        """Put an empty group there."""
        name = f"shared:{next(_numbers)}"
        self.cloud.add(name)
        return name

    def settle(self) -> None:
        """Do nothing: a call in memory has settled at once."""

    def open_foreign(self, firewall_id: str, source: str, port: int) -> None:
        """Add a rule."""
        self.cloud.put(firewall_id, Rule("tcp", port, port, source, f"theirs {port}"))

    def add_odd_foreign(self, firewall_id: str) -> None:
        """Add a rule for every protocol, which cannot be taken in part."""
        self.cloud.put(firewall_id, Rule("all", 0, 65_535, "10.0.0.0/8", "odd"))

    def foreign(self, firewall_id: str) -> object:
        """Return the foreign rules, ids apart."""
        rules = self.cloud.groups[firewall_id].rules
        return {key: rule for key, rule in rules.items() if not rule.text.startswith("JIT")}

    def reaches(self, firewall_id: str, source: str, port: int = 22, protocol: str = "tcp") -> bool:
        """Evaluate."""
        return self.cloud.reaches(firewall_id, source, port, protocol)

    def damage(self, firewall_id: str) -> None:
        """Cut our texts off."""
        for rule in list(self.cloud.groups[firewall_id].rules.values()):
            if rule.text.startswith("JIT"):
                self.cloud.put(firewall_id, replace(rule, text="JIT test1"))

    def respell(self, firewall_id: str) -> None:
        """Return rules in another order."""
        group = self.cloud.groups[firewall_id]
        group.rules = dict(reversed(group.rules.items()))

    def be_busy(self, seconds: float) -> None:
        """Have a write under way."""
        self.cloud.busy_seconds = seconds

    def refuse(self, *verbs: str) -> None:
        """Refuse calls."""
        self.cloud.refuse = lambda verb, _target: "not authorized" if verb in verbs else ""

    def crash_before(self, call: int) -> None:
        """Kill the worker before its n-th call."""
        self.left = call


class SerialGround(Crashing):
    """Firewalls whose writes take minutes."""

    restores = False
    busy_seconds = 7.0

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cloud = SerialCloud(self.clock)
        self.cloud.before_call = self.before_call
        self.provider: FirewallProvider = Serial(self.cloud)

    def fresh(self) -> str:
        """Put an empty firewall there, in a tree of its own."""
        name = f"serial:{next(_numbers)}"
        self.cloud.add(name, tree=name)
        return name

    def settle(self) -> None:
        """Let the longest write pass."""
        self.clock.now += timedelta(minutes=5)

    def open_foreign(self, firewall_id: str, source: str, port: int) -> None:
        """Add a translation."""
        rule = Translation(f"theirs-{port}", port, "tcp", (source,), ADDRESS, port)
        self.cloud.edit(firewall_id, rule)

    def add_odd_foreign(self, firewall_id: str) -> None:
        """Add a translation whose source is no address."""
        rule = Translation("odd", 30_000, "tcp", ("some-group",), ADDRESS, 22)
        self.cloud.edit(firewall_id, rule)

    def foreign(self, firewall_id: str) -> object:
        """Return the foreign translations."""
        content = self.cloud.wall(firewall_id).content  # type: ignore[union-attr]
        return {name: rule for name, rule in content.items() if not name.startswith("jit-")}

    def reaches(self, firewall_id: str, source: str, port: int = 22, protocol: str = "tcp") -> bool:
        """Evaluate every entry."""
        return self.cloud.reaches(firewall_id, source, ADDRESS, port, protocol)

    def damage(self, firewall_id: str) -> None:
        """Cut our texts off."""
        content = self.cloud.wall(firewall_id).content  # type: ignore[union-attr]
        ours = [replace(r, text="JIT") for n, r in content.items() if n.startswith("jit-")]
        self.cloud.edit(firewall_id, *ours)

    def respell(self, firewall_id: str) -> None:
        """Return rules in another order."""
        wall = self.cloud.wall(firewall_id)
        assert wall is not None
        wall.content = dict(reversed(wall.content.items()))

    def be_busy(self, seconds: float) -> None:
        """Have a write under way."""
        self.cloud.busy_seconds = seconds

    def refuse(self, *verbs: str) -> None:
        """Refuse writes."""
        self.cloud.refuse = lambda verb, _target: "not authorized" if verb in verbs else ""

    def crash_before(self, call: int) -> None:
        """Kill the worker before its n-th change."""
        self.left = call


GROUNDS: dict[str, Callable[[], Ground]] = {
    "nsg": NsgGround,
    "shared rules": SharedGround,
    "serial": SerialGround,
    "firewall policy": PolicyGround,
    "IP group": IpGroupGround,
    "Azure Firewall": ClassicGround,
    "ec2 report": Ec2Ground,
    "ec2 revoke": Ec2RevokeGround,
}
