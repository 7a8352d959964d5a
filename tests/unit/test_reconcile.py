"""A reconcile reads lists, and what differs; its turns are fair, and it goes on where it stopped."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.ids import key_of
from shared.domain.model import Attachment, PolicyState
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.ports import Machine, OutsideError
from shared.store.policies import VmRow
from shared.use_cases.firewalls.converge import converge
from shared.use_cases.policies.apply import apply_policy, get_policy
from shared.use_cases.policies.findings import FindingType, read_findings
from shared.use_cases.timers import reconcile as timer
from shared.use_cases.timers.reconcile import POLICY_TIME, reconcile
from tests.estates import NSGS, Counted, estate
from tests.fakes import NAMES
from tests.world import DB, NSG_NIC, NSG_SUBNET, POLICY, WEB, World, vm_id


def test_what_did_not_change_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing that did not change is read, and the rows are read page by page."""
    world = World()
    estate(world, policies=10, vms=200, nsgs=40)
    counted = Counted(world, monkeypatch)
    assert reconcile(world.services) == 0
    assert world.services.inventory.reads == 1  # type: ignore[attr-defined]
    assert counted.calls["arm"] == 0
    assert counted.calls["tables"] <= 16
    assert world.firewall.writes == {}


def test_only_the_firewall_that_drifted_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """One edited rule among many groups costs the reads of that group."""
    world = World()
    estate(world, policies=4, vms=200, nsgs=40)
    nsg = f"{NSGS}/nsg-0007"
    deny = world.firewall.ours(nsg)[0]
    world.firewall.edit(nsg, replace(deny, ports=("3389",)))
    counted = Counted(world, monkeypatch)
    assert reconcile(world.services) == 0
    assert deny in world.firewall.ours(nsg)
    assert set(world.firewall.writes) == {key_of(nsg)}
    assert counted.calls["arm"] <= 3


def test_only_the_policy_of_a_machine_that_moved_is_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A VM with a new address is protected there; the other policies are left alone."""
    world = World()
    estate(world, policies=4, vms=40, nsgs=10)
    moved = vm_id("vm-00006")
    nsg = f"{NSGS}/nsg-0006"
    world.machines.add(moved, Attachment(nsg, ("10.9.9.9",)))
    applied: list[str] = []
    real = apply_policy

    def note(services: Any, policy_id: str) -> None:
        applied.append(policy_id)
        real(services, policy_id)

    monkeypatch.setattr(timer, "apply_policy", note)
    assert reconcile(world.services) == 0
    assert [each.rpartition("/")[2] for each in applied] == ["p002"]
    (deny,) = [rule for rule in world.firewall.ours(nsg) if rule.name == NAMES.deny(moved, 4)]
    assert deny.destinations == ("10.9.9.9",)
    assert reconcile(world.services) == 0
    assert len(applied) == 1


@pytest.mark.parametrize(
    "change",
    ["state", "row", "unlisted", "lifted", "unproven", "flush", "unruled", "ports"],
)
def test_whatever_a_policy_lacks_is_put_right(change: str) -> None:
    """Each way in which rows differ from what applying would store leads to applying."""
    world = World()
    world.protect()
    rows, policies = world.services.rows, world.services.policies
    protection = rows.get_protection(NSG_SUBNET, POLICY, DB)
    stored = policies.get(POLICY)
    row = policies.vm_row(POLICY, DB)
    assert protection is not None
    assert stored is not None
    assert row is not None
    if change == "state":
        policies.replace(stored, replace(stored.policy, state=PolicyState.UPDATING))
    elif change == "row":
        policies.delete_vm(row)
    elif change == "unlisted":
        policies.put_vm(VmRow(POLICY, vm_id("gone"), (NSG_SUBNET,)))
    elif change == "lifted":
        rows.put_protection(replace(protection, lifted=True, proven=False))
    elif change == "unproven":
        rows.put_protection(replace(protection, proven=False))
    elif change == "flush":
        conditions = replace(stored.policy.conditions, flush_connections=True)
        policies.replace(stored, replace(stored.policy, conditions=conditions))
    elif change == "unruled":
        rows.delete_protection(protection)
        world.firewall.edit(NSG_SUBNET, remove=[NAMES.deny(DB, 4)])
    else:
        rows.put_protection(replace(protection, ports=(22,)))
    assert reconcile(world.services) == 0
    world.work()
    after = rows.get_protection(NSG_SUBNET, POLICY, DB)
    assert after is not None
    assert (after.ports, after.lifted, after.proven) == ((22, 3389), False, True)
    assert after.flush_connections == (change == "flush")
    assert get_policy(world.services, POLICY).state is PolicyState.SUCCEEDED
    assert [each.vm_id for each in policies.vm_rows(POLICY)].count(DB) == 1
    assert len(policies.vm_rows(POLICY)) == 2
    assert NAMES.deny(DB, 4) in world.firewall.rules(NSG_SUBNET)


def test_a_machine_that_is_gone_fails_its_policy_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is enough to know that nothing has changed since."""
    world = World()
    world.protect()
    del world.machines.machines[key_of(DB)]
    reconcile(world.services)
    world.work()
    assert get_policy(world.services, POLICY).error == "db: the VM does not exist"
    counted = Counted(world, monkeypatch)
    assert reconcile(world.services) == 0
    assert counted.calls["arm"] == 0


