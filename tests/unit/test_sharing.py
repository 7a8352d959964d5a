"""Denies of several VMs share a rule where few priorities are free behind a foreign allow."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.desired import Block, Desired, Plan, Verdict
from shared.domain.model import Attachment, Policy, PolicyState, PolicyVm, PortRule, Status
from shared.firewalls.nsg.model import SecurityRule, Snapshot
from shared.firewalls.nsg.plan import rule_plan
from shared.firewalls.nsg.provider import NsgProvider
from shared.firewalls.nsg.rules import in_order
from shared.firewalls.nsg.sharing import is_shared
from shared.use_cases.policies import apply
from shared.use_cases.reports.machines import Category
from shared.use_cases.reports.machines import report as machines_report
from shared.use_cases.timers import health
from tests.fakes import NAMES, MemoryFirewall, assert_legal
from tests.samples import allow
from tests.world import DB, NSG_SUBNET, POLICY, WEB, World, vm_id

WIDE = allow("wide", 4094, ports=("*",))
NO_DENY = "no free priority from"


def block(number: int, *ports: int, wanted: bool = True, memory: str = "") -> Block:
    """Return what one VM asks for; its address tells it apart."""
    vm = vm_id(f"vm-{number}")
    return Block(vm, vm, ports or (22,), (address(number),), wanted, memory=memory)


def address(number: int) -> str:
    """Return the address of a VM, with no other one beside it."""
    return f"10.0.{number}.4"


@dataclass
class Group:
    """A network security group that takes one change at a time, or all at once."""

    rules: list[SecurityRule]
    whole: bool = False
    blocks: dict[str, Block] = field(default_factory=dict)

    def want(self, *blocks: Block) -> Plan:
        """Converge to some blocks, each with the memory stored for it; return the last plan."""
        for each in blocks:
            held = self.blocks.get(each.key)
            self.blocks[each.key] = replace(each, memory=held.memory if held else each.memory)
        for _ in range(60):
            plan = self.plan()
            for key, memory in plan.remember.items():
                self.blocks[key] = replace(self.blocks[key], memory=memory)
            if not plan.changes:
                return plan if not plan.remember else self.plan()
            self._write(plan)
        raise AssertionError("the plan has no end")

    def drop(self, number: int) -> None:
        """Lose the row of a block."""
        del self.blocks[vm_id(f"vm-{number}")]

    def plan(self) -> Plan:
        """Plan what is wanted now."""
        made = MemoryFirewall()
        made.whole = self.whole
        snapshot = Snapshot(NSG_SUBNET, tuple(self.rules), "1")
        provider = NsgProvider(made, NAMES)
        return provider.plan(provider.observe(snapshot), Desired((), tuple(self.blocks.values())))

    def _write(self, plan: Plan) -> None:
        changes = in_order(rule_plan(plan), self.rules)
        before = self.closed()
        for change in changes if self.whole else changes[:1]:
            name = change if isinstance(change, str) else change.name
            self.rules = [rule for rule in self.rules if rule.name != name]
            self.rules += [] if isinstance(change, str) else [change]
        assert_legal(self.rules)
        assert self.still_wanted(before) <= self.closed()

    def still_wanted(self, closed: set[tuple[str, int]]) -> set[tuple[str, int]]:
        """Return those of some closed ports that a block still wants closed."""
        wanted = {
            (a, p) for b in self.blocks.values() if b.wanted for a in b.addresses for p in b.ports
        }
        return closed & wanted

    def closed(self) -> set[tuple[str, int]]:
        """Return the addresses and ports that a deny of ours stands for."""
        return {
            (each, int(port))
            for rule in self.ours()
            for each in rule.destinations
            for port in rule.ports
        }

    def ours(self) -> list[SecurityRule]:
        """Return our denies, the first first."""
        found = [rule for rule in self.rules if NAMES.is_ours(rule.name)]
        return sorted(found, key=lambda rule: rule.priority)


def verdicts(plan: Plan) -> set[Verdict]:
    """Return what became of the blocks."""
    return {finding.verdict for finding in plan.findings.values()}


@pytest.mark.parametrize("whole", [False, True])
def test_more_vms_than_free_priorities_are_all_closed(whole: bool) -> None:
    """Twenty VMs behind an allow that leaves two priorities free are closed by two rules."""
    group = Group([WIDE], whole)
    plan = group.want(*(block(number) for number in range(20)))
    assert verdicts(plan) == {Verdict.AGREES}
    assert group.closed() == {(address(number), 22) for number in range(20)}
    assert [rule.priority for rule in group.ours()] == [4095, 4096]
    assert {rule.ports for rule in group.ours()} == {("22",)}


def test_where_there_is_room_no_rule_is_shared() -> None:
    """With enough free priorities each VM has a rule of its own, as before."""
    group = Group([allow("x", 1500, ports=("*",))])
    group.want(*(block(number) for number in range(20)))
    assert [rule.destinations for rule in group.ours() if len(rule.destinations) > 1] == []
    assert not any(map(is_shared, group.ours()))


@pytest.mark.parametrize("whole", [False, True])
def test_a_place_is_freed_for_other_ports(whole: bool) -> None:
    """Two denies of the same ports move together, so that a third with other ports finds room."""
    group = Group([WIDE], whole)
    group.want(block(1), block(2))
    plan = group.want(block(3, 3389))
    assert verdicts(plan) == {Verdict.AGREES}
    assert group.closed() == {(address(1), 22), (address(2), 22), (address(3), 3389)}


def test_where_even_sharing_finds_no_room_the_block_is_impossible() -> None:
    """A third type of ports behind an allow that leaves two priorities is told, and why."""
    group = Group([WIDE])
    plan = group.want(block(1, 22), block(2, 3389), block(3, 5985))
    found = plan.finding(vm_id("vm-3"))
    assert found.verdict is Verdict.IMPOSSIBLE
    assert found.reason.startswith(f"{NO_DENY} 4095 to 4096")
    assert "share" in found.reason
    assert plan.finding(vm_id("vm-1")).agrees
    assert plan.finding(vm_id("vm-2")).agrees


def test_a_deny_shares_no_rule_before_an_allow_that_meets_it() -> None:
    """A rule that stands before the allow of one VM would not close that VM's port."""
    theirs = allow("theirs", 4096, destinations=(address(2),))
    group = Group([theirs])
    plan = group.want(block(1), block(2))
    assert group.ours()[0].destinations == (address(1),)
    assert plan.finding(vm_id("vm-2")).verdict is Verdict.IMPOSSIBLE


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("removed", [1, 2, 3, 4])
def test_a_removed_vm_leaves_the_rule_and_the_others_stay(removed: int, whole: bool) -> None:
    """Its block agrees once its address is gone, whichever VM the rule is named after."""
    group = Group([WIDE], whole)
    group.want(*(block(number) for number in range(1, 5)))
    plan = group.want(block(removed, wanted=False))
    assert verdicts(plan) == {Verdict.AGREES}
    others = {number for number in range(1, 5) if number != removed}
    assert group.closed() == {(address(number), 22) for number in others}
    group.drop(removed)
    assert not group.plan().changes
    assert not group.plan().strays
    back = group.want(block(removed))
    assert verdicts(back) == {Verdict.AGREES}
    assert group.closed() == {(address(number), 22) for number in range(1, 5)}


