"""The whole app on the real adapters: a VM in a spoke behind a hub firewall of the simulator."""

import atexit
import functools
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from local.arm.client import ArmClient
from local.arm.serve import ArmServer
from local.arm.simulator import Settings as ArmSettings
from shared.bootstrap import App
from shared.domain.model import CloseBy, Policy, PolicyVm, PortRule
from shared.domain.permissions import Decision
from shared.settings import Settings
from shared.use_cases.policies import apply as protection
from tests import firewalls as hub
from tests.fakes import Clock
from tests.world import World

WRITE = timedelta(minutes=3)
POLICY = f"{hub.SPOKE}/Microsoft.Security/locations/westeurope/jitNetworkAccessPolicies/default"
GROUP = f"{hub.HUB}/ipGroups/ipg-jit-test1-web-1-22"
OURS = f"{hub.POLICY}/ruleCollectionGroups/jit-test1"
FIREWALL_IDS = {"policy": OURS, "classic": hub.FIREWALL, "ip_group": GROUP}
FIREWALL_TYPES = tuple(FIREWALL_IDS)
VM, ALICE, BOB, VPN = hub.VM, hub.ALICE, hub.BOB, "10.9.0.5"


class _Now:
    """The clock of whichever world was made last."""

    def __init__(self) -> None:
        self.read: Callable[[], datetime] = Clock()

    def __call__(self) -> float:
        return self.read().timestamp()


@functools.cache
def _server() -> tuple[ArmServer, _Now]:
    now = _Now()
    server = ArmServer({"resources": []}, settings=ArmSettings(settle=0.0), clock=now)
    atexit.register(server.stop)
    return server, now


class HubWorld(World):
    """One VM behind its NSG and a hub firewall: with a policy, classic rules or an IP group."""

    def __init__(self, firewall_type: str = "policy", **settings: Any) -> None:
        super().__init__()
        server, now = _server()
        now.read = self.clock
        self.firewall_type = firewall_type
        self.firewall_id = FIREWALL_IDS[firewall_type]
        self.arm = server.url
        self.client.control("reset", _estate(firewall_type))
        self.client.control("firewalls", {"duration": WRITE.total_seconds()})
        self.app = App(_settings(server.url, firewall_type, settings))
        vars(self.app.outside).update(tables=self.tables, queues=self.queues)
        vars(self.app)["services"] = self.services = replace(
            self.app.services,
            telemetry=self.telemetry,
            clock=self.clock,
            sleep=self.clock.advance,
            authorize=lambda *_: Decision(True),
        )

    @property
    def client(self) -> ArmClient:
        """Return a connection of its own: the simulator ends one that is idle."""
        return ArmClient(self.arm)

    def protect_vm(
        self,
        *,
        ports: tuple[int, ...] = (22,),
        close_by: CloseBy = CloseBy.BEGIN,
        wait: float = 1,
    ) -> Policy:
        """PUT a policy over the VM's ports and let it be applied."""
        rules = tuple(PortRule(port, "TCP") for port in ports)
        policy = Policy(POLICY, "westeurope", (PolicyVm(VM, rules),))
        policy = replace(policy, conditions=replace(policy.conditions, close_by=close_by))
        protection.put_policy(self.services, policy)
        self.pass_time(wait)
        return self.policy()

    def policy(self) -> Policy:
        """Read the policy."""
        return protection.get_policy(self.services, POLICY)

    def reaches(self, source: str, port: int = 22) -> bool:
        """Tell whether packets from a source reach the VM's port, by whichever entry."""
        asked = {"vm": VM, "port": port, "source": source, "protocol": "tcp"}
        return bool(self.client.ask("access", **asked)["allowed"])

    def get(self, resource_id: str) -> Any:
        """Return a resource as it reads; None: there is none."""
        reply = self.client.call("GET", resource_id)
        return reply.body if reply.status == 200 else None

    def edit(self, *resources: dict[str, Any]) -> None:
        """Put resources in place as another writer would, at once."""
        self.client.control("edit", {"resources": list(resources)})

    def switch(self, **switches: Any) -> None:
        """Set switches of the simulator's firewalls."""
        self.client.control("firewalls", switches)

    def nsg_sources(self) -> list[str]:
        """Return the sources of our allow rules on the VM's security group."""
        rules = self.get(hub.NSG)["properties"]["securityRules"]
        ours = (r["properties"] for r in rules if r["name"].startswith("SecurityCenter-JITRule-"))
        return sorted(
            source
            for rule in ours
            for source in (rule.get("sourceAddressPrefixes") or [rule.get("sourceAddressPrefix")])
            if source
        )


def _settings(arm: str, firewall_type: str, settings: dict[str, Any]) -> Settings:
    return Settings.model_validate(
        {
            "deployment_id": "test1",
            "tenant_id": "11111111-1111-4111-8111-111111111111",
            "audience": ("api://jit",),
            "scopes": (f"/subscriptions/{hub.SUBSCRIPTION}",),
            "firewall_scopes": (f"/subscriptions/{hub.HUB_SUBSCRIPTION}",),
            "firewall_classic_scopes": (hub.FIREWALL,) if firewall_type == "classic" else (),
            "arm_url": arm,
            "nsg_write": "rules",
            # The bound is of the real clock, and all tests of a process share it.
            "calls_per_minute": 10_000,
            "JitStorage": "UseDevelopmentStorage=true",  # never reached: the tables are in memory
            **settings,
        }
    )


def _estate(firewall_type: str) -> dict[str, Any]:
    estate = hub.estate(policy=firewall_type != "classic")
    for resource in estate["resources"]:
        for entry in resource["properties"].get("ipConfigurations") or ():
            entry["id"] = f"{resource['id']}/ipConfigurations/{entry['name']}"
    if firewall_type == "ip_group":
        estate["resources"] += [
            hub.ip_group("192.0.2.1/32", resource_id=GROUP),
            {
                "id": f"{hub.POLICY}/ruleCollectionGroups/switches",
                "name": "switches",
                **hub.group(
                    hub.nat_rule("switch", 20_022, sourceAddresses=[], sourceIpGroups=[GROUP])
                ),
            },
        ]
    return estate
