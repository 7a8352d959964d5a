"""Access requests, their port requests, and what becomes of each."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.ids import key_of
from shared.domain.model.principal import Principal


class Status(StrEnum):
    """The status of a port request; the wire words of the real service, and four of ours."""

    PENDING_APPROVAL = "PendingApproval"
    INITIATING = "Initiating"
    INITIATED = "Initiated"
    REVOKED = "Revoked"
    DENIED = "Denied"
    FAILED = "Failed"


FINAL = frozenset({Status.REVOKED, Status.DENIED, Status.FAILED})


class CloseReason(StrEnum):
    """Why a port request was closed."""

    EXPIRED = "Expired"
    REVOKED = "UserManuallyRevoked"
    NEWER = "NewerRequestInitiated"
    FAILED = "Failed"
    DENIED = "Denied"


@dataclass(frozen=True)
class Front:
    """A firewall that a port request has to pass, and what is proven of it."""

    firewall_id: str
    addresses: tuple[str, ...]
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    seen_sources: tuple[str, ...] | None = None  # as this firewall sees them; None: as requested
    entry_address: str = ""  # where to connect to, if that is not the VM itself
    entry_port: int = 0


@dataclass(frozen=True)
class Closing:
    """A close that was decided: from here on the port request can only end."""

    reason: CloseReason
    at: datetime
    message: str = ""
    by: str = ""
    relayed_by: str = ""


@dataclass(frozen=True)
class PortRequest:
    """One VM and port of a request; its fate changes by writes to the request row alone.

    `fronts` is None until open_access has found the firewalls. Exactly one of `end_at` and
    `duration` is asked for; with a duration the clock starts when opening begins.
    """

    vm_id: str
    port: int
    protocol: str
    sources: tuple[str, ...]
    end_at: datetime | None = None
    duration: timedelta | None = None
    end_text: str = ""  # endTimeUtc exactly as it was sent; clients compare it
    sources_listed: bool = False
    sources_given: bool = True
    status: Status = Status.INITIATING
    fronts: tuple[Front, ...] | None = None
    closing: Closing | None = None
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    close_lead: timedelta = timedelta(0)  # how long before the end its close begins
    bastion: str = ""  # id of the Bastion host whose prefixes are the sources

    @property
    def closes_at(self) -> datetime | None:
        """Return when its close begins: at its end, or before it where closing takes minutes."""
        return self.end_at - self.close_lead if self.end_at else None

    @property
    def is_final(self) -> bool:
        """Tell whether nothing more will happen to it."""
        return self.status in FINAL

    def names(self, vm_id: str, port: int) -> bool:
        """Tell whether this is the port request for that VM and port."""
        return self.port == port and key_of(self.vm_id) == key_of(vm_id)


@dataclass(frozen=True)
class Vote:
    """One person's decision, and the app that carried the message, if one did."""

    approver: Principal
    approved: bool
    at: datetime
    comment: str = ""
    relayed_by: Principal | None = None


@dataclass(frozen=True)
class Approval:
    """How many people must agree, until when, and who has decided."""

    needed: int
    deadline: datetime
    votes: tuple[Vote, ...] = ()

    @property
    def agreed(self) -> int:
        """Count the people who agreed; the same person counts once."""
        return len({vote.approver.key for vote in self.votes if vote.approved})

    @property
    def is_met(self) -> bool:
        """Tell whether enough people agreed and none refused."""
        return self.agreed >= self.needed and all(vote.approved for vote in self.votes)


@dataclass(frozen=True)
class Extension:
    """A longer end that still waits for approval."""

    end_at: datetime
    approval: Approval
    asked_at: datetime
    relayed_by: str = ""


@dataclass(frozen=True)
class Extended:
    """A later end that was given."""

    end_at: datetime
    at: datetime
    relayed_by: str = ""


@dataclass(frozen=True)
class AccessRequest:
    """One `initiate`: who asked for which ports, why, and what became of each."""

    id: str
    policy_id: str
    requestor: Principal
    requested_at: datetime
    ports: tuple[PortRequest, ...]
    justification: str | None = None
    source_address: str = ""  # where the call came from
    relayed_by: Principal | None = None  # the app that asked for the requestor
    authorized_by: str = ""  # the role that allowed it when it was asked
    approval: Approval | None = None  # None: the policy asked for none
    break_glass: bool = False
    extension: Extension | None = None
    decided: tuple[Extension, ...] = ()  # longer ends that no longer wait, with who decided
    extended: tuple[Extended, ...] = ()
    is_only: bool = False  # its requestor held no other request when it was taken in

    @property
    def is_final(self) -> bool:
        """Tell whether every port request has ended."""
        return all(port.is_final for port in self.ports)

    def port(self, vm_id: str, number: int) -> PortRequest | None:
        """Find a port request."""
        return next((port for port in self.ports if port.names(vm_id, number)), None)