def test_the_last_removal_removes_every_shared_rule() -> None:
    """Nothing of ours is left, and nothing is a stray."""
    group = Group([WIDE])
    group.want(*(block(number) for number in range(1, 6)))
    for number in (1, 3, 5, 2, 4):
        group.want(block(number, wanted=False))
        group.drop(number)
    assert group.rules == [WIDE]


@pytest.mark.parametrize("lost", [(1,), (2,), (3, 4), (1, 2, 3, 4)])
def test_a_vm_whose_row_is_lost_stays_closed(lost: tuple[int, ...]) -> None:
    """A VM stays in its shared rule until its row is back, or an administrator removes it."""
    group = Group([WIDE])
    group.want(*(block(number) for number in range(1, 6)))
    for number in lost:
        group.drop(number)
    group.want()
    assert group.closed() == {(address(number), 22) for number in range(1, 6)}
    for number in lost:
        group.want(block(number))
    assert verdicts(group.plan()) == {Verdict.AGREES}
    for number in (*lost, *range(1, 6)):
        group.want(block(number, wanted=False))
    assert group.closed() == set()


def test_a_vm_that_changes_its_address_leaves_the_old_one() -> None:
    """The rule that it shares holds the new address and no other."""
    group = Group([WIDE])
    group.want(*(block(number) for number in range(1, 5)))
    group.want(replace(block(3), addresses=("10.0.99.4",)))
    expected = {address(1), address(2), address(4), "10.0.99.4"}
    assert group.closed() == {(each, 22) for each in expected}


