"""The words of the product as frozen values. `_at` is an aware UTC instant."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.ids import key_of, name_of

ANY = "*"
MINUTE = timedelta(minutes=1)
# A sealed row outlives the longest stall of a worker, so that a write of ours which lands late
# still finds the row that makes it an orphan.
GRACE = timedelta(minutes=15)
# Whatever a row says, no grant outlives this: a forged or damaged expiry cannot open for longer.
# A day, and five minutes for clocks that disagree.
LONGEST_GRANT = timedelta(days=1, minutes=5)
# No request waits longer for approval: app roles are read from its row, and get old there.
LONGEST_WAIT = timedelta(hours=8)


class Status(StrEnum):
    """What became of a port request; the wire words of the real service, and four of ours."""

    PENDING_APPROVAL = "PendingApproval"
    INITIATING = "Initiating"
    INITIATED = "Initiated"
    REVOKED = "Revoked"
    DENIED = "Denied"
    FAILED = "Failed"


class FirewallState(StrEnum):
    """The state of a port request on one firewall."""

    OPENING = "Opening"
    OPEN = "Open"
    CLOSING = "Closing"
    CLOSED = "Closed"


FINAL = frozenset({Status.REVOKED, Status.DENIED, Status.FAILED})


class CloseReason(StrEnum):
    """Why a port request was closed."""

    EXPIRED = "Expired"
    REVOKED = "UserManuallyRevoked"
    NEWER = "NewerRequestInitiated"
    FAILED = "Failed"
    DENIED = "Denied"


@dataclass(frozen=True)
class Principal:
    """A verified caller: tenant and object id say who, the rest is for people to read."""

    tenant: str
    object_id: str
    name: str = ""
    is_app: bool = False
    roles: frozenset[str] = frozenset()
    app_id: str = ""

    @property
    def key(self) -> str:
        """Return what tells two principals apart."""
        return f"{self.tenant}/{self.object_id}".lower()


@dataclass(frozen=True)
class PortRule:
    """What a policy allows on one port of one VM."""

    number: int
    protocol: str = ANY  # TCP, UDP or *
    sources: tuple[str, ...] = (ANY,)
    max_duration: timedelta = timedelta(hours=3)
    sources_listed: bool = False  # whether the wire form was the plural field
    max_duration_text: str = ""  # as it was sent, where that is not how we write it


@dataclass(frozen=True)
class PolicyVm:
    """One VM of a policy and its port rules; no ports means the usual ones for its system."""

    id: str
    ports: tuple[PortRule, ...] = ()
    public_ip: str = ""

    def port(self, number: int) -> PortRule | None:
        """Find the rule for a port."""
        return next((rule for rule in self.ports if rule.number == number), None)


class PolicyState(StrEnum):
    """How far a policy has been applied."""

    UPDATING = "Updating"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DELETING = "Deleting"


class ExtensionApproval(StrEnum):
    """When an extension needs approval."""

    AS_OPENING = "asOpening"  # where the opening did
    NEVER = "never"


class CloseBy(StrEnum):
    """What the end of an access is: when its close begins, or by when it has ended."""

    BEGIN = "begin"
    END = "end"


@dataclass(frozen=True)
class Conditions:
    """What a policy asks for besides Defender's fields; the defaults ask for nothing.

    NB. `approve_extensions` is written for the version before this one, which reads it, and is
    not read here: a row without `extension_approval` means asOpening, whatever it says.
    """

    justification_required: bool = False
    justification_pattern: str = ""
    widest_ipv4: int = 0  # shortest prefix length that may be asked for; 0: the deployment's
    widest_ipv6: int = 0
    own_address_only: bool = False
    only_through_bastion: bool = False
    approvers_needed: int = 0
    approve_extensions: bool = False
    approval_timeout: timedelta = timedelta(hours=1)
    flush_connections: bool = False
    extension_approval: ExtensionApproval = ExtensionApproval.AS_OPENING
    max_total_duration: timedelta = timedelta(days=1)  # of an access with all its extensions
    close_by: CloseBy = CloseBy.BEGIN
    revoke_foreign: bool = False  # take foreign rules away where their owner agrees (EC2)

    @property
    def time_to_approve(self) -> timedelta:
        """Return how long an approval is waited for; older rows may hold more than is allowed."""
        return min(self.approval_timeout, LONGEST_WAIT)


@dataclass(frozen=True)
class Policy:
    """Which VMs are protected, and what may be asked for on each."""

    id: str
    location: str
    vms: tuple[PolicyVm, ...]
    state: PolicyState = PolicyState.UPDATING
    kind: str = "Basic"
    conditions: Conditions = field(default_factory=Conditions)
    error: str = ""

    @property
    def name(self) -> str:
        """Return the policy's own name."""
        return name_of(self.id)

    def vm(self, vm_id: str) -> PolicyVm | None:
        """Find a VM of the policy."""
        key = key_of(vm_id)
        return next((vm for vm in self.vms if key_of(vm.id) == key), None)


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
    """What one person decided, and which app carried the message, if one did."""

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
        """Tell whether enough people agreed and nobody refused."""
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

    @property
    def is_final(self) -> bool:
        """Tell whether every port request has ended."""
        return all(port.is_final for port in self.ports)

    def port(self, vm_id: str, number: int) -> PortRequest | None:
        """Find a port request."""
        return next((port for port in self.ports if port.names(vm_id, number)), None)


@dataclass(frozen=True)
class Protection:
    """The standing deny of a VM's governed ports on one firewall.

    A lifted protection is no longer wanted; its row goes once the firewall shows it gone.
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
        """Return what tells the grants of one firewall apart."""
        return (self.request_id, key_of(self.vm_id), self.port)


@dataclass(frozen=True)
class FirewallRows:
    """Everything that is kept for one firewall."""

    protections: tuple[Protection, ...] = ()
    grants: tuple[Grant, ...] = ()
    # The VMs, by the digest of their key, of which a protection's row cannot be decoded: their
    # deny rules are kept.
    undecoded: frozenset[str] = frozenset()
