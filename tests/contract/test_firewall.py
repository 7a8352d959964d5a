"""The contract of a firewall, kept by the one in memory and by network security groups.

The real adapter goes through Microsoft's own client to the ARM simulator, faults and all.
"""

import copy
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Protocol

import pytest

from local.arm.client import ArmClient
from local.arm.serve import ArmServer
from local.arm.simulator import Settings
from shared.adapters import nsg, nsg_rules
from shared.adapters.arm_clients import LocalName, network_client
from shared.adapters.nsg import NetworkSecurityGroups
from shared.adapters.nsg_rules import write_rule
from shared.domain.model import Access, SecurityRule
from shared.domain.rules import Band, Plan, plan
from shared.use_cases.interfaces import (
    Firewall,
    FirewallChangedError,
    FirewallRefusedError,
    OutsideError,
    ThrottledError,
)
from tests.fakes import NAMES, MemoryFirewall

Json = dict[str, Any]
SUBSCRIPTION = "3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/app-rg"
GROUPS = f"{GROUP}/providers/Microsoft.Network/networkSecurityGroups"
GONE = f"{GROUPS}/was-deleted"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/web-1"
HASH = "263253CF04815D139612DC89CBC89967"
SETTLE_SECONDS = 0.02
_numbers = itertools.count(1)


def allow(number: int, priority: int = 0, **changes: Any) -> SecurityRule:
    """Make a rule of ours for a grant."""
    made = SecurityRule(
        name=NAMES.allow(f"request-{number}", VM, 22, 4),
        access=Access.ALLOW,
        protocol="Tcp",
        sources=("203.0.113.7",),
        destinations=("10.0.1.4",),
        ports=("22",),
        description=f"JIT access request request-{number} until 2026-11-22T15:00:00Z",
        priority=priority or 200 + number,
    )
    return replace(made, **changes)


def deny(priority: int = 1000) -> SecurityRule:
    """Make a standing deny of ours."""
    return SecurityRule(
        name=NAMES.deny(VM, 4),
        access=Access.DENY,
        protocol="*",
        sources=("*",),
        destinations=("10.0.1.4", "10.0.1.5"),
        ports=("22", "3389"),
        description="JIT access: management ports of VM 'web-1' stay closed.",
        priority=priority,
    )


def foreign(name: str = "allow-https", priority: int = 310, **changes: Any) -> SecurityRule:
    """Make a rule of somebody else's."""
    made = SecurityRule(
        name=name,
        access=Access.ALLOW,
        protocol="Tcp",
        sources=("10.0.0.0/8",),
        destinations=("*",),
        ports=("443",),
        description="not ours",
        priority=priority,
    )
    return replace(made, **changes)


def one_of_each() -> tuple[SecurityRule, SecurityRule]:
    """Return two rules to put: a plan of more than one change."""
    return allow(1), allow(2)


class Ground(Protocol):
    """Firewalls of either kind, and what somebody else does to them."""

    @property
    def firewall(self) -> Firewall:
        """Return the firewall under test."""
        ...

    def add(self, *rules: SecurityRule) -> str:
        """Put a firewall there that holds the rules."""
        ...

    def edit(self, firewall_id: str, *put: SecurityRule, remove: Iterable[str] = ()) -> None:
        """Edit it as somebody else."""
        ...

    def refuse(self, rule_name: str) -> None:
        """Have the firewall turn that rule down for good."""
        ...

    def write_whole(self, *, on: bool) -> None:
        """Allow or forbid whole writes."""
        ...

    def writes(self, firewall_id: str) -> int:
        """Count the writes that were sent."""
        ...


class MemoryGround:
    """Firewalls in memory."""

    def __init__(self) -> None:
        self.firewall = MemoryFirewall()

    def add(self, *rules: SecurityRule) -> str:
        """Put a firewall there."""
        firewall_id = f"{GROUPS}/nsg-{next(_numbers)}"
        self.firewall.add(firewall_id, *rules)
        return firewall_id

    def edit(self, firewall_id: str, *put: SecurityRule, remove: Iterable[str] = ()) -> None:
        """Edit it as somebody else."""
        self.firewall.edit(firewall_id, *put, remove=remove)

    def refuse(self, rule_name: str) -> None:
        """Have that rule turned down."""
        self.firewall.refuse[rule_name] = "RequestDisallowedByPolicy"

    def write_whole(self, *, on: bool) -> None:
        """Allow or forbid whole writes."""
        self.firewall.whole = on

    def writes(self, firewall_id: str) -> int:
        """Count the writes."""
        return self.firewall.writes[firewall_id.casefold()]


