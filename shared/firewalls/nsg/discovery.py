"""Which VMs stand behind which network security groups, as Azure Resource Manager tells."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from shared.adapters.threads import side_by_side
from shared.domain.desired import Observed
from shared.domain.ids import VM_TYPE, key_of, parse_id, places_in
from shared.domain.model import Attachment
from shared.domain.network import overlaps
from shared.firewalls.nsg.application_groups import Membership
from shared.firewalls.nsg.networks import KnownNetworks
from shared.firewalls.nsg.resources import (
    GROUP_TYPE,
    FloatingFronts,
    balancer_ids,
    describe,
    given_twice,
    guarded_subnets,
    interface_ids,
    join,
    may_share_address,
    shared_address,
    subnet_ids,
)
from shared.ports import Listed, Machine, Neighbours, NotReadableError, OutsideError, Resources

_COMPUTE, _NETWORK = "2024-07-01", "2024-05-01"
_UNKNOWN: Callable[[str], str] = lambda _reference: ""  # noqa: E731
Look = Callable[[str], tuple[dict[str, Any], Observed | None]]


def in_sequence(attachments: Iterable[Attachment]) -> tuple[Attachment, ...]:
    """Return attachments so that no two groups before one address share a stage.

    Azure evaluates the group of the subnet and that of the interface one after the other, and
    each must let a packet through. A group may be both, for two interfaces of one VM.
    """
    placed: list[Attachment] = []
    for each in attachments:
        taken = {e.stage for e in placed if overlaps(e.addresses, each.addresses)}
        stage = each.stage
        while stage in taken:
            stage += 1
        placed.append(replace(each, stage=stage))
    return tuple(placed)


def is_whole(places: Iterable[str]) -> bool:
    """Tell whether places are whole subscriptions."""
    return not any("/resourcegroups/" in key_of(place) for place in places)


def read_membership(arm: Resources, scopes: Sequence[str], subscription: str) -> Membership | None:
    """Read the members of a subscription's application security groups; None: unreadable."""
    places = _places(scopes, subscription)
    try:
        nics = arm.list_in(places, "Microsoft.Network/networkInterfaces", _NETWORK)
    except NotReadableError:
        return None
    return Membership(nics, complete=is_whole(places))


def _places(scopes: Sequence[str], subscription: str) -> tuple[str, ...]:
    """Return where the app lists; without scopes, in all of the subscription."""
    return places_in(scopes, subscription) or (f"/subscriptions/{subscription}",)


