"""A simulator on a clock that tests move, and a place that may be Azure itself."""

import os
import uuid
from collections.abc import Iterator

import pytest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.network import NetworkManagementClient

from local.arm.client import ArmClient
from local.arm.serve import ArmServer
from local.arm.simulator import Settings
from local.tests.arm.place import (
    GROUP,
    LOCATION,
    SETTLE_SECONDS,
    SUBSCRIPTION,
    Clock,
    Place,
    StaticToken,
)

QUICK_SECONDS = 0.02


@pytest.fixture(scope="session")
def clock() -> Clock:
    """Give a clock that stands until it is moved."""
    return Clock()


@pytest.fixture(scope="session")
def server(clock: Clock) -> Iterator[ArmServer]:
    """Serve the default estate on that clock."""
    with ArmServer(settings=Settings(settle=SETTLE_SECONDS), clock=clock) as running:
        yield running


@pytest.fixture
def arm(server: ArmServer) -> Iterator[ArmClient]:
    """Connect to the simulator, all of it as at the start."""
    client = ArmClient(server.url, "local:tester")
    client.control("reset")
    yield client
    client.close()


@pytest.fixture
def network(arm: ArmClient) -> Iterator[NetworkManagementClient]:
    """Connect Microsoft's own client to the simulator."""
    with sdk(arm.url) as client:
        yield client


@pytest.fixture(scope="session")
def quick_server() -> Iterator[ArmServer]:
    """Serve the default estate on real time, settling fast."""
    with ArmServer(settings=Settings(settle=QUICK_SECONDS)) as running:
        yield running


@pytest.fixture(params=["simulator", pytest.param("azure", marks=pytest.mark.live)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Give an empty security group of one's own: in the simulator, or in a real subscription.

    The real one needs JIT_LIVE_SUBSCRIPTION and JIT_LIVE_RESOURCE_GROUP, and the identity that
    DefaultAzureCredential finds must be a Network Contributor there.
    """
    if request.param == "simulator":
        server: ArmServer = request.getfixturevalue("quick_server")
        found = Place(sdk(server.url), GROUP, LOCATION)
    else:
        found = live_place()
    found.open(f"jit-contract-{uuid.uuid4().hex[:8]}")
    yield found
    found.close()


def sdk(url: str) -> NetworkManagementClient:
    """Point Microsoft's own client at plain HTTP, where it would refuse to send a token."""
    return NetworkManagementClient(
        StaticToken("local:sdk"),
        SUBSCRIPTION,
        base_url=url,
        authentication_policy=SansIOHTTPPolicy(),
        headers={"Authorization": "Bearer local:sdk"},
        retry_total=0,
    )


def live_place() -> Place:
    """Find the real subscription the environment names, or skip."""
    subscription = os.environ.get("JIT_LIVE_SUBSCRIPTION")
    group = os.environ.get("JIT_LIVE_RESOURCE_GROUP")
    if not subscription or not group:
        pytest.skip("JIT_LIVE_SUBSCRIPTION and JIT_LIVE_RESOURCE_GROUP name no subscription")
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - only the live run has it

    client = NetworkManagementClient(DefaultAzureCredential(), subscription)
    return Place(client, group, os.environ.get("JIT_LIVE_LOCATION", LOCATION))
