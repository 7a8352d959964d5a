"""The inventory of the cloud: VMs, what stands in front of them, and Bastion hosts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shared.domain.bastion import BastionReach
from shared.domain.desired import Observed
from shared.domain.model import Attachment


@dataclass(frozen=True)
class PathNotes:
    """Warnings about the path to a VM, beside its attachments."""

    unknown: str = ""  # something on the path whose rules are not known
    unsupported: str = ""  # a firewall that this app cannot open
    remark: str = ""  # what limits callers although every firewall is known


@dataclass(frozen=True)
class Machine:
    """A VM as the cloud describes it, with the firewalls in front of it."""

    id: str
    location: str
    system: str  # linux, windows or ""
    attachments: tuple[Attachment, ...]
    unreadable: str = ""  # why its way in cannot be judged, e.g. a floating-IP front end
    bare_addresses: tuple[str, ...] = ()  # addresses with no firewall in front
    interfaces: tuple[str, ...] = ()  # ids of its network interfaces
    notes: PathNotes = PathNotes()
    networks: tuple[str, ...] = ()  # ids of the virtual networks that its interfaces stand in


@dataclass(frozen=True)
class Unanswered:
    """A part of a cloud that did not answer, so that its machines are not known."""

    scope: str  # the id of the security connector of an AWS account
    location: str
    reason: str  # names the part


@dataclass(frozen=True)
class ListedMachines:
    """The machines that a provider lists, and the parts of its cloud that did not answer."""

    machines: tuple[Machine, ...] = ()
    unanswered: tuple[Unanswered, ...] = ()


@dataclass(frozen=True)
class Neighbours:
    """Other resources with an address of a VM behind the same firewall; empty: none.

    `seen` holds the settled security groups that were read to find out, by key of id.
    """

    shared: str = ""
    seen: Mapping[str, Observed] = field(default_factory=dict)


class Machines(Protocol):
    """The cloud's inventory."""

    def find(self, vm_id: str) -> Machine | None:
        """Read one VM and its way in; None only if the cloud says that it does not exist."""
        ...

    def find_by_reads(self, vm_id: str) -> Machine | None:
        """Do the same without lists: no load balancer is found that names a VM by address."""
        ...

    def shared_address(self, machine: Machine) -> str:
        """Return the other holders of a VM's address behind the same firewall; empty: none."""
        ...

    def neighbours(self, machine: Machine, *, lists: bool = True) -> Neighbours:
        """Look for a shared address, and return the security groups that were read for it.

        `lists` False: no address of its own virtual network is looked for, where the cloud gives
        each address once.
        """
        ...

    def addresses_given_twice(self, subscription: str) -> frozenset[tuple[str, str]]:
        """List the addresses that two interfaces of a virtual network have, with its key."""
        ...


class Bastions(Protocol):
    """The Bastion hosts of the cloud."""

    def reach(self, networks: Sequence[str]) -> BastionReach:
        """Return the hosts that reach some virtual networks; raises OutsideError."""
        ...

    def reach_each(self, networks: Sequence[str]) -> Mapping[str, BastionReach]:
        """Return the hosts that reach each of many virtual networks, by key; raises OutsideError."""
        ...
