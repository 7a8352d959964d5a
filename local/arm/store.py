"""Everything there is: the resources of an estate, found by id in any letter case."""

import copy
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from local.arm import ids
from local.arm.nsg import Group, read_group
from local.arm.slow import SlowWrites, bare_etag

Resource = dict[str, Any]
NSG = "microsoft.network/networksecuritygroups"
NIC = "microsoft.network/networkinterfaces"
VNET = "microsoft.network/virtualnetworks"
SUBNET = "microsoft.network/virtualnetworks/subnets"
VM = "microsoft.compute/virtualmachines"
_BARE_ETAGS = ("microsoft.network/firewallpolicies", "microsoft.network/ipgroups")


def new_etag() -> str:
    """Return a fresh weak etag as the network provider writes them."""
    return f'W/"{uuid.uuid4()}"'


class Store:
    """The resources of one estate."""

    def __init__(self, resources: Iterable[Mapping[str, Any]]) -> None:
        self._resources: dict[str, Resource] = {}
        self._attached: dict[str, dict[str, list[str]]] | None = None
        self.groups: dict[str, Group] = {}
        self.slow = SlowWrites()
        self.subscriptions: dict[str, str] = {}
        self.resource_groups: dict[str, str] = {}
        self.group_tags: dict[str, dict[str, str]] = {}
        self.leaving_groups: dict[str, float] = {}  # resource groups, and when they are gone
        for resource in resources:
            self.add(resource)
        self.link()

    def add(self, resource: Mapping[str, Any]) -> None:
        """Add or replace one resource, written as ARM returns it."""
        resource_id = resource["id"]
        resource_type = type_of(resource)
        self._attached = None
        self._note_scopes(resource_id)
        if resource_type == NSG:
            group = read_group(resource, new_etag, str(uuid.uuid4()))
            self.groups[ids.key(resource_id)] = group
            return
        if resource_type == SUBNET:
            self._add_subnet(copy.deepcopy(dict(resource)))
            return
        body = copy.deepcopy(dict(resource))
        if resource_type.startswith("microsoft.network/"):
            is_bare = resource_type.startswith(_BARE_ETAGS)
            _give_etag(body, bare_etag if is_bare else new_etag)
        self._resources[ids.key(resource_id)] = body

    def replace(self, resource: Mapping[str, Any]) -> None:
        """Add or replace one resource, with new etags for it and what it was or is behind."""
        before = self.get(resource["id"])
        self.add({name: value for name, value in resource.items() if name != "etag"})
        for holder in (before, resource):
            group_id = reference(holder, "networkSecurityGroup") if holder else None
            group = self.group(group_id) if group_id else None
            if group is not None:
                group.touch()

    def remove(self, resource_id: str) -> None:
        """Remove one resource and what refers to it by a back reference."""
        key = ids.key(resource_id)
        self._attached = None
        self.groups.pop(key, None)
        self._resources.pop(key, None)
        for nic in self.of_type(NIC):
            machine = nic["properties"].get("virtualMachine")
            if machine and ids.same(machine["id"], resource_id):
                del nic["properties"]["virtualMachine"]

    def link(self) -> None:
        """Give network interfaces the reference back to their virtual machine."""
        for machine in self.of_type(VM):
            for nic_id in nics_of(machine):
                nic = self.get(nic_id)
                if nic is not None:
                    nic["properties"]["virtualMachine"] = {"id": machine["id"]}

    def get(self, resource_id: str) -> Resource | None:
        """Return a resource other than a network security group."""
        key = ids.key(resource_id)
        found = self._resources.get(key)
        if found is None and "/subnets/" in key:
            vnet = self._resources.get(key.rsplit("/subnets/", 1)[0])
            return next((each for each in subnets_of(vnet) if ids.key(each["id"]) == key), None)
        return found

    def group(self, resource_id: str) -> Group | None:
        """Return a network security group."""
        return self.groups.get(ids.key(resource_id))

    def of_type(self, resource_type: str) -> Iterator[Resource]:
        """Return all resources of a type, ordered by id as ARM lists them [recorded]."""
        found = {
            key: each for key, each in self._resources.items() if type_of(each) == resource_type
        }
        yield from (found[key] for key in sorted(found))

    def everything(self) -> Iterator[Resource]:
        """Return all resources other than network security groups."""
        yield from self._resources.values()

    def attached(self, group_id: str) -> dict[str, list[str]]:
        """Return what a network security group is attached to."""
        if self._attached is None:  # asked for each group of a list: looked up once
            self._attached = {}
            for nic in self.of_type(NIC):
                self._note_attachment("networkInterfaces", nic)
            for subnet in self.subnets():
                self._note_attachment("subnets", subnet)
        return self._attached.get(ids.key(group_id), {})

    def _note_attachment(self, member: str, holder: Resource) -> None:
        group_id = reference(holder, "networkSecurityGroup")
        if group_id is not None and self._attached is not None:
            holders = self._attached.setdefault(ids.key(group_id), {})
            holders.setdefault(member, []).append(holder["id"])

    def subnets(self) -> Iterator[Resource]:
        """Return all subnets."""
        for vnet in self.of_type(VNET):
            yield from subnets_of(vnet)

    def settle(self, now: float) -> None:
        """End every write whose time has come."""
        for key in [key for key, ends_at in self.leaving_groups.items() if now >= ends_at]:
            self._remove_resource_group(key)
        self.slow.settle(self, now)
        for key, group in list(self.groups.items()):
            if group.pending:
                group.settle(now)
            if group.is_removed:
                del self.groups[key]

    def _remove_resource_group(self, key: str) -> None:
        """Remove a resource group with everything in it, writes under way included."""
        for kept in (self._resources, self.groups, self.slow.old, self.slow.pending):
            for each in [each for each in kept if each.startswith(f"{key}/")]:
                del kept[each]
        for table in (self.resource_groups, self.group_tags, self.leaving_groups):
            table.pop(key, None)
        self._attached = None

    def _note_scopes(self, resource_id: str) -> None:
        subscription = ids.segment(resource_id, "subscriptions")
        if subscription is None:
            return
        self.subscriptions.setdefault(subscription.lower(), subscription)
        name = ids.segment(resource_id, "resourceGroups")
        if name is not None:
            scope = f"/subscriptions/{subscription}/resourceGroups/{name}"
            self.resource_groups.setdefault(ids.key(scope), scope)

    def _add_subnet(self, subnet: Resource) -> None:
        vnet_id = subnet["id"].rsplit("/", 2)[0]
        vnet = self._resources.get(ids.key(vnet_id))
        if vnet is None:
            raise ValueError(f"{subnet['id']} must follow its virtual network in the estate")
        kept = [each for each in subnets_of(vnet) if not ids.same(each["id"], subnet["id"])]
        vnet["properties"]["subnets"] = [*kept, subnet]
        _give_etag(vnet)


