"""Firewalls in memory, and network security groups in the simulator."""

from collections.abc import Iterator

import pytest

from local.arm.client import ArmClient
from local.arm.serve import ArmServer
from local.arm.simulator import Settings
from tests.contract.firewall.grounds import SETTLE_SECONDS, AzureGround, Ground, MemoryGround


@pytest.fixture(scope="module")
def server() -> Iterator[ArmServer]:
    """Serve the default estate, settling fast."""
    with ArmServer(settings=Settings(settle=SETTLE_SECONDS)) as running:
        yield running


@pytest.fixture
def real(server: ArmServer) -> Iterator[AzureGround]:
    """Give the simulator, all of it as at the start."""
    client = ArmClient(server.url, "local:writer")
    client.control("reset")
    yield AzureGround(client)
    client.close()


@pytest.fixture(params=["memory", "azure"])
def ground(request: pytest.FixtureRequest) -> Ground:
    """Give a firewall in memory, then one in the simulator."""
    if request.param == "memory":
        return MemoryGround()
    found: AzureGround = request.getfixturevalue("real")
    return found
