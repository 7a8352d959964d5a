"""The app that the tests of the triggers call."""

from collections.abc import Iterator

import pytest

from tests.functions.authority_app import Authority, GuardedApp, authority, governed
from tests.functions.web_app import WebApp
from tests.world import World


@pytest.fixture
def web() -> WebApp:
    """Serve a fresh world."""
    return WebApp(World())


@pytest.fixture(scope="module")
def guard() -> Iterator[Authority]:
    """Run an issuer and an ARM."""
    with authority() as found:
        yield found


@pytest.fixture
def app(guard: Authority) -> GuardedApp:
    """Serve a world whose policy covers two VMs."""
    return GuardedApp(governed(), guard)
