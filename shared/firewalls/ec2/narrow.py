"""Cut governed ports out of a rule, exactly, or leave the rule alone. Pure."""

from collections.abc import Iterable

from shared.firewalls.ec2.wire import EVERY_PROTOCOL, GROUP, Rule

PortRange = tuple[int, int]
_PORTED = frozenset({"tcp", "udp"})


def meets(rule: Rule, ports: Iterable[int]) -> bool:
    """Tell whether an inbound rule lets packets to one of some ports through."""
    if rule.protocol == EVERY_PROTOCOL:
        return any(True for _ in ports)
    return rule.protocol in _PORTED and any(rule.low <= port <= rule.high for port in ports)


def why_untouchable(rule: Rule) -> str:
    """Say why a rule cannot be narrowed and restored exactly; empty: it can."""
    if rule.protocol == EVERY_PROTOCOL:
        return "it is for every protocol, which has no exact complement"
    if rule.kind == GROUP:
        return f"its source is the group {rule.source}"
    return ""


def remaining(whole: PortRange, ports: Iterable[int]) -> tuple[PortRange, ...]:
    """Return the rest of a port range without some ports: 20-25 without 22 is 20-21, 23-25."""
    first, last = whole
    left: list[PortRange] = []
    for port in sorted({port for port in ports if first <= port <= last}):
        if first < port:
            left.append((first, port - 1))
        first = port + 1
    if first <= last:
        left.append((first, last))
    return tuple(left)
