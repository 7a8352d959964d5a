"""Find the provider of a firewall by its id."""

from collections.abc import Iterator
from dataclasses import dataclass

from shared.domain.ids import name_of
from shared.ports import FirewallProvider, UnknownFirewallError


@dataclass(frozen=True)
class Registry:
    """The providers of this installation, asked in order."""

    providers: tuple[FirewallProvider, ...]

    def of(self, firewall_id: str) -> FirewallProvider:
        """Return the provider of a firewall; raises UnknownFirewallError."""
        for provider in self.providers:
            if provider.owns(firewall_id):
                return provider
        raise UnknownFirewallError(f"no provider is configured for '{name_of(firewall_id)}'")

    def __iter__(self) -> Iterator[FirewallProvider]:
        """Iterate over the providers."""
        return iter(self.providers)
