"""A whole app on fakes: people ask, workers work, time passes, all when a test says so."""

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

from shared.domain.model import (
    AccessRequest,
    Attachment,
    Policy,
    PolicyVm,
    PortRule,
    Principal,
    Status,
)
from shared.domain.permissions import Action, Decision, is_allowed
from shared.domain.policy import Asked, AskedPort
from shared.firewalls.nsg.model import SecurityRule
from shared.firewalls.nsg.ports import Firewall
from shared.firewalls.nsg.probe import WriteProbe
from shared.firewalls.nsg.provider import NsgProvider
from shared.firewalls.nsg.rules import Band
from shared.firewalls.registry import Registry
from shared.ports import Workers
from shared.use_cases.firewalls.converge import converge_on_message
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import open as opening
from shared.use_cases.requests import submit as access
from shared.use_cases.services import Services
from shared.use_cases.timers.sweep import sweep_expired
from tests.fakes import (
    NAMES,
    Clock,
    MemoryBastions,
    MemoryFirewall,
    MemoryInventory,
    MemoryMachines,
    MemoryQueues,
    MemoryTables,
    MemoryTelemetry,
    Message,
    one_by_one,
)

SUBSCRIPTION = "11111111-1111-4111-8111-111111111111"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/app"
POLICY = (
    f"{GROUP}/providers/Microsoft.Security/locations/westeurope/jitNetworkAccessPolicies/default"
)
NSG_NIC = f"{GROUP}/providers/Microsoft.Network/networkSecurityGroups/nic-nsg"
NSG_SUBNET = f"{GROUP}/providers/Microsoft.Network/networkSecurityGroups/subnet-nsg"
ALICE = Principal("tenant", "alice-id", "alice@contoso.example", roles=frozenset({"Jit.Request"}))
BOB = Principal("tenant", "bob-id", "bob@contoso.example", roles=frozenset({"Jit.Request"}))
SOURCE = "203.0.113.7"
_POISON_AFTER = 5
_VISIBLE_AGAIN = timedelta(seconds=10)


def vm_id(name: str) -> str:
    """Return the id of a VM in the test group."""
    return f"{GROUP}/providers/Microsoft.Compute/virtualMachines/{name}"


WEB = vm_id("web")
DB = vm_id("db")


