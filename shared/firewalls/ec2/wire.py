"""EC2's JSON and our values, and the calls of EC2 that a provider needs."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

from shared.ports import OutsideError

Json = Mapping[str, Any]
Identity = tuple[str, int, int, str, str]  # protocol, first and last port, source type, source
CIDR4, CIDR6, PREFIX_LIST, GROUP = "CidrIpv4", "CidrIpv6", "PrefixListId", "ReferencedGroupId"
DEPLOYMENT_TAG, INSTANCE_TAG, LEDGER_TAG = "jit:deployment", "jit:instance", "jit:ledger-of"
PIECE_TAG, MANAGE_TAG, MANAGE_REVOKE = "jit:piece-of", "jit:manage", "revoke"
HELD_PREFIX = "jit:held:"
EVERY_PROTOCOL = "-1"
_PAGE, _MAX_PAGES = 1000, 1000
_CHUNK = 200  # values of one filter
_ARN = re.compile(
    r"arn:aws:ec2:(?P<region>[a-z0-9-]+):(?P<account>\d{12})"
    r":(?P<type>instance/i|security-group/sg)(?P<rest>-[\w-]+)",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True)
class Place:
    """One region of one account."""

    account: str
    region: str


@dataclass(frozen=True)
class FirewallId:
    """The ARN of an instance, which stands for its own group, or of a foreign group."""

    place: Place
    resource_id: str

    @property
    def is_instance(self) -> bool:
        """Tell whether it stands for an instance's own group."""
        return self.resource_id.startswith("i-")


def parse_firewall_id(text: str) -> FirewallId | None:
    """Return the parts of a firewall's id; None: it names another resource."""
    match = _ARN.fullmatch(text)
    if match is None:
        return None
    resource = match["type"].rpartition("/")[2] + match["rest"]
    return FirewallId(Place(match["account"], match["region"].lower()), resource.lower())


def group_arn(place: Place, group_id: str) -> str:
    """Return the ARN of a security group."""
    return f"arn:aws:ec2:{place.region}:{place.account}:security-group/{group_id}"


class Ec2Error(Exception):
    """EC2 answered a call with an error that another try would not change."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Ec2Api(Protocol):
    """The calls of EC2. A call that was not answered raises OutsideError and proves nothing."""

    def call(self, place: Place, action: str, params: Json, *, once: bool = False) -> Json:
        """Carry out one call; raises Ec2Error, ThrottledError or OutsideError.

        `once`: it is never repeated below this interface.
        """
        ...


class Ec2WhenUsed:
    """EC2 through a client that is made, and whose library is loaded, at the first call."""

    def __init__(self, make: Callable[[], Ec2Api]) -> None:
        self._client = cache(make)

    def call(self, place: Place, action: str, params: Json, *, once: bool = False) -> Json:
        """Carry out one call."""
        return self._client().call(place, action, params, once=once)


@dataclass(frozen=True)
class Rule:
    """One rule of a security group. Its description and tags do not tell it from another."""

    protocol: str
    low: int
    high: int
    kind: str
    source: str
    description: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    id: str = ""
    egress: bool = False

    @property
    def identity(self) -> Identity:
        """Return the identity of a rule among those of one direction."""
        return (self.protocol, self.low, self.high, self.kind, self.source)

    @property
    def piece_of(self) -> str:
        """Return the id of the rule that this one is what is left of; empty: of none."""
        return dict(self.tags).get(PIECE_TAG, "")


@dataclass(frozen=True)
class Group:
    """One security group with its rules."""

    id: str
    name: str
    vpc_id: str
    owner: str
    tags: tuple[tuple[str, str], ...] = ()
    rules: tuple[Rule, ...] = ()

    @property
    def ingress(self) -> tuple[Rule, ...]:
        """Return the inbound rules."""
        return tuple(rule for rule in self.rules if not rule.egress)

    @property
    def egress(self) -> tuple[Rule, ...]:
        """Return the outbound rules."""
        return tuple(rule for rule in self.rules if rule.egress)

    def tag(self, key: str) -> str:
        """Return a tag's value; empty: there is none."""
        return dict(self.tags).get(key, "")


@dataclass(frozen=True)
class Interface:
    """One network interface: its instance, its addresses and the groups on it."""

    id: str
    instance_id: str
    vpc_id: str
    addresses: tuple[str, ...]
    groups: tuple[tuple[str, str], ...] = field(default=())  # ids and names

    def has(self, group_id: str) -> bool:
        """Tell whether a group is on the interface."""
        return any(each == group_id for each, _ in self.groups)


