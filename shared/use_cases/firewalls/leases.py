"""Take, keep and give back the lease of a firewall or a lane, which saves writes and is never relied on.

A lease that cannot be read or written stops no converge: the etag of the firewall decides.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from shared.domain.desired import Pace
from shared.domain.times import format_sortable
from shared.ports import Row
from shared.use_cases.parts import HasClock, HasNewId, HasRows, HasTelemetry

_NONE = Row("", "", {})


class LeaseParts(HasClock, HasRows, HasTelemetry, Protocol):
    """The parts for keeping and dropping a lease."""


class LeaseTakeParts(HasClock, HasNewId, HasRows, HasTelemetry, Protocol):
    """The parts for taking a lease."""


def take(
    services: LeaseTakeParts, key: str, pace: Pace, unless: Callable[[Row, datetime], bool] | None
) -> Row | None:
    """Take the lease of a firewall or a lane; None: it is held, or `unless` forbids."""
    now = services.clock()
    try:
        return services.rows.take_lease(
            key, services.new_id(), now, now + pace.lease, unless=unless, longest=pace.lease
        )
    except Exception as error:  # noqa: BLE001 - converging without a lease is correct
        services.telemetry.fault("jit.lease.failed", error, firewall=key)
        return _NONE


def keep(services: LeaseParts, lease: Row, pace: Pace) -> Row:
    """Hold a lease for longer, once half of its time is over."""
    if str(lease.values.get("until", "")) > format_sortable(services.clock() + pace.lease / 2):
        return lease
    return _write(services, lease, services.clock() + pace.lease)


def drop(services: LeaseParts, lease: Row) -> None:
    """Give a lease back."""
    _write(services, lease, services.clock())


def _write(services: LeaseParts, lease: Row, until: datetime) -> Row:
    if not lease.partition:
        return lease
    try:
        return services.rows.keep_lease(lease, until)
    except Exception as error:  # noqa: BLE001 - converging without a lease is correct
        services.telemetry.fault("jit.lease.failed", error, firewall=lease.partition)
        return lease
