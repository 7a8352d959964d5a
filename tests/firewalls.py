"""A hub with a firewall and a spoke behind it, as bodies for the simulator."""

from typing import Any

SUBSCRIPTION = "3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
HUB_SUBSCRIPTION = "8d6a1c0f-3e52-4b7a-9c44-0a5b7f21d9e3"
SPOKE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/spoke-rg/providers"
HUB = f"/subscriptions/{HUB_SUBSCRIPTION}/resourceGroups/hub-rg/providers/Microsoft.Network"
NET = f"{SPOKE}/Microsoft.Network"
VM = f"{SPOKE}/Microsoft.Compute/virtualMachines/web-1"
NIC = f"{NET}/networkInterfaces/web-1-nic"
NSG = f"{NET}/networkSecurityGroups/web-nsg"
SUBNET = f"{NET}/virtualNetworks/spoke/subnets/web"
HUB_SUBNET = f"{HUB}/virtualNetworks/hub/subnets/AzureFirewallSubnet"
FIREWALL = f"{HUB}/azureFirewalls/hub-fw"
POLICY = f"{HUB}/firewallPolicies/hub-policy"
TABLE = f"{NET}/routeTables/spoke-routes"
PUBLIC = f"{HUB}/publicIPAddresses/hub-ip"
IP_GROUP = f"{HUB}/ipGroups/ipg-jit-web-1-22"
VM_ADDRESS, FIREWALL_ADDRESS, PUBLIC_ADDRESS = "10.1.0.4", "10.0.0.4", "20.1.2.3"
FIREWALL_PREFIX = "10.0.0.0/26"
ALICE, BOB = "203.0.113.7", "198.51.100.9"


def estate(*, policy: bool = True, vm_state: str = "running") -> dict[str, Any]:
    """Return an estate: one VM in a spoke, whose default route is a firewall in a hub."""
    peering = {
        "name": "hub",
        "id": f"{NET}/virtualNetworks/spoke/virtualNetworkPeerings/hub",
        "properties": {
            "remoteVirtualNetwork": {"id": f"{HUB}/virtualNetworks/hub"},
            "remoteAddressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
        },
    }
    back = {
        "name": "spoke",
        "id": f"{HUB}/virtualNetworks/hub/virtualNetworkPeerings/spoke",
        "properties": {
            "remoteVirtualNetwork": {"id": f"{NET}/virtualNetworks/spoke"},
            "remoteAddressSpace": {"addressPrefixes": ["10.1.0.0/16"]},
        },
    }
    resources = [
        _network(f"{HUB}/virtualNetworks/hub", "10.0.0.0/16", back),
        _subnet(HUB_SUBNET, FIREWALL_PREFIX),
        _network(f"{NET}/virtualNetworks/spoke", "10.1.0.0/16", peering),
        _subnet(SUBNET, "10.1.0.0/24", routeTable={"id": TABLE}),
        table(),
        public_address(PUBLIC, PUBLIC_ADDRESS),
        nsg(),
        nic(),
        machine(vm_state),
        firewall(policy=policy),
    ]
    return {"resources": resources + ([policy_body()] if policy else [])}


def firewall(*, policy: bool = True, **properties: Any) -> dict[str, Any]:
    """Return a deployed firewall."""
    configuration = {
        "name": "first",
        "id": f"{FIREWALL}/azureFirewallIpConfigurations/first",
        "type": "Microsoft.Network/azureFirewalls/azureFirewallIpConfigurations",
        "properties": {
            "provisioningState": "Succeeded",
            "privateIPAddress": FIREWALL_ADDRESS,
            "privateIPAllocationMethod": "Dynamic",
            "publicIPAddress": {"id": PUBLIC},
            "subnet": {"id": HUB_SUBNET},
        },
    }
    held: dict[str, Any] = {
        "provisioningState": "Succeeded",
        "sku": {"name": "AZFW_VNet", "tier": "Standard"},
        "threatIntelMode": "Alert",
        "additionalProperties": {},
        "ipConfigurations": [configuration],
        "networkRuleCollections": [],
        "applicationRuleCollections": [],
        "natRuleCollections": [],
        **({"firewallPolicy": {"id": POLICY}} if policy else {}),
        **properties,
    }
    return _resource(FIREWALL, "Microsoft.Network/azureFirewalls", **held)


def policy_body(policy_id: str = POLICY, **properties: Any) -> dict[str, Any]:
    """Return a firewall policy."""
    return _resource(
        policy_id,
        "Microsoft.Network/FirewallPolicies",
        sku={"tier": "Standard"},
        threatIntelMode="Alert",
        provisioningState="Succeeded",
        **properties,
    )


def group(*rules: dict[str, Any], priority: int = 200, action: str = "Dnat") -> dict[str, Any]:
    """Return the body of a rule collection group with one collection."""
    nat = action == "Dnat"
    collection = {
        "ruleCollectionType": f"FirewallPolicy{'Nat' if nat else 'Filter'}RuleCollection",
        "name": "collection",
        "priority": 100,
        "action": {"type": action},
        "rules": list(rules),
    }
    return {"properties": {"priority": priority, "ruleCollections": [collection]}}


