"""The ARM simulator that the closer is run against."""

from collections.abc import Iterator

import pytest

from tests.logic_apps.cloud import Cloud


@pytest.fixture(scope="module")
def simulator() -> Iterator[Cloud]:
    """Start the simulator once."""
    started = Cloud()
    yield started
    started.stop()


@pytest.fixture
def cloud(simulator: Cloud) -> Cloud:
    """Give the simulator with nothing in it."""
    simulator.reset()
    return simulator
