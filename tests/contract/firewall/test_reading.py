"""Reading network security groups: settled, whole, or an error."""

import pytest

from shared.firewalls.nsg.rules import Plan
from shared.ports import OutsideError, ThrottledError
from tests.contract.firewall.grounds import (
    GONE,
    GROUP,
    SETTLE_SECONDS,
    SUBSCRIPTION,
    AzureGround,
    Json,
    allow,
    by_name,
    deny,
    foreign,
    held,
    one_of_each,
    rules_of,
    snapshot_write,
)


def test_a_read_waits_until_the_group_has_settled(real: AzureGround) -> None:
    """Right after a write a read gives the settled state, and an etag that stays."""
    firewall_id = real.add(foreign())
    real.arm.control("settings", {"settle": 0.3})
    snapshot_write(real, firewall_id, Plan(put=one_of_each()))
    snapshot = real.firewall.read(firewall_id)
    assert real.slept
    assert isinstance(snapshot.raw, dict)
    states = [rule["properties"]["provisioningState"] for rule in rules_of(snapshot.raw)]
    assert {snapshot.raw["properties"]["provisioningState"], *states} == {"Succeeded"}
    assert real.firewall.read(firewall_id).version == snapshot.version


def test_a_read_waits_for_a_rule_on_its_way(real: AzureGround) -> None:
    """A child write leaves the group itself settled at once in no answer that is believed."""
    firewall_id = real.add(foreign(), allow(1))
    real.arm.control("settings", {"settle": 0.3})
    snapshot_write(real, firewall_id, Plan(remove=(allow(1).name,)))
    assert held(real, firewall_id) == by_name(foreign())


def test_a_group_that_never_settles_is_given_up(real: AzureGround) -> None:
    """After ten seconds, with pauses that grow to a second, a read fails rather than guess.

    No caller that waits for a write waits more than a fifth too long, or a quarter of a second.
    """
    firewall_id = real.add(foreign())
    real.arm.control("settings", {"settle": 3600})
    snapshot_write(real, firewall_id, Plan(put=one_of_each()))
    real.arm.control("settings", {"settle": SETTLE_SECONDS})
    with pytest.raises(OutsideError, match="updating"):
        real.firewall.read(firewall_id)
    assert 10 <= sum(real.slept) < 12
    assert len(real.slept) < 70
    waited = 0.0
    for pause in real.slept:
        assert pause <= max(0.25, waited / 5) + 1e-9
        waited += pause


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "serverError", "status": 500},
        {"kind": "serverError", "status": 503},
        {"kind": "dropBefore"},
        {"kind": "dropAfter"},
    ],
    ids=str,
)
def test_a_failed_read_proves_nothing(real: AzureGround, fault: Json) -> None:
    """An error is an error, never an empty group; it is tried once."""
    firewall_id = real.add(foreign())
    real.order(fault | {"times": None})
    with pytest.raises(OutsideError):
        real.firewall.read(firewall_id)
    assert len(real.calls(firewall_id, reads=True)) == 1


def test_another_404_is_not_gone(real: AzureGround) -> None:
    """A subscription that is not known proves nothing about a group in it."""
    elsewhere = GONE.replace(SUBSCRIPTION, "00000000-0000-4000-8000-00000000dead")
    with pytest.raises(OutsideError):
        real.firewall.read(elsewhere)


def test_a_group_whose_resource_group_went_is_gone(real: AzureGround) -> None:
    """It was deleted along with everything in it."""
    assert not real.firewall.read(GONE.replace("app-rg", "gone-rg")).exists


@pytest.mark.parametrize("by", ["network", "arm"])
def test_a_throttled_read_says_when_to_come_back(real: AzureGround, by: str) -> None:
    """The quota's own words, and no second call in between."""
    firewall_id = real.add(foreign())
    real.order(kind="throttle", by=by, retryAfter=39, times=None)
    with pytest.raises(ThrottledError) as caught:
        real.firewall.read(firewall_id)
    assert caught.value.retry_after == 39
    assert len(real.calls(firewall_id, reads=True)) == 1


@pytest.mark.parametrize("page_size", [2, 100])
def test_the_search_reads_every_page(real: AzureGround, page_size: int) -> None:
    """However the list is cut, every group is looked at."""
    real.arm.control("settings", {"pageSize": page_size})
    wanted = {real.add(foreign(), deny()).casefold() for _ in range(5)}
    found = real.firewall.list_with_our_rules([f"/subscriptions/{SUBSCRIPTION}"])
    assert {each.casefold() for each in found} == wanted


def test_the_search_keeps_to_its_scopes(real: AzureGround) -> None:
    """A resource group, or one resource; overlapping scopes name a group once."""
    first, second = real.add(deny()), real.add(deny())
    find = real.firewall.list_with_our_rules
    assert find([first]) == [first]
    assert sorted(find([GROUP, first, f"/subscriptions/{SUBSCRIPTION}"])) == sorted([first, second])
    assert find([GROUP.replace("app-rg", "app-rg-2")]) == []


@pytest.mark.parametrize("fault", ["serverError", "dropBefore"])
def test_a_search_cut_short_is_an_error(real: AzureGround, fault: str) -> None:
    """Half a list is never taken for the whole."""
    real.arm.control("settings", {"pageSize": 3})
    real.add(deny())
    real.order(kind=fault, skip=1)
    with pytest.raises(OutsideError):
        real.firewall.list_with_our_rules([f"/subscriptions/{SUBSCRIPTION}"])


def test_a_look_reads_once_and_offers_a_settled_group(real: AzureGround) -> None:
    """A group that is being written, or that names application groups, is not planned from."""
    firewall_id = real.add(foreign())
    raw, snapshot = real.firewall.look(firewall_id)
    assert snapshot == real.firewall.read(firewall_id)
    assert snapshot is not None
    assert snapshot.raw == raw
    real.arm.control("settings", {"settle": 3600})
    snapshot_write(real, firewall_id, Plan(put=one_of_each()))
    real.arm.control("settings", {"settle": SETTLE_SECONDS})
    raw, snapshot = real.firewall.look(firewall_id)
    assert raw["properties"]["provisioningState"] == "Updating"
    assert snapshot is None


def test_a_look_at_a_group_that_went_proves_nothing(real: AzureGround) -> None:
    """A VM's own description names the group: a change is under way."""
    with pytest.raises(OutsideError):
        real.firewall.look(GONE)
    real.order(kind="throttle", by="arm", retryAfter=39, times=None)
    with pytest.raises(ThrottledError):
        real.firewall.look(real.add(foreign()))
