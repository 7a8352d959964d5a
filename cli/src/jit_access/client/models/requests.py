"""Requests, field by field."""

from dataclasses import dataclass
from datetime import datetime

from jit_access.client.json_models import Model
from jit_access.client.words import (
    Ability,
    FirewallState,
    Status,
    StatusReason,
)


@dataclass(frozen=True, kw_only=True)
class PortError(Model):
    """Why a port was not opened."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class PortRequest(Model):
    """A port of a request and its state."""

    number: int
    status: Status
    status_reason: StatusReason
    allowed_source_address_prefix: str | None = None
    allowed_source_address_prefixes: tuple[str, ...] | None = None
    end_time_utc: datetime | None = None
    duration: str | None = None
    close_begins_time_utc: datetime | None = None
    mapped_port: int | None = None
    public_ip_address: str | None = None
    error: PortError | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the source addresses from whichever field was sent."""
        one = self.allowed_source_address_prefix
        return self.allowed_source_address_prefixes or ((one,) if one else ())


@dataclass(frozen=True, kw_only=True)
class RequestVm(Model):
    """A VM of a request."""

    id: str
    ports: tuple[PortRequest, ...]


@dataclass(frozen=True, kw_only=True)
class Request(Model):
    """A request as Defender's API answers it."""

    virtual_machines: tuple[RequestVm, ...]
    start_time_utc: datetime
    requestor: str
    justification: str | None = None


@dataclass(frozen=True, kw_only=True)
class Decision(Model):
    """One approver's decision."""

    approver: str
    approved: bool
    at: datetime
    comment: str


@dataclass(frozen=True, kw_only=True)
class Approval(Model):
    """The approval of a request, or of a later end."""

    needed: int
    agreed: int
    deadline: datetime
    decisions: tuple[Decision, ...]
    summary: tuple[str, ...]
    end_time_utc: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class FirewallProgress(Model):
    """The state of a port on one firewall."""

    id: str
    name: str
    state: FirewallState
    reason: str | None
    opened_at: datetime | None
    closed_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class PortStatus(PortRequest):
    """A port of a request with its state on each firewall."""

    firewalls: tuple[FirewallProgress, ...]
    bastion: str | None = None
    connect_to: str | None = None


@dataclass(frozen=True, kw_only=True)
class RequestStatusVm(RequestVm):
    """A VM of a request with the state of its ports on each firewall."""

    ports: tuple[PortStatus, ...]


@dataclass(frozen=True, kw_only=True)
class RequestStatus(Request):
    """A request with its id, its state, what the caller can do with it, and its approval."""

    virtual_machines: tuple[RequestStatusVm, ...]
    id: str
    status: Status
    policy_id: str
    opened_at: datetime | None
    closed_at: datetime | None
    requestor_object_id: str
    can: tuple[Ability, ...]
    latest_end_time_utc: datetime | None
    break_glass: bool | None = None
    relayed_by: str | None = None
    approval: Approval | None = None

    @property
    def is_undecided(self) -> bool:
        """Tell whether approvers or firewalls are still awaited."""
        return self.status in {"PendingApproval", "Initiating"}

    @property
    def ports(self) -> tuple[tuple[str, PortStatus], ...]:
        """Return each port with the id of its VM."""
        return tuple((vm.id, port) for vm in self.virtual_machines for port in vm.ports)

    @property
    def end(self) -> datetime | None:
        """Return the latest end of its ports; None before it is known."""
        return max((port.end_time_utc for _, port in self.ports if port.end_time_utc), default=None)


@dataclass(frozen=True, kw_only=True)
class RequestList(Model):
    """A page of requests."""

    value: tuple[RequestStatus, ...]
    next_link: str | None = None
