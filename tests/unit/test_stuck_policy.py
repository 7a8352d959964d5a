"""A policy whose message was lost is applied all the same."""

from dataclasses import replace
from datetime import timedelta

from shared.domain.model import PolicyState
from shared.use_cases.policies import apply as protection
from tests.world import DB, NSG_NIC, NSG_SUBNET, WEB, World


def test_the_sweep_sends_the_message_of_a_stuck_policy_again() -> None:
    """A policy that is still Updating a minute after its PUT gets a new message."""
    world = World()
    policy = world.protect(WEB)
    protection.put_policy(world.services, replace(policy, vms=()))
    world.queues.waiting.clear()
    assert world.policy().state is PolicyState.UPDATING
    world.clock.advance(120)
    world.sweep()
    assert [(m.kind, m.subject) for m in world.queues.waiting] == [("policy", policy.id)]
    world.work()
    assert world.policy().state is PolicyState.SUCCEEDED


def test_a_vm_dropped_after_its_rows_were_lost_loses_its_deny() -> None:
    """An administrator removes rules without rows by dropping the VM from the policy."""
    world = World()
    policy = world.protect(WEB)
    world.tables.firewalls.rows.clear()
    world.protect(DB)
    assert world.policy().state is PolicyState.SUCCEEDED
    assert policy.vms != world.policy().vms
    assert not world.firewall.ours(NSG_NIC)


def test_a_removed_protection_is_left_as_it_is() -> None:
    """While another worker holds the lease, applying again writes no row of a removal again."""
    world = World()
    policy = world.protect(WEB)
    now = world.clock()
    for nsg in (NSG_NIC, NSG_SUBNET):
        assert world.services.rows.take_lease(nsg, "other", now, now + timedelta(seconds=30))
    protection.put_policy(world.services, replace(policy, vms=()))
    protection.apply_policy(world.services, policy.id)
    removed = world.services.rows.get_protection(NSG_NIC, policy.id, WEB)
    assert removed is not None
    assert removed.lifted
    protection.apply_policy(world.services, policy.id)
    assert world.services.rows.get_protection(NSG_NIC, policy.id, WEB) == removed
