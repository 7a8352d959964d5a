"""Azure Bastion as ARM describes it: which hosts reach a virtual network, and from which prefixes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.adapters.arm import ArmReader, NotReadableError, list_all
from shared.domain.bastion import DEVELOPER_PREFIX, BastionHost, BastionReach
from shared.domain.ids import key_of
from shared.ports import OutsideError
from shared.use_cases.reports.inventory import places_in

_NETWORK = "2024-05-01"
_SUBNET = "azurebastionsubnet"
Resource = Mapping[str, Any]


class ArmBastions:
    """Finds the Bastion hosts of a VM's networks and of the networks peered with them."""

    def __init__(self, arm: ArmReader, scopes: Sequence[str] = ()) -> None:
        self._arm = arm
        self._scopes = scopes

    def reach(self, networks: Sequence[str]) -> BastionReach:
        """Return the hosts that reach some networks; raises OutsideError.

        What the app may not read is told, and hides nothing that it may.
        """
        found: dict[str, BastionHost] = {}
        unreadable: list[str] = []
        for network_id in networks:
            for near, is_peered in self._around(network_id, unreadable):
                for host in self._hosts(near, unreadable):
                    made = _host(host, near, is_peered=is_peered)
                    if made is not None:
                        found.setdefault(key_of(made.id), made)
        return BastionReach(tuple(found.values()), "; ".join(dict.fromkeys(unreadable)))

    def _around(self, network_id: str, unreadable: list[str]) -> list[tuple[Resource, bool]]:
        """Return a network, and those that are peered with it."""
        own = self._read(network_id, unreadable)
        if own is None:
            return []
        peered = [self._read(each, unreadable) for each in peered_networks(own)]
        return [(own, False), *((each, True) for each in peered if each is not None)]

    def _read(self, network_id: str, unreadable: list[str]) -> Resource | None:
        try:
            found = self._arm.get(network_id, _NETWORK)
        except NotReadableError:
            action = "Microsoft.Network/virtualNetworks/read"
            unreadable.append(f"the app needs {action} on {network_id}")
            return None
        if found is None:
            raise OutsideError(f"{network_id} is named by a subnet or peering and was not found")
        return found

    def _hosts(self, network: Resource, unreadable: list[str]) -> list[dict[str, Any]]:
        """List the hosts of the subscription of a network, or of those groups that are in scope."""
        subscription = network["id"].split("/")[2]
        places = places_in(self._scopes, subscription) or (f"/subscriptions/{subscription}",)
        try:
            return list_all(self._arm, places, "Microsoft.Network/bastionHosts", _NETWORK)
        except NotReadableError:
            action = "Microsoft.Network/bastionHosts/read"
            unreadable.append(f"the app needs {action} in {', '.join(places)}")
            return []


def peered_networks(network: Resource) -> list[str]:
    """Return the networks whose packets a network lets in over a connected peering."""
    return [
        held["remoteVirtualNetwork"]["id"]
        for peering in network["properties"].get("virtualNetworkPeerings") or ()
        if (held := peering["properties"]).get("peeringState") == "Connected"
        and held.get("allowVirtualNetworkAccess")
        and held.get("remoteVirtualNetwork")
    ]


def _host(host: Resource, network: Resource, *, is_peered: bool) -> BastionHost | None:
    """Return a host as it reaches VMs from a network; None: it stands elsewhere."""
    held = host["properties"]
    sku = str((host.get("sku") or {}).get("name", ""))
    own = (held.get("virtualNetwork") or {}).get("id", "")
    if sku.lower() == "developer":
        if is_peered or key_of(own) != key_of(network["id"]):
            return None
        return BastionHost(host["id"], sku, (DEVELOPER_PREFIX,))
    named = {key_of(each) for each in _subnet_ids(held)}
    prefixes = tuple(
        prefix
        for subnet in network["properties"].get("subnets") or ()
        if key_of(subnet["id"]) in named and subnet["name"].lower() == _SUBNET
        for prefix in _prefixes(subnet["properties"])
    )
    return BastionHost(host["id"], sku, prefixes, is_peered) if prefixes else None


def _subnet_ids(held: Resource) -> Iterable[str]:
    for config in held.get("ipConfigurations") or ():
        subnet = config["properties"].get("subnet")
        if subnet:
            yield subnet["id"]


def _prefixes(subnet: Resource) -> tuple[str, ...]:
    """Return the prefixes of a subnet, from whichever field Azure fills."""
    return tuple(subnet.get("addressPrefixes") or (subnet.get("addressPrefix"),))
