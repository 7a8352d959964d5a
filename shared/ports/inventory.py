"""The lists of the cloud: VMs and the firewalls in front of them, read in bulk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shared.ports.firewalls import ReadFirewall
from shared.ports.machines import Machine


@dataclass(frozen=True)
class Listed:
    """The VMs that were listed with what stands in front of each; snapshots by key of id.

    `unsettled` names the firewalls that were busy with a write when they were listed, by key.
    """

    machines: tuple[Machine, ...] = ()
    firewalls: Mapping[str, ReadFirewall] = field(default_factory=dict)
    unsettled: frozenset[str] = frozenset()


class Inventory(Protocol):
    """The cloud's lists."""

    def read(self, places: tuple[str, ...]) -> Listed:
        """Read a subscription or some groups of one, in so many lists however many VMs."""
        ...
