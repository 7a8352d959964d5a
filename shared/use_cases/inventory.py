"""Everything of a subscription that decides who can reach a VM, read in a few lists."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shared.use_cases.interfaces import Machine, Snapshot


@dataclass(frozen=True)
class Listed:
    """The VMs of a subscription with what stands in front of each; snapshots by key of id."""

    machines: tuple[Machine, ...] = ()
    firewalls: Mapping[str, Snapshot] = field(default_factory=dict)


class Inventory(Protocol):
    """The cloud's lists."""

    def read(self, subscription: str) -> Listed:
        """Read a subscription, with the same number of calls however many VMs it holds."""
        ...
