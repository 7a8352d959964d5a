"""Stored values of a firewall: attachments, protections and grants."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.ids import key_of

MINUTE = timedelta(minutes=1)
# A sealed row outlives the longest stall of a worker, so that a write of ours which lands late
# still finds the row that makes it an orphan.
GRACE = timedelta(minutes=15)
# Whatever a row says, no grant outlives this: a forged or damaged expiry cannot open for longer.
# A day, and five minutes for clocks that disagree.
LONGEST_GRANT = timedelta(days=1, minutes=5)


class FirewallState(StrEnum):
    """The state of a port request on one firewall."""

    OPENING = "Opening"
    OPEN = "Open"
    CLOSING = "Closing"
    CLOSED = "Closed"


@dataclass(frozen=True)
class Attachment:
    """A firewall in front of a VM, and the VM's addresses behind it.

    Packets pass the stages from the outermost, which is lowest. Grants are written where `opens`
    says so, blocks where `closes` does; a firewall with neither is read for exposure only.
    """

    firewall_id: str
    addresses: tuple[str, ...]
    stage: int = 1
    opens: bool = True
    closes: bool = True
    # On a translator: what inner firewalls see in place of a public source; (): not known.
    shows_public_as: tuple[str, ...] | None = None
    lane: str = ""  # firewalls whose writes exclude each other share one lease; "": its own
    ports: tuple[int, ...] = ()  # the only ports that grants open here; (): any


@dataclass(frozen=True)
class Protection:
    """The protection of a VM's governed ports on one firewall: our deny rule.

    `lifted` marks it for removal; its row is deleted once the firewall shows that the rule is gone.
    """

    firewall_id: str
    policy_id: str
    vm_id: str
    ports: tuple[int, ...]
    addresses: tuple[str, ...]
    lifted: bool = False
    proven: bool = False
    blocked: str = ""
    flush_connections: bool = False  # re-evaluate live sessions when rules change
    memory: str = ""  # what the firewall's provider needs to restore the earlier state
    revoke_foreign: bool = False  # take foreign rules away where their owner agrees (EC2)
    version: str = ""


@dataclass(frozen=True)
class Grant:
    """One port request opened on one firewall until an expiry: a copy of what the request says.

    A sealed grant is never wanted again.
    """

    firewall_id: str
    request_id: str
    policy_id: str
    vm_id: str
    port: int
    protocol: str
    sources: tuple[str, ...]
    addresses: tuple[str, ...]
    requestor: str
    requested_at: datetime
    expires_at: datetime
    sealed_at: datetime | None = None
    proven: bool = False  # of a wanted grant: seen open; of a sealed one: seen gone
    version: str = ""
    # The requested sources as this firewall sees them; None: as they were requested.
    seen_sources: tuple[str, ...] | None = None

    @property
    def sources_here(self) -> tuple[str, ...]:
        """Return the sources to let through at this firewall."""
        return self.sources if self.seen_sources is None else self.seen_sources

    @property
    def is_sealed(self) -> bool:
        """Tell whether it has been closed for good."""
        return self.sealed_at is not None

    @property
    def key(self) -> tuple[str, str, int]:
        """Return the identity of a grant on its firewall."""
        return (self.request_id, key_of(self.vm_id), self.port)


@dataclass(frozen=True)
class FirewallRows:
    """Everything that is kept for one firewall."""

    protections: tuple[Protection, ...] = ()
    grants: tuple[Grant, ...] = ()
    # The VMs, by the digest of their key, of which a protection's row cannot be decoded: their
    # deny rules are kept.
    undecoded: frozenset[str] = frozenset()
    lacks_grants: bool = False  # whether the row of some grant cannot be decoded
