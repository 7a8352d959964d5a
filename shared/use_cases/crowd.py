"""Let a crowd gather: people who come together are let in by a few writes, not by one each.

A write to a firewall takes seconds to settle and counts against a quota that closing needs too.
Only openings wait, and only behind another that was just written; a close never does.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from shared.domain.model import Access, FirewallRows
from shared.domain.rules import Plan, has_overdue
from shared.domain.times import format_sortable
from shared.use_cases.interfaces import Row
from shared.use_cases.services import Services

_TOGETHER = timedelta(seconds=30)  # a write may take ten seconds to settle, and some to prove
_STEP = timedelta(seconds=0.5)
_STEPS = 20
_AT_ONCE = 24  # requests that an instance handles at a time (host.json)


def note_opening(lease: Row, now: datetime) -> Row:
    """Note on a firewall's lease, for its next holders too, when somebody was last let in."""
    return replace(lease, values={**lease.values, "opened_at": format_sortable(now)})


def comes_in_a_crowd(lease: Row, changes: Plan, now: datetime) -> bool:
    """Tell whether changes only let people in, and others were let in just before them."""
    lets_in = bool(changes.put) and all(rule.access is Access.ALLOW for rule in changes.put)
    only = lets_in and not changes.remove and not changes.flush_connections
    return only and str(lease.values.get("opened_at", "")) > format_sortable(now - _TOGETHER)


def let_gather(services: Services, firewall_id: str, rows: FirewallRows) -> None:
    """Wait while others come, ten seconds at most; less if a close is near.

    Others come where the last half second brought some, or where more requests are on their way
    than an instance handles at a time: they are held up by what each of our writes costs.
    """
    for _ in range(_STEPS):
        if _is_pressing(rows, services.clock()):
            return
        services.sleep(_STEP.total_seconds())
        fresh = services.rows.read(firewall_id)
        grows = len(fresh.grants) != len(rows.grants)
        if not grows and services.queues.requested() <= _AT_ONCE:
            return
        rows = fresh


def _is_pressing(rows: FirewallRows, now: datetime) -> bool:
    """Tell whether something must be closed by the next look, or is waiting to be."""
    ending = has_overdue(rows, now + 2 * _STEP)
    return ending or any(each.lifted or not each.proven for each in rows.protections)
