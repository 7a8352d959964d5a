"""Read firewalls, their public addresses, networks and IP groups through the cloud."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.domain.ids import key_of, name_of
from shared.firewalls.azure_rules.cloud import Body, FirewallCloud
from shared.firewalls.azure_rules.model import SETTLING_SECONDS, AzureSettings, texts
from shared.firewalls.azure_rules.placing import Front
from shared.ports import OutsideError, SettlingError

_UNDER_WAY = frozenset({"Updating", "Deleting"})


def state_of(body: Mapping[str, Any]) -> str:
    """Return a resource's provisioning state."""
    return str((body.get("properties") or {}).get("provisioningState", ""))


def raise_if_under_way(body: Mapping[str, Any]) -> None:
    """Raise SettlingError while a write on a resource is under way."""
    if state_of(body) in _UNDER_WAY:
        raise SettlingError(
            f"'{body.get('name')}' is {state_of(body)}", retry_after=SETTLING_SECONDS
        )


def fault_of(bodies: Iterable[Mapping[str, Any]]) -> str:
    """Return which resource is in a failed state; empty: none."""
    for body in bodies:
        if state_of(body) not in {"Succeeded", ""}:
            return (
                f"'{body.get('name')}' is {state_of(body)}: its instances may enforce different "
                "rules until a write succeeds"
            )
    return ""


def existing(cloud: FirewallCloud, resource_id: str) -> Body:
    """Read a resource that another one names; raises OutsideError where it is not found."""
    found = cloud.get(resource_id)
    if found is None:
        raise OutsideError(f"{resource_id} is named by another resource and was not found")
    return found


@dataclass(frozen=True)
class Fronts:
    """The deployed firewalls, and everything that was read about them."""

    fronts: tuple[Front, ...]
    bodies: tuple[Body, ...]


def read_fronts(cloud: FirewallCloud, firewalls: Sequence[Body], settings: AzureSettings) -> Fronts:
    """Read the public addresses and the network of each deployed firewall."""
    fronts, bodies = [], []
    for firewall in firewalls:
        addresses = [existing(cloud, each) for each in public_address_ids(firewall)]
        network = _network(cloud, firewall)
        fronts.append(front_from(firewall, addresses, network, settings))
        bodies += [*addresses, *([network] if network else [])]
    return Fronts(tuple(fronts), tuple(bodies))


def front_from(
    firewall: Mapping[str, Any],
    addresses: Iterable[Mapping[str, Any]],
    network: Mapping[str, Any] | None,
    settings: AzureSettings,
) -> Front:
    """Describe a deployed firewall; the chosen public address stands first."""
    public = [
        str(each["properties"]["ipAddress"])
        for each in addresses
        if each["properties"].get("ipAddress")
    ]
    public.sort(key=lambda address: address != settings.public_address)
    properties = (network or {}).get("properties") or {}
    spaces = list(texts((properties.get("addressSpace") or {}).get("addressPrefixes")))
    for peering in properties.get("virtualNetworkPeerings") or ():
        space = (peering.get("properties") or {}).get("remoteAddressSpace") or {}
        spaces += texts(space.get("addressPrefixes"))
    key = key_of(subnet_id(firewall))
    prefixes: tuple[str, ...] = ()
    for subnet in properties.get("subnets") or ():
        if key_of(subnet["id"]) == key:
            prefixes = subnet_prefixes(subnet)
    return Front(str(firewall["id"]), tuple(public), tuple(spaces), prefixes)


def subnet_prefixes(subnet: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the prefixes of a subnet: what inner firewalls see of a translated source."""
    properties = subnet["properties"]
    single = [properties["addressPrefix"]] if properties.get("addressPrefix") else []
    return tuple(dict.fromkeys([*single, *texts(properties.get("addressPrefixes"))]))


def public_address_ids(firewall: Mapping[str, Any]) -> list[str]:
    """Return the ids of a firewall's public addresses, in its own order."""
    return [
        str(each["properties"]["publicIPAddress"]["id"])
        for each in firewall["properties"].get("ipConfigurations") or ()
        if each["properties"].get("publicIPAddress")
    ]


def subnet_id(firewall: Mapping[str, Any]) -> str:
    """Return the id of a firewall's subnet; empty: it is not deployed in a network."""
    for each in firewall["properties"].get("ipConfigurations") or ():
        if each["properties"].get("subnet"):
            return str(each["properties"]["subnet"]["id"])
    return ""


def unsupported(firewall: Mapping[str, Any]) -> str:
    """Return why grants cannot be written to a firewall; empty: they can."""
    properties = firewall["properties"]
    name = firewall.get("name") or name_of(str(firewall["id"]))
    if properties.get("virtualHub") or (properties.get("sku") or {}).get("name") == "AZFW_Hub":
        return f"firewall '{name}' stands in a Virtual WAN hub, which is not supported"
    if not properties.get("ipConfigurations"):
        return f"firewall '{name}' is deallocated: it has no IP configuration"
    return ""


def resolve_groups(
    cloud: FirewallCloud, named: Iterable[str]
) -> tuple[dict[str, tuple[str, ...]], list[Body]]:
    """Return the addresses of IP groups by key; one that cannot be read is left out."""
    found: dict[str, tuple[str, ...]] = {}
    bodies = []
    for group_id in dict.fromkeys(key_of(each) for each in named):
        try:
            body = cloud.get(group_id)
        except OutsideError as error:
            if "403" not in str(error) and type(error).__name__ != "NotReadableError":
                raise
            continue
        if body is not None:
            found[group_id] = texts(body["properties"].get("ipAddresses"))
            bodies.append(body)
    return found, bodies


def _network(cloud: FirewallCloud, firewall: Body) -> Body | None:
    subnet = subnet_id(firewall)
    return existing(cloud, subnet.rpartition("/subnets/")[0]) if subnet else None
