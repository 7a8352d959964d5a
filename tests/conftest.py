"""Fixtures that several suites share: real storage, and a whole stack, each started once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.azurite import Azurite
from local.stack import Stack
from tests.package import build

# Files run side by side, and a run lasts as long as its last file: what takes long begins first.
# Within these the order is the seed's, as everywhere.
LONGEST_FIRST = (
    "tests/e2e/test_sigkill.py",
    "tests/e2e/",
    "tests/cli/",
    "tests/clients/",
    "local/tests/test_functions_host",
    "local/tests/demo/",
    "tests/judgement/",
    "tests/faults/",
    "tests/contract/",
    "local/tests/",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; the order that the seed gave stays otherwise."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    # The browser's driver keeps an event loop on the main thread: asyncio.run fails beside it.
    if item.nodeid.startswith("tests/browser/"):
        return len(LONGEST_FIRST) + 1
    ranks = [at for at, start in enumerate(LONGEST_FIRST) if item.nodeid.startswith(start)]
    return min(ranks, default=len(LONGEST_FIRST))


# Real Azure settles in a few seconds; what is tested does not depend on how many.
SETTLE_SECONDS = 0.2
# An idle queue is looked at twice a second instead of every other, and a message that failed
# comes back after one second instead of ten.
_QUEUES = "AzureFunctionsJobHost__extensions__queues__"
IMPATIENT = {
    f"{_QUEUES}maxPollingInterval": "00:00:00.5",
    f"{_QUEUES}visibilityTimeout": "00:00:01",
    # The same few people ask for hundreds of things in a minute.
    "JIT_CALLS_PER_MINUTE": "10000",
}


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run an empty Azurite, and give its connection string."""
    with Azurite(log=tmp_path_factory.mktemp("azurite") / "azurite.log") as running:
        yield running.connection_string


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package that would be deployed."""
    return build(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def stack(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run the whole stack on the package; each test brings VMs and a policy of its own."""
    with Stack(
        app=package,
        directory=tmp_path_factory.mktemp("stack"),
        settle=SETTLE_SECONDS,
        environment=IMPATIENT,
    ) as running:
        yield running
