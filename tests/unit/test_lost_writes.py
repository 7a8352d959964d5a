"""A write that another writer came before: tried again, left to who was quicker, or told."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.model import GRACE, Policy, PolicyState, PolicyVm, PortRule, Status
from shared.domain.request import change_ports
from shared.firewalls.nsg.model import Access
from shared.ports import Machine, RowChangedError
from shared.use_cases.firewalls.converge import Outcome, converge
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import decide as approval
from tests.fakes import START
from tests.unit.racing import EACH_TIME, overtake
from tests.world import ALICE, BOB, DB, NSG_NIC, NSG_SUBNET, POLICY, WEB, World

RULES = (PortRule(22, "TCP"),)


@pytest.fixture
def world() -> World:
    """Protect both VMs."""
    made = World()
    made.protect()
    return made


# --- policies ------------------------------------------------------------------------------------


def test_the_newest_put_of_a_policy_counts(world: World) -> None:
    """Written over what came in between, in a single call."""
    lost = overtake(world.tables.policies, "policy|")
    world.protect(WEB, ports=(22,))
    assert lost() == 1
    assert world.policy().vms == (PolicyVm(WEB, RULES),)
    assert world.policy().state is PolicyState.SUCCEEDED


def test_a_deleted_policy_is_deleted_though_another_writer_changed_it(world: World) -> None:
    """Its deny rules go."""
    lost = overtake(world.tables.policies, "policy|")
    assert protection.delete_policy(world.services, POLICY)
    world.work()
    assert lost() == 1
    assert world.services.policies.get(POLICY) is None
    assert not world.firewall.ours(NSG_SUBNET)


def test_a_policy_that_others_keep_changing_is_told(world: World) -> None:
    """The caller that puts or deletes it gets an error; no message was sent."""
    before = world.policy()
    overtake(world.tables.policies, "policy|", EACH_TIME)
    with pytest.raises(RowChangedError, match="being changed by others"):
        protection.put_policy(world.services, replace(before, vms=()))
    with pytest.raises(RowChangedError, match="being changed by others"):
        protection.delete_policy(world.services, POLICY)
    assert world.policy() == before
    assert not world.queues.waiting


def test_a_policy_put_while_it_is_applied_is_applied_anew(world: World) -> None:
    """The same worker removes the protections of an older list."""
    newer = Policy(POLICY, "westeurope", (PolicyVm(DB, RULES),))
    find, puts = world.machines.find, [newer]

    def put_meanwhile(vm_id: str) -> Machine | None:
        if puts:
            protection.put_policy(world.services, puts.pop())
        return find(vm_id)

    world.machines.find = put_meanwhile  # type: ignore[method-assign]
    protection.apply_policy(world.services, POLICY)
    assert world.policy().vms == newer.vms
    assert not world.firewall.ours(NSG_NIC)
    assert [rule.ports for rule in world.firewall.ours(NSG_SUBNET)] == [("22",)]


def test_a_policy_that_never_stands_still_is_left_to_the_next_message(world: World) -> None:
    """The worker gives up after a while, and the policy is applied once it does stand still."""
    find = world.machines.find

    def touch(vm_id: str) -> Machine | None:
        policies = world.services.policies
        held = policies.get(POLICY)
        assert held is not None
        policies.replace(held, held.policy)
        return find(vm_id)

    protection.put_policy(world.services, Policy(POLICY, "westeurope", (PolicyVm(WEB, RULES),)))
    world.machines.find = touch  # type: ignore[method-assign]
    world.work()
    assert world.policy().state is PolicyState.UPDATING
    world.machines.find = find  # type: ignore[method-assign]
    world.clock.advance(2)
    world.work()
    assert world.policy().state is PolicyState.SUCCEEDED


def test_what_was_applied_is_concluded_though_another_writer_changed_the_policy(
    world: World,
) -> None:
    """A policy written between its last rule and its state is applied once more."""
    policy = replace(world.policy(), vms=(PolicyVm(DB, RULES),))
    protection.put_policy(world.services, policy)
    lost = overtake(world.tables.policies, "policy|")
    world.work()
    assert world.policy().state is PolicyState.UPDATING
    world.clock.advance(2)
    world.work()
    assert (lost(), world.policy().state) == (1, PolicyState.SUCCEEDED)


def test_a_vm_s_row_that_changed_is_tidied_by_the_next_pass(world: World) -> None:
    """An access noted just then neither drops a firewall nor keeps it for ever."""
    lost = overtake(world.tables.policies, "vm|", before="delete")
    world.protect(DB)
    assert lost() == 1
    assert world.services.policies.vm_row(POLICY, WEB) is not None
    protection.apply_policy(world.services, POLICY)
    assert world.services.policies.vm_row(POLICY, WEB) is None


def test_a_failure_to_apply_says_nothing_about_a_newer_put(world: World) -> None:
    """The newer one has its own outcome."""
    protection.put_policy(world.services, world.policy())
    lost = overtake(world.tables.policies, "policy|")
    protection.fail_policy(world.services, POLICY, "too late")
    assert (lost(), world.policy().error) == (1, "")
    assert world.policy().state is PolicyState.UPDATING


# --- protections ---------------------------------------------------------------------------------


def test_a_protection_is_removed_though_another_worker_settled_it(world: World) -> None:
    """The VM that was taken off the list has no deny any more."""
    lost = overtake(world.tables.firewalls, "protection|")
    world.protect(DB)
    assert lost() == 1
    assert not world.firewall.ours(NSG_NIC)
    assert len(world.firewall.ours(NSG_SUBNET)) == 1


def test_a_protection_that_cannot_be_removed_is_no_success(world: World) -> None:
    """The message comes back until it is, and the other VMs of the policy wait for nothing."""
    overtake(world.tables.firewalls, "protection|", EACH_TIME)
    protection.put_policy(world.services, Policy(POLICY, "westeurope", (PolicyVm(DB, RULES),)))
    with pytest.raises(RowChangedError, match="keeps changing"):
        protection.apply_policy(world.services, POLICY)
    assert world.policy().state is PolicyState.UPDATING
    assert ("22",) in [rule.ports for rule in world.firewall.ours(NSG_SUBNET)]
    del world.tables.firewalls.replace
    world.pass_time(1)
    assert not world.firewall.ours(NSG_NIC)
    assert world.policy().state is PolicyState.SUCCEEDED


def test_a_firewall_that_is_never_settled_is_left_to_the_next_message() -> None:
    """A policy whose protection rows keep changing stays Updating until the next message."""
    world = World()
    overtake(world.tables.firewalls, "protection|", EACH_TIME)
    protection.put_policy(world.services, Policy(POLICY, "westeurope", (PolicyVm(DB, RULES),)))
    protection.apply_policy(world.services, POLICY)
    assert world.firewall.ours(NSG_SUBNET, Access.DENY)
    assert world.policy().state is PolicyState.UPDATING
    assert {(each.kind, each.subject) for each in world.queues.waiting} >= {
        ("firewall", NSG_SUBNET),
        ("policy", POLICY),
    }
    del world.tables.firewalls.replace
    world.pass_time(1)
    assert world.policy().state is PolicyState.SUCCEEDED


# --- requests and grants -------------------------------------------------------------------------


def test_a_request_that_others_keep_changing_is_told(world: World) -> None:
    """No step is reported as done that was not written."""
    request = world.ask()
    overtake(world.tables.requests, request.id.partition("-")[2], EACH_TIME)
    with pytest.raises(RowChangedError, match="changed 50 times"):
        approval.revoke(world.services, request.id, approval.Caller(ALICE))
    assert world.status(request.id) is Status.INITIATED


def test_a_later_end_reaches_a_grant_that_another_worker_settled_meanwhile(world: World) -> None:
    """A sync lost its write: the next one copies the end, and the rule's text follows."""
    request = world.ask(DB, minutes=10)
    later = START + timedelta(minutes=40)
    world.services.requests.change(
        request.id, lambda held: change_ports(held, lambda port: replace(port, end_at=later))
    )
    world.clock.advance(10 * 60)
    lost = overtake(world.tables.firewalls, "grant|")
    converge(world.services, NSG_SUBNET)
    converge(world.services, NSG_SUBNET)
    assert lost() == 1
    assert "until 2026-11-22T14:40:00Z" in str(world.firewall.ours(NSG_SUBNET, Access.ALLOW))
    assert world.status(request.id) is Status.INITIATED


