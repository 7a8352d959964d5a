"""Generated network security groups in front of one VM, as the product and the simulator see them."""

import ipaddress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hypothesis import strategies as st

from local.arm.access import Evaluator, Flow
from local.arm.nsg import rule_from, written_group
from local.arm.store import NIC, VM, Store
from shared.domain.ids import key_of
from shared.domain.model import Attachment, Protection
from shared.firewalls.nsg.model import SecurityRule
from shared.firewalls.nsg.resources import guarded_subnets, join
from shared.firewalls.nsg.rules import Band, Plan, deny_rules, plan
from shared.firewalls.nsg.wire import write_rule
from tests.fakes import NAMES
from tests.rule_exposure import Exposure, exposures
from tests.world import POLICY

GROUP = "/subscriptions/3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815/resourceGroups/g/providers"
NETWORK = f"{GROUP}/Microsoft.Network"
VM_ID = f"{GROUP}/Microsoft.Compute/virtualMachines/vm"
SUBNET_NSG, NIC_NSG = (f"{NETWORK}/networkSecurityGroups/{name}" for name in ("subnet", "nic"))
OWN = ("10.20.1.4", "fd00:20::4")
PORT = 22
API = "2024-05-01"
# Health probes come from these; an allow for them lets in nothing else.
PROBES = {"168.63.129.16", "fe80::1234:5678:9abc"}

SOURCES: tuple[dict[str, Any], ...] = (
    *({"sourceAddressPrefix": "*"},) * 6,
    {"sourceAddressPrefix": "0.0.0.0/0"},
    {"sourceAddressPrefixes": ["0.0.0.0/1", "128.0.0.0/1"]},
    {"sourceAddressPrefixes": ["::/1", "8000::/1"]},
    *({"sourceAddressPrefix": tag} for tag in ("Internet", "INTERNET", "internet")),
    *({"sourceAddressPrefix": tag} for tag in ("VirtualNetwork", "virtualnetwork")),
    *({"sourceAddressPrefix": "AzureLoadBalancer"},) * 2,
    *({"sourceAddressPrefix": tag} for tag in ("Sql", "SQL", "Sql.WestEurope", "AzureCloud")),
    {"sourceAddressPrefix": "203.0.113.0/24"},
    {"sourceAddressPrefixes": ["203.0.113.0/25", "203.0.113.128/25"]},
    {"sourceAddressPrefix": "203.0.113.7"},
    {"sourceAddressPrefix": "10.20.0.0/16"},
    {"sourceAddressPrefix": "10.20.2.5"},
    {"sourceAddressPrefix": "192.168.0.0/16"},
    {"sourceAddressPrefix": "fd00:20::/48"},
    {"sourceAddressPrefix": "2001:db8:9::/48"},
    *(
        {"sourceApplicationSecurityGroups": [{"id": f"{NETWORK}/applicationSecurityGroups/{n}"}]}
        for n in ("app", "jump", "Empty", "twice", "twice", "twice")
    ),
)
DESTINATIONS: tuple[dict[str, Any], ...] = (
    *({"destinationAddressPrefix": "*"},) * 6,
    {"destinationAddressPrefix": "VirtualNetwork"},
    {"destinationAddressPrefix": "virtualnetwork"},
    {"destinationAddressPrefix": "Internet"},
    {"destinationAddressPrefix": "Storage"},
    {"destinationAddressPrefix": "10.20.1.4"},
    {"destinationAddressPrefix": "10.20.1.5"},
    {"destinationAddressPrefixes": ["10.20.1.0/30", "10.20.1.4/30"]},
    {"destinationAddressPrefix": "fd00:20::/64"},
    *(
        {
            "destinationApplicationSecurityGroups": [
                {"id": f"{NETWORK}/applicationSecurityGroups/{n}"}
            ]
        }
        for n in ("app", "APP", "jump", "empty", "twice", "twice", "twice")
    ),
)
PROTOCOLS = (*("*",) * 4, *("Tcp",) * 3, "TCP", "Udp", "udp", "Icmp", "Icmpv6", "Esp", "Ah")
PORTS: tuple[dict[str, Any], ...] = (
    *({"destinationPortRange": "22"},) * 4,
    *({"destinationPortRange": "*"},) * 2,
    *({"destinationPortRange": text} for text in ("20-22", "22-30", "0-65535", "23-30", "443")),
    {"destinationPortRanges": ["20-21", "22-25"]},
    {"destinationPortRanges": ["21", "23"]},
)
SOURCE_PORTS: tuple[dict[str, Any], ...] = (
    *({"sourcePortRange": "*"},) * 4,
    {"sourcePortRange": "0-65535"},
    {"sourcePortRanges": ["0-1023", "1024-65535"]},
    {"sourcePortRange": "1024-65535"},
    {"sourcePortRange": "0-49999"},
    {"sourcePortRange": "50000"},
)
_BEFORE_ALL = 110  # a free place before the band of our allows
PRIORITIES = (100, 101, 150, 199, 200, 201, 300, 999, 1000, 1001, 2500, 4094, 4095, 4096)