def test_a_machine_out_of_scope_is_read_by_itself() -> None:
    """A VM that no list would show is not called gone."""
    world = World()
    world.protect()
    world.services = replace(world.services, scopes=("/subscriptions/22222222-2222",))
    found: list[str] = []
    find = world.machines.find

    def note(vm_id: str) -> Machine | None:
        found.append(vm_id)
        return find(vm_id)

    world.machines.find = note  # type: ignore[method-assign]
    assert reconcile(world.services) == 0
    assert set(found) == {WEB, DB}


def test_a_busy_firewall_is_looked_at_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list's view of a firewall in a write proves nothing."""
    world = World()
    world.protect()
    world.services.inventory.unsettled = frozenset({key_of(NSG_NIC)})  # type: ignore[attr-defined]
    counted = Counted(world, monkeypatch)
    assert reconcile(world.services) == 0
    assert counted.calls["arm"] >= 1
    world.services.inventory.unsettled = frozenset()  # type: ignore[attr-defined]
    counted.calls.clear()
    assert reconcile(world.services) == 0
    assert counted.calls["arm"] == 0


def test_a_comparison_that_fails_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The subject is read by itself, and the fault is reported."""
    world = World()
    world.protect()

    def fail(*_given: object) -> bool:
        raise ValueError("odd")

    monkeypatch.setattr(timer, "is_applied", fail)
    monkeypatch.setattr(timer, "is_converged", fail)
    counted = Counted(world, monkeypatch)
    assert reconcile(world.services) == 0
    assert counted.calls["arm"] > 0
    assert "jit.reconcile.uncompared" in [name for name, _ in world.telemetry.faults]


def test_without_lists_rules_of_ours_are_still_found() -> None:
    """A subscription that cannot be listed keeps no orphan open."""
    world = World()
    world.protect()
    orphan = SecurityRule(
        NAMES.allow("gone", WEB, 22, 4), Access.ALLOW, "Tcp", ("*",), ("10.0.0.4",), ("22",), priority=200
    )  # fmt: skip
    world.firewall.edit(NSG_NIC, orphan)

    def fail(_places: object) -> None:
        raise OutsideError("away")

    world.services.inventory.read = fail  # type: ignore[method-assign, assignment]
    assert reconcile(world.services) == 1
    assert orphan.name not in world.firewall.rules(NSG_NIC)


def test_each_scope_of_a_subscription_that_cannot_be_listed_is_looked_through() -> None:
    """The scopes of another subscription are left to that one."""
    world = World()
    world.protect()
    other = "/subscriptions/22222222-2222-4222-8222-222222222222"
    world.services = replace(world.services, scopes=(other, *world.services.scopes))
    asked: list[str] = []

    def fail(_places: object) -> None:
        raise OutsideError("away")

    def list_ours(scopes: Sequence[str]) -> list[str]:
        asked.extend(scopes)
        return []

    world.services.inventory.read = fail  # type: ignore[method-assign, assignment]
    world.firewall.list_with_our_rules = list_ours  # type: ignore[method-assign]
    assert reconcile(world.services) == 2
    assert sorted(asked) == sorted(world.services.scopes)


def test_open_grants_are_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A firewall on which access is open is judged from the list, and not read."""
    world = World()
    world.protect()
    world.ask(minutes=30)
    counted = Counted(world, monkeypatch)
    assert reconcile(world.services) == 0
    assert counted.calls["arm"] == 0
    assert world.telemetry.named("jit.reconcile.completed")[-1]["grants"] == 2


# --- exposure ----------------------------------------------------------------------------------


