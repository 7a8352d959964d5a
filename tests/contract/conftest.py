"""The simulated ARM that the adapters which read it are held to."""

from collections.abc import Iterator

import pytest

from local.arm.client import ArmClient
from local.arm.serve import ArmServer


@pytest.fixture(scope="module")
def server() -> Iterator[ArmServer]:
    """Serve the default estate."""
    with ArmServer() as running:
        yield running


@pytest.fixture
def arm(server: ArmServer) -> Iterator[ArmClient]:
    """Connect to the simulator, all of it as at the start."""
    client = ArmClient(server.url, "local:tester")
    client.control("reset")
    yield client
    client.close()
