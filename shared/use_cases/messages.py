"""Send messages that only make work prompt: the due rows lead the sweep to the same work."""

from datetime import timedelta
from typing import Protocol

from shared.use_cases.parts import HasQueues, HasTelemetry

_NOW = timedelta(0)


class MessageParts(HasQueues, HasTelemetry, Protocol):
    """The parts for sending a message about a firewall."""


def send_firewall(services: MessageParts, firewall_id: str, *, delay: timedelta = _NOW) -> bool:
    """Ask for converge_firewall; return False if the message could not be sent, and report it."""
    try:
        services.queues.send_firewall(firewall_id, delay=max(delay, _NOW))
    except Exception as error:  # noqa: BLE001 - a message that is not sent changes nothing
        services.telemetry.fault("jit.message.unsent", error, firewall=firewall_id)
        return False
    return True
