"""Record the grants of what is opening: their protections come first, then due rows, then grants."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Protocol

from shared.domain.ids import key_of
from shared.domain.model import (
    MINUTE,
    AccessRequest,
    FirewallRows,
    Front,
    Grant,
    PortRequest,
    Status,
)
from shared.domain.network import covers
from shared.ports import Row
from shared.use_cases.closing_soon import note_closing_soon
from shared.use_cases.firewalls import leases
from shared.use_cases.firewalls.batching import waits_for_batch
from shared.use_cases.firewalls.known_requests import KnownRequests
from shared.use_cases.firewalls.run import Before
from shared.use_cases.grants import grant_of
from shared.use_cases.messages import send_firewall
from shared.use_cases.parts import HasSideBySide
from shared.use_cases.policies.apply import ApplyParts, apply_policy
from shared.use_cases.requests.known import Known


class GrantingParts(ApplyParts, HasSideBySide, Protocol):
    """The parts for recording the grants of what is opening."""


_AT_ONCE = 4  # firewalls of one request
_Opening = tuple[PortRequest, Front]
_Read = tuple[FirewallRows, Row | None]


def insert_grants(
    services: GrantingParts, request: AccessRequest, known: Known
) -> dict[str, Before]:
    """Insert the grants of what is opening, after their due rows; return what was read, by firewall.

    One message for each firewall and end is sent now, so that the close needs no sweep.
    """
    opening = [
        (port, front)
        for port in request.ports
        if port.status is Status.INITIATING and not port.closing
        for front in port.fronts or ()
    ]
    if not opening:
        return {}
    read = _read_protected(services, request, opening)
    now = services.clock()
    grants = [grant_of(request, port, front) for port, front in opening]
    dues = [
        due
        for grant in grants
        for due in (
            (grant.expires_at, "firewall", grant.firewall_id),
            (grant.expires_at + MINUTE, "request", request.id),
        )
    ]
    services.due.add_all(dues, since=now)
    ends = sorted({(grant.firewall_id, grant.expires_at) for grant in grants})
    taken: dict[str, Row] = {}
    try:
        inserted, _ = services.side_by_side(
            partial(_insert_all, services, grants, read, taken),
            partial(_send_all, services, ends, now),
        )
    except Exception:
        services.workers(partial(leases.drop, services), taken.values())
        raise
    for port in dict.fromkeys(port for port, _ in opening):
        assert port.end_at is not None  # noqa: S101 - begin_opening fixed the end with the fronts
        note_closing_soon(services, request, port, port.end_at)
    known_requests = KnownRequests(services, known.row)
    return {
        firewall_id: Before(
            known.seen.get(key_of(firewall_id)),
            rows,
            read[firewall_id][1],
            known_requests,
            taken.get(firewall_id),
        )
        for firewall_id, rows in inserted.items()
    }


def _send_all(services: GrantingParts, ends: Iterable[tuple[str, datetime]], now: datetime) -> None:
    for firewall_id, end in ends:
        send_firewall(services, firewall_id, delay=end - now)


def _insert_all(
    services: GrantingParts,
    grants: Iterable[Grant],
    read: dict[str, _Read],
    taken: dict[str, Row],
) -> dict[str, FirewallRows | None]:
    """Insert the grants of each firewall; return its rows with them, None where they changed.

    `taken` takes up the leases that were free. Where the firewalls are more than are converged at
    once, none is taken here: it would be held while its turn has not come.
    """
    of_firewall: dict[str, list[Grant]] = {}
    for grant in grants:
        of_firewall.setdefault(grant.firewall_id, []).append(grant)
    with_lease = len(of_firewall) <= _AT_ONCE
    unless = partial(waits_for_batch, services)

    def insert(firewall_id: str) -> FirewallRows | None:
        rows, seen = read[firewall_id]
        held = {grant.key for grant in rows.grants}
        missing = [grant for grant in of_firewall[firewall_id] if grant.key not in held]
        lease = None
        if with_lease and missing:
            lease = leases.free(services, firewall_id, seen, unless)
        inserted, lease = services.rows.insert_grants(missing, lease)
        if lease is not None:
            taken[firewall_id] = lease
        return _with_inserted(rows, inserted)

    return dict(zip(of_firewall, services.workers(insert, of_firewall), strict=True))


def _with_inserted(
    rows: FirewallRows, inserted: Sequence[Grant | Exception | None]
) -> FirewallRows | None:
    for each in inserted:
        if isinstance(each, Exception):
            raise each
    grants = [grant for grant in inserted if isinstance(grant, Grant)]
    if len(grants) < len(inserted):
        return None  # the key of one was taken meanwhile, perhaps by a sealed one
    return replace(rows, grants=(*rows.grants, *grants))


# --- protections ---------------------------------------------------------------------------------


def _read_protected(
    services: GrantingParts, request: AccessRequest, opening: Iterable[_Opening]
) -> dict[str, _Read]:
    """Read the rows of the firewalls, and apply the policy where a protection is not there yet.

    No grant comes without its deny.
    """
    fronts = list(opening)
    firewalls = sorted({front.firewall_id for _, front in fronts})
    read = _read_rows(services, firewalls)
    if all(_is_protected(read[f.firewall_id][0], request.policy_id, p, f) for p, f in fronts):
        return read
    apply_policy(services, request.policy_id)
    return _read_rows(services, firewalls)


def _read_rows(services: GrantingParts, firewalls: list[str]) -> dict[str, _Read]:
    rows = services.workers(services.rows.read_with_lease, firewalls)
    return dict(zip(firewalls, rows, strict=True))


def _is_protected(rows: FirewallRows, policy_id: str, port: PortRequest, front: Front) -> bool:
    return any(
        (key_of(each.policy_id), key_of(each.vm_id)) == (key_of(policy_id), key_of(port.vm_id))
        and not each.lifted
        and port.port in each.ports
        and all(covers(each.addresses, address) for address in front.addresses)
        for each in rows.protections
    )
