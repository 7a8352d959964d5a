"""Sources that a security group's rules, foreign and ours, let reach governed ports."""

from collections.abc import Iterable, Iterator, Sequence

from shared.domain.desired import Opening
from shared.domain.exposure import PROTOCOLS
from shared.domain.ids import RuleNames
from shared.firewalls.nsg.judgement import Way, ways_in
from shared.firewalls.nsg.model import SecurityRule


def openings_of(
    rules: Sequence[SecurityRule],
    addresses: Iterable[str],
    ports: Iterable[int],
    names: RuleNames,
) -> tuple[Opening, ...]:
    """Return each way through the rules to some addresses and ports, in order of priority."""
    numbers = sorted(set(ports))
    return tuple(
        opening
        for address in addresses
        for port in numbers
        for opening in _openings_at(rules, address, port, names)
    )


def _openings_at(
    rules: Sequence[SecurityRule], address: str, port: int, names: RuleNames
) -> Iterator[Opening]:
    for protocol in PROTOCOLS:
        for way in ways_in(rules, address, port, protocol, lambda _rule: False):
            yield _opening(way, address, port, protocol, ours=names.is_ours(way.rule.name))


def _opening(way: Way, address: str, port: int, protocol: str, *, ours: bool) -> Opening:
    rule = way.rule
    shown = {"rule": rule.name, "priority": rule.priority, "sources": list(rule.sources)}
    return Opening(
        what=f"rule '{rule.name}' (priority {rule.priority})",
        port=port,
        sources=rule.sources,
        ours=ours,
        address=address,
        protocol=protocol,
        boxes=way.sources,
        doubtful=way.doubtful,
        shown=shown,
    )