def test_an_opening_is_noted_and_taken_back_from_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """A foreign rule above our denies is a finding; without it the finding goes."""
    world = World()
    world.protect()
    theirs = SecurityRule(
        "open", Access.ALLOW, "Tcp", ("*",), ("*",), ("22",), priority=150
    )  # fmt: skip
    world.firewall.edit(NSG_SUBNET, theirs)
    counted = Counted(world, monkeypatch)
    assert reconcile(world.services) == 0
    assert counted.calls["arm"] == 0
    assert [each.policy_id for each in read_findings(world.services, FindingType.EXPOSED)] == [
        POLICY
    ]
    writes = counted.calls["tables"]
    assert reconcile(world.services) == 0
    assert counted.calls["tables"] - writes <= writes
    world.protect()  # applied anew, it finds the same and stores nothing
    assert [each.policy_id for each in read_findings(world.services, FindingType.EXPOSED)] == [
        POLICY
    ]
    world.firewall.edit(NSG_SUBNET, remove=["open"])
    assert reconcile(world.services) == 0
    assert read_findings(world.services, FindingType.EXPOSED) == []


# --- turns -------------------------------------------------------------------------------------


def turns(world: World, monkeypatch: pytest.MonkeyPatch, *, dies_at: str = "") -> list[str]:
    """Let every policy differ and take two minutes to apply; note the order. One may die."""
    applied: list[str] = []

    def slow(_services: object, policy_id: str) -> None:
        name = policy_id.rpartition("/")[2]
        applied.append(name)
        if name == dies_at:
            raise KeyboardInterrupt
        world.clock.advance(120)

    monkeypatch.setattr(timer, "is_applied", lambda *_given: False)
    monkeypatch.setattr(timer, "apply_policy", slow)
    return applied


def test_policies_take_turns_over_several_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run ends in time, notes where it stopped, sends messages for the rest, and goes on there."""
    world = World()
    estate(world, policies=5, vms=10, nsgs=5)
    late = f"{NSGS}/nsg-0004"
    world.firewall.edit(late, remove=list(world.firewall.rules(late)))  # behind p004 alone
    applied = turns(world, monkeypatch)
    started = world.clock()
    assert reconcile(world.services) == 0
    assert world.clock() - started <= POLICY_TIME + timedelta(minutes=2)
    assert applied == ["p000", "p001"]
    left = [each.subject.rpartition("/")[2] for each in world.queues.waiting]
    assert left == ["p002", "p003", "p004"]
    assert world.telemetry.named("jit.reconcile.completed")[-1]["left"] == 3
    reconcile(world.services)
    reconcile(world.services)
    assert applied == ["p000", "p001", "p002", "p003", "p004", "p000"]


def test_a_policy_that_ends_the_run_is_the_last_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run killed by the platform at one policy does not stop at it again before the others."""
    world = World()
    estate(world, policies=3, vms=6, nsgs=3)
    applied = turns(world, monkeypatch, dies_at="p001")
    with pytest.raises(KeyboardInterrupt):
        reconcile(world.services)
    assert applied == ["p000", "p001"]
    reconcile(world.services)
    assert applied == ["p000", "p001", "p002", "p000"]


def test_orphans_and_retention_do_not_wait_for_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first policy is applied, what is open without a row is closed."""
    world = World()
    estate(world, policies=2, vms=4, nsgs=2)
    orphan = SecurityRule(
        NAMES.allow("gone", WEB, 22, 4), Access.ALLOW, "Tcp", ("*",), ("10.0.0.4",), ("22",), priority=200
    )  # fmt: skip
    world.firewall.edit(NSG_NIC, orphan)
    turns(world, monkeypatch, dies_at="p000")
    purged: list[bool] = []
    monkeypatch.setattr(timer, "purge_old", lambda _services: purged.append(True))
    with pytest.raises(KeyboardInterrupt):
        reconcile(world.services)
    assert orphan.name not in world.firewall.rules(NSG_NIC)
    assert purged == [True]


def test_firewalls_a_run_has_no_time_for_get_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is converged by its message."""
    world = World()
    estate(world, policies=1, vms=4, nsgs=4)
    for number in range(4):
        nsg = f"{NSGS}/nsg-000{number}"
        world.firewall.edit(nsg, remove=list(world.firewall.rules(nsg)))
    real = converge

    def slow(*args: Any, **named: Any) -> Any:
        world.clock.advance(timer.FIREWALL_TIME.total_seconds())
        return real(*args, **named)

    monkeypatch.setattr(timer, "converge", slow)
    reconcile(world.services)
    assert [each.kind for each in world.queues.waiting] == ["firewall"] * 3
    world.work()
    for number in range(4):
        assert world.firewall.ours(f"{NSGS}/nsg-000{number}", Access.DENY)