class VirtualMachines:
    """Finds a VM's way in: its interfaces, and the firewall on each and on its subnet.

    `scopes` is where the app has rights: what is listed, is listed there. Empty: all of the
    VM's subscription. `look` reads a security group once, and returns its state where that can be
    planned from.
    """

    def __init__(
        self, arm: Resources, scopes: Sequence[str] = (), look: Look | None = None
    ) -> None:
        self._arm = arm
        self._scopes = scopes
        self._networks = KnownNetworks()
        self._look = look or (lambda firewall_id: (self._read(firewall_id), None))

    def find(self, vm_id: str) -> Machine | None:
        """Read one VM and everything in front of it."""
        return self._find(vm_id, lists=True)

    def find_by_reads(self, vm_id: str) -> Machine | None:
        """Read one VM and what it refers to, without the list of load balancers."""
        return self._find(vm_id, lists=False)

    def _find(self, vm_id: str, *, lists: bool) -> Machine | None:
        vm = self._arm.get(parse_id(vm_id, VM_TYPE).text, _COMPUTE)
        if vm is None:
            return None
        interfaces = [self._read(reference) for reference in interface_ids(vm)]
        subnets = {subnet: self._read(subnet) for nic in interfaces for subnet in subnet_ids(nic)}
        machine = describe(vm, interfaces, subnets)
        unreadable = machine.unreadable or self._unreadable(vm_id, interfaces, lists=lists)
        return replace(machine, unreadable=unreadable)

    def shared_address(self, machine: Machine) -> str:
        """Say which other interface has an address of a VM behind the same security group."""
        return self.neighbours(machine).shared

    def neighbours(self, machine: Machine, *, lists: bool = True) -> Neighbours:
        """Find which other interface has an address of a VM behind the same security group."""
        looks = {key_of(each.firewall_id): each.firewall_id for each in machine.attachments}
        read = {key: self._look(firewall_id) for key, firewall_id in looks.items()}
        groups = [group for group, _ in read.values()]
        seen = {key: observed for key, (_, observed) in read.items() if observed}
        if not may_share_address(machine, groups, _UNKNOWN if lists else self._networks.of):
            return Neighbours(seen=seen)
        try:
            nics = self._interfaces(parse_id(machine.id, VM_TYPE).subscription)
        except NotReadableError as error:
            told = f"the network interfaces behind its security group cannot be listed: {error}"
            return Neighbours(told)
        return Neighbours(shared_address(machine, nics, groups), seen)

    def addresses_given_twice(self, subscription: str) -> frozenset[tuple[str, str]]:
        """List the addresses that two interfaces of a virtual network have."""
        return given_twice(self._interfaces(subscription))

    def _interfaces(self, subscription: str) -> list[dict[str, Any]]:
        places = _places(self._scopes, subscription)
        nics = self._arm.list_in(places, "Microsoft.Network/networkInterfaces", _NETWORK)
        self._networks.note(nics)
        return nics

    def _unreadable(self, vm_id: str, interfaces: list[dict[str, Any]], *, lists: bool) -> str:
        """Say why rules on the VM's own addresses do not tell who reaches it; empty: they do.

        A pool may name the VM by address, which only the list of load balancers shows.
        """
        try:
            balancers = self._listed(vm_id, "loadBalancers") if lists else []
        except NotReadableError:
            balancers = []
        listed = {key_of(each["id"]) for each in balancers}
        named = {each for nic in interfaces for each in balancer_ids(nic)}
        try:
            balancers += [self._read(each) for each in sorted(named) if key_of(each) not in listed]
        except NotReadableError as error:
            return f"its load balancer cannot be read: {error}"
        return FloatingFronts(balancers).before_any(interfaces)

    def _listed(self, vm_id: str, resource_type: str) -> list[dict[str, Any]]:
        places = _places(self._scopes, parse_id(vm_id, VM_TYPE).subscription)
        return self._arm.list_in(places, f"Microsoft.Network/{resource_type}", _NETWORK)

    def _read(self, resource_id: str) -> dict[str, Any]:
        found = self._arm.get(resource_id, _NETWORK)
        if found is None:
            # The VM's own description names it: a change is under way, nothing is proven.
            raise OutsideError(f"{resource_id} is named by its VM and was not found")
        return found


class ArmInventory:
    """Reads a subscription, or those groups of it that the app has rights in, and joins it here.

    A subscription takes four lists, read side by side: the pages of one list come one by one, and
    those of 20,000 VMs and of their interfaces are some hundred each. Groups take as many each, and a read of each subnet that no
    group of theirs stands in front of: its security group may lie where the app may not look.
    """

    def __init__(self, arm: Resources) -> None:
        self._arm = arm

    def read(self, places: tuple[str, ...]) -> Listed:
        """Read the VMs, and everything in front of them."""
        lists: tuple[Callable[[], Any], ...] = (
            partial(self._all, places, "Microsoft.Compute/virtualMachines", _COMPUTE),
            partial(self._all, places, "Microsoft.Network/networkInterfaces", _NETWORK),
            partial(self._all, places, GROUP_TYPE, _NETWORK),
            partial(self._balancers, places),
        )
        vms, nics, groups, balancers = side_by_side(lambda read: read(), lists)
        subnets: dict[str, dict[str, Any] | None] = {**guarded_subnets(groups)}
        if not is_whole(places):
            named = {key_of(each): each for nic in nics for each in subnet_ids(nic)}
            subnets |= {
                key: self._subnet(named[key]) for key in sorted(named) if key not in subnets
            }
        complete = is_whole(places)
        return join(vms, nics, groups, balancers, subnets, complete=complete)

    def _balancers(self, places: tuple[str, ...]) -> list[dict[str, Any]] | None:
        try:
            return self._all(places, "Microsoft.Network/loadBalancers", _NETWORK)
        except NotReadableError:
            return None

    def _subnet(self, subnet_id: str) -> dict[str, Any] | None:
        """Read a subnet; None: what stands in front of it is not known."""
        try:
            return self._arm.get(subnet_id, _NETWORK)
        except NotReadableError:
            return None

    def _all(
        self, places: tuple[str, ...], resource_type: str, version: str
    ) -> list[dict[str, Any]]:
        return self._arm.list_in(places, resource_type, version)
