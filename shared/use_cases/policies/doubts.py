"""Note with a VM why rules on its addresses may not decide for it alone: openings list nothing then.

The doubt is noted when a policy is applied. Reconcile compares with lists and applies it anew.
"""

from collections.abc import Iterable
from typing import Protocol

from shared.domain.ids import key_of
from shared.domain.machine_ids import AzureVm, parse_machine_id
from shared.domain.model import PolicyVm
from shared.domain.network import canonical
from shared.domain.texts import shorten
from shared.ports import Machine, OutsideError
from shared.use_cases.parts import HasMachines, HasTelemetry

Twice = frozenset[tuple[str, str]] | None  # keys of networks, addresses; None: not known


class DoubtParts(HasMachines, HasTelemetry, Protocol):
    """The parts for reading a VM twice where the first read is in doubt."""


def read_twice(services: DoubtParts, vms: Iterable[PolicyVm]) -> Twice:
    """List the addresses that are given twice, once for all VMs of a policy.

    Where they cannot be listed, each opening looks for itself.
    """
    parsed = [parse_machine_id(vm.id) for vm in vms]
    subscriptions = {each.subscription.lower() for each in parsed if isinstance(each, AzureVm)}
    found: frozenset[tuple[str, str]] = frozenset()
    try:
        for subscription in sorted(subscriptions):
            found |= services.machines.addresses_given_twice(subscription)
    except OutsideError as error:
        services.telemetry.fault("jit.addresses.unread", error)
        return None
    return found


def doubt_of(machine: Machine | None, twice: Twice) -> str | None:
    """Return why rules on a VM's addresses may not decide for it alone; None: not known."""
    if machine is None or twice is None:
        return None
    networks = set(map(key_of, machine.networks))
    listed = {address for each in machine.attachments for address in each.addresses}
    own = {spelled for address in listed for spelled in canonical([address])}
    shared = [ip for network, ip in sorted(twice) if network in networks and ip in own]
    return shorten(machine.unreadable) or (f"{shared[0]} is given twice" if shared else "")
