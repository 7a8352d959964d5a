"""The place that both sides are measured in: VMs behind network security groups of their own."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from local.arm.client import ArmClient

Json = dict[str, Any]
SUBSCRIPTION = "3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/app-rg"
NETWORK = f"{GROUP}/providers/Microsoft.Network"
POLICIES = f"{GROUP}/providers/Microsoft.Security/locations/westeurope/jitNetworkAccessPolicies"
SOURCE = "203.0.113.7"
FIRST_PORT = 22
_AT_ONCE = 2000
_FIRST_ADDRESS = int(IPv4Address("10.100.0.4"))


@dataclass(frozen=True)
class VmPort:
    """One port of one VM, behind one network security group."""

    nsg_id: str
    vm_id: str
    address: str
    port: int


@dataclass(frozen=True)
class Place:
    """VMs spread evenly over some groups; a `VmPort` is one port of one of them."""

    name: str
    groups: int
    vms_in_each: int
    ports: int = 1

    @property
    def policy_id(self) -> str:
        """Return the id of the policy that covers all of it."""
        return f"{POLICIES}/{self.name}"

    @property
    def nsgs(self) -> list[str]:
        """Return the ids of the groups."""
        return [f"{NETWORK}/networkSecurityGroups/{self.name}-{g}" for g in range(self.groups)]

    @property
    def numbers(self) -> list[int]:
        """Return the ports of each VM."""
        return [FIRST_PORT + number for number in range(self.ports)]

    def vms(self) -> Iterator[tuple[str, str, str, str]]:
        """Give each VM with its interface, its group and its address."""
        for g, nsg in enumerate(self.nsgs):
            for v in range(self.vms_in_each):
                name = f"{self.name}-{g}-{v}"
                vm = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/{name}"
                nic = f"{NETWORK}/networkInterfaces/{name}"
                number = _FIRST_ADDRESS + g * self.vms_in_each + v
                yield vm, nic, nsg, str(IPv4Address(number))

    def vm_ports(self) -> list[VmPort]:
        """Return every port of every VM, group after group in turn, so that a part is spread as well."""
        by_group: dict[str, list[VmPort]] = {}
        for vm, _, nsg, address in self.vms():
            ports = by_group.setdefault(nsg, [])
            ports += [VmPort(nsg, vm, address, number) for number in self.numbers]
        in_turn = zip(*by_group.values(), strict=True)
        return [vm_port for those in in_turn for vm_port in those]

    def policy_body(self) -> Json:
        """Write the policy as it is PUT."""
        ports = [
            {
                "number": number,
                "protocol": "TCP",
                "allowedSourceAddressPrefix": "*",
                "maxRequestAccessDuration": "PT3H",
            }
            for number in self.numbers
        ]
        listed = [{"id": vm, "ports": ports} for vm, _, _, _ in self.vms()]
        return {"kind": "Basic", "properties": {"virtualMachines": listed}}

    def resources(self) -> list[Json]:
        """Write everything as ARM returns it."""
        subnet = f"{NETWORK}/virtualNetworks/{self.name}/subnets/one"
        found = [_group(nsg) for nsg in self.nsgs]
        found.append(_network(subnet))
        for vm, nic, nsg, address in self.vms():
            found += [_nic(nic, address, subnet, nsg), _vm(vm, nic)]
        return found


class Cloud:
    """The simulated cloud's own controls."""

    def __init__(self, url: str) -> None:
        self.url = url

    def build(self, place: Place) -> None:
        """Put a place there."""
        self.build_all(place.resources())

    def build_all(self, resources: list[Json]) -> None:
        """Put resources there, some thousands at a time."""
        for first in range(0, len(resources), _AT_ONCE):
            self._post("edit", {"resources": resources[first : first + _AT_ONCE]})

    def settle_in(self, seconds: float) -> None:
        """Set how long a write stays Updating."""
        self._post("settings", {"settle": seconds})

    def quotas(self, *, on: bool) -> None:
        """Turn the real quotas on, full, or off."""
        self._post("quotas", {"enabled": on})

    def edit(self, **given: Any) -> None:
        """Change things as a stranger would."""
        self._post("edit", given)

    def calls(self) -> list[Json]:
        """Return every call so far."""
        client = ArmClient(self.url)
        try:
            found: list[Json] = client.ask("log")["calls"]
        finally:
            client.close()
        return found

    def _post(self, control: str, given: Json) -> None:
        client = ArmClient(self.url)
        try:
            client.control(control, given)
        finally:
            client.close()


def _group(nsg_id: str) -> Json:
    foreign = {
        "protocol": "Tcp",
        "access": "Allow",
        "direction": "Inbound",
        "priority": 150,
        "description": "The shop",
        "sourcePortRange": "*",
        "sourceAddressPrefix": "Internet",
        "destinationPortRange": "443",
        "destinationAddressPrefix": "*",
    }
    return {
        "id": nsg_id,
        "type": "Microsoft.Network/networkSecurityGroups",
        "location": "westeurope",
        "tags": {"owner": "shop"},
        "properties": {"securityRules": [{"name": "allow-https", "properties": foreign}]},
    }


def _network(subnet_id: str) -> Json:
    properties = {"addressPrefix": "10.0.0.0/8", "provisioningState": "Succeeded"}
    return {
        "id": subnet_id.partition("/subnets/")[0],
        "type": "Microsoft.Network/virtualNetworks",
        "location": "westeurope",
        "properties": {
            "addressSpace": {"addressPrefixes": ["10.0.0.0/8"]},
            "subnets": [{"name": "one", "id": subnet_id, "properties": properties}],
        },
    }


def _nic(nic_id: str, address: str, subnet_id: str, nsg_id: str) -> Json:
    properties = {
        "privateIPAddress": address,
        "privateIPAddressVersion": "IPv4",
        "subnet": {"id": subnet_id},
        "primary": True,
    }
    ip = {"name": "one", "id": f"{nic_id}/ipConfigurations/one", "properties": properties}
    return {
        "id": nic_id,
        "type": "Microsoft.Network/networkInterfaces",
        "location": "westeurope",
        "properties": {"ipConfigurations": [ip], "networkSecurityGroup": {"id": nsg_id}},
    }


def _vm(vm_id: str, nic_id: str) -> Json:
    return {
        "id": vm_id,
        "type": "Microsoft.Compute/virtualMachines",
        "location": "westeurope",
        "properties": {
            "storageProfile": {"osDisk": {"osType": "Linux"}},
            "networkProfile": {"networkInterfaces": [{"id": nic_id}]},
        },
    }
