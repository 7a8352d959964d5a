"""Azure Bastion as ARM describes it: which hosts reach a virtual network, and from which prefixes."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from shared.adapters.arm import ArmReader
from shared.domain.bastion import DEVELOPER_PREFIX, BastionHost, BastionReach
from shared.domain.ids import key_of, places_in
from shared.ports import NotReadableError, OutsideError

_NETWORK = "2024-05-01"
_SUBNET = "azurebastionsubnet"
Resource = Mapping[str, Any]
Known = TypeVar("Known")


class ArmBastions:
    """Finds the Bastion hosts of a VM's networks and of the networks peered with them."""

    def __init__(self, arm: ArmReader, scopes: Sequence[str] = ()) -> None:
        self._arm = arm
        self._scopes = scopes

    def reach(self, networks: Sequence[str]) -> BastionReach:
        """Return the hosts that reach some networks; raises OutsideError.

        A resource that the app may not read is reported, and hides no other.
        """
        return _Lookup(self._arm, self._scopes).reach(networks)

    def reach_each(self, networks: Sequence[str]) -> dict[str, BastionReach]:
        """Return the hosts that reach each of many networks, by key; raises OutsideError.

        Networks and hosts are listed once for each subscription; a network that no list holds,
        such as a hub in another subscription, is read by itself.
        """
        lookup = _Lookup(self._arm, self._scopes)
        lookup.list_networks({each.split("/")[2].lower() for each in networks})
        return {key_of(each): lookup.reach((each,)) for each in networks}


class _Lookup:
    """The networks and hosts of one look-up; each is read once."""

    def __init__(self, arm: ArmReader, scopes: Sequence[str]) -> None:
        self._arm = arm
        self._scopes = scopes
        self._networks: dict[str, Resource | str] = {}  # a text: why it cannot be read
        self._hosts: dict[tuple[str, ...], Sequence[Resource] | str] = {}

    def reach(self, networks: Sequence[str]) -> BastionReach:
        """Return the hosts that reach some networks."""
        found: dict[str, BastionHost] = {}
        unreadable: list[str] = []
        for network_id in networks:
            for near, is_peered in self._around(network_id, unreadable):
                for host in _known(self._hosts_near(near), unreadable) or ():
                    made = _host(host, near, is_peered=is_peered)
                    if made is not None:
                        found.setdefault(key_of(made.id), made)
        return BastionReach(tuple(found.values()), "; ".join(dict.fromkeys(unreadable)))

    def list_networks(self, subscriptions: Iterable[str]) -> None:
        """List the networks of some subscriptions, as far as the app may."""
        for subscription in sorted(subscriptions):
            with suppress(NotReadableError):
                for network in self._list(self._places(subscription), "virtualNetworks"):
                    self._networks[key_of(network["id"])] = network

    def _around(self, network_id: str, unreadable: list[str]) -> list[tuple[Resource, bool]]:
        """Return a network, and those that are peered with it."""
        own = _known(self._network(network_id), unreadable)
        if own is None:
            return []
        peered = [_known(self._network(each), unreadable) for each in peered_networks(own)]
        return [(own, False), *((each, True) for each in peered if each is not None)]

    def _network(self, network_id: str) -> Resource | str:
        key = key_of(network_id)
        if key not in self._networks:
            self._networks[key] = self._read(network_id)
        return self._networks[key]

    def _read(self, network_id: str) -> Resource | str:
        try:
            found = self._arm.get(network_id, _NETWORK)
        except NotReadableError:
            return f"the app needs Microsoft.Network/virtualNetworks/read on {network_id}"
        if found is None:
            raise OutsideError(f"{network_id} is named by a subnet or peering and was not found")
        return found

    def _hosts_near(self, network: Resource) -> Sequence[Resource] | str:
        """Return the hosts of the subscription of a network, or of those groups in scope."""
        places = self._places(network["id"].split("/")[2].lower())
        if places not in self._hosts:
            try:
                self._hosts[places] = self._list(places, "bastionHosts")
            except NotReadableError:
                action = "Microsoft.Network/bastionHosts/read"
                self._hosts[places] = f"the app needs {action} in {', '.join(places)}"
        return self._hosts[places]

    def _places(self, subscription: str) -> tuple[str, ...]:
        return places_in(self._scopes, subscription) or (f"/subscriptions/{subscription}",)

    def _list(self, places: Iterable[str], resource_type: str) -> Sequence[Resource]:
        return self._arm.list_in(places, f"Microsoft.Network/{resource_type}", _NETWORK)


def _known(found: Known | str, unreadable: list[str]) -> Known | None:
    """Return the resource; where it could not be read, keep the reason and return None."""
    if isinstance(found, str):
        unreadable.append(found)
        return None
    return found


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
    takes_tunnels = bool(held.get("enableTunneling"))  # an old host lacks the field
    named = {key_of(each) for each in _subnet_ids(held)}
    prefixes = tuple(
        prefix
        for subnet in network["properties"].get("subnets") or ()
        if key_of(subnet["id"]) in named and subnet["name"].lower() == _SUBNET
        for prefix in _prefixes(subnet["properties"])
    )
    return BastionHost(host["id"], sku, prefixes, is_peered, takes_tunnels) if prefixes else None


def _subnet_ids(held: Resource) -> Iterable[str]:
    for config in held.get("ipConfigurations") or ():
        subnet = config["properties"].get("subnet")
        if subnet:
            yield subnet["id"]


def _prefixes(subnet: Resource) -> tuple[str, ...]:
    """Return the prefixes of a subnet, from whichever field Azure fills."""
    return tuple(subnet.get("addressPrefixes") or (subnet.get("addressPrefix"),))
