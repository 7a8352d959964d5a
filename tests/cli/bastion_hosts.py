"""A Bastion host in the network of a test's own VM, in the simulated cloud."""

from typing import Any

from local.arm.client import ArmClient
from tests.e2e.playing import NETWORK, Play, Site

PREFIX = "10.99.0.0/26"


def add_bastion(
    play: Play, site: Site, *, sku: str = "Standard", tunnels: bool = True, name: str = ""
) -> str:
    """Put a Bastion host into the site's network and return its id."""
    network_id = f"{NETWORK}/virtualNetworks/{site.vm.rpartition('/')[2].rpartition('-')[0]}"
    subnet_id = f"{network_id}/subnets/AzureBastionSubnet"
    client = ArmClient(play.azure.url, "local:cli")
    network: dict[str, Any] = client.call("GET", network_id).body
    client.close()
    subnet = {
        "id": subnet_id,
        "name": "AzureBastionSubnet",
        "properties": {"addressPrefix": PREFIX},
    }
    others = [each for each in network["properties"]["subnets"] if each["id"] != subnet_id]
    network["properties"]["subnets"] = [*others, subnet]
    host_id = f"{NETWORK}/bastionHosts/{name or network_id.rpartition('/')[2]}"
    configuration = {"name": "ip", "properties": {"subnet": {"id": subnet_id}}}
    host = {
        "id": host_id,
        "type": "Microsoft.Network/bastionHosts",
        "location": "westeurope",
        "sku": {"name": sku},
        "properties": {"enableTunneling": tunnels, "ipConfigurations": [configuration]},
    }
    play.azure.control("edit", {"resources": [network, host]})
    return host_id
