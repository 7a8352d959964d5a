"""Is a governed port really closed? The rules that leave it open, whatever our deny says."""

from collections.abc import Iterable, Mapping, Sequence

from shared.domain.arm_ids import RuleNames
from shared.domain.model import ANY, Access, SecurityRule
from shared.domain.prefixes import covers, is_any, overlaps
from shared.domain.rules import meets

# Stands in every network security group behind all rules that are written: without a deny
# before it, the whole virtual network reaches a port.
WITHIN_NETWORK = SecurityRule(
    name="AllowVnetInBound",
    access=Access.ALLOW,
    protocol=ANY,
    sources=("VirtualNetwork",),
    destinations=("VirtualNetwork",),
    ports=(ANY,),
    priority=65_000,
)


# The platform's own health probes, and nothing else, come from this address (the service tag
# AzureLoadBalancer), so a rule that lets them in lets nobody in.
_PROBES = ("168.63.129.16/32",)


def openings(
    present: Iterable[SecurityRule], port: int, protocol: str, address: str, names: RuleNames
) -> tuple[SecurityRule, ...]:
    """Find the rules of one firewall that let somebody reach a port, in order of priority.

    Our own allows do not count: they are the access that was asked for, and end by themselves.
    """
    traffic = SecurityRule("", Access.DENY, protocol, (ANY,), (address,), (str(port),))
    open_by: list[SecurityRule] = []
    denials: list[SecurityRule] = []
    for rule in sorted(present, key=lambda each: each.priority):
        if not meets(rule, traffic):
            continue
        if rule.access is Access.DENY:
            if _surely_meets(rule, traffic):
                denials.append(rule)
        elif not names.is_ours(rule.name) and _lets_somebody_in(rule, denials):
            open_by.append(rule)
        if any(is_any(source) for denial in denials for source in denial.sources):
            return tuple(open_by)
    return (*open_by, WITHIN_NETWORK)


def exposed_by(
    firewalls: Mapping[str, Sequence[SecurityRule]],
    port: int,
    protocol: str,
    address: str,
    names: RuleNames,
) -> tuple[tuple[str, SecurityRule], ...]:
    """Find the rules that leave a port open behind all of its firewalls; none: it is closed.

    What one firewall lets through the next may stop: a rule counts only where every other
    firewall has one that may let the same source through.
    """
    ways = {
        firewall: openings(rules, port, protocol, address, names)
        for firewall, rules in firewalls.items()
    }
    return tuple(
        (firewall, rule)
        for firewall, rules in ways.items()
        for rule in rules
        if all(
            any(_may_share_source(rule, other) for other in others)
            for elsewhere, others in ways.items()
            if elsewhere != firewall
        )
    )


def _surely_meets(denial: SecurityRule, traffic: SecurityRule) -> bool:
    """Tell whether a deny certainly applies to a port and address, at least for its sources."""
    return (
        not denial.unresolved_destinations
        and not denial.unresolved_sources
        and denial.protocol.lower() in {ANY, traffic.protocol.lower()}
        and any(is_any(ports) for ports in denial.source_ports)
        and all(covers(denial.destinations, address) for address in traffic.destinations)
    )


def _lets_somebody_in(allow: SecurityRule, denials: Iterable[SecurityRule]) -> bool:
    if not allow.unresolved_sources and all(covers(_PROBES, each) for each in allow.sources):
        return False
    return not any(_shuts_out(denial, allow) for denial in denials)


def _shuts_out(denial: SecurityRule, allow: SecurityRule) -> bool:
    """Tell whether a deny that comes first stops everybody whom an allow would let in."""
    return not allow.unresolved_sources and all(
        covers(denial.sources, source) for source in allow.sources
    )


def _may_share_source(left: SecurityRule, right: SecurityRule) -> bool:
    unresolved = left.unresolved_sources or right.unresolved_sources
    return unresolved or overlaps(left.sources, right.sources)
