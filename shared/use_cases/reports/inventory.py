"""Everything of a subscription, or of some of its groups, that decides who can reach a VM, read in a few lists."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shared.domain.ids import key_of
from shared.ports import Machine, Snapshot


@dataclass(frozen=True)
class Listed:
    """The VMs that were listed with what stands in front of each; snapshots by key of id."""

    machines: tuple[Machine, ...] = ()
    firewalls: Mapping[str, Snapshot] = field(default_factory=dict)


class Inventory(Protocol):
    """The cloud's lists."""

    def read(self, places: tuple[str, ...]) -> Listed:
        """Read a subscription or some groups of one, in so many lists however many VMs."""
        ...


def places_in(scopes: Iterable[str], subscription: str) -> tuple[str, ...]:
    """Return where to list in a subscription: all of it, or the groups the app has rights in.

    NB. All those groups, whichever is asked about: what stands in front of a VM may lie in another.
    """
    found: dict[str, str] = {}
    for scope in scopes:
        parts = scope.split("/")
        if parts[2].lower() == subscription.lower():
            place = "/".join(parts[:5])
            found.setdefault(key_of(place), place)
    whole = f"/subscriptions/{subscription}"
    return (whole,) if key_of(whole) in found else tuple(found[key] for key in sorted(found))
