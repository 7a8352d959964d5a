"""Which Azure Bastion hosts reach each VM of a list."""

from collections.abc import Mapping, Sequence

from shared.domain.bastion import BastionHost, BastionReach
from shared.domain.ids import key_of
from shared.ports import Machine, OutsideError
from shared.use_cases.parts import HasTelemetry
from shared.use_cases.reports.machines import ListedMachine

Hosts = tuple[BastionHost, ...]


def find_bastions(
    services: HasTelemetry, listed: Sequence[ListedMachine]
) -> dict[str, Hosts | None]:
    """Return the hosts that reach each VM, by its key; None: the app could not read them.

    A failure here must not hide the rest of the list, which says what is exposed.
    """
    reach: dict[str, BastionReach] = {}
    try:
        for estate in {id(each.estate): each.estate for each in listed}.values():
            of_estate = [each.machine for each in listed if each.estate is estate]
            reach |= estate.reach(network for m in of_estate for network in m.networks)
    except OutsideError as error:
        services.telemetry.fault("jit.bastions.unread", error)
        return dict.fromkeys(each.key for each in listed)
    return {each.key: _hosts(each.machine, reach) for each in listed}


def _hosts(machine: Machine, reach: Mapping[str, BastionReach]) -> Hosts | None:
    """Return the hosts that reach a VM; None: none was found, and some could not be read."""
    found = [reach[key_of(network)] for network in machine.networks]
    hosts = {key_of(host.id): host for each in found for host in each.hosts}
    if not hosts and any(each.unreadable for each in found):
        return None
    return tuple(hosts[key] for key in sorted(hosts))
