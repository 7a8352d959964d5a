"""Which firewall stands before which VM: interface, subnet, route table, next hop. Pure.

The VM need not run: its effective routes are not asked for.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from shared.domain.ids import key_of, name_of
from shared.domain.network import network
from shared.firewalls.azure_firewall import wire as classic
from shared.firewalls.azure_rules.estate import (
    AddressEntry,
    Estate,
    Resource,
    entries_of,
    interface_ids,
    network_of,
    private_addresses,
    reachable_networks,
)
from shared.firewalls.azure_rules.model import AzureSettings, Rule, texts
from shared.firewalls.azure_rules.reading import subnet_id, subnet_prefixes, unsupported
from shared.firewalls.azure_rules.wire import Addresses
from shared.firewalls.firewall_policy import wire as policies

ROUTE, TRANSLATION = "route", "translation"
_APPLIANCE = "VirtualAppliance"


@dataclass(frozen=True)
class Stand:
    """A firewall before some addresses of a VM."""

    firewall: Resource
    addresses: tuple[str, ...]
    found_by: str
    prefixes: tuple[str, ...] = ()  # what inner firewalls see of translated sources
    policies: tuple[Resource, ...] = ()  # the outermost parent first; none: classic rules
    unsupported: str = ""


@dataclass(frozen=True)
class VmPath:
    """The firewalls in front of a VM, and the parts of the path that are unknown."""

    vm_id: str
    stands: tuple[Stand, ...] = ()
    unknown: str = ""
    asymmetric: tuple[str, ...] = ()  # own public addresses whose replies the firewall drops

    @property
    def problem(self) -> str:
        """Return warnings for an administrator; empty: none."""
        return self.unknown or self.drops_replies or self.unsupported

    @property
    def drops_replies(self) -> str:
        """Return which public address of the VM is not usable; empty: none, or all are."""
        if not self.asymmetric:
            return ""
        return (
            f"the path is asymmetric: public address {self.asymmetric[0]} of the VM is not usable, "
            "since replies leave by the firewall, which drops them; connect through the firewall"
        )

    @property
    def unsupported(self) -> str:
        """Return which firewall before the VM cannot be opened, and why; empty: none."""
        return next((each.unsupported for each in self.stands if each.unsupported), "")


def find_paths(
    estate: Estate, settings: AzureSettings, vm_ids: Iterable[str] | None = None
) -> dict[str, VmPath]:
    """Return the path of each listed VM by key."""
    finder = _Finder(estate, settings)
    wanted = None if vm_ids is None else {key_of(each) for each in vm_ids}
    return {
        key_of(vm["id"]): finder.path(vm)
        for vm in estate.vms
        if wanted is None or key_of(vm["id"]) in wanted
    }


def rules_of(
    estate: Estate, firewall: Resource, settings: AzureSettings
) -> tuple[tuple[Rule, ...], list[Resource]]:
    """Return the rules of a firewall in order, and each rule's JSON beside it."""
    addresses = group_addresses(estate)
    chain = estate.policies_of(firewall)
    if chain:
        groups = [estate.rule_groups.get(key_of(str(each["id"])), ()) for each in chain]
        ours = policies.group_id(str(chain[-1]["id"]), settings)
        rules = policies.rules_in_order(groups, settings, addresses, ours)
        return rules, policies.bodies_in_order(groups)
    rules = classic.rules_in_order(firewall, settings, addresses)
    return rules, classic.bodies_in_order(firewall)


def group_addresses(estate: Estate) -> Addresses:
    """Return the addresses of every listed IP group by key."""
    return {
        key_of(str(each["id"])): texts(each["properties"].get("ipAddresses"))
        for each in estate.ip_groups
    }


