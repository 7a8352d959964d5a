"""Take, keep and give back the lease of a firewall or a lane, which saves writes and is never relied on.

A lease that cannot be read or written stops no converge: the etag of the firewall decides.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from shared.domain.desired import Pace
from shared.domain.ids import row_key
from shared.domain.times import format_sortable
from shared.ports import Row, UnknownFirewallError
from shared.store.firewalls import new_lease, next_lease
from shared.use_cases.parts import HasClock, HasFirewalls, HasNewId, HasRows, HasTelemetry

NONE = Row("", "", {})


class LeaseParts(HasClock, HasRows, HasTelemetry, Protocol):
    """The parts for keeping and dropping a lease."""


class LeaseTakeParts(HasClock, HasNewId, HasRows, HasTelemetry, Protocol):
    """The parts for taking a lease."""


class FreeLeaseParts(HasClock, HasFirewalls, HasNewId, Protocol):
    """The parts for finding a lease free."""


def take(
    services: LeaseTakeParts,
    key: str,
    pace: Pace,
    unless: Callable[[Row, datetime], bool] | None,
    seen: Row | None = None,
) -> Row | None:
    """Take the lease of a firewall or a lane; None: it is held, or `unless` forbids.

    `seen` is the row as it was read a moment ago.
    """
    now = services.clock()
    try:
        return services.rows.take_lease(
            *(key, services.new_id(), now, now + pace.lease),
            unless=unless,
            seen=seen,
        )
    except Exception as error:  # noqa: BLE001 - converging without a lease is correct
        services.telemetry.fault("jit.lease.failed", error, firewall=key)
        return NONE


def free(
    services: FreeLeaseParts,
    firewall_id: str,
    seen: Row | None,
    unless: Callable[[Row, datetime], bool] | None = None,
) -> Row | None:
    """Return the row that takes the lease of a firewall, to be written together with its grants.

    `seen` is the row as it was read a moment ago. None: it was held, `unless` forbids, or it
    stands beside the rows of no single firewall.
    """
    try:
        provider = services.firewalls.of(firewall_id)
    except UnknownFirewallError:
        return None  # converging it reports that
    if provider.lane(firewall_id):
        return None
    now, owner = services.clock(), services.new_id()
    if seen is None:
        return new_lease(firewall_id, owner, now + provider.pace.lease)
    return next_lease(seen, owner, now, now + provider.pace.lease, unless)


def keep(services: LeaseParts, lease: Row, pace: Pace) -> Row:
    """Hold a lease for longer, once half of its time is over."""
    if str(lease.values.get("until", "")) > format_sortable(services.clock() + pace.lease / 2):
        return lease
    return _write(services, lease, services.clock() + pace.lease)


def drop(services: LeaseParts, lease: Row) -> None:
    """Give a lease back."""
    _write(services, lease, services.clock())


def ending(services: LeaseParts, lease: Row, firewall_id: str) -> Row | None:
    """Return the row that gives a lease back, where it stands beside the rows of a firewall."""
    if lease.partition != row_key(firewall_id):
        return None
    return replace(lease, values={**lease.values, "until": format_sortable(services.clock())})


def _write(services: LeaseParts, lease: Row, until: datetime) -> Row:
    if not lease.partition:
        return lease
    try:
        return services.rows.keep_lease(lease, until)
    except Exception as error:  # noqa: BLE001 - converging without a lease is correct
        services.telemetry.fault("jit.lease.failed", error, firewall=lease.partition)
        return lease
