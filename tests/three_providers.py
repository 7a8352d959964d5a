"""A whole app whose VMs stand behind the firewalls of three providers at once."""

from dataclasses import replace
from datetime import timedelta

from shared.domain.model import AccessRequest, Attachment
from shared.domain.policy import Asked, AskedPort
from shared.firewalls.registry import Registry
from shared.use_cases.requests import submit as access
from tests.providers.serial.cloud import Cloud as SerialCloud
from tests.providers.serial.provider import Serial
from tests.providers.shared_rules.cloud import Cloud as SharedCloud
from tests.providers.shared_rules.provider import SharedRules
from tests.world import ALICE, DB, NSG_SUBNET, SOURCE, World, vm_id

SHARED, SERIAL, NEIGHBOUR = "shared:web", "serial:edge", "serial:inner"
BEHIND_SHARED, BEHIND_SERIAL, BEHIND_NEIGHBOUR = vm_id("app"), vm_id("far"), vm_id("next")
ADDRESSES = {DB: "10.0.0.5", BEHIND_SHARED: "10.0.2.4", BEHIND_SERIAL: "10.0.3.4"}
ADDRESSES |= {BEHIND_NEIGHBOUR: "10.0.4.4"}
FIREWALLS = {DB: NSG_SUBNET, BEHIND_SHARED: SHARED, BEHIND_SERIAL: SERIAL}
FIREWALLS |= {BEHIND_NEIGHBOUR: NEIGHBOUR}
VMS = {"nsg": DB, "shared rules": BEHIND_SHARED, "serial": BEHIND_SERIAL}
SLOW_MINUTES = 12  # by then the slowest provider has written twice


class ThreeProviders(World):
    """db behind a security group, app behind shared rules, far and next behind a serial tree."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = SharedCloud()
        self.shared.add(SHARED)
        self.serial = SerialCloud(self.clock)
        self.serial.add(SERIAL)
        self.serial.add(NEIGHBOUR)
        providers = (*self.services.firewalls, SharedRules(self.shared), Serial(self.serial))
        self.services = replace(self.services, firewalls=Registry(providers, guard=self.probe))
        for vm in (BEHIND_SHARED, BEHIND_SERIAL, BEHIND_NEIGHBOUR):
            self.machines.add(vm, Attachment(FIREWALLS[vm], (ADDRESSES[vm],)))
        self.protect(DB, BEHIND_SHARED, BEHIND_SERIAL, BEHIND_NEIGHBOUR)

    def reaches(self, vm: str, source: str = SOURCE, port: int = 22) -> bool:
        """Tell whether packets from a source reach a VM's port."""
        if vm == DB:
            return any(
                rule.access == "Allow" and source in rule.sources and str(port) in rule.ports
                for rule in self.firewall.ours(NSG_SUBNET)
            )
        if vm == BEHIND_SHARED:
            return self.shared.reaches(SHARED, source, port)
        return self.serial.reaches(FIREWALLS[vm], source, ADDRESSES[vm], port, "tcp")

    def ask_for_all(self, minutes: float = 30) -> AccessRequest:
        """Request port 22 of a VM behind each provider in one call."""
        ports = tuple(
            AskedPort(f"ports[{n}]", vm, 22, (SOURCE,), duration=timedelta(minutes=minutes))
            for n, vm in enumerate(VMS.values())
        )
        new = access.PolicyRequest(self.policy(), Asked(ports, "because", SOURCE), ALICE)
        return access.request_access(self.services, new)
