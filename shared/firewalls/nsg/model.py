"""The values of network security groups: a rule, and a group as one read showed it."""

from dataclasses import dataclass, field
from enum import StrEnum

from shared.domain.model import ANY

NSG_TYPE = "microsoft.network/networksecuritygroups"


class Access(StrEnum):
    """The action of a security rule."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True)
class SecurityRule:
    """A rule of a security group. Priority 0: not placed yet.

    `source_groups` and `destination_groups` are the application security groups that it names.
    Their members' addresses are among `sources` and `destinations`; `unresolved` says that the
    members are not known.
    """

    name: str
    access: Access
    protocol: str
    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    ports: tuple[str, ...]
    description: str = ""
    priority: int = 0
    inbound: bool = True
    source_ports: tuple[str, ...] = (ANY,)
    unresolved_sources: bool = False
    unresolved_destinations: bool = False
    source_groups: tuple[str, ...] = ()
    destination_groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """A firewall as one settled read showed it. `exists` False: the service says it is gone."""

    firewall_id: str
    rules: tuple[SecurityRule, ...]
    version: str = ""
    exists: bool = True
    flushes_connections: bool = False
    raw: object = field(default=None, repr=False, compare=False)