@dataclass
class AzureGround:
    """Network security groups in the simulator."""

    arm: ArmClient
    whole: bool = True
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the adapter as the app does."""
        self.firewall = NetworkSecurityGroups(
            cache(lambda subscription: _client(self.arm.url, subscription)),
            NAMES,
            self._sleep,
            whole_writes=lambda: self.whole,
        )

    def add(self, *rules: SecurityRule) -> str:
        """Put a group there."""
        return self.add_raw([write_rule(rule) for rule in rules])

    def add_raw(self, rules: list[Json], **group: Any) -> str:
        """Put a group there whose rules are written as ARM returns them."""
        firewall_id = f"{GROUPS}/nsg-{next(_numbers)}"
        properties = {**group.pop("properties", {}), "securityRules": rules}
        resource = {"id": firewall_id, "location": "westeurope", "properties": properties, **group}
        resource["type"] = "Microsoft.Network/networkSecurityGroups"
        self.arm.control("edit", {"resources": [resource]})
        return firewall_id

    def edit(self, firewall_id: str, *put: SecurityRule, remove: Iterable[str] = ()) -> None:
        """Edit it as somebody else."""
        bodies = [write_rule(rule) for rule in put]
        self.arm.control("edit", {"nsg": firewall_id, "put": bodies, "delete": list(remove)})

    def refuse(self, rule_name: str) -> None:
        """Have that rule turned down."""
        self.order(kind="policyDenied", path=f"/securityRules/{rule_name}$", times=None)

    def write_whole(self, *, on: bool) -> None:
        """Allow or forbid whole writes."""
        self.whole = on

    def writes(self, firewall_id: str) -> int:
        """Count the writes."""
        return len(self.calls(firewall_id))

    def order(self, *faults: Mapping[str, Any], **fault: Any) -> None:
        """Put faults on order in place of those before."""
        self.arm.control("faults", {"faults": [*faults, *([fault] if fault else [])]})

    def calls(self, firewall_id: str, *, reads: bool = False) -> list[tuple[str, str]]:
        """Return the calls about a group: the method, and the last word of the path's kind."""
        return [
            (call["method"], "rule" if "/securityRules/" in call["path"] else "group")
            for call in self.arm.ask("log")["calls"]
            if call["path"].startswith(firewall_id) and (call["method"] == "GET") is reads
        ]

    def raw(self, firewall_id: str) -> Json:
        """Return a group as ARM shows it once it has settled, without what every write changes."""
        while True:
            body: Json = self.arm.call("GET", firewall_id).body
            if body["properties"]["provisioningState"] == "Succeeded":
                stable: Json = _without(body, {"etag", "provisioningState"})
                return stable
            time.sleep(SETTLE_SECONDS)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        time.sleep(min(seconds, SETTLE_SECONDS))


@cache
def _client(url: str, subscription: str) -> Any:
    return network_client(url, LocalName("network"), subscription)


