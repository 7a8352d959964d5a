"""Reports on VMs, audit events, health, the cloud and the caller, field by field."""

from dataclasses import dataclass
from datetime import datetime

from jit_access.client.json_models import Model
from jit_access.client.models.policies import PortRule
from jit_access.client.words import (
    ActivityOperation,
    Category,
    HealthState,
    RecommendationState,
)


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
    """A page of VMs; `unanswered` names the parts of a cloud whose machines are not known."""

    value: tuple[Machine, ...]
    unanswered: tuple[str, ...] = ()
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
    """The limits of a request, and the number of ports the caller holds."""

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
