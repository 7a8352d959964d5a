"""The app that the tests of the triggers call."""

import pytest

from tests.functions.web_app import WebApp
from tests.world import World


@pytest.fixture
def web() -> WebApp:
    """Serve a fresh world."""
    return WebApp(World())
