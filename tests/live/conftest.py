"""Shared parts of the tests of the live suite: a simulator of their own, and a run in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.arm.serve import ArmServer
from local.arm.simulator import Settings
from tests.live.playing import Cloud


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """Run the ARM simulator alone: azd deploys into it, and there is no app."""
    with ArmServer(settings=Settings(settle=0.0)) as server:
        yield Cloud(server.url, tmp_path)