@st.composite
def rules(draw: st.DrawFn, first_denies: int = 0) -> list[dict[str, Any]]:
    """Draw the rules of one group, each priority once, and so many denies before all of them."""
    numbers = [*range(-first_denies, 0)]
    numbers += draw(st.lists(st.sampled_from(PRIORITIES), max_size=5, unique=True))
    return [
        {
            "name": f"rule-{number % 10_000}",
            "properties": {
                "protocol": draw(st.sampled_from(PROTOCOLS)),
                "access": "Deny" if number < 0 else draw(st.sampled_from(("Allow", "Deny"))),
                "direction": draw(st.sampled_from(("Inbound",) * 5 + ("Outbound",))),
                "priority": number if number > 0 else _BEFORE_ALL + number,
                **draw(st.sampled_from(SOURCES)),
                **draw(st.sampled_from(DESTINATIONS)),
                **draw(st.sampled_from(PORTS)),
                **draw(st.sampled_from(SOURCE_PORTS)),
            },
        }
        for number in numbers
    ]


@dataclass
class Case:
    """The firewalls in front of the VM: rules by the id of their group."""

    groups: dict[str, list[dict[str, Any]]]
    with_deny: bool
    twice: bool  # a member of a group, in another network, has the VM's address

    def __post_init__(self) -> None:
        """Place our deny as the product does, where the policy is applied."""
        self.store = Store(_resources(self.groups, twice=self.twice))
        self.without_place: list[str] = []  # groups in which a deny of ours has none
        if not self.with_deny:
            return
        for group_id in self.groups:
            changes = self.plan(group_id, self.denies(group_id))
            self.without_place += [group_id] if changes.blocked else []
            self.carry_out(group_id, changes)

    @cached_property
    def attachments(self) -> tuple[Attachment, ...]:
        """Return the VM's addresses behind each group, as the product joins them."""
        (machine,) = self._listed().machines
        found: tuple[Attachment, ...] = machine.attachments
        return found

    def present(self) -> dict[str, tuple[SecurityRule, ...]]:
        """Return what the product reads of each group, by key of id."""
        return {key: snapshot.rules for key, snapshot in self._listed().firewalls.items()}

    def denies(self, group_id: str) -> list[SecurityRule]:
        """Return the deny rules that a policy for the port wants."""
        return deny_rules([Protection(group_id, POLICY, VM_ID, (PORT,), OWN)], NAMES)

    def plan(self, group_id: str, want: list[SecurityRule]) -> Plan:
        """Plan one group."""
        return plan(self.present()[key_of(group_id)], want, NAMES, Band())

    def carry_out(self, group_id: str, changes: Plan) -> None:
        """Write what was planned."""
        group = self.store.group(group_id)
        assert group is not None
        group.edit([rule_from(write_rule(rule)) for rule in changes.put], changes.remove)

    def exposures(self, port: int) -> tuple[Exposure, ...]:
        """Say what leaves a port open, as the machines report does."""
        return exposures(self.attachments, self.present(), [port], NAMES)

    def passes(self, source: str, port: int, protocol: str, source_port: int) -> bool:
        """Ask the simulator whether a packet gets in otherwise than by a grant of ours."""
        address = ipaddress.ip_address(source)
        evaluator = self.evaluator
        for to in self.endpoints:
            if to.address.version == address.version:
                said = evaluator.judge(Flow(address, to, port, protocol, source_port))
                if said["allowed"] and not any(NAMES.is_ours(v["rule"]) for v in said["rules"]):
                    return True
        return False

    @cached_property
    def evaluator(self) -> Evaluator:
        """Return the simulator's own evaluation."""
        return Evaluator(self.store)

    def decides(self, group_id: str, name: str, flow: Flow) -> bool:
        """Ask the simulator whether one rule is about a packet, whatever stands before it."""
        group = self.store.group(group_id)
        assert group is not None
        return self.evaluator.matches(group.settled[name.lower()], flow)

    @cached_property
    def endpoints(self) -> list[Any]:
        """Return the VM's addresses as the simulator knows them."""
        machine = self.store.get(VM_ID)
        assert machine is not None
        return self.evaluator.endpoints(machine)

    def _listed(self) -> Any:
        groups = [
            written_group(group, self.store.attached(group.group_id), API)
            for group in self.store.groups.values()
        ]
        vms, nics = list(self.store.of_type(VM)), list(self.store.of_type(NIC))
        return join(vms, nics, groups, [], guarded_subnets(groups))


