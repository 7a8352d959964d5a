"""Find the sources that reach a VM's ports through a firewall's ordered rules. Pure."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, summarize_address_range

from shared.domain.desired import Block, Opening
from shared.domain.network import is_any, network, port_range
from shared.domain.source_sets import Box, Boxes, box_of, intersect_all, subtract_all, whole
from shared.firewalls.azure_rules.model import Rule

_V4 = 4
_SOME = frozenset({"TCP", "UDP", "ANY"})


def openings(rules: Sequence[Rule], block: Block) -> tuple[Opening, ...]:
    """Return the exposures of a block's ports: translations first, then network rules.

    `rules` stand in the order in which the firewall processes them. Each rule is terminating, so
    what an earlier one takes does not reach a later one.
    """
    found = []
    for port in block.ports:
        for at, rule in enumerate(rules):
            if rule.translates:
                found += _by_translation(rules[:at], rule, block.addresses, port)
            elif rule.allows:
                found += _by_filter(rules[:at], rule, block.addresses, port)
    return tuple(found)


def denying(rules: Iterable[Rule], rule: Rule) -> str:
    """Return the rule that denies, before it is asked, what a network rule is to allow."""
    boxes = _boxes(rule.sources)
    for each in rules:
        if (
            not each.translates
            and not each.allows
            and not each.unresolved
            and _protocols(each) & _protocols(rule)
            and any(_meets_ports(each.ports, port) for port in rule.ports)
            and any(_meets(each.destinations, address) for address in rule.destinations)
            and intersect_all(boxes, _boxes(each.sources))
        ):
            return each.what
    return ""


def _by_translation(
    earlier: Sequence[Rule], rule: Rule, addresses: Iterable[str], port: int
) -> list[Opening]:
    if rule.unresolved and not rule.to_address:
        target = rule.to_port in {"", str(port)}
    else:
        target = rule.to_address in set(addresses) and rule.to_port == str(port)
    if not target:
        return []
    left = _boxes(rule.sources)
    for other in earlier:
        if other.translates and not other.unresolved and _takes_entry(other, rule):
            left = subtract_all(left, _boxes(other.sources))
    return _opening(rule, port, left)


def _by_filter(
    earlier: Sequence[Rule], rule: Rule, addresses: Iterable[str], port: int
) -> list[Opening]:
    if not _protocols(rule) & _SOME or not _meets_ports(rule.ports, port):
        return []
    met = [address for address in addresses if _meets(rule.destinations, address)]
    if not met and not rule.unresolved:
        return []
    left = _boxes(rule.sources)
    for other in earlier:
        denies = not other.translates and not other.allows and not other.unresolved
        if denies and _covers_filter(other, rule, met, port):
            left = subtract_all(left, _boxes(other.sources))
    return _opening(rule, port, left)


def _opening(rule: Rule, port: int, left: Boxes) -> list[Opening]:
    if not left and not rule.unresolved:
        return []
    return [Opening(rule.what, port, _prefixes(left), rule.ours, rule.unresolved)]


def _takes_entry(other: Rule, rule: Rule) -> bool:
    """Tell whether every packet for a rule's entry meets another rule first."""
    return (
        _protocols(other) >= _protocols(rule)
        and set(rule.destinations) <= set(other.destinations)
        and all(_covers_ports(other.ports, ports) for ports in rule.ports)
    )


def _covers_filter(other: Rule, rule: Rule, addresses: Iterable[str], port: int) -> bool:
    return (
        _protocols(other) >= (_protocols(rule) & _SOME)
        and _meets_ports(other.ports, port)
        and all(_meets(other.destinations, address) for address in addresses)
    )


def _protocols(rule: Rule) -> frozenset[str]:
    given = {protocol.upper() for protocol in rule.protocols}
    return frozenset({"TCP", "UDP", "ICMP", "ANY"} if "ANY" in given else given)


def _meets_ports(ports: Iterable[str], port: int | str) -> bool:
    low, high = port_range(str(port))
    return any(a <= high and low <= b for a, b in map(port_range, ports))


def _covers_ports(ports: Iterable[str], wanted: str) -> bool:
    low, high = port_range(wanted)
    return any(a <= low and high <= b for a, b in map(port_range, ports))


def _meets(destinations: Iterable[str], address: str) -> bool:
    target = network(address)
    if target is None:
        return False
    boxes = _boxes(destinations) if target.version == _V4 else ()
    return bool(intersect_all(boxes, [box_of(target)]))


def _boxes(prefixes: Iterable[str]) -> Boxes:
    """Return IPv4 prefixes, ranges and `*` as boxes; a service tag needs its members."""
    found = []
    for prefix in prefixes:
        low, dash, high = prefix.partition("-")
        net = network(prefix)
        if is_any(prefix):
            found.append(whole(_V4))
        elif net is not None and net.version == _V4:
            found.append(box_of(net))
        elif dash and network(low) is not None and network(high) is not None:
            found.append(Box(int(IPv4Address(low)), int(IPv4Address(high))))
        elif net is None:
            found.append(Box(0, 2**32 - 1, needs=frozenset({f"tag {prefix}"})))
    return tuple(found)


def _prefixes(boxes: Iterable[Box]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for box in boxes:
        tags = sorted(need.removeprefix("tag ") for need in box.needs)
        if tags:
            found |= dict.fromkeys(tags)
            continue
        for net in summarize_address_range(IPv4Address(box.low), IPv4Address(box.high)):
            found[str(net)] = None
    return tuple(found)
