"""Policies, field by field."""

from dataclasses import dataclass

from jit_access.client.json_models import Model
from jit_access.client.models.requests import Request
from jit_access.client.words import (
    CloseBy,
    ExtensionApproval,
    PolicyState,
    Protocol,
)


@dataclass(frozen=True, kw_only=True)
class PortRule(Model):
    """A policy's rule for a port."""

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
