"""Everything that tells which firewall stands before which VM, as ARM lists it. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from typing import Any

from shared.domain.ids import key_of, name_of

Resource = Mapping[str, Any]
_V4 = 4


@dataclass(frozen=True)
class Estate:
    """Lists of resources; `rule_groups` holds the groups of each policy by the policy's key."""

    vms: tuple[Resource, ...] = ()
    interfaces: tuple[Resource, ...] = ()
    networks: tuple[Resource, ...] = ()
    tables: tuple[Resource, ...] = ()
    firewalls: tuple[Resource, ...] = ()
    addresses: tuple[Resource, ...] = ()
    policies: tuple[Resource, ...] = ()
    rule_groups: Mapping[str, tuple[Resource, ...]] = field(default_factory=dict)
    ip_groups: tuple[Resource, ...] = ()
    balancers: tuple[Resource, ...] | None = ()  # None: they could not be read

    @cached_property
    def by_id(self) -> dict[str, Resource]:
        """Return every resource by key, subnets included."""
        lists = (
            self.vms,
            self.interfaces,
            self.networks,
            self.tables,
            self.firewalls,
            self.addresses,
            self.policies,
            self.ip_groups,
        )
        found = {key_of(each["id"]): each for listed in lists for each in listed}
        for network in self.networks:
            for subnet in network["properties"].get("subnets") or ():
                found[key_of(subnet["id"])] = subnet
        return found

    def get(self, reference: Resource | None) -> Resource | None:
        """Return the resource that a reference names, if it was listed."""
        return self.by_id.get(key_of(str(reference["id"]))) if reference else None

    def policies_of(self, firewall: Resource) -> list[Resource]:
        """Return the policies of a firewall, the outermost parent first; none: classic rules."""
        found: list[Resource] = []
        reference = firewall["properties"].get("firewallPolicy")
        while reference and len(found) <= len(self.policies):
            policy = self.get(reference)
            if policy is None:
                break
            found.insert(0, policy)
            reference = policy["properties"].get("basePolicy")
        return found

    def holder_of(self, address: str) -> str:
        """Name the holder of a private address that is no firewall's: a load balancer, or a VM."""
        for balancer in self.balancers or ():
            for front in balancer["properties"].get("frontendIPConfigurations") or ():
                if front["properties"].get("privateIPAddress") == address:
                    return f"load balancer '{balancer.get('name')}'"
        for interface in self.interfaces:
            held = [entry.address for entry in entries_of(interface)]
            if address in held:
                machine = (interface["properties"].get("virtualMachine") or {}).get("id", "")
                return f"appliance '{name_of(machine) if machine else interface.get('name')}'"
        return "no Azure Firewall in scope"


@dataclass(frozen=True)
class AddressEntry:
    """One IPv4 address of an interface."""

    address: str
    subnet: Resource
    public: Resource | None


def entries_of(interface: Resource) -> Iterator[AddressEntry]:
    """Yield the IPv4 addresses of an interface with what they refer to."""
    for configuration in interface["properties"].get("ipConfigurations") or ():
        properties = configuration["properties"]
        address, subnet = properties.get("privateIPAddress"), properties.get("subnet")
        if address and subnet and ip_address(address).version == _V4:
            yield AddressEntry(address, subnet, properties.get("publicIPAddress"))


def interface_ids(vm: Resource) -> list[str]:
    """Return the ids of a VM's interfaces."""
    profile = vm["properties"].get("networkProfile") or {}
    return [str(each["id"]) for each in profile.get("networkInterfaces") or ()]


def private_addresses(firewall: Resource) -> list[str]:
    """Return the addresses by which routes name a firewall."""
    properties = firewall["properties"]
    found = [
        str(each["properties"]["privateIPAddress"])
        for each in properties.get("ipConfigurations") or ()
        if each["properties"].get("privateIPAddress")
    ]
    hub = (properties.get("hubIPAddresses") or {}).get("privateIPAddress")
    return [*found, *([str(hub)] if hub else [])]


def network_of(subnet_id: str) -> str:
    """Return the key of a subnet's network."""
    return key_of(subnet_id).rpartition("/subnets/")[0]


def reachable_networks(estate: Estate, network_key: str) -> set[str]:
    """Return a network and those peered to it, by key."""
    network = estate.by_id.get(network_key)
    peerings: Iterable[Resource] = (
        network["properties"].get("virtualNetworkPeerings") or () if network else ()
    )
    remote = ((each.get("properties") or {}).get("remoteVirtualNetwork") or {} for each in peerings)
    return {network_key, *(key_of(str(each["id"])) for each in remote if each.get("id"))}
