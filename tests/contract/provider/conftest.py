"""Each test of this folder runs on every provider."""

import pytest

from tests.contract.provider.azure_firewall import KINDS
from tests.contract.provider.grounds import GROUNDS, Ground
from tests.contract.provider.grounds_azure_firewall import (
    ClassicGround,
    IpGroupGround,
    PolicyGround,
)
from tests.contract.provider.subject import Subject


@pytest.fixture(params=GROUNDS, ids=str)
def ground(request: pytest.FixtureRequest) -> Ground:
    """Return one kind of firewall."""
    return GROUNDS[request.param]()


@pytest.fixture
def subject(ground: Ground) -> Subject:
    """Return one firewall with what is desired there."""
    return Subject(ground)


@pytest.fixture(params=KINDS, ids=str)
def each_kind(request: pytest.FixtureRequest) -> Subject:
    """Return one firewall of each kind."""
    return Subject(KINDS[request.param]())


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
