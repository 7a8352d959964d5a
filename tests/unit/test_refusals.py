"""Refusals that blame no change, plans without rows, and what a read does not prove."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.desired import AGREES, Change, Plan
from shared.domain.model import FirewallRows
from shared.firewalls.nsg.judgement import ways_in
from shared.ports import RefusedError, Row
from shared.use_cases.firewalls.confirm import Prover
from shared.use_cases.firewalls.failures import Failures
from shared.use_cases.firewalls.lanes import overdue_others
from shared.use_cases.firewalls.planning import Judged, _Judging, intents, key_of_intent
from shared.use_cases.firewalls.run import Run
from shared.use_cases.reports import dry_run
from tests.functions.web_app import MemoryInventory
from tests.samples import RULE
from tests.three_providers import NEIGHBOUR, SERIAL, SHARED, ThreeProviders
from tests.world import DB, NSG_SUBNET, WEB, World

NO_ROW = Row("firewall", "lease", {})


def run_of(world: World) -> Run:
    """Return a run on the subnet's group."""
    provider = world.services.firewalls.of(NSG_SUBNET)
    return Run(world.services, provider, NSG_SUBNET, NO_ROW, world.clock())


def plan_of(*names: str) -> Plan:
    """Return a plan that removes some rules."""
    return Plan(tuple(Change("remove", name, "") for name in names))


def test_a_plan_is_done_when_nothing_is_left_to_change_or_to_remember() -> None:
    """A plan with a change or a memory is not done."""
    assert Plan().is_done
    assert not plan_of("a").is_done
    assert not Plan(remember={"key": "memory"}).is_done


def test_a_refusal_that_blames_none_is_split_by_halves_until_one_is_left() -> None:
    """Each half is tried alone, a half that is refused is split again, and one is refused."""
    run, plan = run_of(World()), plan_of("a", "b", "c", "d")
    run._tried = plan
    run.note_refusal(RefusedError("no"))
    first = run.part_of(plan)
    assert [change.target for change in first.changes] == ["a", "b"]
    run._tried = first
    run.note_refusal(RefusedError("no"))
    (alone,) = run.part_of(plan).changes
    assert alone.target == "a"
    run._tried = plan_of("a")
    run.note_refusal(RefusedError("no"))
    assert set(run.refused) == {alone.id}
    rest = plan_of("b", "c", "d")
    assert [change.target for change in run.part_of(rest).changes] == ["b"]
    rest = plan_of("c", "d")
    assert run.part_of(rest) == rest
    assert run.part_of(plan_of("e")) == plan_of("e")
    run._tried = plan_of("a")
    with pytest.raises(RefusedError):
        run.note_refusal(RefusedError("no", {alone.id}))


def test_no_rows_can_always_be_planned() -> None:
    """Where a firewall has no rows, none is set aside."""
    world = World()
    observed = world.services.firewalls.of(NSG_SUBNET).read(NSG_SUBNET)
    judging = _Judging(world.services, observed, {}, world.clock())
    failures = Failures(world.services, NSG_SUBNET)
    assert judging.plannable(FirewallRows(), failures) == FirewallRows()
    assert not failures


def test_a_read_proves_nothing_of_an_expired_grant_or_a_block_without_finding() -> None:
    """A grant past its end is not confirmed as open, and a protection keeps what it says."""
    world = World()
    world.protect(DB)
    request = world.ask(DB, minutes=5)
    provider = world.services.firewalls.of(NSG_SUBNET)
    rows = world.services.rows.read(NSG_SUBNET)
    rows = replace(rows, grants=tuple(replace(g, proven=False) for g in rows.grants))
    assert rows.grants
    assert rows.protections
    wanted, _ = intents(provider, provider.read(NSG_SUBNET), rows, world.clock())
    found = {key_of_intent(grant): AGREES for grant in rows.grants}
    judged = Judged(rows, wanted, Plan(findings=found), Failures(world.services, NSG_SUBNET))
    before = world.services.rows.read(NSG_SUBNET)
    world.clock.advance(6 * 60)
    Prover(world.services, NSG_SUBNET, judged).prove()
    assert world.services.rows.read(NSG_SUBNET) == before
    assert world.request(request.id).ports[0].closing is None


def test_a_firewall_of_another_lane_is_served_by_its_own_holder() -> None:
    """Of the firewalls that are due, only those of the same lane are served."""
    world = ThreeProviders()
    world.serial.add("serial:elsewhere", tree="another")
    now = world.clock()
    for firewall in (NEIGHBOUR, "serial:elsewhere"):
        world.services.due.add(now - timedelta(minutes=2), "firewall", firewall, since=now)
    provider = world.services.firewalls.of(SERIAL)
    assert overdue_others(world.services, provider, SERIAL)[0] == [NEIGHBOUR]


def test_a_dry_run_reads_a_firewall_that_the_lists_do_not_hold() -> None:
    """The plan for a firewall of another provider is made from a read of its own."""
    world = ThreeProviders()
    policy = world.policy()
    without = replace(policy, vms=tuple(vm for vm in policy.vms if vm.id in {DB, WEB}))
    result = dry_run.dry_run_policy(
        world.services, MemoryInventory(world), without, keep_conditions=True
    )
    assert SHARED in {change.firewall_id for change in result.changes}


def test_a_skipped_rule_is_no_way_in() -> None:
    """The access that was requested does not count as a way in; later rules do."""
    rule = replace(RULE, sources=("*",), destinations=("*",), priority=200)
    found = ways_in((rule,), "10.0.0.4", 22, "tcp", lambda each: each is rule)
    assert [way.rule.name for way in found] == ["AllowVnetInBound"]