def nat_rule(name: str = "ssh", port: int | str = 20_001, **changes: Any) -> dict[str, Any]:
    """Return a translation to the VM's port 22, in a policy."""
    return {
        "ruleType": "NatRule",
        "name": name,
        "ipProtocols": ["TCP"],
        "sourceAddresses": [ALICE],
        "destinationAddresses": [PUBLIC_ADDRESS],
        "destinationPorts": [str(port)],
        "translatedAddress": VM_ADDRESS,
        "translatedPort": "22",
        **changes,
    }


def classic_nat(name: str = "ssh", port: int | str = 20_001, **changes: Any) -> dict[str, Any]:
    """Return a translation to the VM's port 22, as a classic rule."""
    rule = nat_rule(name, port, **changes)
    rule["protocols"] = rule.pop("ipProtocols")
    del rule["ruleType"]
    return rule


def network_rule(name: str = "vpn", **changes: Any) -> dict[str, Any]:
    """Return a network rule for the VM's port 22, in a policy."""
    return {
        "ruleType": "NetworkRule",
        "name": name,
        "ipProtocols": ["TCP"],
        "sourceAddresses": ["10.9.0.0/16"],
        "destinationAddresses": [VM_ADDRESS],
        "destinationPorts": ["22"],
        **changes,
    }


def classic_collection(
    name: str, *rules: dict[str, Any], priority: int = 200, action: str = "Dnat"
) -> dict[str, Any]:
    """Return a classic rule collection."""
    return {
        "name": name,
        "properties": {"priority": priority, "action": {"type": action}, "rules": list(rules)},
    }


def nsg(*sources: str) -> dict[str, Any]:
    """Return the VM's security group; with sources it allows them to port 22."""
    rules = []
    if sources:
        rules.append(
            {
                "name": "jit",
                "properties": {
                    "protocol": "Tcp",
                    "sourcePortRange": "*",
                    "destinationPortRange": "22",
                    "sourceAddressPrefixes": list(sources),
                    "destinationAddressPrefix": "*",
                    "access": "Allow",
                    "priority": 200,
                    "direction": "Inbound",
                },
            }
        )
    deny = {
        "name": "deny",
        "properties": {
            "protocol": "*",
            "sourcePortRange": "*",
            "destinationPortRange": "*",
            "sourceAddressPrefix": "*",
            "destinationAddressPrefix": "*",
            "access": "Deny",
            "priority": 1000,
            "direction": "Inbound",
        },
    }
    return _resource(NSG, "Microsoft.Network/networkSecurityGroups", securityRules=[*rules, deny])


def nic(**configuration: Any) -> dict[str, Any]:
    """Return the VM's network interface."""
    entry = {
        "name": "ipconfig1",
        "properties": {
            "privateIPAddress": VM_ADDRESS,
            "primary": True,
            "subnet": {"id": SUBNET},
            **configuration,
        },
    }
    return _resource(
        NIC,
        "Microsoft.Network/networkInterfaces",
        ipConfigurations=[entry],
        networkSecurityGroup={"id": NSG},
    )


def machine(state: str = "running") -> dict[str, Any]:
    """Return the VM."""
    return _resource(
        VM,
        "Microsoft.Compute/virtualMachines",
        networkProfile={"networkInterfaces": [{"id": NIC, "properties": {"primary": True}}]},
        instanceView={"statuses": [{"code": f"PowerState/{state}"}]},
    )


def table(hop: str = FIREWALL_ADDRESS) -> dict[str, Any]:
    """Return the spoke's route table."""
    route = {
        "name": "default",
        "properties": {
            "addressPrefix": "0.0.0.0/0",
            "nextHopType": "VirtualAppliance",
            "nextHopIpAddress": hop,
        },
    }
    return _resource(TABLE, "Microsoft.Network/routeTables", routes=[route])


def public_address(resource_id: str, address: str) -> dict[str, Any]:
    """Return a public address."""
    return _resource(resource_id, "Microsoft.Network/publicIPAddresses", ipAddress=address)


def ip_group(*addresses: str, resource_id: str = IP_GROUP) -> dict[str, Any]:
    """Return an IP group."""
    return _resource(
        resource_id,
        "Microsoft.Network/IpGroups",
        ipAddresses=list(addresses),
        provisioningState="Succeeded",
    )


def _network(resource_id: str, space: str, peering: dict[str, Any]) -> dict[str, Any]:
    return _resource(
        resource_id,
        "Microsoft.Network/virtualNetworks",
        addressSpace={"addressPrefixes": [space]},
        subnets=[],
        virtualNetworkPeerings=[peering],
    )


def _subnet(resource_id: str, prefix: str, **properties: Any) -> dict[str, Any]:
    resource_type = "Microsoft.Network/virtualNetworks/subnets"
    return _resource(resource_id, resource_type, addressPrefix=prefix, **properties)


def _resource(resource_id: str, resource_type: str, **properties: Any) -> dict[str, Any]:
    return {
        "id": resource_id,
        "name": resource_id.rsplit("/", 1)[-1],
        "type": resource_type,
        "location": "westeurope",
        "properties": properties,
    }
