"""Remember for a while which virtual network each interface stands in: it cannot be moved.

Only an interface that was deleted and made again under the same name stands in another one.
"""

import time
from collections.abc import Callable, Iterable

from shared.domain.ids import key_of
from shared.firewalls.nsg.resources import Resource, networks_of

KEPT_SECONDS = 1800.0  # reconcile lists all interfaces twice in this time
_MOST = 100_000


class KnownNetworks:
    """The networks of the interfaces that were read or listed lately."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._known: dict[str, tuple[str, float]] = {}

    def note(self, interfaces: Iterable[Resource]) -> None:
        """Note the network of each interface that stands in one."""
        if len(self._known) > _MOST:
            self._known.clear()
        for each in interfaces:
            networks = networks_of([each])
            if len(networks) == 1:
                self._known[key_of(each["id"])] = key_of(networks[0]), self._now()

    def of(self, reference: str) -> str:
        """Return the key of the network of an interface or a subnet; empty: it is not known."""
        network, subnet, _ = reference.partition("/subnets/")
        if subnet:
            return network
        network, noted = self._known.get(reference, ("", 0.0))
        return network if self._now() - noted <= KEPT_SECONDS else ""