class _Finder:
    def __init__(self, estate: Estate, settings: AzureSettings) -> None:
        self._estate = estate
        self._by_address: dict[str, list[Resource]] = {}
        self._targets: dict[str, list[Resource]] = {}  # VM address -> firewalls that translate
        for firewall in estate.firewalls:
            for address in private_addresses(firewall):
                self._by_address.setdefault(address, []).append(firewall)
            for rule in rules_of(estate, firewall, settings)[0]:
                if rule.translates and rule.to_address:
                    self._targets.setdefault(rule.to_address, []).append(firewall)

    def path(self, vm: Resource) -> VmPath:
        entries, unread = [], ""
        for each in interface_ids(vm):
            interface = self._estate.by_id.get(key_of(each))
            if interface is None:
                unread = f"its network interface '{name_of(each)}' could not be read"
            else:
                entries += list(entries_of(interface))
        stands: dict[str, Stand] = {}
        asymmetric = []
        for entry in entries:
            routed, unknown = self._routed(entry)
            unread = unread or unknown
            for firewall in routed:
                self._note(stands, firewall, entry.address, ROUTE)
            for firewall in self._translating(entry):
                self._note(stands, firewall, entry.address, TRANSLATION)
            public = self._estate.get(entry.public)
            if routed and entry.public:
                known = (public or {}).get("properties", {}).get("ipAddress")
                asymmetric.append(str(known or name_of(str(entry.public["id"]))))
        return VmPath(str(vm["id"]), tuple(stands.values()), unread, tuple(asymmetric))

    def _routed(self, entry: AddressEntry) -> tuple[list[Resource], str]:
        """Return the firewalls that routes of the subnet name, or what else they name."""
        subnet = self._estate.get(entry.subnet)
        if subnet is None:
            return [], f"its subnet '{name_of(str(entry.subnet['id']))}' could not be read"
        reference = subnet["properties"].get("routeTable")
        if not reference:
            return [], ""
        table = self._estate.get(reference)
        if table is None:
            return [], f"its route table '{name_of(str(reference['id']))}' could not be read"
        found, unknown = [], ""
        for route in _appliance_routes(table):
            hop = str(route["properties"].get("nextHopIpAddress", ""))
            matched = [f for f in self._by_address.get(hop, ()) if self._reaches(entry, f)]
            found += matched
            if not matched and _is_default(route):
                unknown = unknown or self._unknown_hop(table, route, hop)
        return found, unknown

    def _unknown_hop(self, table: Resource, route: Resource, hop: str) -> str:
        holder = self._estate.holder_of(hop)
        if self._estate.balancers is None and holder.startswith("no "):
            holder = "unknown: load balancers could not be read"
        return (
            f"route '{route.get('name')}' of table '{table.get('name')}' leads to {hop} "
            f"({holder}), whose rules are not known"
        )

    def _translating(self, entry: AddressEntry) -> list[Resource]:
        return [f for f in self._targets.get(entry.address, ()) if self._reaches(entry, f)]

    def _reaches(self, entry: AddressEntry, firewall: Resource) -> bool:
        """Tell whether a firewall stands in the network of an address or in one peered to it.

        The same private address may stand in many networks.
        """
        subnet = subnet_id(firewall)
        if not subnet:
            return bool(firewall["properties"].get("virtualHub"))
        near = reachable_networks(self._estate, network_of(str(entry.subnet["id"])))
        return network_of(subnet) in near

    def _note(
        self, stands: dict[str, Stand], firewall: Resource, address: str, found_by: str
    ) -> None:
        key = key_of(str(firewall["id"]))
        present = stands.get(key)
        if present is None:
            subnet = self._estate.by_id.get(key_of(subnet_id(firewall)))
            stands[key] = Stand(
                firewall,
                (address,),
                found_by,
                subnet_prefixes(subnet) if subnet else (),
                tuple(self._estate.policies_of(firewall)),
                unsupported(firewall) or self._missing_policy(firewall),
            )
        elif address not in present.addresses:
            stands[key] = replace(present, addresses=(*present.addresses, address))

    def _missing_policy(self, firewall: Resource) -> str:
        reference = firewall["properties"].get("firewallPolicy")
        if reference and self._estate.get(reference) is None:
            return f"firewall policy '{name_of(str(reference['id']))}' could not be read"
        return ""


def _appliance_routes(table: Resource) -> Iterator[Resource]:
    for route in table["properties"].get("routes") or ():
        if route["properties"].get("nextHopType") == _APPLIANCE:
            yield route


def _is_default(route: Resource) -> bool:
    """Tell whether a route carries replies to public sources."""
    prefix = network(str(route["properties"].get("addressPrefix", "")))
    return prefix is None or prefix.prefixlen <= 1
