"""Read a firewall again while it is being written, by one message at a time.

A sweep, an opening and an end all meet the same write of minutes. If each left a message of its
own, the reads would grow with the length of the write.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from shared.domain.ids import digest, key_of
from shared.domain.times import format_sortable, parse_instant
from shared.ports import FirewallProvider, Row, SettlingError
from shared.use_cases.messages import MessageParts, send_firewall
from shared.use_cases.parts import HasClock

_EARLY = timedelta(seconds=1)  # a queue counts in whole seconds, so a message may come before


class PollParts(MessageParts, HasClock, Protocol):
    """The parts for leaving a busy firewall to a message."""


def leave_to_poll(
    services: PollParts,
    provider: FirewallProvider,
    firewall_id: str,
    lease: Row,
    busy: SettlingError,
) -> Row:
    """Send a message to read a firewall again, unless one is on its way; return the noted lease."""
    poll = provider.pace.poll
    if not poll:
        send_firewall(services, firewall_id, delay=timedelta(seconds=busy.retry_after))
        return lease
    now = services.clock()
    if _is_polled(lease, firewall_id, now, poll):
        return lease
    if not send_firewall(services, firewall_id, delay=poll):
        return lease
    noted = {"polled": digest(key_of(firewall_id)), "polls_at": format_sortable(now + poll)}
    return replace(lease, values={**lease.values, **noted})


def _is_polled(lease: Row, firewall_id: str, now: datetime, poll: timedelta) -> bool:
    """Tell whether a message for a firewall is on its way; a note too far ahead is not believed."""
    polls_at = str(lease.values.get("polls_at", ""))
    if lease.values.get("polled") != digest(key_of(firewall_id)) or not polls_at:
        return False
    return now + _EARLY < parse_instant(polls_at) <= now + poll