@st.composite
def cases(draw: st.DrawFn, first_denies: int = 0) -> Case:
    """Draw the groups on subnet and interface, and whether the policy is applied."""
    ids = draw(
        st.sampled_from(((SUBNET_NSG,), (NIC_NSG,), (SUBNET_NSG, NIC_NSG), (SUBNET_NSG, NIC_NSG)))
    )
    return Case(
        {each: draw(rules(first_denies)) for each in ids},
        draw(st.sampled_from((True, True, True, False))),
        draw(st.booleans()),
    )


def _resources(groups: dict[str, list[dict[str, Any]]], *, twice: bool) -> list[dict[str, Any]]:
    """Write the estate: two networks with the same range, one of them peered, and four VMs."""
    found: list[dict[str, Any]] = []
    for group_id, listed in groups.items():
        found.append(
            {
                "id": group_id,
                "type": "Microsoft.Network/networkSecurityGroups",
                "properties": {"securityRules": listed},
            }
        )
    behind = {"networkSecurityGroup": {"id": SUBNET_NSG}} if SUBNET_NSG in groups else {}
    found += [_vnet("vnet", behind), _vnet("other", {})]
    on_nic = {"networkSecurityGroup": {"id": NIC_NSG}} if NIC_NSG in groups else {}
    found += [
        _nic("vm-nic", "vnet", OWN, ("app",), on_nic),
        _nic("jump-nic", "vnet", ("10.20.2.5", "fd00:20::5"), ("jump",), {}),
    ]
    if twice:
        found.append(_nic("stranger-nic", "other", OWN[:1], ("twice",), {}))
    found.append(
        {
            "id": VM_ID,
            "type": "Microsoft.Compute/virtualMachines",
            "location": "westeurope",
            "properties": {
                "networkProfile": {
                    "networkInterfaces": [{"id": f"{NETWORK}/networkInterfaces/vm-nic"}]
                }
            },
        }
    )
    return found


def _vnet(name: str, behind: dict[str, Any]) -> dict[str, Any]:
    vnet = f"{NETWORK}/virtualNetworks/{name}"
    peering = {"properties": {"remoteAddressSpace": {"addressPrefixes": ["10.30.0.0/16"]}}}
    return {
        "id": vnet,
        "type": "Microsoft.Network/virtualNetworks",
        "properties": {
            "addressSpace": {"addressPrefixes": ["10.20.0.0/16", "fd00:20::/48"]},
            "virtualNetworkPeerings": [peering],
            "subnets": [
                {
                    "id": f"{vnet}/subnets/s",
                    "properties": {"addressPrefix": "10.20.0.0/16", **behind},
                }
            ],
        },
    }


def _nic(
    name: str,
    vnet: str,
    addresses: tuple[str, ...],
    groups: tuple[str, ...],
    properties: dict[str, Any],
) -> dict[str, Any]:
    nic = f"{NETWORK}/networkInterfaces/{name}"
    member_of = [{"id": f"{NETWORK}/applicationSecurityGroups/{each}"} for each in groups]
    configs = [
        {
            "id": f"{nic}/ipConfigurations/{at}",
            "name": str(at),
            "properties": {
                "privateIPAddress": address,
                "subnet": {"id": f"{NETWORK}/virtualNetworks/{vnet}/subnets/s"},
                "applicationSecurityGroups": member_of,
            },
        }
        for at, address in enumerate(addresses)
    ]
    return {
        "id": nic,
        "type": "Microsoft.Network/networkInterfaces",
        "properties": {"ipConfigurations": configs, **properties},
    }
