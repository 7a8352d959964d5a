"""Seal a grant that has ended by the same transaction that takes the lease of its firewall.

The request's row decides and a sealed grant stays sealed, so neither needs the firewall to be read.
"""

from typing import Protocol

from shared.domain.model import FirewallRows
from shared.ports import Row
from shared.use_cases.firewalls import leases
from shared.use_cases.firewalls.run import Before
from shared.use_cases.firewalls.sync_grants import GrantSync, SyncParts, ended_grants
from shared.use_cases.parts import HasFirewalls, HasNewId


class ExpireParts(SyncParts, HasFirewalls, HasNewId, Protocol):
    """The parts for sealing a grant that has ended."""


def expire_single(
    services: ExpireParts, firewall_id: str, rows: FirewallRows, lease: Row | None
) -> Before:
    """Seal the grant that has ended and take the lease; return what is known for the converge.

    Where several have ended, many messages come for them: the lease is taken first then, so that
    one worker alone writes. A failure here is tried again under the lease.
    """
    before = Before(lease=lease)
    try:
        wanted = leases.free(services, firewall_id, lease)
        if wanted is None or len(ended_grants(rows, services.clock())) != 1:
            return before
        sync = GrantSync(services, firewall_id)
        _, taken = sync.expire_with_lease(rows, services.clock(), wanted)
    except Exception as error:  # noqa: BLE001 - the converge does all of it
        services.telemetry.fault("jit.expire.failed", error, firewall=firewall_id)
        return before
    return Before(lease=lease, known=sync.known, taken=taken)
