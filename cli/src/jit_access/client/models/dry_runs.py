"""The answers of dry runs, field by field."""

from dataclasses import dataclass
from typing import Literal

from jit_access.client.json_models import Json, Model
from jit_access.client.models.policies import Policy
from jit_access.client.models.requests import Request


@dataclass(frozen=True, kw_only=True)
class Reason(Model):
    """One line of a dry run: why it would be refused, or what would fail."""

    code: str
    message: str
    target: str


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
    """The changes of a dry run on one firewall."""

    id: str
    put: tuple[PutRule, ...]
    remove: tuple[str, ...]
    blocked: tuple[BlockedRule, ...]


@dataclass(frozen=True, kw_only=True)
class DryRun(Model):
    """Hold what both dry runs answer."""

    dry_run: Literal[True]
    allowed: bool
    reasons: tuple[Reason, ...]
    problems: tuple[Reason, ...]
    firewalls: tuple[FirewallChange, ...]


@dataclass(frozen=True, kw_only=True)
class RequestDryRun(DryRun):
    """The result of a request's dry run."""

    request: Request | None


@dataclass(frozen=True, kw_only=True)
class PolicyDryRun(DryRun):
    """The result of a policy's dry run."""

    policy: Policy | None
