"""Shared parts of the contract tests: names of the default estate, bodies, and a test place."""

from typing import Any

from azure.core.credentials import AccessToken
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.network.models import NetworkSecurityGroup, SecurityRule

SUBSCRIPTION = "3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
GROUP = "app-rg"
LOCATION = "westeurope"
SCOPE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
OPS_SCOPE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ops-rg"
NETWORK = "providers/Microsoft.Network"
WEB_NSG = f"{SCOPE}/{NETWORK}/networkSecurityGroups/web-nsg"
EMPTY_NSG = f"{OPS_SCOPE}/{NETWORK}/networkSecurityGroups/jit-probe"
SETTLE_SECONDS = 5.0
START = 1_750_000_000.0


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        """Return where it stands."""
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds


class StaticToken:
    """A credential that always has the same token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Return the token."""
        del scopes, options
        return AccessToken(self._token, 2**31)


class Place:
    """An empty network security group, in the simulator or in Azure."""

    def __init__(self, client: NetworkManagementClient, group: str, location: str) -> None:
        self.client = client
        self.group = group
        self.location = location
        self.nsg = ""

    def open(self, nsg: str) -> None:
        """Make the group."""
        self.nsg = nsg
        self.client.network_security_groups.begin_create_or_update(
            self.group, nsg, NetworkSecurityGroup({"location": self.location})
        ).result()

    def close(self) -> None:
        """Remove the group."""
        self.client.network_security_groups.begin_delete(self.group, self.nsg).result()
        self.client.close()

    def put(self, name: str, **properties: Any) -> Any:
        """Put a rule and wait until it is settled."""
        return self.client.security_rules.begin_create_or_update(
            self.group, self.nsg, name, SecurityRule(rule(**properties))
        ).result()

    def read(self) -> Any:
        """Read the group."""
        return self.client.network_security_groups.get(self.group, self.nsg)


def rule(**properties: Any) -> dict[str, Any]:
    """Make the body of a rule that nothing is wrong with, but for what is given."""
    good: dict[str, Any] = {
        "protocol": "Tcp",
        "access": "Allow",
        "direction": "Inbound",
        "priority": 200,
        "sourcePortRange": "*",
        "destinationPortRange": "22",
        "sourceAddressPrefix": "203.0.113.7",
        "destinationAddressPrefix": "10.0.1.4",
    }
    wanted = {**good, **properties}
    return {"properties": {name: value for name, value in wanted.items() if value is not None}}


def named(name: str, **properties: Any) -> dict[str, Any]:
    """Make a rule as it stands in the body of a group."""
    return {"name": name, **rule(**properties)}


def child(nsg: str, name: str) -> str:
    """Return the path of a rule."""
    return f"{nsg}/securityRules/{name}"


def machine(name: str, scope: str = SCOPE) -> str:
    """Return the id of a virtual machine of the default estate."""
    return f"{scope}/providers/Microsoft.Compute/virtualMachines/{name}"
