"""What the API answers, field by field. Names are the API's own in snake_case."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from jit_access.client.json_models import Json, Model
from jit_access.client.words import (
    Ability,
    ActivityOperation,
    Category,
    CloseBy,
    ExtensionApproval,
    FirewallState,
    HealthState,
    PolicyState,
    Protocol,
    RecommendationState,
    Status,
    StatusReason,
)


@dataclass(frozen=True, kw_only=True)
class Reason(Model):
    """One line of a dry run: why it would be refused, or what would fail."""

    code: str
    message: str
    target: str


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
    """What one approver decided."""

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


@dataclass(frozen=True, kw_only=True)
class PortRule(Model):
    """What a policy allows on a port."""

    number: int
    protocol: Protocol
    max_request_access_duration: str
    allowed_source_address_prefix: str | None = None
    allowed_source_address_prefixes: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Conditions(Model):
    """A policy's own conditions."""

    justification_required: bool
    justification_pattern: str
    widest_source_prefix_ipv4: int | None
    widest_source_prefix_ipv6: int | None
    own_address_only: bool
    only_through_bastion: bool
    approvers_needed: int
    approve_extensions: bool
    extension_approval: ExtensionApproval
    max_total_duration: str
    approval_timeout: str
    flush_connections: bool
    close_by: CloseBy
    revoke_foreign_rules: bool


@dataclass(frozen=True, kw_only=True)
class PolicyVm(Model):
    """A VM of a policy."""

    id: str
    ports: tuple[PortRule, ...]
    public_ip_address: str | None = None


@dataclass(frozen=True, kw_only=True)
class PolicyProperties(Model):
    """A policy's content."""

    virtual_machines: tuple[PolicyVm, ...]
    requests: tuple[Request, ...]
    provisioning_state: PolicyState
    append_mode: bool
    provisioning_error: str | None = None
    conditions: Conditions | None = None


@dataclass(frozen=True, kw_only=True)
class Policy(Model):
    """A JIT policy."""

    kind: str
    properties: PolicyProperties
    id: str
    name: str
    type: str
    location: str
    etag: str | None = None


@dataclass(frozen=True, kw_only=True)
class PolicyList(Model):
    """A page of policies."""

    value: tuple[Policy, ...]
    next_link: str | None = None


@dataclass(frozen=True, kw_only=True)
class PutRule(Model):
    """A rule that a dry run would put."""

    name: str
    properties: Json


@dataclass(frozen=True, kw_only=True)
class BlockedRule(Model):
    """A rule that cannot be placed."""

    rule: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class FirewallChange(Model):
    """What a dry run would change on one firewall."""

    id: str
    put: tuple[PutRule, ...]
    remove: tuple[str, ...]
    blocked: tuple[BlockedRule, ...]


@dataclass(frozen=True, kw_only=True)
class DryRun(Model):
    """What both kinds of dry run answer."""

    dry_run: Literal[True]
    allowed: bool
    reasons: tuple[Reason, ...]
    problems: tuple[Reason, ...]
    firewalls: tuple[FirewallChange, ...]


@dataclass(frozen=True, kw_only=True)
class RequestDryRun(DryRun):
    """What a request would lead to."""

    request: Request | None


@dataclass(frozen=True, kw_only=True)
class PolicyDryRun(DryRun):
    """What writing a policy would lead to."""

    policy: Policy | None


@dataclass(frozen=True, kw_only=True)
class Exposure(Model):
    """A foreign rule that leaves a port open."""

    firewall: str
    rule: str
    priority: int | None = None
    port: int
    sources: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Recommendation(Model):
    """The state of Defender's recommendation."""

    state: RecommendationState
    reason: str


@dataclass(frozen=True, kw_only=True)
class BastionHost(Model):
    """A Bastion host that reaches a VM."""

    id: str
    name: str
    sku: str
    enable_tunneling: bool


@dataclass(frozen=True, kw_only=True)
class Machine(Model):
    """A VM: whether a policy lists it, and whether its ports are closed."""

    id: str
    location: str
    system: str | None
    category: Category
    reason: str
    exposed_by: tuple[Exposure, ...]
    recommendation: Recommendation
    policies: tuple[str, ...]
    ports: tuple[PortRule, ...]
    firewalls: tuple[str, ...]
    bastions: tuple[BastionHost, ...] | None
    last_access: datetime | None
    last_requestor: str | None
    private_ip_addresses: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MachineList(Model):
    """A page of VMs."""

    value: tuple[Machine, ...]
    next_link: str | None = None


@dataclass(frozen=True, kw_only=True)
class Activity(Model):
    """One audit event."""

    time: datetime
    operation: ActivityOperation
    principal: str | None = None
    principal_name: str | None = None
    on_behalf_of: str | None = None
    relayed_by: str | None = None
    request_id: str | None = None
    virtual_machine: str | None = None
    firewall: str | None = None
    policy_id: str | None = None
    source_address: str | None = None
    reason: str | None = None
    authorized_by: str | None = None
    old_digest: str | None = None
    new_digest: str | None = None
    changes: str | None = None
    port: int | None = None
    lateness_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class ActivityList(Model):
    """A page of audit events."""

    value: tuple[Activity, ...]
    next_link: str | None = None


@dataclass(frozen=True, kw_only=True)
class Health(Model):
    """The verdict; the figures, for callers who may see them, are in `raw`."""

    status: HealthState


@dataclass(frozen=True, kw_only=True)
class Authentication(Model):
    """Where to sign in for the app, and for which audience."""

    login_endpoint: str
    audiences: tuple[str, ...]
    tenant: str
    identity_provider: str


@dataclass(frozen=True, kw_only=True)
class CloudSuffixes(Model):
    """Host names of an Azure cloud."""

    storage: str
    sql_server_hostname: str
    key_vault_dns: str
    acr_login_server: str


@dataclass(frozen=True, kw_only=True)
class CloudMetadata(Model):
    """The addresses of the Azure cloud that the app belongs to."""

    name: str
    resource_manager: str
    portal: str
    authentication: Authentication
    graph: str
    graph_audience: str
    microsoft_graph_resource_id: str
    media: str
    batch: str
    sql_management: str
    gallery: str
    vm_image_alias_doc: str
    suffixes: CloudSuffixes


@dataclass(frozen=True, kw_only=True)
class HeldActions(Model):
    """The actions that the caller holds at a scope."""

    scope: str
    actions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CallerLimits(Model):
    """What bounds a request, and how many ports the caller holds."""

    min_duration: str
    max_duration: str
    widest_source_prefix_ipv4: int
    widest_source_prefix_ipv6: int
    ports_per_request: int
    open_ports: int
    open_ports_allowed: int


@dataclass(frozen=True, kw_only=True)
class Me(Model):
    """The caller as the service sees it."""

    name: str
    object_id: str
    tenant_id: str
    is_app: bool
    address: str | None
    permissions: tuple[HeldActions, ...]
    limits: CallerLimits
