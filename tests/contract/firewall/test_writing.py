"""Writing network security groups: one call, guarded, and no answer taken for proof."""

import pytest

from shared.firewalls.nsg.rules import Band, Plan, plan
from shared.ports import (
    FirewallChangedError,
    FirewallRefusedError,
    OutsideError,
    ThrottledError,
)
from tests.contract.firewall.grounds import (
    AzureGround,
    allow,
    by_name,
    deny,
    foreign,
    held,
    one_of_each,
    snapshot_write,
)
from tests.fakes import NAMES

WRITES = {
    "whole": (Plan(put=one_of_each()), [("PUT", "group")]),
    "child put": (Plan(put=(allow(1),)), [("PUT", "rule")]),
    "child change": (Plan(put=(allow(9, description="changed"),)), [("PUT", "rule")]),
    "child delete": (Plan(remove=(allow(9).name,)), [("DELETE", "rule")]),
}


@pytest.mark.parametrize("changes_name", WRITES)
def test_one_change_is_a_child_write_and_more_are_a_whole_one(
    real: AzureGround, changes_name: str
) -> None:
    """One call each, guarded by the etag wherever something is there to guard."""
    changes, calls = WRITES[changes_name]
    firewall_id = real.add(foreign(), allow(9))
    snapshot_write(real, firewall_id, changes)
    assert real.calls(firewall_id) == calls


@pytest.mark.parametrize("changes_name", WRITES)
@pytest.mark.parametrize("fault", ["precondition", "locked", "conflict"])
def test_another_writer_s_write_means_read_again(
    real: AzureGround, fault: str, changes_name: str
) -> None:
    """412, 409 and the 429 that is a lock are one thing, and are tried once."""
    changes, calls = WRITES[changes_name]
    firewall_id = real.add(foreign(), allow(9))
    before = real.raw(firewall_id)
    snapshot = real.firewall.read(firewall_id)
    real.order(kind=fault, times=None)
    with pytest.raises(FirewallChangedError):
        real.firewall.write(snapshot, changes)
    assert real.calls(firewall_id) == calls
    assert real.raw(firewall_id) == before


@pytest.mark.parametrize("changes_name", WRITES)
@pytest.mark.parametrize("by", ["network", "arm"])
def test_a_quota_says_when_to_come_back(real: AzureGround, by: str, changes_name: str) -> None:
    """The 429 that is a quota carries its seconds; nothing sleeps and nothing is tried again."""
    changes, calls = WRITES[changes_name]
    firewall_id = real.add(foreign(), allow(9))
    snapshot = real.firewall.read(firewall_id)
    real.order(kind="throttle", by=by, retryAfter=39, method="PUT|DELETE", times=None)
    with pytest.raises(ThrottledError) as caught:
        real.firewall.write(snapshot, changes)
    assert caught.value.retry_after == 39
    assert real.calls(firewall_id) == calls
    assert real.slept == []


@pytest.mark.parametrize("changes_name", WRITES)
@pytest.mark.parametrize("status", [500, 503, 504])
def test_a_failed_write_is_tried_once(real: AzureGround, status: int, changes_name: str) -> None:
    """A 5xx is left to the next converge: it may or may not have taken effect."""
    changes, calls = WRITES[changes_name]
    firewall_id = real.add(foreign(), allow(9))
    snapshot = real.firewall.read(firewall_id)
    real.order(kind="serverError", status=status, times=None)
    with pytest.raises(OutsideError):
        real.firewall.write(snapshot, changes)
    assert real.calls(firewall_id) == calls


@pytest.mark.parametrize("changes_name", WRITES)
@pytest.mark.parametrize(("fault", "lands"), [("dropBefore", False), ("dropAfter", True)])
def test_a_dropped_connection_is_no_answer(
    real: AzureGround, fault: str, lands: bool, changes_name: str
) -> None:
    """Whether the write landed is for the next read to say; it is sent once."""
    changes, calls = WRITES[changes_name]
    firewall_id = real.add(foreign(), allow(9))
    before = held(real, firewall_id)
    snapshot = real.firewall.read(firewall_id)
    real.order(kind=fault, times=None, method="PUT|DELETE")
    with pytest.raises(OutsideError):
        real.firewall.write(snapshot, changes)
    assert real.calls(firewall_id) == calls
    assert (held(real, firewall_id) != before) is lands


