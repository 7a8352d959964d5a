"""The bodies of what a run creates beside the app: one small VM and its network."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tools.live.names import Run
from tools.live.outside import Json

PREFIX, VM_PREFIX, BASTION_PREFIX = "10.77.0.0/16", "10.77.0.0/24", "10.77.1.0/26"
FIREWALL_PREFIX = "10.77.2.0/26"
SIZE = "Standard_B1s"
USER = "jit"
_AUTHORIZED_KEYS = f"/home/{USER}/.ssh/authorized_keys"


def security_group(run: Run, rules: list[Json]) -> Json:
    """Return a network security group."""
    return {"location": run.location, "properties": {"securityRules": rules}}


def rule(name: str, priority: int, port: str = "443") -> Json:
    """Return a rule that opens nothing of the VM: its source is a documentation address."""
    return {
        "name": name,
        "properties": {
            "protocol": "Tcp",
            "access": "Allow",
            "direction": "Inbound",
            "priority": priority,
            "sourceAddressPrefix": "192.0.2.1",
            "sourcePortRange": "*",
            "destinationAddressPrefix": "*",
            "destinationPortRange": port,
        },
    }


def network(run: Run, group: str, table: str = "") -> Json:
    """Return the virtual network: subnets for Bastion and firewall as asked for, a route table."""
    more = {"AzureBastionSubnet": BASTION_PREFIX} if run.bastion else {}
    more |= {"AzureFirewallSubnet": FIREWALL_PREFIX} if run.firewall else {}
    guarded: Json = {"addressPrefix": VM_PREFIX, "networkSecurityGroup": {"id": group}}
    guarded |= {"routeTable": {"id": table}} if table else {}
    subnets = [{"name": "vm", "properties": guarded}]
    subnets += [{"name": n, "properties": {"addressPrefix": p}} for n, p in more.items()]
    space = {"addressPrefixes": [PREFIX]}
    return {"location": run.location, "properties": {"addressSpace": space, "subnets": subnets}}


def public_address(run: Run) -> Json:
    """Return a static public address."""
    return {
        "location": run.location,
        "sku": {"name": "Standard"},
        "properties": {"publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4"},
    }


def bastion_host(run: Run, subnet: str, address: str) -> Json:
    """Return a Bastion host of the cheapest SKU with a subnet of its own."""
    properties = {
        "subnet": {"id": subnet},
        "publicIPAddress": {"id": address},
        "privateIPAllocationMethod": "Dynamic",
    }
    return {
        "location": run.location,
        "sku": {"name": "Basic"},
        "properties": {"ipConfigurations": [{"name": "one", "properties": properties}]},
    }


def firewall_policy(run: Run) -> Json:
    """Return an empty firewall policy: what no rule allows is denied."""
    properties = {"sku": {"tier": "Standard"}, "threatIntelMode": "Off"}
    return {"location": run.location, "properties": properties}


def firewall(run: Run, subnet: str, address: str, policy: str) -> Json:
    """Return an Azure Firewall with a policy."""
    entry = {"subnet": {"id": subnet}, "publicIPAddress": {"id": address}}
    return {
        "location": run.location,
        "properties": {
            "sku": {"name": "AZFW_VNet", "tier": "Standard"},
            "firewallPolicy": {"id": policy},
            "ipConfigurations": [{"name": "one", "properties": entry}],
        },
    }


def route_table(run: Run, hop: str) -> Json:
    """Return a route table whose default route leads to a firewall."""
    route = {
        "addressPrefix": "0.0.0.0/0",
        "nextHopType": "VirtualAppliance",
        "nextHopIpAddress": hop,
    }
    routes = [{"name": "default", "properties": route}]
    return {"location": run.location, "properties": {"routes": routes}}


def interface(run: Run, subnet: str, address: str, group: str) -> Json:
    """Return the VM's network interface."""
    properties = {
        "subnet": {"id": subnet},
        "publicIPAddress": {"id": address},
        "privateIPAllocationMethod": "Dynamic",
    }
    return {
        "location": run.location,
        "properties": {
            "networkSecurityGroup": {"id": group},
            "ipConfigurations": [{"name": "one", "properties": properties}],
        },
    }


def machine(run: Run, nic: str) -> Json:
    """Return a Linux VM without a way to sign in: the private key is discarded."""
    key = {"path": _AUTHORIZED_KEYS, "keyData": _unused_key()}
    return {
        "location": run.location,
        "properties": {
            "hardwareProfile": {"vmSize": SIZE},
            "storageProfile": {
                "imageReference": {
                    "publisher": "Canonical",
                    "offer": "ubuntu-24_04-lts",
                    "sku": "server",
                    "version": "latest",
                },
                "osDisk": {
                    "createOption": "FromImage",
                    "deleteOption": "Delete",
                    "managedDisk": {"storageAccountType": "Standard_LRS"},
                    "osType": "Linux",
                },
            },
            "osProfile": {
                "computerName": "jit-live",
                "adminUsername": USER,
                "linuxConfiguration": {
                    "disablePasswordAuthentication": True,
                    "ssh": {"publicKeys": [key]},
                },
            },
            "networkProfile": {"networkInterfaces": [{"id": nic}]},
        },
    }


@cache
def _unused_key() -> str:
    """Return the public half of a fresh key in OpenSSH's form."""
    public = rsa.generate_private_key(public_exponent=65537, key_size=3072).public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
