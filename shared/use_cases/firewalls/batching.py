"""Batch concurrent openings on one firewall into few writes.

A write to a firewall takes seconds to settle and counts against a quota that closing needs too.
Only openings wait, and only after another opening that was just written. A delayed message carries
the batch, so no worker is busy meanwhile. A worker that comes to close does not wait; it writes the
openings of the batch as well.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from shared.domain.desired import Plan
from shared.domain.grants import first_end
from shared.domain.model import FirewallRows
from shared.domain.times import format_sortable
from shared.ports import Row
from shared.use_cases.messages import MessageParts, send_firewall
from shared.use_cases.parts import HasClock

_TOGETHER = timedelta(seconds=30)  # a write may take ten seconds to settle, and some to prove
_A_FEW = timedelta(seconds=1)  # above AT_ONCE: the batch time of the firewall
AT_ONCE = 64  # requests that an instance handles at a time (host.json)
_LAST_FEW = 4  # requests on their way at the end of a burst; the count is a queue's, and about
_BETWEEN = timedelta(seconds=5)  # from one write to the next, where the last few end a batch early
_ON_ITS_WAY = timedelta(seconds=2)  # how long a queue may be looked at after its message's time
_LONGEST = timedelta(minutes=10)  # whatever a lease says, no batch is waited for longer


class BatchParts(MessageParts, HasClock, Protocol):
    """The parts for leaving an opening to a batch."""


def note_opening(lease: Row, now: datetime) -> Row:
    """Note on a firewall's lease, for its next holders too, when a grant was last opened."""
    return replace(lease, values={**lease.values, "opened_at": format_sortable(now)})


def may_join_batch(lease: Row, plan: Plan, now: datetime) -> bool:
    """Tell whether all changes are openings, and another opening was written just before them."""
    only = bool(plan.changes) and all(change.opens for change in plan.changes)
    return only and opened_lately(lease, now)


def opened_lately(lease: Row, now: datetime) -> bool:
    """Tell whether a grant was opened on a firewall a moment ago."""
    opened = str(lease.values.get("opened_at", ""))
    return format_sortable(now - _TOGETHER) < opened <= format_sortable(now + _TOGETHER)


def defer_to_batch(
    services: BatchParts, firewall_id: str, lease: Row, rows: FirewallRows, batch: timedelta
) -> Row | None:
    """Defer openings to a delayed message, noted on the lease. Return None if no other is queued.

    The first end on the firewall bounds the waiting: its own message may find the lease taken.
    """
    try:
        coming = services.queues.requested()
    except Exception as error:  # noqa: BLE001 - a count that fails must delay no opening
        services.telemetry.fault("jit.queue.uncounted", error, firewall=firewall_id)
        return None
    now = services.clock()
    few = _LAST_FEW if _is_spaced(lease, now) else 1  # 1: the one that is being handled
    if coming <= few:
        return None
    end = first_end(rows)
    wait = batch if coming > AT_ONCE else min(_A_FEW, batch)
    wait = max(min(wait, end - now), timedelta(0)) if end else wait
    if not send_firewall(services, firewall_id, delay=wait):
        return None
    until = format_sortable(now + wait + _ON_ITS_WAY)
    return replace(lease, values={**lease.values, "gathers_until": until})


def clear_batch(lease: Row) -> Row:
    """Remove the note of a batch from a lease that is held now."""
    return replace(lease, values={**lease.values, "gathers_until": ""})


def waits_for_batch(services: BatchParts, lease: Row, now: datetime) -> bool:
    """Tell whether an opening is left to the message of a batch; the last of a burst end it early.

    Without a count the message decides.
    """
    if not is_batch_pending(lease, now):
        return False
    if not _is_spaced(lease, now):
        return True
    try:
        return services.queues.requested() > _LAST_FEW
    except Exception as error:  # noqa: BLE001 - the message of the batch opens it
        services.telemetry.fault("jit.queue.uncounted", error, firewall=lease.partition)
        return True


def _is_spaced(lease: Row, now: datetime) -> bool:
    """Tell whether the last write of an opening is so long ago that the last few may end a batch."""
    return str(lease.values.get("opened_at", "")) <= format_sortable(now - _BETWEEN)


def is_batch_pending(lease: Row, now: datetime) -> bool:
    """Tell whether a message is on its way that will open the whole batch."""
    until = str(lease.values.get("gathers_until", ""))
    return format_sortable(now) < until <= format_sortable(now + _LONGEST)