class World:
    """The app, its firewalls and its VMs: web behind two NSGs, db behind the subnet's."""

    def __init__(self, *rules: SecurityRule, workers: Workers = one_by_one) -> None:
        self.clock = Clock()
        self.tables = MemoryTables()
        self.queues = MemoryQueues(self.clock)
        self.firewall = MemoryFirewall()
        self.machines = MemoryMachines()
        self.bastions = MemoryBastions()
        self.telemetry = MemoryTelemetry()
        self.poison: list[Message] = []
        self.unpermitted: set[str] = set()
        self.probe = self._new_probe(self.firewall)
        ids = itertools.count(1)
        self.services = Services(
            tables=self.tables,
            queues=self.queues,
            firewalls=Registry((NsgProvider(self.firewall, NAMES),), guard=self.probe),
            machines=self.machines,
            inventory=MemoryInventory(self.machines, self.firewall),
            bastions=self.bastions,
            telemetry=self.telemetry,
            clock=self.clock,
            sleep=self.clock.advance,
            new_id=lambda: f"{next(ids):016x}",
            workers=workers,
            names=NAMES,
            authorize=self.authorize,
            scopes=(f"/subscriptions/{SUBSCRIPTION}",),
        )
        self.firewall.add(NSG_NIC)
        self.firewall.add(NSG_SUBNET, *rules)
        self.machines.add(
            WEB, Attachment(NSG_NIC, ("10.0.0.4",)), Attachment(NSG_SUBNET, ("10.0.0.4",))
        )
        self.machines.add(DB, Attachment(NSG_SUBNET, ("10.0.0.5",)))

    def rewire(self, **parts: Any) -> None:
        """Give the app other parts, such as names or a band, and its providers with them."""
        band = parts.pop("band", Band())
        firewall = parts.pop("firewall", None)
        made = replace(self.services, **parts)
        before = next(each for each in made.firewalls if isinstance(each, NsgProvider))
        groups = NsgProvider(firewall or before.groups, made.names, band)
        self.probe = self._new_probe(groups.groups)
        others = (each for each in made.firewalls if not isinstance(each, NsgProvider))
        registry = Registry((groups, *others), guard=self.probe)
        self.services = replace(made, firewalls=registry)

    def _new_probe(self, groups: Firewall) -> WriteProbe:
        """Make the proof of whole writes over a client, in the tables that services then has."""
        return WriteProbe(
            lambda: groups.probe(),  # noqa: PLW0108 - a test may replace it
            lambda: self.services.tables.firewalls,
            self.telemetry,
            self.clock,
        )

    def authorize(self, principal: Principal, action: Action, scope: str) -> Decision:
        """Decide by app roles, unless a test has taken a caller's permission away."""
        if principal.key in self.unpermitted:
            return Decision(False, ("role revoked",))
        return is_allowed(principal, action, scope, app_scopes=self.services.scopes)

    def protect(self, *vms: str, ports: tuple[int, ...] = (22, 3389)) -> Policy:
        """PUT a policy over VMs and let it be applied."""
        rules = tuple(PortRule(port, "TCP") for port in ports)
        listed = tuple(PolicyVm(vm, rules) for vm in vms or (WEB, DB))
        protection.put_policy(self.services, Policy(POLICY, "westeurope", listed))
        self.work()
        return self.policy()

    def policy(self) -> Policy:
        """Read the policy."""
        return protection.get_policy(self.services, POLICY)

    def ask(
        self,
        vm: str = WEB,
        port: int = 22,
        *,
        who: Principal = ALICE,
        source: str = SOURCE,
        minutes: float = 10,
        work: bool = True,
    ) -> AccessRequest:
        """Ask for a port, and let the workers work unless told not to."""
        asked = AskedPort("ports[0]", vm, port, (source,), duration=timedelta(minutes=minutes))
        new = access.PolicyRequest(self.policy(), Asked((asked,), "because", source), who)
        request = access.request_access(self.services, new)
        if work:
            self.work()
        return self.request(request.id)

    def request(self, request_id: str) -> AccessRequest:
        """Read a request."""
        return access.get_request(self.services, request_id)

    def status(self, request_id: str) -> Status:
        """Read what became of a request's first port."""
        return self.request(request_id).ports[0].status

    def work(self, rounds: int = 500) -> None:
        """Hand out every visible message until none is left."""
        for _ in range(rounds):
            visible = self.queues.visible()
            if not visible:
                return
            self.deliver(visible[0])
        raise AssertionError("the queues never run empty")

    def deliver(self, message: Message) -> None:
        """Hand one message to its function, as the host does: deleted only on success."""
        message.attempts += 1
        try:
            self.run(message.kind, message.subject)
        except Exception as error:  # noqa: BLE001 - the host catches everything
            self.telemetry.fault("test.message.failed", error)
            message.visible_at = self.clock() + _VISIBLE_AGAIN
            if message.attempts >= _POISON_AFTER:
                self.queues.waiting.remove(message)
                self.fail(message)
            return
        if message in self.queues.waiting:
            self.queues.waiting.remove(message)

    def run(self, message_type: str, subject: str) -> None:
        """Run the function of a queue."""
        if message_type == "request":
            opening.open_access(self.services, subject)
        elif message_type == "firewall":
            converge_on_message(self.services, subject)
        else:
            protection.apply_policy(self.services, subject)

    def fail(self, message: Message) -> None:
        """Run the function of a poison queue."""
        self.poison.append(message)
        if message.kind == "request":
            opening.fail_request(self.services, message.subject, "it could not be opened")
        elif message.kind == "policy":
            protection.fail_policy(self.services, message.subject, "it could not be applied")

    def sweep(self) -> int:
        """Run one tick of the timer."""
        return sweep_expired(self.services)

    def pass_time(self, minutes: float, *, sweeping: bool = True) -> None:
        """Let minutes pass: a sweep at each, and workers busy every second that has messages."""
        until = self.clock() + timedelta(minutes=minutes)
        tick = self.clock()
        while self.clock() < until:
            if sweeping and self.clock() >= tick:
                self.sweep()
                tick = self.clock() + timedelta(minutes=1)
            self.work()
            times = [each.visible_at for each in self.queues.waiting]
            nexts = [at for at in (*times, tick if sweeping else until) if at > self.clock()]
            self.clock.now = max(self.clock(), min([*nexts, until]))
        if sweeping:
            self.sweep()
        self.work()
