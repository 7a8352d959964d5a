"""Groups that are full, and priorities that are taken: said plainly, and never in closing's way."""

from shared.domain.model import Status
from shared.firewalls.nsg.model import Access, SecurityRule, Snapshot
from shared.firewalls.nsg.rules import Plan
from shared.use_cases.reports.machines import Category
from shared.use_cases.reports.machines import report as machines_report
from tests.faults.simulated import SimulatedWorld, assert_over, inventory
from tests.world import BOB, DB, NSG_SUBNET

MOST = 1000


def strangers(
    count: int, start: int, access: Access = Access.DENY, port: str = "445"
) -> list[SecurityRule]:
    """Make rules of another writer's, one at each priority."""
    return [
        SecurityRule(f"theirs-{at}", access, "Tcp", ("*",), ("*",), (port,), priority=at)
        for at in range(start, start + count)
    ]


def test_a_group_that_is_full_refuses_one_more_and_closes_the_rest() -> None:
    """At 1,000 rules a new grant fails and says why, and not one of the other rules changes.

    An open grant is replaced by its owner's newer request, and closed on time.
    """
    world = SimulatedWorld(*strangers(MOST - 2, 1100))
    world.set(settle=0)
    world.protect(DB)
    first = world.ask(DB, minutes=5)
    assert len(world.raw(NSG_SUBNET)) == MOST
    refused = world.ask(DB, who=BOB)
    assert world.status(refused.id) is Status.FAILED
    assert world.why(refused.id) == "the network security group is full: it holds 1000 rules"
    world.clock.advance(1)
    newer = world.ask(DB, minutes=6)
    assert [world.status(each.id) for each in (first, newer)] == [Status.REVOKED, Status.INITIATED]
    world.clock.advance(6 * 60)
    world.sweep()
    assert_over(world)
    assert world.status(newer.id) is Status.REVOKED
    assert len(world.foreign(NSG_SUBNET)) == MOST - 2


def test_with_every_priority_taken_a_grant_fails_and_says_so() -> None:
    """From 200 to 999 there is no place: nothing is squeezed in elsewhere, no rule is moved."""
    world = SimulatedWorld(*strangers(800, 200))
    world.set(settle=0)
    foreign = world.foreign(NSG_SUBNET)
    world.protect(DB)
    request = world.ask(DB)
    assert world.status(request.id) is Status.FAILED
    assert world.why(request.id) == "no free priority from 200 to 999"
    assert_over(world)
    assert world.foreign(NSG_SUBNET) == foreign


def test_a_deny_that_has_no_place_fails_the_policy_and_says_so() -> None:
    """A foreign allow at the very last priority leaves no place after it: the policy says so."""
    last = strangers(1, 4096, Access.ALLOW, "22")
    world = SimulatedWorld(*last)
    world.protect(DB)
    assert "no free priority from 4097 to 4096" in world.policy().error
    assert not world.denies(NSG_SUBNET)
    reports = machines_report(world.services, inventory(), world.services.scopes).machines
    (found,) = [each for each in reports if each.machine.id == DB]
    assert found.category is Category.EXPOSED
    assert "theirs-4096" in found.reason
    assert "no free priority from 4097 to 4096" in found.reason


def test_a_priority_taken_between_read_and_write_means_another() -> None:
    """A colleague takes the very slot we chose, three times: we take the next, and theirs stand."""
    world = SimulatedWorld()
    world.protect()
    taken: list[int] = []

    def grab(snapshot: Snapshot, plan: Plan) -> None:
        if len(taken) < 3 and plan.put:
            taken.append(plan.put[0].priority)
            world.edit(snapshot.firewall_id, *strangers(1, plan.put[0].priority))

    world.before_write = grab
    request = world.ask(DB)
    assert world.status(request.id) is Status.INITIATED
    assert taken == [200, 201, 202]
    assert world.allows(NSG_SUBNET)[0].priority == 203
    assert len(world.foreign(NSG_SUBNET)) == 3


def test_a_deny_above_every_free_slot_fails_the_grant_and_is_named() -> None:
    """A quarantine stays a quarantine."""
    world = SimulatedWorld(*strangers(1, 150, port="*"))
    world.protect()
    request = world.ask(DB)
    assert world.status(request.id) is Status.FAILED
    assert "'theirs-150' (priority 150) denies this port" in world.why(request.id)
