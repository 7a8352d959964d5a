"""Which Azure Bastion reaches a VM, and from which prefix. Pure decisions over what Azure lists."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.domain.errors import Reason
from shared.domain.ids import key_of, name_of

ANY_BASTION = "bastion"
BASTION_TYPE = "microsoft.network/bastionhosts"
# The Developer SKU has no subnet: it reaches a VM from Azure's platform address.
DEVELOPER_PREFIX = "168.63.129.16/32"
_USUAL_PORTS = frozenset({22, 3389})
_USUAL_PORTS_ONLY = frozenset({"basic", "developer"})


@dataclass(frozen=True)
class BastionHost:
    """A Bastion host that reaches a VM, and the prefixes of its subnet."""

    id: str
    sku: str
    prefixes: tuple[str, ...]
    is_peered: bool = False  # it stands in a peered network, not in the VM's own
    takes_tunnels: bool = False  # native clients can use it: `enableTunneling`

    @property
    def name(self) -> str:
        """Return the host's own name."""
        return name_of(self.id)


@dataclass(frozen=True)
class BastionReach:
    """The Bastion hosts that reach a VM; `unreadable` says what could not be read."""

    hosts: tuple[BastionHost, ...] = ()
    unreadable: str = ""


def choose_bastion(
    reach: BastionReach, wanted: str, ports: Iterable[int], target: str
) -> BastionHost | Reason:
    """Return the Bastion host to open to, or the reason why there is none.

    `wanted` is a host's id, or `bastion` for the one that reaches the VM. A host in the VM's own
    network comes before hosts in peered networks.
    """
    found = _named(reach.hosts, wanted)
    if not found:
        return _not_found(reach, wanted, target)
    if len(found) > 1:
        names = ", ".join(sorted(host.id for host in found))
        message = f"several Bastion hosts reach the VM; name one of {names}"
        return Reason("BastionAmbiguous", message, target)
    host = found[0]
    others = sorted(set(ports) - _USUAL_PORTS)
    if others and host.sku.lower() in _USUAL_PORTS_ONLY:
        message = f"Bastion '{host.name}' is {host.sku}, which reaches ports 22 and 3389 alone"
        return Reason("PortNotThroughBastion", f"{message}, not {others[0]}", target)
    return host


def _named(hosts: Sequence[BastionHost], wanted: str) -> list[BastionHost]:
    """Return the hosts of an id; of any id the nearest ones."""
    if wanted != ANY_BASTION:
        return [host for host in hosts if key_of(host.id) == key_of(wanted)]
    own = [host for host in hosts if not host.is_peered]
    return own or list(hosts)


def _not_found(reach: BastionReach, wanted: str, target: str) -> Reason:
    if reach.unreadable:
        return Reason("BastionNotReadable", reach.unreadable, target)
    named = "no Bastion host" if wanted == ANY_BASTION else f"Bastion '{name_of(wanted)}' does not"
    rest = "reaches the VM" if wanted == ANY_BASTION else "reach the VM"
    message = f"{named} {rest}: none stands in its virtual network or in a peered one"
    return Reason("BastionNotFound", message, target)