class Reader:
    """Reads one region, every page of each list."""

    def __init__(self, api: Ec2Api, place: Place) -> None:
        self._api = api
        self._place = place

    def interfaces(self, name: str, values: Iterable[str]) -> tuple[Interface, ...]:
        """Return the network interfaces that a filter names."""
        items = self._filtered("DescribeNetworkInterfaces", "NetworkInterfaces", name, values)
        return tuple(map(_interface, items))

    def groups(self, name: str, values: Iterable[str], **tags: str) -> tuple[Group, ...]:
        """Return the security groups that a filter names, with their rules."""
        bare = self.bare_groups(name, values, **tags)
        if not bare:
            return ()
        ids = [group.id for group in bare]
        rules = [
            _rule(each)
            for each in self._filtered(
                "DescribeSecurityGroupRules", "SecurityGroupRules", "group-id", ids
            )
        ]
        return tuple(_with_rules(group, rules) for group in bare)

    def bare_groups(self, name: str, values: Iterable[str], **tags: str) -> tuple[Group, ...]:
        """Return the security groups that a filter names, without their rules."""
        more = [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]
        items = self._filtered("DescribeSecurityGroups", "SecurityGroups", name, values, more)
        return tuple(map(_group, items))

    def instances(self) -> list[Json]:
        """Return the instances of the region that are not terminated."""
        states = ["pending", "running", "stopping", "stopped", "shutting-down"]
        reservations = self._filtered(
            "DescribeInstances", "Reservations", "instance-state-name", states
        )
        return [instance for each in reservations for instance in each.get("Instances", ())]

    def _filtered(
        self,
        action: str,
        member: str,
        name: str,
        values: Iterable[str],
        more: Iterable[Json] = (),
    ) -> Iterator[Json]:
        listed = list(values)
        for start in range(0, len(listed), _CHUNK):
            chosen = {"Name": name, "Values": listed[start : start + _CHUNK]}
            yield from self._pages(action, member, [chosen, *more])

    def _pages(self, action: str, member: str, filters: list[Json]) -> Iterator[Json]:
        """Return the items of every page; a list that does not end is an error."""
        params: dict[str, Any] = {"Filters": filters, "MaxResults": _PAGE}
        for _ in range(_MAX_PAGES):
            answer = self._api.call(self._place, action, params)
            items = answer.get(member, [])
            if not isinstance(items, list):
                raise OutsideError(f"no list from EC2 for {action}")
            yield from items
            token = answer.get("NextToken")
            if not token:
                return
            params["NextToken"] = token
        raise OutsideError(f"the list of {action} does not end")


def _with_rules(group: Group, rules: Iterable[tuple[str, Rule]]) -> Group:
    own = sorted((rule for group_id, rule in rules if group_id == group.id), key=lambda r: r.id)
    return Group(group.id, group.name, group.vpc_id, group.owner, group.tags, tuple(own))


def _rule(given: Json) -> tuple[str, Rule]:
    """Return the id of a rule's group, and the rule. An odd rule is kept as it is."""
    source_type, source = _source(given)
    protocol = str(given.get("IpProtocol", EVERY_PROTOCOL))
    return str(given["GroupId"]), Rule(
        protocol=protocol,
        low=int(given.get("FromPort", -1)),
        high=int(given.get("ToPort", -1)),
        kind=source_type,
        source=source,
        description=str(given.get("Description", "")),
        tags=_tags(given),
        id=str(given["SecurityGroupRuleId"]),
        egress=bool(given.get("IsEgress")),
    )


def _source(given: Json) -> tuple[str, str]:
    for source_type in (CIDR4, CIDR6, PREFIX_LIST):
        if given.get(source_type):
            return source_type, str(given[source_type])
    return GROUP, str((given.get("ReferencedGroupInfo") or {}).get("GroupId", "unknown"))


def _group(given: Json) -> Group:
    return Group(
        id=str(given["GroupId"]),
        name=str(given.get("GroupName", "")),
        vpc_id=str(given.get("VpcId", "")),
        owner=str(given.get("OwnerId", "")),
        tags=_tags(given),
    )


def _interface(given: Json) -> Interface:
    v4 = [str(each["PrivateIpAddress"]) for each in given.get("PrivateIpAddresses", ())]
    v6 = [str(each["Ipv6Address"]) for each in given.get("Ipv6Addresses", ())]
    groups = [(str(g["GroupId"]), str(g.get("GroupName", ""))) for g in given.get("Groups", ())]
    return Interface(
        id=str(given["NetworkInterfaceId"]),
        instance_id=str((given.get("Attachment") or {}).get("InstanceId", "")),
        vpc_id=str(given.get("VpcId", "")),
        addresses=(*v4, *v6),
        groups=tuple(groups),
    )


def _tags(given: Json) -> tuple[tuple[str, str], ...]:
    listed = ((str(t["Key"]), str(t.get("Value", ""))) for t in given.get("Tags", ()))
    return tuple(sorted(listed))


def permission(rule: Rule) -> dict[str, Any]:
    """Return one rule as the permission of an Authorize or Revoke call."""
    members = {
        CIDR4: ("IpRanges", "CidrIp"),
        CIDR6: ("Ipv6Ranges", "CidrIpv6"),
        PREFIX_LIST: ("PrefixListIds", "PrefixListId"),
        GROUP: ("UserIdGroupPairs", "GroupId"),
    }
    member, name = members[rule.kind]
    entry = {name: rule.source, **({"Description": rule.description} if rule.description else {})}
    ports = {"FromPort": rule.low, "ToPort": rule.high}
    bare = {} if rule.protocol == EVERY_PROTOCOL else ports
    return {"IpProtocol": rule.protocol, **bare, member: [entry]}


def rule_update(rule: Rule) -> dict[str, Any]:
    """Return one rule as an entry of ModifySecurityGroupRules; the description is always sent."""
    return {
        "SecurityGroupRuleId": rule.id,
        "SecurityGroupRule": {
            "IpProtocol": rule.protocol,
            "FromPort": rule.low,
            "ToPort": rule.high,
            rule.kind: rule.source,
            "Description": rule.description,
        },
    }


def tag_specification(resource_type: str, tags: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return tags as a call that creates something takes them."""
    listed = [{"Key": key, "Value": value} for key, value in tags]
    return [{"ResourceType": resource_type, "Tags": listed}] if listed else []
