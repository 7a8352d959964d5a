"""Exposures of network security groups, asked for by their rules."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.domain.exposure import PROTOCOLS
from shared.domain.exposure import exposures as exposures_of
from shared.domain.ids import RuleNames, key_of
from shared.domain.model import Attachment
from shared.firewalls.nsg.discovery import in_sequence
from shared.firewalls.nsg.exposure import openings_of
from shared.firewalls.nsg.judgement import WITHIN_NETWORK
from shared.firewalls.nsg.model import SecurityRule

Rules = Sequence[SecurityRule]


@dataclass(frozen=True)
class Exposure:
    """An exposure with the rule that it comes from."""

    firewall_id: str
    port: int
    rule: SecurityRule
    unresolved: tuple[str, ...] = ()


def exposures(
    attachments: Sequence[Attachment],
    firewalls: Mapping[str, Rules],
    ports: Iterable[int],
    names: RuleNames,
) -> tuple[Exposure, ...]:
    """Find what leaves ports open; `firewalls` maps the keys of ids to rules."""
    path, numbers = in_sequence(attachments), tuple(ports)
    judged = [each for each in path if key_of(each.firewall_id) in firewalls]
    openings = {
        key_of(each.firewall_id): openings_of(
            firewalls[key_of(each.firewall_id)], each.addresses, numbers, names
        )
        for each in judged
    }
    return tuple(
        Exposure(
            each.firewall_id,
            each.port,
            _rule(firewalls[key_of(each.firewall_id)], str(each.opening.shown["rule"])),
            each.unresolved,
        )
        for each in exposures_of(path, openings, numbers)
    )


def _rule(rules: Rules, name: str) -> SecurityRule:
    return next(rule for rule in (*rules, WITHIN_NETWORK) if rule.name == name)


def exposed_by(
    firewalls: Mapping[str, Rules], port: int, protocol: str, address: str, names: RuleNames
) -> tuple[tuple[str, SecurityRule], ...]:
    """Find the rules that leave a port open for a protocol behind all firewalls."""
    path = in_sequence(Attachment(each, (address,)) for each in firewalls)
    openings = {
        key_of(key): [
            each
            for each in openings_of(rules, (address,), (port,), names)
            if protocol == "*" or each.protocol == protocol.lower()
        ]
        for key, rules in firewalls.items()
    }
    return tuple(
        (each.firewall_id, _rule(firewalls[each.firewall_id], str(each.opening.shown["rule"])))
        for each in exposures_of(path, openings, (port,))
    )


def openings(
    rules: Rules, port: int, protocol: str, address: str, names: RuleNames
) -> tuple[SecurityRule, ...]:
    """Find the foreign rules of one firewall that leave a port open, in order of priority."""
    wanted = PROTOCOLS if protocol == "*" else (protocol.lower(),)
    found = {
        str(each.shown["rule"])
        for each in openings_of(rules, (address,), (port,), names)
        if each.protocol in wanted and not each.ours
    }
    ordered = sorted((*rules, WITHIN_NETWORK), key=lambda rule: rule.priority)
    return tuple(rule for rule in ordered if rule.name in found)
