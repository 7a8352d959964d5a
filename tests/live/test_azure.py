"""The live suite on Azure: it costs some cents and takes about 20 minutes."""

import os

import pytest

from tools.live.__main__ import main

SUBSCRIPTION = os.environ.get("JIT_LIVE_SUBSCRIPTION", "")
LOCATION = os.environ.get("JIT_LIVE_LOCATION", "westeurope")


@pytest.mark.live
@pytest.mark.skipif(not SUBSCRIPTION, reason="JIT_LIVE_SUBSCRIPTION names no subscription")
def test_the_suite_passes_on_azure() -> None:
    """Every step passes in a subscription of yours, and nothing is left."""
    assert main(["run", "--subscription", SUBSCRIPTION, "--location", LOCATION]) == 0
