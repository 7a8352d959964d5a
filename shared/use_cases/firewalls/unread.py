"""Close what has expired on a firewall whose rows cannot be read, from the rules' own texts.

Nothing is opened, no deny is touched, and nothing is recorded: the rows are synced once they can
be read again.
"""

from datetime import timedelta

from shared.domain.expiry import next_end, past_end
from shared.domain.rules import Plan
from shared.ports import (
    FirewallChangedError,
    FirewallRefusedError,
    OutsideError,
    SettlingError,
    Snapshot,
)
from shared.use_cases.services import Services

_SOON = timedelta(seconds=5)  # a message comes up to a second early, and the margin follows
_TRIES = 5


def close_past_ends(services: Services, firewall_id: str, *, wait: bool = False) -> None:
    """Remove our allows whose end, in the rule's own text, has passed.

    With `wait`, first wait for an end that is seconds away. Raises what the firewall raises.
    """
    refused: dict[str, FirewallRefusedError] = {}
    before: tuple[str, ...] = ()
    in_vain = 0
    while in_vain < _TRIES:
        snapshot = _read(services, firewall_id)
        if wait:
            _await_end(services, snapshot)
        found = past_end(snapshot.rules, services.names, services.clock())
        past = tuple(name for name in found if name not in refused)
        if not past:
            return _raise_first(refused)
        in_vain += past == before
        before = past
        try:
            services.firewall.write(snapshot, Plan(remove=past))
        except FirewallChangedError:
            continue
        except FirewallRefusedError as refusal:
            refused |= dict.fromkeys([refusal.rule_name] if refusal.rule_name else past, refusal)
            continue
        services.telemetry.event("jit.rules.expired", firewall=firewall_id, rules=", ".join(past))
    raise OutsideError(f"{firewall_id} still holds {', '.join(before)} after {in_vain} tries")


def _read(services: Services, firewall_id: str) -> Snapshot:
    """Read a firewall, settled or not: removing what has expired does not wait for others."""
    try:
        return services.firewall.read(firewall_id)
    except SettlingError as busy:
        if busy.snapshot is None:
            raise
        return busy.snapshot


def _raise_first(refused: dict[str, FirewallRefusedError]) -> None:
    for refusal in refused.values():
        raise refusal


def _await_end(services: Services, snapshot: Snapshot) -> None:
    """Wait until the next end has passed, if it is seconds away."""
    now = services.clock()
    end = next_end(snapshot.rules, services.names, now)
    if end is not None and end <= now + _SOON:
        services.sleep((end - now).total_seconds())
