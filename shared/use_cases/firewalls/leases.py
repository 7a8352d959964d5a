"""Take, keep and give back the lease of a firewall, which saves writes and is never relied on.

A lease that cannot be read or written stops no converge: the etag of the firewall decides.
"""

from collections.abc import Callable
from datetime import datetime

from shared.ports import Row
from shared.store.rows import LEASE
from shared.use_cases.services import Services

_NONE = Row("", "", {})


def take(
    services: Services, firewall_id: str, unless: Callable[[Row, datetime], bool] | None
) -> Row | None:
    """Take a firewall's lease; None: another worker holds it, or `unless` forbids."""
    now = services.clock()
    try:
        return services.rows.take_lease(
            firewall_id, services.new_id(), now, now + LEASE, unless=unless
        )
    except Exception as error:  # noqa: BLE001 - converging without a lease is correct
        services.telemetry.fault("jit.lease.failed", error, firewall=firewall_id)
        return _NONE


def keep(services: Services, lease: Row) -> Row:
    """Hold a lease for longer."""
    return _write(services, lease, services.clock() + LEASE)


def drop(services: Services, lease: Row) -> None:
    """Give a lease back."""
    _write(services, lease, services.clock())


def _write(services: Services, lease: Row, until: datetime) -> Row:
    if not lease.partition:
        return lease
    try:
        return services.rows.keep_lease(lease, until)
    except Exception as error:  # noqa: BLE001 - converging without a lease is correct
        services.telemetry.fault("jit.lease.failed", error, firewall=lease.partition)
        return lease
