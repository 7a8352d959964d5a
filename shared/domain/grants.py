"""Which grants of a firewall may be open, and which are overdue or replaced."""

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby

from shared.domain.ids import key_of
from shared.domain.model import LONGEST_GRANT, FirewallRows, Grant
from shared.domain.network import canonical, covers, overlaps


def current_grants(rows: FirewallRows, now: datetime) -> tuple[Grant, ...]:
    """Keep the grants that may be open now: accepted, covered, unexpired, and the newest."""
    held = [grant for grant in rows.grants if is_held(grant, now) and is_covered(grant, rows)]
    replaced = {grant.key for grant in superseded(held)}
    return tuple(grant for grant in held if grant.key not in replaced)


def is_held(grant: Grant, now: datetime) -> bool:
    """Tell whether a grant is neither sealed nor over, whatever expiry its row states."""
    return not grant.is_sealed and now < grant.expires_at <= now + LONGEST_GRANT


def has_overdue(rows: FirewallRows, at: datetime) -> bool:
    """Tell whether something should be closed by an instant and has not been seen gone."""
    return any(
        not grant.proven if grant.is_sealed else grant.expires_at <= at for grant in rows.grants
    )


def first_end(rows: FirewallRows) -> datetime | None:
    """Say when the first of the grants that are not sealed ends, or has ended; None: no such."""
    return min((grant.expires_at for grant in rows.grants if not grant.is_sealed), default=None)


def is_covered(grant: Grant, rows: FirewallRows) -> bool:
    """Tell whether the policy of a grant still protects its VM, port and addresses here.

    An address that the VM has lost may be another VM's tomorrow.
    """
    return any(
        not protection.lifted
        and key_of(protection.vm_id) == key_of(grant.vm_id)
        and key_of(protection.policy_id) == key_of(grant.policy_id)
        and grant.port in protection.ports
        and all(covers(protection.addresses, address) for address in grant.addresses)
        for protection in rows.protections
    )


def superseded(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    """Find the grants that a newer one replaces: same requestor, VM, port and sources."""
    older: list[Grant] = []
    for _, same in groupby(sorted(grants, key=_sameness), key=_sameness):
        by_age = sorted(same, key=lambda grant: (grant.requested_at, grant.request_id))
        older += by_age[:-1]
    return tuple(older)


def _sameness(grant: Grant) -> tuple[str, str, int, str, list[str]]:
    sources = sorted(canonical(grant.sources))
    return (grant.requestor, key_of(grant.vm_id), grant.port, grant.protocol, sources)


def other_vm_at(rows: FirewallRows, grant: Grant) -> str:
    """Find another protected VM that has one of this grant's addresses."""
    return min(
        (
            protection.vm_id
            for protection in rows.protections
            if not protection.lifted
            and key_of(protection.vm_id) != key_of(grant.vm_id)
            and overlaps(protection.addresses, grant.addresses)
        ),
        default="",
    )
