"""Close what has expired on a firewall whose rows cannot be read, from the rules' own texts.

Nothing is opened, nothing that closes is touched, and nothing is recorded: the rows are synced
once they can be read again.
"""

from datetime import timedelta
from typing import Protocol

from shared.domain.desired import Observed, Pace, Plan, desired_without_rows
from shared.domain.model import LONGEST_GRANT
from shared.ports import (
    FirewallChangedError,
    FirewallProvider,
    OutsideError,
    RefusedError,
    SettlingError,
)
from shared.use_cases.parts import HasClock, HasFirewalls, HasSleep, HasTelemetry

_SOON = timedelta(seconds=5)  # a message comes up to a second early, and the margin follows
_TRIES = 5


class UnreadParts(HasClock, HasFirewalls, HasSleep, HasTelemetry, Protocol):
    """The parts for closing what is past its end where rows cannot be read."""


def close_past_ends(services: UnreadParts, firewall_id: str, *, wait: bool = False) -> None:
    """Remove our openings whose end, in their own text, has passed.

    With `wait`, first wait for an end that is seconds away. Raises what the firewall raises.
    """
    provider = services.firewalls.of(firewall_id)
    refused: dict[str, RefusedError] = {}
    before: frozenset[str] = frozenset()
    in_vain = 0
    while in_vain < _TRIES:
        observed = _read(provider, firewall_id)
        if wait:
            _await_end(services, observed, provider.pace)
        plan = _closes(services, provider, observed, refused)
        if not plan.changes:
            return _raise_first(refused)
        in_vain += plan.ids == before
        before = plan.ids
        try:
            provider.apply(observed, plan)
        except FirewallChangedError:
            continue
        except RefusedError as refusal:
            refused |= dict.fromkeys(refusal.changes or plan.ids, refusal)
            continue
        closed = ", ".join(change.target for change in plan.changes)
        services.telemetry.event("jit.rules.expired", firewall=firewall_id, rules=closed)
    raise OutsideError(f"{firewall_id} still holds {', '.join(before)} after {in_vain} tries")


def _closes(
    services: HasClock,
    provider: FirewallProvider,
    observed: Observed,
    refused: dict[str, RefusedError],
) -> Plan:
    wanted = desired_without_rows(observed, services.clock(), provider.pace, LONGEST_GRANT)
    plan = provider.plan(observed, wanted, {key: str(why) for key, why in refused.items()})
    return plan.only({c.id for c in plan.changes if not c.opens} - refused.keys())


def _read(provider: FirewallProvider, firewall_id: str) -> Observed:
    """Read a firewall, settled or not: removing what has expired does not wait for others."""
    try:
        return provider.read(firewall_id)
    except SettlingError as busy:
        if busy.observed is None:
            raise
        return busy.observed


def _raise_first(refused: dict[str, RefusedError]) -> None:
    for refusal in refused.values():
        raise refusal


def _await_end(services: UnreadParts, observed: Observed, pace: Pace) -> None:
    """Wait until the next end has passed, if it is seconds away."""
    now = services.clock()
    kept = desired_without_rows(observed, now, pace, LONGEST_GRANT).keep
    ends = [own.until + pace.margin for own in observed.own if own.id in kept and own.until]
    end = min(ends, default=None)
    if end is not None and end <= now + _SOON:
        services.sleep((end - now).total_seconds())
