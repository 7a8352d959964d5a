"""Note that an access through Bastion is closed. A failure here delays and changes no close."""

from typing import Protocol

from shared.domain.model import AccessRequest, PortRequest
from shared.store.bastion_closes import BastionClose
from shared.use_cases.parts import HasBastionCloses, HasDisconnectBastionSessions, HasTelemetry


class BastionCloseParts(HasBastionCloses, HasDisconnectBastionSessions, HasTelemetry, Protocol):
    """The parts for noting that an access through Bastion is closed."""


def note_bastion_close(
    services: BastionCloseParts, request: AccessRequest, port: PortRequest
) -> None:
    """Note a port request that is proven closed, so that its Bastion sessions are disconnected.

    An access that was never open has no session. A note that cannot be written is reported.
    """
    was_open = any(front.opened_at for front in port.fronts or ())
    if not services.disconnect_bastion_sessions or not port.bastion or not was_open:
        return
    if port.closed_at is None:  # another firewall of it is not proven closed yet
        return
    close = BastionClose(request.id, port.vm_id, port.port, port.bastion, port.closed_at)
    try:
        services.bastion_closes.note(close)
    except Exception as error:  # noqa: BLE001 - whatever it is, the close must be recorded
        services.telemetry.fault("jit.bastion.sessions.unnoted", error, request=request.id)
