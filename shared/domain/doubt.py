"""Which sets of sources that are not known decide whether packets get in."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address

from shared.domain.source_sets import Box, Side, subtract_all, whole

TAG, GROUP = "service tag", "application security group"
# No virtual network holds so large a part of all addresses: some of it is always outside.
_LARGE_PART = 4


def unresolved(sources: Iterable[Box], doubtful: Sequence[Box], address: str) -> tuple[str, ...]:
    """Name the sets that decide whether these sources get in; empty: some certainly do."""
    target = ip_address(address)
    everything = whole(target.version)
    doubts = [
        _doubts(box, int(target), everything) | _stopped_by(box, doubtful, everything)
        for box in sources
    ]
    return () if not all(doubts) else tuple(sorted(set().union(*doubts)))


def _doubts(box: Box, own: int, everything: Box) -> frozenset[str]:
    """Return the unknown parts of a box. The VM's own address certainly lies in its network."""
    inside = box.side & Side.INSIDE and box.low <= own <= box.high
    outside = box.side & Side.OUTSIDE and _is_large(box, everything)
    if box.side == Side.EITHER or inside or outside:
        return box.needs
    return box.needs | {f"{TAG} 'VirtualNetwork'"}


def _stopped_by(box: Box, doubtful: Sequence[Box], everything: Box) -> frozenset[str]:
    """Name the sets by which denies may stop all of a box; empty: part of it gets in.

    No set of sources holds a large part of all addresses.
    """
    may = [
        each
        for each in doubtful
        if not (_is_large(box, everything) and all(map(_names_sources, each.needs)))
    ]
    if subtract_all([box], [replace(each, needs=frozenset()) for each in may]):
        return frozenset()
    return frozenset().union(*(each.needs for each in may))


def _names_sources(need: str) -> bool:
    return need.startswith((TAG, GROUP))


def _is_large(box: Box, everything: Box) -> bool:
    return (box.high - box.low + 1) * _LARGE_PART > everything.high
