"""Find the provider of a firewall by its id."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.domain.ids import name_of
from shared.ports import (
    FirewallProvider,
    ListedMachines,
    Machine,
    PathNotes,
    UnknownFirewallError,
    WriteGuard,
    WriteProof,
)

NameMachine = Callable[[str], str]
ListMachines = Callable[[str], ListedMachines]
ReadNotes = Callable[[Sequence[Machine]], Mapping[str, PathNotes]]


def no_notes(machines: Sequence[Machine]) -> Mapping[str, PathNotes]:
    """Return no note for any machine: no provider reads paths."""
    del machines
    return {}


def no_machines(subscription: str) -> ListedMachines:
    """Return no machine: every one is in the lists of Azure Resource Manager."""
    del subscription
    return ListedMachines()


class NoGuard:
    """The guard of providers whose writes rest on no proof."""

    def renew(self) -> bool:
        """Return False: nothing is proven."""
        return False

    def proof(self) -> WriteProof:
        """Return that nothing is known, and warn of nothing."""
        return WriteProof()


@dataclass(frozen=True)
class Registry:
    """The providers of this installation, asked in order."""

    providers: tuple[FirewallProvider, ...]
    read_notes: ReadNotes = no_notes
    list_machines: ListMachines = no_machines
    name_machine: NameMachine = str
    guard: WriteGuard = NoGuard()  # noqa: RUF009 - it holds nothing

    def of(self, firewall_id: str) -> FirewallProvider:
        """Return the provider of a firewall; raises UnknownFirewallError."""
        for provider in self.providers:
            if provider.owns(firewall_id):
                return provider
        raise UnknownFirewallError(f"no provider is configured for '{name_of(firewall_id)}'")

    def label_at(self, machine_id: str) -> str:
        """Return the display name of the firewall that a machine needs."""
        labels = (each.label for each in self.providers if each.guards(machine_id))
        return next(labels, "firewall")

    def __iter__(self) -> Iterator[FirewallProvider]:
        """Iterate over the providers."""
        return iter(self.providers)

    def notes(self, machines: Sequence[Machine]) -> Mapping[str, PathNotes]:
        """Return by its id what is to be known of the path to a machine; raises OutsideError."""
        return self.read_notes(machines)

    def machines(self, subscription: str) -> ListedMachines:
        """Return the machines of a subscription that only a provider knows, and what is silent."""
        return self.list_machines(subscription)

    def machine_id(self, text: str) -> str:
        """Return the form of a machine's id that policies hold; another stays as it is."""
        return self.name_machine(text)
