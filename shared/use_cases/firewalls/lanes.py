"""Firewalls whose writes exclude each other share one lease; its holder serves all of them."""

from datetime import datetime
from typing import Protocol

from shared.domain.ids import key_of
from shared.ports import FirewallProvider
from shared.use_cases.messages import MessageParts, send_firewall
from shared.use_cases.parts import HasClock, HasDue, HasFirewalls, HasTelemetry


class LaneParts(MessageParts, HasFirewalls, Protocol):
    """The parts for leaving a firewall to a message."""


class OverdueLaneParts(HasClock, HasDue, HasTelemetry, Protocol):
    """The parts for finding the overdue firewalls of a lane."""


def lease_key(provider: FirewallProvider, firewall_id: str) -> str:
    """Return the key of a firewall's lease: its lane's name, or its own id."""
    return provider.lane(firewall_id) or firewall_id


def leave_to_message(services: LaneParts, firewall_id: str) -> None:
    """Send a message for a firewall whose lane's lease is taken: its holder serves another.

    A firewall without a lane needs none: the holder looks again after releasing.
    """
    provider = services.firewalls.of(firewall_id)
    if provider.lane(firewall_id):
        send_firewall(services, firewall_id, delay=provider.pace.lease)


def overdue_others(
    services: OverdueLaneParts, provider: FirewallProvider, firewall_id: str
) -> tuple[list[str], list[str]]:
    """Return the others of a lane that are due: more overdue than a firewall, and less."""
    lane = provider.lane(firewall_id)
    if not lane:
        return [], []
    due = _due(services, provider, lane)
    own = due.pop(key_of(firewall_id), None)
    order = sorted(due.values())
    if own is None:
        return [subject for _, subject in order], []
    return (
        [subject for each in order if each <= own for subject in each[1:]],
        [subject for each in order if each > own for subject in each[1:]],
    )


def _due(
    services: OverdueLaneParts, provider: FirewallProvider, lane: str
) -> dict[str, tuple[datetime, str]]:
    """Return since when each firewall of a lane is due; where that cannot be read, none is."""
    found: dict[str, tuple[datetime, str]] = {}
    try:
        for due in services.due.until(services.clock()):
            if due.kind != "firewall" or not provider.owns(due.subject):
                continue
            if provider.lane(due.subject) == lane:
                found.setdefault(key_of(due.subject), (due.at, due.subject))
    except Exception as error:  # noqa: BLE001 - the firewall at hand is converged all the same
        services.telemetry.fault("jit.lane.unread", error, lane=lane)
    return found
