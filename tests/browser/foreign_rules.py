"""Rules that another writer puts into a network security group."""

from typing import Any

from tests.e2e.playing import Azure, Json

SSH_TO_ALL: Json = {
    "protocol": "Tcp",
    "access": "Allow",
    "direction": "Inbound",
    "priority": 100,
    "sourcePortRange": "*",
    "sourceAddressPrefix": "Internet",
    "destinationPortRange": "22",
    "destinationAddressPrefix": "*",
}


def add_rule(azure: Azure, nsg: str, name: str, rule: Json) -> None:
    """Write a rule of another writer into a network security group."""
    rules: Any = azure.network.security_rules
    rules.begin_create_or_update(
        nsg.split("/")[4], nsg.split("/")[8], name, {"properties": rule}
    ).result()


def remove_rule(azure: Azure, nsg: str, name: str) -> None:
    """Remove a rule of another writer."""
    rules: Any = azure.network.security_rules
    rules.begin_delete(nsg.split("/")[4], nsg.split("/")[8], name).result()
