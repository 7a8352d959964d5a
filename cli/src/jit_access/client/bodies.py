"""The bodies sent to the API, field by field. Names are the API's own in snake_case."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jit_access.client.json_models import Body
from jit_access.client.words import CloseBy, ExtensionApproval


@dataclass(frozen=True, kw_only=True)
class Person(Body):
    """The person for whom a relay calls."""

    object_id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class NewPort(Body):
    """A requested port: exactly one of an end and a duration."""

    number: int
    end_time_utc: datetime | None = None
    duration: str | None = None
    allowed_source_address_prefix: str | None = None
    allowed_source_address_prefixes: tuple[str, ...] | None = None
    source: str | None = None
    mapped_port: int | None = None
    public_ip_address: str | None = None


@dataclass(frozen=True, kw_only=True)
class NewVm(Body):
    """A VM and its requested ports."""

    id: str
    ports: tuple[NewPort, ...]
    public_ip_address: str | None = None


@dataclass(frozen=True, kw_only=True)
class NewRequest(Body):
    """The body of Defender's initiate."""

    virtual_machines: tuple[NewVm, ...]
    justification: str | None = None
    break_glass: bool = False
    on_behalf_of: Person | None = None


@dataclass(frozen=True, kw_only=True)
class NewShortRequest(Body):
    """The body of the short form: one VM, some ports, one end."""

    virtual_machine: str
    ports: tuple[int, ...]
    end_time_utc: datetime | None = None
    duration: str | None = None
    allowed_source_address_prefix: str | None = None
    allowed_source_address_prefixes: tuple[str, ...] | None = None
    source: str | None = None
    justification: str | None = None
    break_glass: bool = False
    on_behalf_of: Person | None = None


@dataclass(frozen=True, kw_only=True)
class NewDecision(Body):
    """The body of approve, deny and revoke; a VM limits a revocation to its ports."""

    comment: str = ""
    on_behalf_of: Person | None = None
    virtual_machine: str | None = None


@dataclass(frozen=True, kw_only=True)
class NewEnd(Body):
    """The body of extend: exactly one of an end and a duration."""

    end_time_utc: datetime | None = None
    duration: str | None = None
    on_behalf_of: Person | None = None


@dataclass(frozen=True, kw_only=True)
class RevokeAll(Body):
    """The body of revoke all: everything on one VM, or everything of one requestor."""

    virtual_machine: str | None = None
    requestor_object_id: str | None = None
    comment: str = ""
    on_behalf_of: Person | None = None


@dataclass(frozen=True, kw_only=True)
class NewPortRule(Body):
    """A new policy's rule for a port."""

    number: int
    protocol: str
    max_request_access_duration: str
    allowed_source_address_prefix: str | None = None
    allowed_source_address_prefixes: tuple[str, ...] | None = None
    mapped_port: int | None = None


@dataclass(frozen=True, kw_only=True)
class NewPolicyVm(Body):
    """A VM of a policy; without ports it gets Defender's usual ones."""

    id: str
    ports: tuple[NewPortRule, ...] | None = None
    public_ip_address: str | None = None


@dataclass(frozen=True, kw_only=True)
class NewConditions(Body):
    """A policy's own conditions."""

    justification_required: bool = False
    justification_pattern: str = ""
    widest_source_prefix_ipv4: int | None = None
    widest_source_prefix_ipv6: int | None = None
    own_address_only: bool = False
    only_through_bastion: bool = False
    approvers_needed: int = 0
    approve_extensions: bool | None = None
    extension_approval: ExtensionApproval | None = None
    max_total_duration: str = "P1D"
    approval_timeout: str = "PT1H"
    flush_connections: bool = False
    close_by: CloseBy = "begin"
    revoke_foreign_rules: bool = False


@dataclass(frozen=True, kw_only=True)
class NewPolicyProperties(Body):
    """A policy's content. No conditions: those that stand are kept; empty ones remove them.

    The last four are answered by the service and accepted back.
    """

    virtual_machines: tuple[NewPolicyVm, ...]
    conditions: NewConditions | None = None
    requests: Any = None
    provisioning_state: Any = None
    provisioning_error: Any = None
    append_mode: Any = None


@dataclass(frozen=True, kw_only=True)
class NewPolicy(Body):
    """The body of a policy PUT. The last five are answered by the service and accepted back."""

    properties: NewPolicyProperties
    kind: str | None = None
    id: Any = None
    name: Any = None
    type: Any = None
    location: Any = None
    etag: Any = None
