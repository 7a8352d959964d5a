"""Which identity calls ARM, where the operator names several."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.identities import MOST, Identities, read_identities

ONE, TWO, THREE = (f"{number}" * 8 + "-0000-4000-8000-000000000000" for number in (1, 2, 3))
SUBSCRIPTION = "3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
PLACE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/app-rg/providers/Microsoft.Network"


def test_none_named_means_the_usual_identity() -> None:
    """Without a list no client id is chosen."""
    assert read_identities("") == Identities()
    assert read_identities(" , ").choose(PLACE) == ""


def test_a_subscription_with_its_own_list_uses_that_alone() -> None:
    """An identity named for one subscription is used there, and one named alone elsewhere."""
    identities = read_identities(f"{ONE}, {SUBSCRIPTION.upper()}={TWO}")
    assert identities.choose(f"{PLACE}/networkSecurityGroups/a") == TWO
    assert identities.choose(f"/subscriptions/{THREE}/providers/Microsoft.Network/x") == ONE
    assert identities.choose("/providers/Microsoft.Network/operations") == ONE
    assert identities.all == (ONE, TWO)


def test_a_subscription_without_a_list_has_the_usual_identity() -> None:
    """Where only another subscription is named, no client id is chosen."""
    assert read_identities(f"{THREE}={TWO}").choose(PLACE) == ""


@given(st.text("abcXYZ019-_", min_size=1, max_size=20))
def test_a_resource_keeps_its_identity(name: str) -> None:
    """A resource, its children and every spelling of its id get one identity."""
    identities = read_identities(f"{ONE},{TWO},{THREE}")
    group = f"{PLACE}/networkSecurityGroups/{name}"
    chosen = identities.choose(group)
    assert chosen in identities.all
    assert identities.choose(f"{group}/securityRules/JIT-1") == chosen
    assert identities.choose(group.upper()) == chosen


def test_many_resources_are_spread_evenly() -> None:
    """Of 300 groups, each of three identities gets at least 80."""
    identities = read_identities(f"{ONE},{TWO},{THREE}")
    chosen = [identities.choose(f"{PLACE}/networkSecurityGroups/nsg-{n}") for n in range(300)]
    assert min(chosen.count(each) for each in identities.all) >= 80


@pytest.mark.parametrize("text", ["me", f"{ONE}={TWO}={THREE}", f"{ONE};{TWO}", f"x={ONE}"])
def test_what_is_no_client_id_is_refused(text: str) -> None:
    """The error names the entry that cannot be read."""
    with pytest.raises(ValueError, match="neither a client id"):
        read_identities(text)


def test_repeated_ids_count_once_and_too_many_are_refused() -> None:
    """An id that is named twice is one; more than ten are refused."""
    assert read_identities(f"{ONE},{ONE.upper()}").everywhere == (ONE,)
    many = ",".join(f"{n:08x}-0000-4000-8000-000000000000" for n in range(MOST + 1))
    with pytest.raises(ValueError, match="more than 10"):
        read_identities(many)
