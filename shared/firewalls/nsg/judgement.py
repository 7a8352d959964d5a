"""How Azure decides on a packet at a network security group. The one model of it in the product.

Three questions are answered from here: where a deny is placed, whether an allow is outranked, and
who reaches a governed port. docs/judgement.md lists the rules with their sources.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_network

from shared.domain.doubt import GROUP, TAG
from shared.domain.model import ANY
from shared.domain.network import (
    Network,
    canonical_ports,
    is_any,
    network,
    of_family,
    ports_meet,
)
from shared.domain.source_sets import (
    Box,
    Boxes,
    Side,
    box_of,
    intersect_all,
    subtract_all,
    whole,
)
from shared.firewalls.nsg.model import Access, SecurityRule

PORT_PROTOCOLS = frozenset({"tcp", "udp"})
_WITHOUT_PORTS = frozenset({"icmp", "icmpv6", "esp", "ah"})
_VIRTUAL_NETWORK, _INTERNET, _PROBES_TAG = "virtualnetwork", "internet", "azureloadbalancer"
# The platform's health probes, and nothing else, come from these addresses (service tag
# AzureLoadBalancer), so a rule that lets them in opens nothing to a person.
_PROBES = {
    4: box_of(ip_network("168.63.129.16/32")),
    6: box_of(ip_network("fe80::1234:5678:9abc/128")),
}
# Addresses that only a virtual network, or a network connected to it, can be the source of.
_PRIVATE: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
# A VM has few addresses. A rule to more than these is not looked at address by address.
_MOST_ADDRESSES = 256

# Stands in every network security group behind all rules that are written: without a deny
# before it, the whole virtual network reaches a port. After it only probes are let in.
WITHIN_NETWORK = SecurityRule(
    name="AllowVnetInBound",
    access=Access.ALLOW,
    protocol=ANY,
    sources=("VirtualNetwork",),
    destinations=("VirtualNetwork",),
    ports=(ANY,),
    priority=65_000,
)


@dataclass(frozen=True)
class Way:
    """A rule that lets sources through, and the sources that no deny before it stops.

    `doubtful` holds what denies before it may stop: which sources, or whether any, is not known.
    """

    rule: SecurityRule
    sources: Boxes
    doubtful: Boxes = ()


def protocols_of(rule: SecurityRule) -> frozenset[str]:
    """Return the protocols with ports that a rule is about: `*` is TCP and UDP.

    Icmp, Icmpv6, Esp and Ah have no ports. A protocol that is not known may be about both.
    """
    named = rule.protocol.lower()
    if named in PORT_PROTOCOLS:
        return frozenset({named})
    return frozenset() if named in _WITHOUT_PORTS else PORT_PROTOCOLS


def ways_in(
    rules: Iterable[SecurityRule],
    address: str,
    port: int,
    protocol: str,
    skip: Callable[[SecurityRule], bool],
) -> tuple[Way, ...]:
    """Find every way through one group to an address and port, in order of priority.

    `protocol` is tcp or udp. An allow that `skip` names is no way; later rules still are.
    """
    target = network(address)
    if target is None:
        return ()
    everything = whole(target.version)
    found: list[Way] = []
    denied: list[Box] = [_PROBES[target.version]]
    relevant = (rule for rule in rules if _is_about(rule, port, protocol))
    for rule in (*sorted(relevant, key=lambda each: each.priority), WITHIN_NETWORK):
        boxes = selected(rule, target)
        if rule.access is Access.DENY:
            denied += boxes
            if everything in boxes:
                break
        elif not skip(rule):
            left = subtract_all(boxes, denied)
            doubtful = tuple(box for box in denied if box.needs)
            found += [Way(rule, left, doubtful)] if left else []
    return tuple(found)


def _is_about(rule: SecurityRule, port: int, protocol: str) -> bool:
    return rule.inbound and protocol in protocols_of(rule) and ports_meet(rule.ports, (str(port),))


def selected(rule: SecurityRule, target: Network) -> Boxes:
    """Return the sources from which packets to an address fall under a rule."""
    ways_to = _destination_needs(rule, target)
    if not ways_to:
        return ()
    ports = canonical_ports(rule.source_ports)
    return tuple(
        replace(box, first_port=first, last_port=last, needs=box.needs | needs)
        for box in _source_boxes(rule, target.version)
        for first, last in ports
        for needs in ways_to
    )


def _destination_needs(rule: SecurityRule, target: Network) -> tuple[frozenset[str], ...]:
    """Return under which conditions a rule is about an address: none is needed, or a set is."""
    needs = _unknown_protocol(rule)
    if rule.unresolved_destinations:
        sets = _groups(rule.destination_groups, rule.name)
    elif any(_holds_destination(prefix, target) for prefix in rule.destinations):
        return (needs,)
    elif _is_private(target):
        sets = []  # the tags of Azure's services hold public addresses
    else:
        sets = [f"{TAG} '{each}'" for each in rule.destinations if _is_opaque(each)]
    return tuple(needs | {f"to {each.lower()}"} for each in sets)


def _holds_destination(prefix: str, target: Network) -> bool:
    """Tell whether a prefix holds the address; every VM's address lies in its own network."""
    found = network(prefix)
    return (
        is_any(prefix)
        or prefix.lower() == _VIRTUAL_NETWORK
        or (found is not None and found.version == target.version and found.overlaps(target))
    )