def _without(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {k: _without(v, names) for k, v in value.items() if k not in names}
    return [_without(each, names) for each in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def server() -> Iterator[ArmServer]:
    """Serve the default estate, settling fast."""
    with ArmServer(settings=Settings(settle=SETTLE_SECONDS)) as running:
        yield running


@pytest.fixture
def real(server: ArmServer) -> Iterator[AzureGround]:
    """Give the simulator, all of it as at the start."""
    client = ArmClient(server.url, "local:somebody")
    client.control("reset")
    yield AzureGround(client)
    client.close()


@pytest.fixture(params=["memory", "azure"])
def ground(request: pytest.FixtureRequest) -> Ground:
    """Give firewalls of either kind."""
    if request.param == "memory":
        return MemoryGround()
    found: AzureGround = request.getfixturevalue("real")
    return found


def held(ground: Ground, firewall_id: str) -> dict[str, SecurityRule]:
    """Read a firewall's rules by name."""
    return {rule.name: rule for rule in ground.firewall.read(firewall_id).rules}


def by_name(*rules: SecurityRule) -> dict[str, SecurityRule]:
    """Return rules by name."""
    return {rule.name: rule for rule in rules}


def snapshot_write(ground: Ground, firewall_id: str, changes: Plan) -> None:
    """Read and write."""
    ground.firewall.write(ground.firewall.read(firewall_id), changes)


# --- what both keep ----------------------------------------------------------------------------


def test_a_read_shows_every_rule(ground: Ground) -> None:
    """Ours and foreign ones alike, field by field."""
    rules = (foreign(), deny(), allow(1, sources=("198.51.100.0/28", "203.0.113.7")))
    firewall_id = ground.add(*rules)
    snapshot = ground.firewall.read(firewall_id)
    assert snapshot.exists
    assert snapshot.firewall_id == firewall_id
    assert {rule.name: rule for rule in snapshot.rules} == by_name(*rules)


def test_an_id_is_read_in_any_letter_case(ground: Ground) -> None:
    """ARM ids are compared without case."""
    firewall_id = ground.add(foreign())
    assert held(ground, firewall_id.upper().replace("/SUBSCRIPTIONS", "/subscriptions"))


def test_a_firewall_that_is_gone_is_said_to_be_gone(ground: Ground) -> None:
    """Not an error, and not an empty firewall: it does not exist."""
    snapshot = ground.firewall.read(GONE)
    assert (snapshot.exists, snapshot.rules) == (False, ())


def test_a_version_stands_for_the_rules(ground: Ground) -> None:
    """The same as long as nobody writes, another after any edit."""
    firewall_id = ground.add(foreign())
    first = ground.firewall.read(firewall_id).version
    assert ground.firewall.read(firewall_id).version == first
    ground.edit(firewall_id, foreign("other", 400))
    assert ground.firewall.read(firewall_id).version != first


def test_a_plan_of_several_changes_is_one_write(ground: Ground) -> None:
    """New, changed and removed together; what the plan does not name stays."""
    firewall_id = ground.add(foreign(), allow(1), allow(2), deny())
    later = allow(1, description="JIT access request request-1 until 2026-11-22T16:00:00Z")
    snapshot_write(ground, firewall_id, Plan(put=(later, allow(3)), remove=(allow(2).name,)))
    assert held(ground, firewall_id) == by_name(foreign(), later, allow(3), deny())
    assert ground.writes(firewall_id) == 1


def test_without_whole_writes_a_plan_is_carried_out_change_by_change(ground: Ground) -> None:
    """Each write does one change; planning anew after each reaches the end."""
    ground.write_whole(on=False)
    firewall_id = ground.add(foreign(), allow(1))
    wanted = [deny(), allow(2)]
    writes = 0
    while True:
        snapshot = ground.firewall.read(firewall_id)
        changes = plan(snapshot.rules, wanted, NAMES, Band())
        if changes.is_empty:
            break
        ground.firewall.write(snapshot, changes)
        writes += 1
        assert ground.writes(firewall_id) == writes
    assert writes == 3
    assert held(ground, firewall_id).keys() == by_name(foreign(), *wanted).keys()


def test_closing_comes_first_where_only_a_part_goes_through(ground: Ground) -> None:
    """Of a plan whose first change alone is written, that is the removal."""
    ground.write_whole(on=False)
    firewall_id = ground.add(allow(1))
    snapshot_write(ground, firewall_id, Plan(put=(deny(),), remove=(allow(1).name,)))
    assert held(ground, firewall_id) == {}


def test_a_rule_is_changed_in_place(ground: Ground) -> None:
    """One change of one rule, such as a later end, is one write, and nothing else moves."""
    firewall_id = ground.add(foreign(), allow(1), allow(2))
    later = allow(1, description="JIT access request request-1 until 2026-11-22T16:00:00Z")
    snapshot_write(ground, firewall_id, Plan(put=(later,)))
    assert held(ground, firewall_id) == by_name(foreign(), later, allow(2))
    assert ground.writes(firewall_id) == 1


STALE = {
    "several changes": Plan(put=one_of_each()),
    "a change": Plan(put=(allow(9, description="changed"),)),
    "a removal": Plan(remove=(allow(9).name,)),
}


@pytest.mark.parametrize("kind", STALE)
def test_a_stale_snapshot_writes_nothing(ground: Ground, kind: str) -> None:
    """Somebody's edit since the read is noticed, and both their rules and ours stay."""
    firewall_id = ground.add(foreign(), allow(9))
    snapshot = ground.firewall.read(firewall_id)
    ground.edit(firewall_id, foreign("quarantine", 150, access=Access.DENY))
    before = held(ground, firewall_id)
    with pytest.raises(FirewallChangedError):
        ground.firewall.write(snapshot, STALE[kind])
    assert held(ground, firewall_id) == before


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("kind", STALE)
def test_a_firewall_that_went_meanwhile_is_a_change(ground: Ground, kind: str, whole: bool) -> None:
    """A write to what was there when it was read says: read again."""
    ground.write_whole(on=whole)
    snapshot = ground.firewall.read(ground.add(foreign(), allow(9)))
    gone = replace(snapshot, firewall_id=GONE, raw=snapshot.raw)
    with pytest.raises(FirewallChangedError):
        ground.firewall.write(gone, STALE[kind])


def test_a_refused_rule_is_named(ground: Ground) -> None:
    """A rule turned down for good is told by its name, so that it stalls no other."""
    ground.write_whole(on=False)
    firewall_id = ground.add(foreign())
    ground.refuse(allow(1).name)
    with pytest.raises(FirewallRefusedError) as caught:
        snapshot_write(ground, firewall_id, Plan(put=(allow(1),)))
    assert caught.value.rule_name == allow(1).name
    assert caught.value.code == "RequestDisallowedByPolicy"
    assert held(ground, firewall_id) == by_name(foreign())
    snapshot_write(ground, firewall_id, Plan(put=(allow(2),)))
    assert held(ground, firewall_id) == by_name(foreign(), allow(2))


def test_firewalls_with_rules_of_ours_are_found(ground: Ground) -> None:
    """Those that hold one, and not those with another installation's or Defender's."""
    ours, opened = ground.add(foreign(), deny()), ground.add(allow(1))
    for name in (
        f"SecurityCenter-JITRule-1170687618-{HASH}",
        f"SecurityCenter-JITRule-other1-{HASH}",
        f"SecurityCenter-JITRule_{NAMES.deployment}_short",
    ):
        ground.add(foreign(name))
    found = ground.firewall.list_with_our_rules([f"/subscriptions/{SUBSCRIPTION}"])
    assert sorted(each.casefold() for each in found) == sorted(
        each.casefold() for each in (ours, opened)
    )


# --- reading network security groups -----------------------------------------------------------


def test_a_read_waits_until_the_group_has_settled(real: AzureGround) -> None:
    """Right after a write a read gives the settled state, and an etag that stays."""
    firewall_id = real.add(foreign())
    real.arm.control("settings", {"settle": 0.3})
    snapshot_write(real, firewall_id, Plan(put=one_of_each()))
    snapshot = real.firewall.read(firewall_id)
    assert real.slept
    assert isinstance(snapshot.raw, dict)
    states = [rule["properties"]["provisioningState"] for rule in _rules(snapshot.raw)]
    assert {snapshot.raw["properties"]["provisioningState"], *states} == {"Succeeded"}
    assert real.firewall.read(firewall_id).version == snapshot.version


def test_a_read_waits_for_a_rule_on_its_way(real: AzureGround) -> None:
    """A child write leaves the group itself settled at once in no answer that is believed."""
    firewall_id = real.add(foreign(), allow(1))
    real.arm.control("settings", {"settle": 0.3})
    snapshot_write(real, firewall_id, Plan(remove=(allow(1).name,)))
    assert held(real, firewall_id) == by_name(foreign())


def test_a_group_that_never_settles_is_given_up(real: AzureGround) -> None:
    """After a minute, with ever longer pauses, a read fails rather than guess."""
    firewall_id = real.add(foreign())
    real.arm.control("settings", {"settle": 3600})
    snapshot_write(real, firewall_id, Plan(put=one_of_each()))
    real.arm.control("settings", {"settle": SETTLE_SECONDS})
    with pytest.raises(OutsideError, match="updating"):
        real.firewall.read(firewall_id)
    assert 60 <= sum(real.slept) < 65
    assert len(real.slept) < 40


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


def test_another_kind_of_404_is_not_gone(real: AzureGround) -> None:
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


@pytest.mark.parametrize("kind", ["serverError", "dropBefore"])
def test_a_search_cut_short_is_an_error(real: AzureGround, kind: str) -> None:
    """Half a list is never taken for the whole."""
    real.arm.control("settings", {"pageSize": 3})
    real.add(deny())
    real.order(kind=kind, skip=1)
    with pytest.raises(OutsideError):
        real.firewall.list_with_our_rules([f"/subscriptions/{SUBSCRIPTION}"])


# --- writing network security groups -----------------------------------------------------------

WRITES = {
    "whole": (Plan(put=one_of_each()), [("PUT", "group")]),
    "child put": (Plan(put=(allow(1),)), [("PUT", "rule")]),
    "child change": (Plan(put=(allow(9, description="changed"),)), [("PUT", "rule")]),
    "child delete": (Plan(remove=(allow(9).name,)), [("DELETE", "rule")]),
}


@pytest.mark.parametrize("kind", WRITES)
def test_one_change_is_a_child_write_and_more_are_a_whole_one(real: AzureGround, kind: str) -> None:
    """One call each, guarded by the etag wherever something is there to guard."""
    changes, calls = WRITES[kind]
    firewall_id = real.add(foreign(), allow(9))
    snapshot_write(real, firewall_id, changes)
    assert real.calls(firewall_id) == calls


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("fault", ["precondition", "locked", "conflict"])
def test_somebody_else_s_write_means_read_again(real: AzureGround, fault: str, kind: str) -> None:
    """412, 409 and the 429 that is a lock are one thing, and are tried once."""
    changes, calls = WRITES[kind]
    firewall_id = real.add(foreign(), allow(9))
    before = real.raw(firewall_id)
    snapshot = real.firewall.read(firewall_id)
    real.order(kind=fault, times=None)
    with pytest.raises(FirewallChangedError):
        real.firewall.write(snapshot, changes)
    assert real.calls(firewall_id) == calls
    assert real.raw(firewall_id) == before


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("by", ["network", "arm"])
def test_a_quota_says_when_to_come_back(real: AzureGround, by: str, kind: str) -> None:
    """The 429 that is a quota carries its seconds; nothing sleeps and nothing is tried again."""
    changes, calls = WRITES[kind]
    firewall_id = real.add(foreign(), allow(9))
    snapshot = real.firewall.read(firewall_id)
    real.order(kind="throttle", by=by, retryAfter=39, method="PUT|DELETE", times=None)
    with pytest.raises(ThrottledError) as caught:
        real.firewall.write(snapshot, changes)
    assert caught.value.retry_after == 39
    assert real.calls(firewall_id) == calls
    assert real.slept == []


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("status", [500, 503, 504])
def test_a_failed_write_is_tried_once(real: AzureGround, status: int, kind: str) -> None:
    """A 5xx is left to whoever converges: it may or may not have taken effect."""
    changes, calls = WRITES[kind]
    firewall_id = real.add(foreign(), allow(9))
    snapshot = real.firewall.read(firewall_id)
    real.order(kind="serverError", status=status, times=None)
    with pytest.raises(OutsideError):
        real.firewall.write(snapshot, changes)
    assert real.calls(firewall_id) == calls


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize(("fault", "lands"), [("dropBefore", False), ("dropAfter", True)])
def test_a_dropped_connection_is_no_answer(
    real: AzureGround, fault: str, lands: bool, kind: str
) -> None:
    """Whether the write landed is for the next read to say; it is sent once."""
    changes, calls = WRITES[kind]
    firewall_id = real.add(foreign(), allow(9))
    before = held(real, firewall_id)
    snapshot = real.firewall.read(firewall_id)
    real.order(kind=fault, times=None, method="PUT|DELETE")
    with pytest.raises(OutsideError):
        real.firewall.write(snapshot, changes)
    assert real.calls(firewall_id) == calls
    assert (held(real, firewall_id) != before) is lands


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("fault", ["supersede", "notTaken"])
def test_an_accepted_write_proves_nothing(real: AzureGround, fault: str, kind: str) -> None:
    """A write that was cancelled after its 201 shows in the next read, and only there."""
    changes, _ = WRITES[kind]
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


def test_a_bad_rule_that_nobody_names_is_found_by_child_writes(real: AzureGround) -> None:
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


# --- foreign rules -----------------------------------------------------------------------------


def raw_rule(name: str, priority: int, **properties: Any) -> Json:
    """Make a rule as ARM returns it; singular fields left out stay out."""
    given = {
        "protocol": "Tcp",
        "access": "Allow",
        "direction": "Inbound",
        "priority": priority,
        "sourcePortRange": "*",
        "destinationPortRange": "443",
        "sourceAddressPrefix": "*",
        "destinationAddressPrefix": "*",
        **properties,
    }
    held = {key: value for key, value in given.items() if value is not None}
    return {"name": name, "properties": held}


def _asg(name: str) -> Json:
    return {"id": f"{GROUP}/providers/Microsoft.Network/applicationSecurityGroups/{name}"}


STRANGERS = [
    raw_rule("bare", 100),
    raw_rule("last", 4096, access="Deny", protocol="*", destinationPortRange="*"),
    raw_rule("tag", 110, sourceAddressPrefix="AzureLoadBalancer"),
    raw_rule(
        "regional-tag", 111, sourceAddressPrefix="Storage.WestEurope", description="\u00fc <&>"
    ),
    raw_rule("virtual-network", 112, destinationAddressPrefix="VirtualNetwork", protocol="Icmp"),
    raw_rule("esp", 113, protocol="Esp", destinationPortRange="*"),
    raw_rule("ah", 114, protocol="Ah", destinationPortRange="*", description=""),
    raw_rule(
        "one-in-a-list",
        115,
        sourceAddressPrefix=None,
        sourceAddressPrefixes=["203.0.113.0/25"],
        destinationPortRange=None,
        destinationPortRanges=["22"],
    ),
    raw_rule(
        "many",
        116,
        protocol="Udp",
        sourceAddressPrefix=None,
        sourceAddressPrefixes=["10.0.0.0/8", "192.168.1.1", "203.0.113.7/32"],
        destinationAddressPrefix=None,
        destinationAddressPrefixes=["10.0.1.4", "10.0.1.5/32"],
        destinationPortRange=None,
        destinationPortRanges=["22", "80-90", "443"],
        sourcePortRange=None,
        sourcePortRanges=["1024-65535", "53"],
    ),
    raw_rule("six", 117, sourceAddressPrefix="2001:db8::/32", destinationAddressPrefix="fd00::4"),
    raw_rule("from-port", 118, sourcePortRange="53", protocol="Udp"),
    raw_rule(
        "application-groups",
        119,
        sourceAddressPrefix=None,
        destinationAddressPrefix=None,
        sourceApplicationSecurityGroups=[_asg("ops-asg")],
        destinationApplicationSecurityGroups=[_asg("web-asg")],
    ),
    raw_rule("outbound", 201, direction="Outbound", destinationAddressPrefix="Internet"),
    raw_rule("outbound-deny", 4096, direction="Outbound", access="Deny", protocol="*"),
    raw_rule(
        f"SecurityCenter-JITRule-1170687618-{HASH}", 120, description="ASC JIT Network Access"
    ),
    raw_rule(f"SecurityCenter-JITRule_-1105484_{HASH}", 4095, access="Deny"),
    raw_rule(f"SecurityCenter-JITRule-other1-{HASH}", 121),
    raw_rule(f"SecurityCenter-JITRule-test1-{HASH}x", 122),
    raw_rule(f"SecurityCenter-JITRule-test1_{HASH}", 123),
    raw_rule("test1", 124),
    raw_rule("with.dots_and-dashes_", 125),
]


def _foreign_part(group: Json) -> Json:
    """Return everything of a group but our rules."""
    part = copy.deepcopy(group)
    part["properties"]["securityRules"] = [
        rule for rule in _rules(part) if not NAMES.is_ours(rule["name"])
    ]
    return part


def _rules(group: Json) -> list[Json]:
    found: list[Json] = group["properties"]["securityRules"]
    return found


@pytest.mark.parametrize("whole", [True, False])
def test_foreign_rules_stay_whatever_they_look_like(real: AzureGround, whole: bool) -> None:
    """Opening, changing and closing leave every other rule, tag and property as it was."""
    real.whole = whole
    firewall_id = real.add_raw(
        STRANGERS,
        tags={"owner": "shop", "empty": "", "\u00fcmlaut": "\u00fc"},
        properties={"flushConnection": True},
    )
    before = _foreign_part(real.raw(firewall_id))
    later = allow(1, description="JIT access request request-1 until 2026-11-22T16:00:00Z")
    for wanted in ([deny()], [deny(), allow(1), allow(2)], [deny(), later, allow(3)], [later], []):
        while True:
            snapshot = real.firewall.read(firewall_id)
            changes = plan(snapshot.rules, wanted, NAMES, Band())
            if changes.is_empty:
                break
            real.firewall.write(snapshot, changes)
            assert _foreign_part(real.raw(firewall_id)) == before
        ours = {rule.name for rule in snapshot.rules if NAMES.is_ours(rule.name)}
        assert ours == {rule.name for rule in wanted}
    assert real.raw(firewall_id) == before


@pytest.mark.parametrize("name", ["legacy-nsg", "guarded-nsg", "asg-nsg", "edge-nsg", "data-nsg"])
def test_groups_of_the_estate_stay_as_they_were(real: AzureGround, name: str) -> None:
    """Attached groups with a history: rules put in one write and taken out in another."""
    firewall_id = f"{GROUPS}/{name}"
    before = real.raw(firewall_id)
    rules = (allow(1, 205), allow(2, 206), deny(2000))
    snapshot_write(real, firewall_id, Plan(put=rules))
    assert _foreign_part(real.raw(firewall_id)) == before
    assert len(_rules(real.raw(firewall_id))) == len(_rules(before)) + 3
    snapshot_write(real, firewall_id, Plan(remove=tuple(rule.name for rule in rules)))
    assert real.raw(firewall_id) == before


def _drop_first(body: Json) -> None:
    del _rules(body)[0]


def _renumber(body: Json) -> None:
    _rules(body)[0]["properties"]["priority"] = 101


def _open_up(body: Json) -> None:
    _rules(body)[0]["properties"]["sourceAddressPrefix"] = "*"


def _rename(body: Json) -> None:
    _rules(body)[0]["name"] += "-2"


def _forget_a_field(body: Json) -> None:
    del _rules(body)[0]["properties"]["description"]


def _add_a_stranger(body: Json) -> None:
    _rules(body).append(raw_rule("new", 4000))


def _drop_tags(body: Json) -> None:
    del body["tags"]


def _change_a_tag(body: Json) -> None:
    body["tags"]["owner"] = "us"


def _move(body: Json) -> None:
    body["location"] = "northeurope"


def _drop_a_property(body: Json) -> None:
    del body["properties"]["flushConnection"]


def _drop_everything(body: Json) -> None:
    _rules(body).clear()


@pytest.mark.parametrize(
    "mistake",
    [
        _drop_first,
        _renumber,
        _open_up,
        _rename,
        _forget_a_field,
        _add_a_stranger,
        _drop_tags,
        _change_a_tag,
        _move,
        _drop_a_property,
        _drop_everything,
    ],
)
def test_the_guard_sends_nothing_that_would_change_a_stranger(
    real: AzureGround, monkeypatch: pytest.MonkeyPatch, mistake: Callable[[Json], None]
) -> None:
    """Whatever goes wrong in making a whole write, the guard compares what would be sent."""
    right = nsg_rules.changed_group

    def wrong(before: Json, changes: Plan) -> Json:
        body = right(before, changes)
        mistake(body)
        return body

    monkeypatch.setattr(nsg, "changed_group", wrong)
    firewall_id = real.add_raw(
        [raw_rule("first", 300, description="not ours", sourceAddressPrefix="10.0.0.0/8")],
        tags={"owner": "shop"},
        properties={"flushConnection": True},
    )
    with pytest.raises(OutsideError, match="not sent"):
        snapshot_write(real, firewall_id, Plan(put=one_of_each()))
    assert real.calls(firewall_id) == []


# --- closing tries every door ------------------------------------------------------------------

LOCK: Json = {"kind": "scopeLocked", "times": None}
NO_WHOLE: Json = {"kind": "policyDenied", "times": None}
NO_RULE_PUT: Json = {"kind": "policyDenied", "path": "/securityRules/", "times": None}


def test_a_lock_on_deletes_is_passed_by_a_whole_write(real: AzureGround) -> None:
    """ScopeLocked stops a DELETE; the same rule goes with a whole PUT."""
    firewall_id = real.add(foreign(), allow(1))
    real.order(LOCK)
    snapshot_write(real, firewall_id, Plan(remove=(allow(1).name,)))
    assert held(real, firewall_id) == by_name(foreign())
    assert real.calls(firewall_id) == [("DELETE", "rule"), ("PUT", "group")]


PLANS = {
    "two to remove": Plan(remove=(allow(1).name, allow(2).name)),
    "one each way": Plan(put=(allow(3),), remove=(allow(1).name,)),
    "two to put": Plan(put=(allow(3), allow(4))),
}


@pytest.mark.parametrize("kind", PLANS)
def test_a_policy_against_whole_writes_is_passed_by_child_writes(
    real: AzureGround, kind: str
) -> None:
    """RequestDisallowedByPolicy on a whole PUT blames no rule: the first change goes alone."""
    firewall_id = real.add(foreign(), allow(1), allow(2))
    before = held(real, firewall_id)
    real.order(NO_WHOLE)
    snapshot_write(real, firewall_id, PLANS[kind])
    assert held(real, firewall_id) != before
    calls = real.calls(firewall_id)
    assert calls[0] == ("PUT", "group")
    assert [what for _, what in calls] == ["group", "rule"]


@pytest.mark.parametrize("whole", [True, False])
def test_a_rule_that_cannot_go_is_turned_into_a_deny(real: AzureGround, whole: bool) -> None:
    """With every removal refused, the rule stays where it is and lets nobody in; that is told."""
    real.whole = whole
    firewall_id = real.add(foreign(), allow(1), allow(2))
    before = _foreign_part(real.raw(firewall_id))
    real.order(LOCK, NO_WHOLE)
    with pytest.raises(FirewallRefusedError) as caught:
        snapshot_write(real, firewall_id, Plan(remove=(allow(1).name,)))
    assert (caught.value.rule_name, caught.value.code) == (allow(1).name, "ScopeLocked")
    now = held(real, firewall_id)
    assert now[allow(1).name].access is Access.DENY
    assert replace(now[allow(1).name], access=Access.ALLOW, description="") == replace(
        allow(1), description=""
    )
    assert now[allow(2).name] == allow(2)
    assert _foreign_part(real.raw(firewall_id)) == before


def test_a_rule_that_was_turned_into_a_deny_still_has_to_go(real: AzureGround) -> None:
    """It is refused again without another write; with the lock gone it goes."""
    firewall_id = real.add(allow(1))
    real.order(LOCK, NO_WHOLE)
    for _ in range(2):
        with pytest.raises(FirewallRefusedError):
            snapshot_write(real, firewall_id, Plan(remove=(allow(1).name,)))
    puts = [call for call in real.calls(firewall_id) if call == ("PUT", "rule")]
    assert len(puts) == 1
    real.order()
    snapshot_write(real, firewall_id, Plan(remove=(allow(1).name,)))
    assert held(real, firewall_id) == {}


def test_with_every_door_shut_the_rule_is_named(real: AzureGround) -> None:
    """Nothing helps: the refusal says which rule, and what each way was refused for."""
    firewall_id = real.add(foreign(), allow(1))
    before = real.raw(firewall_id)
    real.order(LOCK, NO_WHOLE, NO_RULE_PUT)
    with pytest.raises(FirewallRefusedError) as caught:
        snapshot_write(real, firewall_id, Plan(remove=(allow(1).name,)))
    assert caught.value.rule_name == allow(1).name
    assert [what for _, what in real.calls(firewall_id)] == ["rule", "group", "rule"]
    assert real.raw(firewall_id) == before


def test_a_standing_deny_that_cannot_go_is_left_alone(real: AzureGround) -> None:
    """It closes already; it is only told."""
    firewall_id = real.add(foreign(), deny())
    before = real.raw(firewall_id)
    real.order(LOCK, NO_WHOLE)
    with pytest.raises(FirewallRefusedError):
        snapshot_write(real, firewall_id, Plan(remove=(deny().name,)))
    assert real.raw(firewall_id) == before


def test_the_doors_are_for_closing_only(real: AzureGround) -> None:
    """A rule that may not be put is refused at once: opening tries no second way."""
    firewall_id = real.add(foreign())
    real.order({"kind": "linkedAuthorizationFailed", "times": None})
    with pytest.raises(FirewallRefusedError) as caught:
        snapshot_write(real, firewall_id, Plan(put=(allow(1),)))
    assert caught.value.code == "LinkedAuthorizationFailed"
    assert real.calls(firewall_id) == [("PUT", "rule")]
    # The service's sentence, once: a person reads it as the reason.
    assert str(caught.value).startswith("The client 'network'")
    assert "\n" not in str(caught.value)
