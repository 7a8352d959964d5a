"""Each test of this folder runs on every provider."""

import pytest

from tests.contract.provider.azure_firewall import AZURE_FIREWALLS
from tests.contract.provider.grounds import GROUNDS, Ground
from tests.contract.provider.grounds_azure_firewall import (
    ClassicGround,
    IpGroupGround,
    PolicyGround,
)
from tests.contract.provider.subject import Subject


@pytest.fixture(params=GROUNDS, ids=str)
def ground(request: pytest.FixtureRequest) -> Ground:
    """Return one type of firewall."""
    return GROUNDS[request.param]()


@pytest.fixture
def subject(ground: Ground) -> Subject:
    """Return one firewall with what is desired there."""
    return Subject(ground)


@pytest.fixture(params=AZURE_FIREWALLS, ids=str)
def azure_firewall(request: pytest.FixtureRequest) -> Subject:
    """Return one Azure Firewall of each type."""
    return Subject(AZURE_FIREWALLS[request.param]())


@pytest.fixture
def policy() -> Subject:
    """Return a firewall with a policy."""
    return Subject(PolicyGround())


@pytest.fixture
def classic() -> Subject:
    """Return a firewall with classic rules."""
    return Subject(ClassicGround())


@pytest.fixture
def ip_group() -> Subject:
    """Return an IP group."""
    return Subject(IpGroupGround())