def _unknown_protocol(rule: SecurityRule) -> frozenset[str]:
    named = rule.protocol.lower()
    known = named in PORT_PROTOCOLS or is_any(named)
    return frozenset() if known else frozenset({f"protocol '{named}'"})


def _source_boxes(rule: SecurityRule, version: int) -> Boxes:
    if rule.unresolved_sources:
        groups = _groups(rule.source_groups, rule.name)
        return tuple(replace(whole(version), needs=frozenset({g.lower()})) for g in groups)
    boxes = tuple(box for prefix in rule.sources for box in _boxes_of(prefix, version))
    if rule.source_groups and rule.access is Access.ALLOW:
        return tuple(replace(box, side=Side.INSIDE) for box in boxes)  # members are in the network
    return boxes


@lru_cache(maxsize=65_536)
def _boxes_of(prefix: str, version: int) -> Boxes:
    named, found = prefix.lower(), network(prefix)
    if named == _PROBES_TAG:
        return (_PROBES[version],)
    if found is not None:
        return (box_of(found),) if found.version == version else ()
    if is_any(prefix):
        return (whole(version),)
    if named == _VIRTUAL_NETWORK:
        return (replace(whole(version), side=Side.INSIDE),)
    if named == _INTERNET:
        return (replace(whole(version), side=Side.OUTSIDE),)
    # A tag with a region is part of the tag without one.
    needs = {f"{TAG} '{named}'", f"{TAG} '{named.partition('.')[0]}'"}
    return (replace(whole(version), needs=frozenset(needs)),)


def _is_opaque(prefix: str) -> bool:
    named = {_VIRTUAL_NETWORK, _INTERNET, _PROBES_TAG}
    return network(prefix) is None and not is_any(prefix) and prefix.lower() not in named


def _groups(named: Sequence[str], rule_name: str) -> list[str]:
    """Name application security groups whose members are not known."""
    return [f"{GROUP} '{each}'" for each in named] or [f"{GROUP} of rule '{rule_name}'"]


def _is_private(prefix: Network) -> bool:
    return any(
        each.version == prefix.version and prefix.subnet_of(each)  # type: ignore[arg-type]
        for each in _PRIVATE
    )


# --- placing -----------------------------------------------------------------------------------


def meets(foreign: SecurityRule, rule: SecurityRule, *, with_probes: bool = False) -> bool:
    """Tell whether a foreign rule may decide on traffic that one of ours is about.

    Here a private source counts as inside the virtual network and a public one as outside, the
    tags of Azure's services hold no private address, and application security groups no public.
    """
    if not (
        foreign.inbound
        and protocols_of(foreign) & protocols_of(rule)
        and ports_meet(foreign.ports, rule.ports)
    ):
        return False
    return any(
        _share_sources(foreign, rule, target, with_probes=with_probes)
        for version in (4, 6)
        for target in map(network, of_family(rule.destinations, version))
        if target is not None
    )


def _share_sources(
    foreign: SecurityRule, rule: SecurityRule, target: Network, *, with_probes: bool
) -> bool:
    ours = [box for each in rule.sources for box in _assumed_boxes(each, target.version)]
    theirs = [replace(box, side=_assumed_side(box)) for box in selected(foreign, target)]
    if not with_probes:
        theirs = list(subtract_all(theirs, (_PROBES[target.version],)))
    return bool(intersect_all(ours, theirs))


def _assumed_boxes(prefix: str, version: int) -> Boxes:
    found = network(prefix)
    boxes = _boxes_of(prefix, version)
    if found is None or not boxes:
        return boxes
    if _is_private(found):
        return tuple(replace(box, side=Side.INSIDE) for box in boxes)
    mixed = any(each.version == found.version and each.overlaps(found) for each in _PRIVATE)
    return boxes if mixed else tuple(replace(box, side=Side.OUTSIDE) for box in boxes)


def _assumed_side(box: Box) -> Side:
    if any(each.startswith(TAG) for each in box.needs):
        return box.side & Side.OUTSIDE
    if any(each.startswith(f"{GROUP} '") for each in box.needs):
        return box.side & Side.INSIDE
    return box.side


def admits_sources(allow: SecurityRule, rules: Sequence[SecurityRule], deny: SecurityRule) -> bool:
    """Tell whether an allow lets sources reach what a deny of ours would close.

    It does not where it is for health probes alone, or where denies before it stop the rest.
    """
    targets = [net for net in map(network, deny.destinations) if net is not None]
    if any(net.num_addresses > _MOST_ADDRESSES for net in targets):
        return True
    return any(
        way.rule is allow
        for net in targets
        for address in net
        for port in deny.ports
        for protocol in PORT_PROTOCOLS
        for way in ways_in(rules, str(address), int(port), protocol, _never)
    )


def _never(_rule: SecurityRule) -> bool:
    return False
