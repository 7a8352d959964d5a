"""An empty simulator on a clock that stands until a recording moves it."""

from collections.abc import Iterator

import pytest

from local.arm.client import ArmClient
from local.arm.serve import ArmServer
from local.tests.arm.place import Clock


@pytest.fixture(scope="module")
def clock() -> Clock:
    """Give a clock that stands still."""
    return Clock()


@pytest.fixture(scope="module")
def server(clock: Clock) -> Iterator[ArmServer]:
    """Serve the simulator on that clock."""
    with ArmServer({"resources": []}, clock=clock) as running:
        yield running


@pytest.fixture
def client(server: ArmServer) -> Iterator[ArmClient]:
    """Connect to the simulator."""
    connected = ArmClient(server.url)
    yield connected
    connected.close()
