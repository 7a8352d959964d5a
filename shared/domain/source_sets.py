"""Sets of packet sources, as boxes that can be intersected and subtracted exactly."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntFlag

from shared.domain.network import Network

LAST_PORT = 65_535


class Side(IntFlag):
    """Where a source stands: the service tag `VirtualNetwork` holds it, or `Internet` does.

    Which addresses `VirtualNetwork` holds depends on peerings, gateways and routes, which are not
    read. So a box says for each address which of the two cases it speaks of.
    """

    OUTSIDE = 1
    INSIDE = 2
    EITHER = 3


@dataclass(frozen=True)
class Box:
    """The sources with an address and a port in two ranges, on some sides.

    `needs` names sets whose addresses are not known, such as `tag Sql`: only their members are
    in the box.
    """

    low: int
    high: int
    first_port: int = 0
    last_port: int = LAST_PORT
    side: Side = Side.EITHER
    needs: frozenset[str] = frozenset()


Boxes = tuple[Box, ...]


def whole(version: int) -> Box:
    """Return the box of every source of an address family."""
    return Box(0, 2 ** (32 if version == 4 else 128) - 1)  # noqa: PLR2004 - bits


def box_of(prefix: Network) -> Box:
    """Return the box of a prefix."""
    return Box(int(prefix.network_address), int(prefix.broadcast_address))


def intersect(left: Box, right: Box) -> Box | None:
    """Return the intersection of two boxes; None: empty."""
    shared = Box(
        max(left.low, right.low),
        min(left.high, right.high),
        max(left.first_port, right.first_port),
        min(left.last_port, right.last_port),
        left.side & right.side,
        left.needs | right.needs,
    )
    is_empty = shared.low > shared.high or shared.first_port > shared.last_port or not shared.side
    return None if is_empty else shared


def intersect_all(left: Iterable[Box], right: Iterable[Box]) -> Boxes:
    """Return the intersection of two sets."""
    others = tuple(right)
    pairs = (intersect(one, other) for one in left for other in others)
    return tuple(shared for shared in pairs if shared is not None)


def subtract_all(boxes: Iterable[Box], taken: Iterable[Box]) -> Boxes:
    """Return the difference of a set and others."""
    left = tuple(boxes)
    for each in taken:
        left = tuple(piece for box in left for piece in _subtract(box, each))
    return left


def _subtract(box: Box, taken: Box) -> Boxes:
    """Cut one box out of another: addresses first, then ports, then sides.

    A set whose members are not known removes only what is known to lie in it.
    """
    shared = intersect(box, taken)
    if shared is None or not taken.needs <= box.needs:
        return (box,)
    pieces = []
    if box.low < shared.low:
        pieces.append(replace(box, high=shared.low - 1))
    if shared.high < box.high:
        pieces.append(replace(box, low=shared.high + 1))
    middle = replace(box, low=shared.low, high=shared.high)
    if box.first_port < shared.first_port:
        pieces.append(replace(middle, last_port=shared.first_port - 1))
    if shared.last_port < box.last_port:
        pieces.append(replace(middle, first_port=shared.last_port + 1))
    if box.side & ~shared.side:
        within = replace(middle, first_port=shared.first_port, last_port=shared.last_port)
        pieces.append(replace(within, side=box.side & ~shared.side))
    return tuple(pieces)
