"""Sets of sources: the intersection and the difference of two."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.network import network
from shared.domain.source_sets import (
    Box,
    Side,
    box_of,
    intersect,
    intersect_all,
    subtract_all,
    whole,
)

_SPOTS = range(6)
_NEEDS = (frozenset[str](), frozenset({"a"}), frozenset({"b"}), frozenset({"a", "b"}))


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """Draw a box among few addresses and ports."""
    low, high = sorted((draw(st.integers(0, 5)), draw(st.integers(0, 5))))
    first, last = sorted((draw(st.integers(0, 5)), draw(st.integers(0, 5))))
    side = draw(st.sampled_from((Side.INSIDE, Side.OUTSIDE, Side.EITHER)))
    return Box(low, high, first, last, side, draw(st.sampled_from(_NEEDS)))


def members(*some: Box) -> set[tuple[int, int, Side, frozenset[str]]]:
    """List every source of some boxes: its address, port, side, and the sets that hold it."""
    return {
        (address, port, side, held)
        for box in some
        for address in _SPOTS
        for port in _SPOTS
        for side in (Side.INSIDE, Side.OUTSIDE)
        for held in _NEEDS
        if box.low <= address <= box.high
        and box.first_port <= port <= box.last_port
        and side & box.side
        and box.needs <= held
    }


@given(boxes(), boxes())
def test_what_two_boxes_share_is_in_both(left: Box, right: Box) -> None:
    """And nothing else is."""
    shared = intersect(left, right)
    assert members(*((shared,) if shared else ())) == members(left) & members(right)
    assert (shared is None) == (not members(left) & members(right))


@given(st.lists(boxes(), max_size=3), st.lists(boxes(), max_size=3))
def test_what_two_sets_share_is_in_both(left: list[Box], right: list[Box]) -> None:
    """Box by box."""
    assert members(*intersect_all(left, right)) == members(*left) & members(*right)


@given(st.lists(boxes(), max_size=3), st.lists(boxes(), max_size=3))
def test_what_is_left_is_all_that_was_not_taken(left: list[Box], taken: list[Box]) -> None:
    """The difference is exact where every member is known, and wider elsewhere."""
    rest = members(*subtract_all(left, taken))
    assert rest >= members(*left) - members(*taken)
    assert rest <= members(*left)
    for box in left:
        for each in taken:
            if each.needs <= box.needs:
                assert members(*subtract_all([box], [each])) == members(box) - members(each)
            else:
                assert subtract_all([box], [each]) == (box,)


@given(boxes(), boxes())
def test_no_piece_that_is_left_is_empty(left: Box, taken: Box) -> None:
    """A box without members is no part of a set: no caller is in it, and it would be reported as an exposure."""
    assert all(members(piece) for piece in subtract_all([left], [taken]))


def test_a_source_stands_on_one_side_or_the_other() -> None:
    """Inside and outside share nothing, and together they are every source."""
    assert Side.INSIDE
    assert Side.OUTSIDE
    assert not Side.INSIDE & Side.OUTSIDE
    assert Side.INSIDE | Side.OUTSIDE == Side.EITHER


def test_a_box_does_not_change() -> None:
    """Boxes are shared between cached answers."""
    with pytest.raises(FrozenInstanceError):
        whole(4).low = 1  # type: ignore[misc]


def test_pieces_do_not_overlap() -> None:
    """A box out of the middle leaves its surroundings, each once."""
    inner = Box(2, 3, 2, 3, Side.INSIDE)
    pieces = subtract_all([Box(0, 5, 0, 5)], [inner])
    assert sum(len(members(each)) for each in pieces) == len(members(*pieces))
    assert len(pieces) == 5


def test_the_box_of_a_prefix_and_of_a_family() -> None:
    """From the first address to the last, every port and side."""
    assert whole(4) == Box(0, 2**32 - 1, 0, 65_535, Side.EITHER)
    assert whole(6) == Box(0, 2**128 - 1, 0, 65_535, Side.EITHER)
    for prefix, box in (("0.0.0.0/0", whole(4)), ("::/0", whole(6)), ("0.0.0.4/30", Box(4, 7))):
        found = network(prefix)
        assert found is not None
        assert box_of(found) == box
