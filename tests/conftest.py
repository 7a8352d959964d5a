"""What several suites share: real storage, and a whole stack, each started once."""

from collections.abc import Iterator

import pytest

from local.azurite import Azurite
from local.stack import Stack

# Real Azure settles in a few seconds; what is tested does not depend on how many.
SETTLE_SECONDS = 0.2


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run an empty Azurite, and give its connection string."""
    with Azurite(log=tmp_path_factory.mktemp("azurite") / "azurite.log") as running:
        yield running.connection_string


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run the whole stack; each test brings VMs and a policy of its own."""
    with Stack(
        directory=tmp_path_factory.mktemp("stack"),
        settle=SETTLE_SECONDS,
        # A message that fails comes back after one second instead of ten.
        environment={"AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:01"},
    ) as running:
        yield running
