"""The virtual networks that a VM's interfaces stand in."""

from typing import Any

from shared.firewalls.nsg.resources import networks_of

VNET = "/subscriptions/x/resourceGroups/g/providers/Microsoft.Network/virtualNetworks"


def test_each_network_is_named_once_whatever_its_spelling() -> None:
    """Subnets of one network give one network, and an interface without a subnet gives none."""
    subnets = (f"{VNET}/one/subnets/a", f"{VNET.upper()}/ONE/subnets/b", f"{VNET}/two/subnets/a")
    nics: list[dict[str, Any]] = [
        {"properties": {"ipConfigurations": [{"properties": {"subnet": {"id": each}}}]}}
        for each in subnets
    ]
    bare: dict[str, Any] = {"properties": {"ipConfigurations": [{"properties": {}}]}}
    assert len(networks_of([*nics, bare])) == 2
    assert networks_of([bare]) == ()
