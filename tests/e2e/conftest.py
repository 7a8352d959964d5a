"""The running stack, with nothing left on order."""

from collections.abc import Iterator

import pytest

from local.stack import Stack
from tests.e2e.playing import Azure, Play


@pytest.fixture(scope="session")
def stack_play(stack: Stack) -> Play:
    """Give the stack to what several tests share."""
    return Play(stack, Azure(stack.arm))


@pytest.fixture
def play(stack_play: Play) -> Iterator[Play]:
    """Give the stack; faults that a test puts on order end with it."""
    yield stack_play
    stack_play.azure.order()
