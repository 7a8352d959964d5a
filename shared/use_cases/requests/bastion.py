"""Resolve Azure Bastion as a source: when a request is submitted, and again when it opens."""

from dataclasses import replace
from typing import Protocol

from shared.domain.bastion import BastionHost, choose_bastion
from shared.domain.errors import Reason
from shared.domain.ids import key_of
from shared.domain.machine_ids import AzureVm, parse_machine_id
from shared.domain.model import AccessRequest, CloseReason, Policy, PortRequest, Status
from shared.domain.policy import Asked, AskedPort
from shared.domain.request import change_ports, close
from shared.use_cases.parts import HasBastions, HasClock, HasMachines, HasRequests


class BastionParts(HasBastions, HasMachines, Protocol):
    """The parts for finding the sources of a Bastion."""


class RefreshBastionParts(BastionParts, HasClock, HasRequests, Protocol):
    """The parts for refreshing the sources of a request through Bastion."""


def with_bastion_sources(services: BastionParts, policy: Policy, asked: Asked) -> Asked:
    """Return a request whose Bastion ports name the prefixes that reach the VM.

    A port for which there is none carries the reason. Raises OutsideError where Azure fails.
    """
    return replace(asked, ports=tuple(_resolved(services, policy, port) for port in asked.ports))


def _resolved(services: BastionParts, policy: Policy, port: AskedPort) -> AskedPort:
    if not port.bastion or policy.vm(port.vm_id) is None:
        return port
    found = _find(services, port.vm_id, port.bastion, port.number, f"{port.at}.source")
    if isinstance(found, Reason):
        return replace(port, refusal=found)
    return replace(port, bastion=found.id, sources=found.prefixes)


def _find(
    services: BastionParts, vm_id: str, wanted: str, port: int, target: str
) -> BastionHost | Reason:
    machine = None
    if isinstance(parse_machine_id(vm_id), AzureVm):
        machine = services.machines.find(vm_id)
    if machine is None:
        return Reason("BastionNotFound", "no such VM stands in a network of Azure", target)
    reach = services.bastions.reach(machine.networks)
    return choose_bastion(reach, wanted, (port,), target)


def refresh_bastion_sources(
    services: RefreshBastionParts, request: AccessRequest
) -> tuple[AccessRequest, dict[str, Exception]]:
    """Look up again the Bastion hosts of what is about to open.

    A port whose host no longer reaches the VM fails; a host whose subnet has moved opens to the
    new prefix. Returns the errors by the key of the VM that could not be looked up.
    """
    found: dict[tuple[str, int], BastionHost | Reason] = {}
    errors: dict[str, Exception] = {}
    for port in request.ports:
        if not _is_new(port):
            continue
        try:
            found[key_of(port.vm_id), port.port] = _find(
                services, port.vm_id, port.bastion, port.port, ""
            )
        except Exception as error:  # noqa: BLE001 - raised again after the other VMs are open
            errors[key_of(port.vm_id)] = error
    if not found:
        return request, errors
    now = services.clock()

    def refresh(port: PortRequest) -> PortRequest:
        host = found.get((key_of(port.vm_id), port.port))
        if host is None or not _is_new(port):
            return port
        if isinstance(host, Reason):
            return close(port, CloseReason.FAILED, now, message=host.message)
        return replace(port, sources=host.prefixes)

    changed = services.requests.change(request.id, lambda r: change_ports(r, refresh))
    return changed or request, errors


def _is_new(port: PortRequest) -> bool:
    return bool(port.bastion) and port.status is Status.INITIATING and port.fronts is None
