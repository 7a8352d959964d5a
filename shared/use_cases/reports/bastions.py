"""Which Azure Bastion hosts reach each VM of a list."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Protocol

from shared.domain.bastion import BastionHost, BastionReach
from shared.domain.ids import key_of
from shared.ports import Machine, OutsideError
from shared.use_cases.parts import HasBastions, HasTelemetry

Hosts = tuple[BastionHost, ...]


class BastionReportParts(HasBastions, HasTelemetry, Protocol):
    """The parts for finding the Bastions of VMs."""


def find_bastions(
    services: BastionReportParts, machines: Sequence[Machine]
) -> dict[str, Hosts | None]:
    """Return the hosts that reach each VM, by its key; None: the app could not read them.

    A failure here must not hide the rest of the list, which says what is exposed.
    """
    wanted = {key_of(each): each for each in chain.from_iterable(m.networks for m in machines)}
    try:
        reach = services.bastions.reach_each([wanted[key] for key in sorted(wanted)])
    except OutsideError as error:
        services.telemetry.fault("jit.bastions.unread", error)
        return dict.fromkeys(key_of(machine.id) for machine in machines)
    return {key_of(machine.id): _hosts(machine, reach) for machine in machines}


def _hosts(machine: Machine, reach: Mapping[str, BastionReach]) -> Hosts | None:
    """Return the hosts that reach a VM; None: none was found, and some could not be read."""
    found = [reach[key_of(network)] for network in machine.networks]
    hosts = {key_of(host.id): host for each in found for host in each.hosts}
    if not hosts and any(each.unreadable for each in found):
        return None
    return tuple(hosts[key] for key in sorted(hosts))
