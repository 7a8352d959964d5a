"""Three spokes, each behind a hub firewall: one with a policy, one with classic rules, one with an IP group."""

from typing import Any

Json = dict[str, Any]
_SPOKES = "3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
_HUBS = "8d6a1c0f-3e52-4b7a-9c44-0a5b7f21d9e3"
FIREWALL_TYPES = ("policy", "classic", "group")


def firewall_estate(deployment: str) -> Json:
    """Return the estate of the firewall scene."""
    return {
        "resources": [
            part
            for at, firewall_type in enumerate(FIREWALL_TYPES)
            for part in _site(at, firewall_type, deployment)
        ]
    }


def vm_id(firewall_type: str) -> str:
    """Return the id of the VM behind a type of firewall."""
    return f"/subscriptions/{_SPOKES}/resourceGroups/{firewall_type}-rg/providers/Microsoft.Compute/virtualMachines/{firewall_type}-1"


def _site(at: int, firewall_type: str, deployment: str) -> list[Json]:
    net = f"/subscriptions/{_SPOKES}/resourceGroups/{firewall_type}-rg/providers/Microsoft.Network"
    hub = (
        f"/subscriptions/{_HUBS}/resourceGroups/{firewall_type}-hub-rg/providers/Microsoft.Network"
    )
    near, far = f"10.{2 * at}", f"10.{2 * at + 1}"
    policy, group = (
        f"{hub}/firewallPolicies/{firewall_type}-policy",
        f"{hub}/ipGroups/ipg-jit-{deployment}-22",
    )
    subnet = f"{net}/virtualNetworks/spoke/subnets/apps"
    parts = [  # the VMs first: the app's scope is the subscription of the first resource
        *_machine(firewall_type, net, subnet, f"{far}.0.4"),
        *_network(f"{hub}/virtualNetworks/hub", near, f"{net}/virtualNetworks/spoke", far),
        *_network(f"{net}/virtualNetworks/spoke", far, f"{hub}/virtualNetworks/hub", near),
        _subnet(f"{hub}/virtualNetworks/hub/subnets/AzureFirewallSubnet", f"{near}.0.0/26"),
        _subnet(subnet, f"{far}.0.0/24", routeTable={"id": f"{net}/routeTables/routes"}),
        _routes(f"{net}/routeTables/routes", f"{near}.0.4"),
        _resource(f"{hub}/publicIPAddresses/entry", "publicIPAddresses", ipAddress=f"20.1.{at}.3"),
        _firewall(hub, firewall_type, f"{near}.0.4", "" if firewall_type == "classic" else policy),
    ]
    if firewall_type != "classic":
        sku = {"tier": "Standard"}
        parts.append(_resource(policy, "FirewallPolicies", sku=sku, threatIntelMode="Alert"))
    if firewall_type == "group":
        parts.append(_resource(group, "IpGroups", ipAddresses=["192.0.2.1/32"]))
        parts.append(_switch(policy, group, f"20.1.{at}.3", f"{far}.0.4"))
    return parts


def _machine(firewall_type: str, net: str, subnet: str, address: str) -> list[Json]:
    nic, nsg = (
        f"{net}/networkInterfaces/{firewall_type}-1-nic",
        f"{net}/networkSecurityGroups/{firewall_type}-1-nsg",
    )
    configuration = {
        "name": "ipconfig1",
        "id": f"{nic}/ipConfigurations/ipconfig1",
        "properties": {"privateIPAddress": address, "primary": True, "subnet": {"id": subnet}},
    }
    reference = {"id": nic, "properties": {"primary": True}}
    machine = _resource(
        vm_id(firewall_type),
        "virtualMachines",
        storageProfile={"osDisk": {"osType": "Linux"}},
        networkProfile={"networkInterfaces": [reference]},
        instanceView={"statuses": [{"code": "PowerState/running"}]},
    )
    machine["type"] = "Microsoft.Compute/virtualMachines"
    return [
        machine,
        _resource(nsg, "networkSecurityGroups", securityRules=[]),
        _resource(
            nic,
            "networkInterfaces",
            ipConfigurations=[configuration],
            networkSecurityGroup={"id": nsg},
        ),
    ]


def _firewall(hub: str, firewall_type: str, address: str, policy: str) -> Json:
    firewall = f"{hub}/azureFirewalls/{firewall_type}-fw"
    configuration = {
        "name": "first",
        "id": f"{firewall}/azureFirewallIpConfigurations/first",
        "properties": {
            "provisioningState": "Succeeded",
            "privateIPAddress": address,
            "publicIPAddress": {"id": f"{hub}/publicIPAddresses/entry"},
            "subnet": {"id": f"{hub}/virtualNetworks/hub/subnets/AzureFirewallSubnet"},
        },
    }
    rules: Json = {"natRuleCollections": [], "networkRuleCollections": []}
    return _resource(
        firewall,
        "azureFirewalls",
        sku={"name": "AZFW_VNet", "tier": "Standard"},
        threatIntelMode="Alert",
        additionalProperties={},
        ipConfigurations=[configuration],
        applicationRuleCollections=[],
        **rules,
        **({"firewallPolicy": {"id": policy}} if policy else {}),
    )


def _switch(policy: str, group: str, public: str, private: str) -> Json:
    """Return the owner's static translation, whose only source is our IP group."""
    rule = {
        "ruleType": "NatRule",
        "name": "ssh-by-jit",
        "ipProtocols": ["TCP"],
        "sourceIpGroups": [group],
        "destinationAddresses": [public],
        "destinationPorts": ["20022"],
        "translatedAddress": private,
        "translatedPort": "22",
    }
    collection = {
        "ruleCollectionType": "FirewallPolicyNatRuleCollection",
        "name": "by-jit",
        "priority": 100,
        "action": {"type": "Dnat"},
        "rules": [rule],
    }
    properties = {"priority": 200, "ruleCollections": [collection]}
    return {
        "id": f"{policy}/ruleCollectionGroups/owner",
        "name": "owner",
        "type": "Microsoft.Network/FirewallPolicies/RuleCollectionGroups",
        "properties": properties,
    }


def _network(network_id: str, space: str, remote: str, remote_space: str) -> list[Json]:
    peering = {
        "name": "other",
        "id": f"{network_id}/virtualNetworkPeerings/other",
        "properties": {
            "remoteVirtualNetwork": {"id": remote},
            "remoteAddressSpace": {"addressPrefixes": [f"{remote_space}.0.0/16"]},
        },
    }
    prefixes = {"addressPrefixes": [f"{space}.0.0/16"]}
    return [
        _resource(
            network_id,
            "virtualNetworks",
            addressSpace=prefixes,
            subnets=[],
            virtualNetworkPeerings=[peering],
        )
    ]


def _subnet(subnet_id: str, prefix: str, **properties: Any) -> Json:
    return _resource(subnet_id, "virtualNetworks/subnets", addressPrefix=prefix, **properties)


def _routes(table_id: str, hop: str) -> Json:
    properties = {
        "addressPrefix": "0.0.0.0/0",
        "nextHopType": "VirtualAppliance",
        "nextHopIpAddress": hop,
    }
    return _resource(
        table_id, "routeTables", routes=[{"name": "default", "properties": properties}]
    )


def _resource(resource_id: str, firewall_type: str, **properties: Any) -> Json:
    return {
        "id": resource_id,
        "name": resource_id.rsplit("/", 1)[-1],
        "type": f"Microsoft.Network/{firewall_type}",
        "location": "westeurope",
        "properties": {"provisioningState": "Succeeded", **properties},
    }
