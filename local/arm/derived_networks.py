"""Virtual networks that are only referred to, derived from what refers to them.

`az network nic list` names the subnet of each interface, and `az network nsg list` the subnets a
group stands in front of. That tells which networks there are and who stands in front of them. The
prefixes are the smallest guess that holds the known addresses; `az network vnet list` says better.
"""

from collections.abc import Iterable, Iterator
from ipaddress import collapse_addresses, ip_network

from local.arm import ids
from local.arm.az_forms import Json
from local.arm.store import NIC, NSG, SUBNET, VNET, subnets_of, type_of

_USUAL_LENGTH = {4: 24, 6: 64}
_NO_ADDRESS = "10.0.0.0/24"


def add_derived_networks(resources: list[Json]) -> list[Json]:
    """Return the resources with the virtual networks and subnets that they refer to."""
    held = _subnets(resources)
    addresses: dict[str, list[str]] = {}
    spelled: dict[str, str] = {}
    for subnet_id, address in _used(resources):
        key = ids.key(subnet_id)
        if key not in held:
            spelled.setdefault(key, subnet_id)
            addresses.setdefault(key, []).extend(filter(None, [address]))
    groups = dict(_groups_of_subnets(resources))
    made = [_subnet(spelled[key], addresses[key], groups.get(key)) for key in spelled]
    networks = _networks(resources, made)
    return [*networks, *resources, *(each for each in made if not _is_new(each, networks))]


def _subnets(resources: Iterable[Json]) -> set[str]:
    found = set()
    for each in resources:
        if type_of(each) == VNET:
            found |= {ids.key(subnet["id"]) for subnet in subnets_of(each)}
        elif type_of(each) == SUBNET:
            found.add(ids.key(each["id"]))
    return found


def _used(resources: Iterable[Json]) -> Iterator[tuple[str, str]]:
    """Name each subnet that is referred to, with an address in it where one is known."""
    for each in resources:
        if type_of(each) == NIC:
            for configuration in each["properties"]["ipConfigurations"]:
                given = configuration["properties"]
                yield given["subnet"]["id"], given.get("privateIPAddress", "")
        elif type_of(each) == NSG:
            for subnet in each["properties"].get("subnets", []):
                yield subnet["id"], ""


def _groups_of_subnets(resources: Iterable[Json]) -> Iterator[tuple[str, str]]:
    for each in resources:
        if type_of(each) == NSG:
            for subnet in each["properties"].get("subnets", []):
                yield ids.key(subnet["id"]), each["id"]


def _subnet(subnet_id: str, addresses: list[str], group_id: str | None) -> Json:
    prefixes = _prefixes(addresses)
    properties: Json = {"provisioningState": "Succeeded", "addressPrefixes": prefixes}
    if len(prefixes) == 1:
        properties = {"provisioningState": "Succeeded", "addressPrefix": prefixes[0]}
    if group_id is not None:
        properties["networkSecurityGroup"] = {"id": group_id}
    return {
        "id": subnet_id,
        "name": ids.last_name(subnet_id),
        "type": "Microsoft.Network/virtualNetworks/subnets",
        "properties": properties,
    }


def _prefixes(addresses: Iterable[str]) -> list[str]:
    """Return usual prefixes that hold some addresses, those of IPv4 first."""
    networks = [ip_network(each) for each in addresses]
    found = []
    for family, length in _USUAL_LENGTH.items():
        wide = [each.supernet(new_prefix=length) for each in networks if each.version == family]
        found += [str(each) for each in collapse_addresses(wide)]  # type: ignore[type-var]
    return found or [_NO_ADDRESS]


def _networks(resources: Iterable[Json], made: Iterable[Json]) -> list[Json]:
    """Return the virtual networks of derived subnets that are in no file."""
    held = {ids.key(each["id"]) for each in resources if type_of(each) == VNET}
    found: dict[str, Json] = {}
    for subnet in made:
        vnet_id = subnet["id"].rsplit("/", 2)[0]
        if ids.key(vnet_id) not in held:
            vnet = found.setdefault(ids.key(vnet_id), _network(vnet_id))
            vnet["properties"]["subnets"].append(subnet)
            given = subnet["properties"]
            prefixes = given.get("addressPrefixes") or [given["addressPrefix"]]
            space = vnet["properties"]["addressSpace"]["addressPrefixes"]
            space += [each for each in prefixes if each not in space]
    return list(found.values())


def _network(vnet_id: str) -> Json:
    return {
        "id": vnet_id,
        "name": ids.last_name(vnet_id),
        "type": "Microsoft.Network/virtualNetworks",
        "location": "westeurope",
        "properties": {
            "provisioningState": "Succeeded",
            "addressSpace": {"addressPrefixes": []},
            "subnets": [],
        },
    }


def _is_new(subnet: Json, networks: Iterable[Json]) -> bool:
    """Tell whether a derived subnet stands in a network that was derived with it."""
    vnet_id = subnet["id"].rsplit("/", 2)[0]
    return any(ids.same(vnet_id, each["id"]) for each in networks)