@pytest.mark.parametrize("changes_name", WRITES)
@pytest.mark.parametrize("fault", ["supersede", "notTaken"])
def test_an_accepted_write_proves_nothing(real: AzureGround, fault: str, changes_name: str) -> None:
    """A write that was cancelled after its 201 shows in the next read, and only there."""
    changes, _ = WRITES[changes_name]
    firewall_id = real.add(foreign(), allow(9))
    before = held(real, firewall_id)
    snapshot = real.firewall.read(firewall_id)
    real.order(kind=fault)
    real.firewall.write(snapshot, changes)
    assert held(real, firewall_id) == before
    snapshot_write(real, firewall_id, changes)
    assert held(real, firewall_id) != before


def test_a_priority_taken_meanwhile_means_plan_again(real: AzureGround) -> None:
    """SecurityRuleConflict is not a refusal: a new plan finds another place."""
    firewall_id = real.add(foreign())
    snapshot = real.firewall.read(firewall_id)
    real.edit(firewall_id, foreign("new", 201))
    with pytest.raises(FirewallChangedError):
        real.firewall.write(snapshot, Plan(put=(allow(1, 201),)))


def test_a_bad_rule_in_a_whole_write_is_found_out(real: AzureGround) -> None:
    """Where the service names the rule, it is the one that is blamed, and nothing is written."""
    firewall_id = real.add(foreign())
    before = real.raw(firewall_id)
    bad = allow(2, sources=("10.0.0.0/42",))
    with pytest.raises(FirewallRefusedError) as caught:
        snapshot_write(real, firewall_id, Plan(put=(allow(1), bad, allow(3))))
    assert caught.value.rule_name == bad.name
    assert real.raw(firewall_id) == before


def test_a_bad_rule_that_no_error_names_is_found_by_child_writes(real: AzureGround) -> None:
    """Where a whole write's error names no rule, changes go one by one until one is to blame."""
    firewall_id = real.add(foreign())
    bad = allow(2, 4097)
    refused: dict[str, str] = {}
    for _ in range(5):
        snapshot = real.firewall.read(firewall_id)
        there = {rule.name for rule in snapshot.rules}
        missing = [r for r in (allow(1), bad, allow(3)) if r.name not in {*there, *refused}]
        if not missing:
            break
        try:
            real.firewall.write(snapshot, Plan(put=tuple(missing)))
        except FirewallRefusedError as refusal:
            refused[refusal.rule_name] = refusal.code
    assert refused == {bad.name: "SecurityRuleInvalidPriority"}
    assert held(real, firewall_id) == by_name(foreign(), allow(1), allow(3))


def test_the_rules_we_write_read_back_the_same(real: AzureGround) -> None:
    """Every shape of ours survives the service: families, lists, protocols, long texts."""
    shapes = [
        deny(),
        allow(1, sources=("198.51.100.0/28", "203.0.113.7"), ports=("22", "5985-5986")),
        allow(2, sources=("2001:db8::/64",), destinations=("fd00:10:0:6::4", "fd00:10:0:6::5")),
        allow(3, protocol="Udp", ports=("3389",)),
        allow(4, protocol="*", description="x" * 140),
        allow(5, description="JIT \u00fc '\"<&>"),
    ]
    firewall_id = real.add(foreign())
    snapshot_write(real, firewall_id, Plan(put=tuple(shapes)))
    assert held(real, firewall_id) == by_name(foreign(), *shapes)
    snapshot = real.firewall.read(firewall_id)
    assert plan(snapshot.rules, shapes, NAMES, Band()).is_empty
