"""Packets on both sides of every boundary that the rules of a case draw."""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

from tests.judgement.cases import OWN, PORT, PROBES, Case

# The VM itself, its network, a peered one, members of groups, other private networks, the
# Internet in each part of the address space.
_USUAL = (
    *OWN, "10.20.7.7", "10.30.0.7", "10.20.2.5", "10.20.1.9", "fd00:20::5", "192.168.7.7",
    "8.8.8.8", "100.0.0.1", "130.0.0.1", "200.0.0.1", "2001:db8::1", "fd00:99::1", "c000::1",
)  # fmt: skip
_LAST_PORT = 65_535


def given_rules(case: Case) -> Iterator[dict[str, Any]]:
    """Return the properties of every generated rule."""
    for listed in case.groups.values():
        yield from (rule["properties"] for rule in listed)


def sources(case: Case) -> list[str]:
    """Return the addresses to send from; never those of the platform's health probes."""
    found = set(_USUAL)
    for rule in given_rules(case):
        for prefix in _both(rule, "sourceAddressPrefix", "sourceAddressPrefixes"):
            found |= set(_around(prefix))
    return sorted(found - PROBES)


def source_ports(case: Case) -> list[int]:
    """Return the ports to send from."""
    found = {0, 50_000, _LAST_PORT}
    for rule in given_rules(case):
        found |= _edges(_both(rule, "sourcePortRange", "sourcePortRanges"))
    return sorted(found)


def ports(case: Case) -> list[int]:
    """Return the ports to send to, the governed one first."""
    found: set[int] = set()
    for rule in given_rules(case):
        found |= _edges(_both(rule, "destinationPortRange", "destinationPortRanges"))
    return [PORT, *sorted(found - {PORT})]


def _both(rule: dict[str, Any], singular: str, plural: str) -> list[str]:
    return [*([rule[singular]] if singular in rule else []), *rule.get(plural, [])]


def _around(prefix: str) -> Iterator[str]:
    try:
        net = ipaddress.ip_network(prefix)
    except ValueError:
        return
    first, last = net.network_address, net.broadcast_address
    yield from (str(first), str(last))
    if int(first) > 0:
        yield str(first - 1)
    if int(last) < 2**first.max_prefixlen - 1:
        yield str(last + 1)


def _edges(ranges: Iterable[str]) -> set[int]:
    found = set()
    for text in ranges:
        low, _, high = text.partition("-")
        if low != "*":
            found |= {int(low) - 1, int(low), int(high or low), int(high or low) + 1}
    return {port for port in found if 0 <= port <= _LAST_PORT}