def type_of(resource: Mapping[str, Any]) -> str:
    """Return the type of a resource in lower case, from its id where it is not given."""
    given = resource.get("type")
    if given:
        return str(given).lower()
    path = ids.parse(resource["id"])
    return path.type_key if path else ""


def nics_of(machine: Mapping[str, Any]) -> list[str]:
    """Return the ids of a virtual machine's network interfaces, the primary one first."""
    given = machine["properties"].get("networkProfile", {}).get("networkInterfaces", [])
    first = sorted(given, key=lambda nic: not nic.get("properties", {}).get("primary", False))
    return [nic["id"] for nic in first]


def subnets_of(vnet: Mapping[str, Any] | None) -> list[Resource]:
    """Return the subnets of a virtual network."""
    return list(vnet["properties"].get("subnets", [])) if vnet else []


def reference(resource: Mapping[str, Any], member: str) -> str | None:
    """Return the id that a property refers to."""
    given = resource.get("properties", {}).get(member)
    return str(given["id"]) if given else None


def _give_etag(body: Resource, fresh: Callable[[], str] = new_etag) -> None:
    """Give a network resource and its children one common etag, as the provider does."""
    etag = body.setdefault("etag", fresh())
    for member in ("subnets", "ipConfigurations", "frontendIPConfigurations"):
        for child in body.get("properties", {}).get(member) or []:
            child.setdefault("etag", etag)