def test_a_copied_end_that_was_overtaken_is_aligned_at_the_next_look(world: World) -> None:
    """An extension answers though its grant changed just then; the old end closes nothing."""
    request = world.ask(DB, minutes=10)
    lost = overtake(world.tables.firewalls, "grant|")
    approval.extend_access(
        world.services, request.id, approval.Caller(ALICE), duration=timedelta(minutes=30)
    )
    world.pass_time(11)
    assert lost() == 1
    assert world.status(request.id) is Status.INITIATED
    world.pass_time(20)
    assert world.status(request.id) is Status.REVOKED


def test_a_sealed_grant_that_changed_is_purged_by_a_later_sweep(world: World) -> None:
    """A delete that lost stops no other, and nothing is kept for ever."""
    world.ask(DB, minutes=5)
    world.ask(DB, minutes=5, who=BOB)
    lost = overtake(world.tables.firewalls, "grant|", before="delete")
    world.pass_time(5 + GRACE.total_seconds() / 60 + 3)
    assert lost() == 1
    assert not world.services.rows.read(NSG_SUBNET).grants
    assert not world.tables.due.rows


def test_what_was_noted_again_meanwhile_stays_due(world: World) -> None:
    """The same due row, written by another worker while the sweep looked, is looked at again."""
    now = world.clock()
    world.services.due.add(now, "firewall", NSG_NIC, since=now)
    (due,) = [
        each for each in world.services.due.until(now + timedelta(seconds=1)) if each.at == now
    ]
    world.services.due.add(now, "firewall", NSG_NIC, since=now)
    world.services.due.remove(due)
    still = world.services.due.until(now + timedelta(seconds=1))
    assert [each.subject for each in still if each.at == now] == [NSG_NIC]


def test_of_two_who_find_a_lease_over_one_gets_it(world: World) -> None:
    """The other leaves, and the firewall is converged by who was quicker."""
    now = world.clock()
    quicker = {"owner": "quicker", "until": "2026-11-22T14:00:30.000Z"}
    lost = overtake(world.tables.firewalls, "lease", by=lambda row: replace(row, values=quicker))
    assert converge(world.services, NSG_NIC) is Outcome.BUSY
    assert lost() == 1
    assert world.services.rows.take_lease(NSG_NIC, "third", now, now) is None


def test_a_last_access_that_was_overtaken_stops_no_opening(world: World) -> None:
    """It is for people to read, and the next one is noted again."""
    lost = overtake(world.tables.policies, "vm|")
    first = world.ask(DB)
    assert (lost(), world.status(first.id)) == (1, Status.INITIATED)
    row = world.services.policies.vm_row(POLICY, DB)
    assert row is not None
    assert row.last_access_at is None
    world.clock.advance(60)
    second = world.ask(DB, who=BOB)
    row = world.services.policies.vm_row(POLICY, DB)
    assert row is not None
    assert (row.last_access_at, row.last_requestor) == (second.requested_at, BOB.name)
