"""Is a governed port really closed? The rules that leave it open, whatever our deny says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.domain.ids import RuleNames, key_of
from shared.domain.judgement import (
    PORT_PROTOCOLS,
    WITHIN_NETWORK,
    Way,
    unresolved,
    ways_in,
)
from shared.domain.model import Access, Attachment, SecurityRule
from shared.domain.source_sets import intersect_all

__all__ = ["WITHIN_NETWORK", "Exposure", "exposed_by", "exposures", "openings"]


@dataclass(frozen=True)
class Exposure:
    """A rule that leaves a governed port open.

    `unresolved` names what would have to hold a source for that: empty, some source gets in.
    """

    firewall_id: str
    port: int
    rule: SecurityRule
    unresolved: tuple[str, ...] = ()


def openings(
    present: Iterable[SecurityRule], port: int, protocol: str, address: str, names: RuleNames
) -> tuple[SecurityRule, ...]:
    """Find the rules of one firewall that let somebody reach a port, in order of priority.

    Our own allows do not count: they are the access that was asked for, and end by themselves.
    """
    return tuple(way.rule for way in _ways(tuple(present), port, protocol, address, names))


def exposed_by(
    firewalls: Mapping[str, Sequence[SecurityRule]],
    port: int,
    protocol: str,
    address: str,
    names: RuleNames,
) -> tuple[tuple[str, SecurityRule], ...]:
    """Find the rules that leave a port open behind all of its firewalls; none: it is closed."""
    found = _exposures_of(firewalls, port, protocol, address, names)
    return tuple(dict.fromkeys((each.firewall_id, each.rule) for each in found))


def exposures(
    attachments: Sequence[Attachment],
    firewalls: Mapping[str, Sequence[SecurityRule]],
    ports: Iterable[int],
    names: RuleNames,
) -> tuple[Exposure, ...]:
    """Find what leaves governed ports open at any of a VM's addresses, for every protocol.

    `firewalls` maps the keys of ids to rules; a firewall that is not there is not judged.
    """
    found: dict[tuple[str, int, str], Exposure] = {}
    wanted = sorted(set(ports))
    for address in sorted({a for each in attachments for a in each.addresses}):
        before = {
            each.firewall_id: firewalls[key_of(each.firewall_id)]
            for each in attachments
            if address in each.addresses and key_of(each.firewall_id) in firewalls
        }
        for port in wanted:
            for each in _exposures_of(before, port, "*", address, names):
                key = (each.firewall_id, port, each.rule.name)
                if key not in found or not each.unresolved:
                    found[key] = each
    return tuple(found.values())


def _exposures_of(
    firewalls: Mapping[str, Sequence[SecurityRule]],
    port: int,
    protocol: str,
    address: str,
    names: RuleNames,
) -> list[Exposure]:
    """Find exposures, one protocol after the other.

    What one firewall lets through the next may stop: a rule counts only where every other
    firewall has one that may let the same source through.
    """
    return [
        Exposure(firewall, port, way.rule, unresolved(way.sources, way.doubtful, address))
        for each in _protocols(protocol)
        for firewall, way in _shared_ways(
            {key: _ways(rules, port, each, address, names) for key, rules in firewalls.items()}
        )
    ]


def _shared_ways(ways: Mapping[str, Sequence[Way]]) -> Iterable[tuple[str, Way]]:
    """Keep of each way the sources that every other firewall lets through too."""
    for firewall, own in ways.items():
        others = [way for elsewhere, way in ways.items() if elsewhere != firewall]
        for way in own:
            sources, doubtful = way.sources, way.doubtful
            for there in others:
                sources = intersect_all(sources, (box for each in there for box in each.sources))
                doubtful += tuple(box for each in there for box in each.doubtful)
            if sources:
                yield firewall, Way(way.rule, sources, doubtful)


def _ways(
    rules: Sequence[SecurityRule], port: int, protocol: str, address: str, names: RuleNames
) -> list[Way]:
    def is_grant(rule: SecurityRule) -> bool:
        return rule.access is Access.ALLOW and names.is_ours(rule.name)

    found: dict[SecurityRule, Way] = {}
    for each in _protocols(protocol):
        for way in ways_in(rules, address, port, each, is_grant):
            found.setdefault(way.rule, way)
    return sorted(found.values(), key=lambda way: way.rule.priority)


def _protocols(protocol: str) -> tuple[str, ...]:
    named = protocol.lower()
    return (named,) if named in PORT_PROTOCOLS else tuple(sorted(PORT_PROTOCOLS))