def test_a_whole_class_changes_its_ports_together() -> None:
    """Where every VM of a rule gets the same new ports, the rule is edited in its place."""
    group = Group([WIDE], whole=True)
    group.want(*(block(number) for number in range(1, 5)))
    plan = group.want(*(block(number, 22, 3389) for number in range(1, 5)))
    assert verdicts(plan) == {Verdict.AGREES}
    assert {rule.ports for rule in group.ours()} == {("22", "3389")}


def test_a_policy_over_vms_that_share_a_rule_succeeds_and_is_removed() -> None:
    """With one free priority two VMs are closed by one rule, and opened one by one."""
    world = World(allow("wide", 4095, ports=("*",)))
    assert world.protect(WEB, DB).state is PolicyState.SUCCEEDED
    (rule,) = world.firewall.ours(NSG_SUBNET)
    assert (rule.priority, rule.destinations) == (4096, ("10.0.0.4", "10.0.0.5"))
    request = world.ask(DB, minutes=10)
    assert world.status(request.id) is Status.INITIATED
    world.pass_time(12)
    assert world.firewall.ours(NSG_SUBNET) == [rule]
    world.protect(DB)
    (left,) = world.firewall.ours(NSG_SUBNET)
    assert left.destinations == ("10.0.0.5",)
    apply.delete_policy(world.services, POLICY)
    world.work()
    assert world.firewall.ours(NSG_SUBNET) == []


def test_where_no_rule_can_be_shared_policy_machines_and_health_say_so() -> None:
    """With one free priority and two sets of ports, one VM stays open, which each of them tells."""
    world = World(allow("wide", 4095, ports=("*",)))
    vms = (PolicyVm(WEB, (PortRule(22, "TCP"),)), PolicyVm(DB, (PortRule(3389, "TCP"),)))
    world.machines.add(WEB, Attachment(NSG_SUBNET, ("10.0.0.4",)))
    apply.put_policy(world.services, Policy(POLICY, "westeurope", vms))
    world.work()
    world.sweep()
    policy = world.policy()
    assert policy.state is PolicyState.FAILED
    assert f"{NO_DENY} 4096 to 4096" in policy.error
    machines = machines_report(
        world.services, world.services.inventory, world.services.scopes
    ).machines
    found = {each.machine.id: each for each in machines}
    assert {each.category for each in found.values()} == {Category.EXPOSED}
    (problem,) = [w for w in health.report(world.services).warnings if NO_DENY in w]
    assert "policy has failed" in problem


EVENTS = st.lists(
    st.tuples(
        st.integers(1, 6),
        st.sampled_from(["wanted", "lifted", "gone"]),
        st.sampled_from([(22,), (3389,)]),
    ),
    max_size=12,
)


@given(EVENTS, st.integers(4092, 4095), st.booleans())
def test_whatever_comes_and_goes_wanted_ports_are_closed_or_told(
    events: Sequence[tuple[int, str, tuple[int, ...]]], last: int, whole: bool
) -> None:
    """After each event every block agrees or names its reason, and nothing else stays closed.

    No write between opens a port that is wanted closed: each is checked.
    """
    group = Group([allow("wide", last, ports=("*",))], whole)
    for number, what, ports in events:
        held = group.blocks.get(vm_id(f"vm-{number}"))
        if what == "gone":
            if held is not None and not held.wanted:
                group.drop(number)
            continue
        kept = held.ports if held is not None else ports
        plan = group.want(block(number, *kept, wanted=what == "wanted"))
        assert Verdict.PENDING not in verdicts(plan)
        agreeing = {
            (a, p)
            for key, b in group.blocks.items()
            if b.wanted and plan.finding(key).agrees
            for a in b.addresses
            for p in b.ports
        }
        assert group.closed() >= agreeing
        removed = {a for b in group.blocks.values() if not b.wanted for a in b.addresses}
        assert removed.isdisjoint(a for a, _ in group.closed())
        classes = {b.ports for b in group.blocks.values() if b.wanted}
        if len(classes) <= 4096 - last:
            assert Verdict.IMPOSSIBLE not in verdicts(plan)
