"""The simulator's resources of one region: groups, rules, interfaces, instances."""

import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Tags = dict[str, str]
CIDR4, CIDR6, PREFIX_LIST, GROUP = "CidrIpv4", "CidrIpv6", "PrefixListId", "ReferencedGroupId"


@dataclass(frozen=True)
class Identity:
    """The identity of a rule in its group; descriptions and tags do not."""

    egress: bool
    protocol: str
    low: int
    high: int
    kind: str  # one of the four above
    source: str


@dataclass
class Rule:
    """One rule."""

    id: str
    group_id: str
    identity: Identity
    description: str = ""
    tags: Tags = field(default_factory=dict)


@dataclass
class Group:
    """One security group."""

    id: str
    name: str
    description: str
    vpc_id: str
    owner: str
    rules: dict[str, Rule] = field(default_factory=dict)
    tags: Tags = field(default_factory=dict)
    born: float = 0.0  # when it was created, for reads that lag

    def find(self, identity: Identity) -> Rule | None:
        """Return the rule with an identity."""
        return next((rule for rule in self.rules.values() if rule.identity == identity), None)


@dataclass
class Interface:
    """One network interface."""

    id: str
    vpc_id: str
    subnet_id: str
    groups: list[str]
    addresses: list[str]
    instance_id: str = ""
    public_ip: str = ""


@dataclass
class Instance:
    """One instance."""

    id: str
    name: str = ""
    state: str = "running"
    platform: str = ""  # windows or nothing
    tags: Tags = field(default_factory=dict)


@dataclass
class Region:
    """Everything in one region of the account."""

    name: str
    account: str
    vpcs: set[str] = field(default_factory=set)
    prefix_lists: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    interfaces: dict[str, Interface] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)

    def rules(self) -> Iterator[Rule]:
        """Return the rules of all groups."""
        for group in self.groups.values():
            yield from group.rules.values()

    def rule(self, rule_id: str) -> Rule | None:
        """Return a rule by id."""
        return next((rule for rule in self.rules() if rule.id == rule_id), None)


_FIRST = 0x0_A000_0000_0000_0001  # far from the small numbers that an estate is written with


class Ids:
    """Mint resource ids; a late write mints the ids that its answer has already told."""

    def __init__(self) -> None:
        self._numbers = itertools.count(_FIRST)
        self.minted: list[str] = []
        self.told: deque[str] = deque()

    def new(self, prefix: str) -> str:
        """Return a fresh id, as in sg-0123456789abcdef0."""
        if self.told:
            return self.told.popleft()
        minted = f"{prefix}-{next(self._numbers):017x}"
        self.minted.append(minted)
        return minted


def tag_list(tags: Mapping[str, str]) -> list[Json]:
    """Return tags as the service lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
