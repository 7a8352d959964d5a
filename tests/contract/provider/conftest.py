"""Each test of this folder runs on every provider."""

import pytest

from tests.contract.provider.grounds import GROUNDS, Ground
from tests.contract.provider.subject import Subject


@pytest.fixture(params=GROUNDS, ids=str)
def ground(request: pytest.FixtureRequest) -> Ground:
    """Return one kind of firewall."""
    return GROUNDS[request.param]()


@pytest.fixture
def subject(ground: Ground) -> Subject:
    """Return one firewall with what is desired there."""
    return Subject(ground)
