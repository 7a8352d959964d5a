"""Address prefixes and port ranges, compared by what they mean."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Network,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)

from shared.domain.model import ANY

Network = IPv4Network | IPv6Network

# The one service tag that means a known address, everywhere in Azure.
_TAGS = {"azureloadbalancer": "168.63.129.16/32"}
_ANY_WORDS = frozenset({"*", "any"})

# Ranges that are never a person's address. Private ranges are not among them: someone behind a
# VPN asks from one. A policy that names such a range itself may still allow it.
SPECIAL: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "::1/128",
        "::ffff:0:0/96",
        "fe80::/10",
        "ff00::/8",
    )
)


@lru_cache(maxsize=65_536)
def network(prefix: str) -> Network | None:
    """Read a prefix; None for `*`, service tags and everything else that is no address."""
    try:
        return ip_network(_TAGS.get(prefix.lower(), prefix), strict=False)
    except ValueError:
        return None


def is_address(text: str) -> bool:
    """Tell whether a text is a single IP address without a length."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_any(prefix: str) -> bool:
    """Tell whether a prefix means every address of both families."""
    return prefix.lower() in _ANY_WORDS


def of_family(prefixes: Iterable[str], family: int) -> tuple[str, ...]:
    """Return the prefixes of one address family, collapsed; `*` concerns both."""
    listed = tuple(prefixes)
    if any(is_any(prefix) for prefix in listed):
        return (ANY,)
    return tuple(_spell(net) for net in _collapsed(listed) if net.version == family)


def canonical(prefixes: Iterable[str]) -> frozenset[str]:
    """Reduce prefixes to a form in which equal sets are equal: what ARM respells is no drift."""
    listed = tuple(prefixes)
    if any(is_any(prefix) for prefix in listed):
        return frozenset({ANY})
    tags = {prefix.lower() for prefix in listed if network(prefix) is None}
    return frozenset({_spell(net) for net in _collapsed(listed)} | tags)


def covers(allowed: Iterable[str], asked: str) -> bool:
    """Tell whether everything in `asked` lies within the union of `allowed`."""
    listed = tuple(allowed)
    if any(is_any(prefix) for prefix in listed):
        return True
    wanted = network(asked)
    return wanted is not None and any(_contains(net, wanted) for net in _collapsed(listed))


def overlaps(left: Iterable[str], right: Iterable[str]) -> bool:
    """Tell whether two sets of prefixes may share an address; what cannot be resolved may."""
    others = tuple(right)
    return any(_pair_overlaps(a, b) for a in left for b in others)


def is_special(prefix: Network) -> bool:
    """Tell whether a network lies in, or reaches into, a range that holds no host's address."""
    return any(net.version == prefix.version and net.overlaps(prefix) for net in SPECIAL)


def names_special(allowed: Iterable[str], asked: Network) -> bool:
    """Tell whether a policy names, itself and not by `*`, a special range that holds `asked`."""
    return any(
        net is not None and _contains(net, asked) and any(_contains(s, net) for s in SPECIAL)
        for net in map(network, allowed)
    )


@lru_cache(maxsize=4096)
def port_range(text: str) -> tuple[int, int]:
    """Read `22`, `5985-5986` or `*`; what cannot be read counts as every port."""
    if is_any(text):
        return (0, 65_535)
    low, _, high = text.partition("-")
    try:
        return (int(low), int(high or low))
    except ValueError:
        return (0, 65_535)


def canonical_ports(ports: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """Reduce port ranges to a sorted list without overlaps."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(port_range(text) for text in ports):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def ports_meet(left: Iterable[str], right: Iterable[str]) -> bool:
    """Tell whether two sets of ports share one."""
    others = canonical_ports(right)
    return any(
        low <= other_high and other_low <= high
        for low, high in canonical_ports(left)
        for other_low, other_high in others
    )


def _pair_overlaps(left: str, right: str) -> bool:
    one, other = network(left), network(right)
    if one is None or other is None:
        return True
    return one.version == other.version and one.overlaps(other)


def _contains(outer: Network, inner: Network) -> bool:
    return (
        outer.version == inner.version
        and outer.network_address <= inner.network_address  # type: ignore[operator]
        and inner.broadcast_address <= outer.broadcast_address  # type: ignore[operator]
    )


@lru_cache(maxsize=4096)
def _collapsed(prefixes: tuple[str, ...]) -> tuple[Network, ...]:
    found = [net for net in map(network, prefixes) if net is not None]
    v4 = collapse_addresses(net for net in found if isinstance(net, IPv4Network))
    v6 = collapse_addresses(net for net in found if isinstance(net, IPv6Network))
    return (*v4, *v6)


def _spell(net: Network) -> str:
    """Write a single address without its length, as people and ARM's answers do."""
    return str(net.network_address) if net.num_addresses == 1 else str(net)
