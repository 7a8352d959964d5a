"""Choose the entry of each grant, and split its sources. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.domain.network import is_any, network, port_range
from shared.domain.path import PRIVATE
from shared.firewalls.azure_rules.model import MAX_DESTINATIONS, AzureSettings, OwnRule, Rule

_V4 = 4
_WARN_FROM = 225
Destination = tuple[str, str, str]


@dataclass(frozen=True)
class Front:
    """A deployed firewall: its entries, and the address spaces it reaches directly."""

    id: str
    public_addresses: tuple[str, ...]
    spaces: tuple[str, ...] = ()
    subnet_prefixes: tuple[str, ...] = ()


def split_sources(sources: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return the public and the private IPv4 sources, and why some cannot be opened."""
    public, private, why = [], [], ""
    for source in sources:
        found = network(source)
        if is_any(source) or (found is not None and found.prefixlen == 0):
            why = "a firewall rule needs an address: every source is never opened"
        elif found is None or found.version != _V4:
            why = why or f"Azure Firewall cannot let '{source}' in: it translates IPv4 alone"
        elif any(found.subnet_of(each) for each in PRIVATE):  # type: ignore[arg-type]
            private.append(source)
        elif any(found.overlaps(each) for each in PRIVATE):
            why = why or f"'{source}' is partly private: name the public part alone"
        else:
            public.append(source)
    return tuple(public), tuple(private), why


def front_of(fronts: Iterable[Front], address: str) -> Front | str:
    """Return the firewall that leads to an address, or why it cannot be told."""
    listed = tuple(fronts)
    if len(listed) == 1:
        return listed[0]
    if not listed:
        return "no firewall is attached to the policy"
    target = network(address)
    reached = [
        front
        for front in listed
        if target is not None
        and any(
            space is not None and space.version == target.version and target.subnet_of(space)  # type: ignore[arg-type]
            for space in map(network, front.spaces)
        )
    ]
    if len(reached) == 1:
        return reached[0]
    return f"{len(reached)} of the policy's {len(listed)} firewalls reach {address}"


@dataclass
class EntryPorts:
    """The entries that are taken, and the next one that is free."""

    settings: AzureSettings
    addresses: int  # how many public addresses count towards the limit
    _taken: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    _destinations: set[Destination] = field(default_factory=set)

    def note(self, rules: Iterable[Rule]) -> None:
        """Note the entry ports that every translation on the firewall takes."""
        for rule in rules:
            if rule.translates:
                for address in rule.destinations:
                    for port in rule.ports:
                        self._take(address, port, rule.protocols)

    def is_taken(self, address: str, port: int) -> bool:
        """Tell whether some translation uses an entry."""
        return any(low <= port <= high for low, high in self._taken.get(address, ()))

    def next_free(self, address: str, protocols: tuple[str, ...]) -> int | str:
        """Take the first free entry; a text tells why there is none."""
        left = MAX_DESTINATIONS - self.addresses - len(self._destinations)
        if left < len(protocols):
            return (
                f"the firewall's limit of {MAX_DESTINATIONS} translations and public addresses "
                "is reached; retry after some grants have expired"
            )
        for port in self.settings.entry_ports:
            if not self.is_taken(address, port):
                self._take(address, str(port), protocols)
                return port
        first, last = self.settings.first_port, self.settings.last_port
        return f"no port from {first} to {last} is free on {address}"

    def keep(self, rule: OwnRule) -> None:
        """Note an entry that a rule of ours keeps."""
        self._take(rule.public_address, str(rule.public_port), rule.protocols)

    def warning(self) -> str:
        """Return how near the limit is, once it is near; else nothing."""
        used = self.addresses + len(self._destinations)
        if used < _WARN_FROM:
            return ""
        return f"{used} of {MAX_DESTINATIONS} translations and public addresses are in use"

    def _take(self, address: str, port: str, protocols: Iterable[str]) -> None:
        self._taken.setdefault(address, []).append(port_range(port))
        self._destinations |= {(address, port, protocol.upper()) for protocol in protocols}
