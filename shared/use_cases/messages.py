"""Send messages that only make work prompt: the due rows lead the sweep to the same work."""

from datetime import timedelta

from shared.use_cases.services import Services

_NOW = timedelta(0)


def send_firewall(services: Services, firewall_id: str, *, delay: timedelta = _NOW) -> bool:
    """Ask for converge_firewall; return False if the message could not be sent, and report it."""
    try:
        services.queues.send_firewall(firewall_id, delay=max(delay, _NOW))
    except Exception as error:  # noqa: BLE001 - a message that is not sent changes nothing
        services.telemetry.fault("jit.message.unsent", error, firewall=firewall_id)
        return False
    return True
