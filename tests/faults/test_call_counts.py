"""The cost of openings, closes and one sweep: reads of ARM, and calls of tables."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.domain.model import Status
from shared.domain.policy import Asked, AskedPort
from shared.store.index import INDEX
from shared.store.live import LIVE
from shared.use_cases.requests.submit import PolicyRequest, request_access
from shared.use_cases.timers.reconcile import reconcile
from tests.counting import CountedWorld
from tests.faults.simulated import NETWORK, VNET
from tests.world import ALICE, DB, NSG_SUBNET, WEB

SETTLE_SECONDS = 2.0


def protected_world() -> CountedWorld:
    """Return a world whose policy was applied, with nothing due."""
    world = CountedWorld(SETTLE_SECONDS)
    world.protect(WEB, DB)
    world.pass_time(2)
    return world


def open_one(world: CountedWorld, vm: str) -> str:
    """Open one port, counting from the message that leads to it; return the request's id."""
    request = world.ask(vm, work=False)
    world.start_counting()
    world.deliver(world.queues.visible()[0])
    return request.id


def close_one(world: CountedWorld) -> None:
    """Let the end come and hand out the first message of it, counting from there."""
    message = min(
        (each for each in world.queues.waiting if each.kind == "firewall"),
        key=lambda each: each.visible_at,
    )
    world.clock.now = max(world.clock.now, message.visible_at)
    world.start_counting()
    world.deliver(message)


@pytest.mark.parametrize(("vm", "most"), [(DB, 5), (WEB, 8)], ids=["subnet", "nic and subnet"])
def test_an_opening_reads_little(vm: str, most: int) -> None:
    """An opening reads the VM, its interface and subnet, and each firewall before and after."""
    world = protected_world()
    request_id = open_one(world, vm)
    assert world.status(request_id) is Status.INITIATED
    assert world.is_open(vm)
    assert world.reads <= most


def test_an_opening_soon_after_another_reads_the_firewall_once_more() -> None:
    """Within 30 s it may be one of a batch, and plans from a read of its own, as in the bench."""
    reads = []
    for seconds in (60, 1):
        world = protected_world()
        open_one(world, DB)
        world.clock.advance(seconds)
        second = world.ask(DB, 3389, work=False)
        world.start_counting()
        world.deliver(next(each for each in world.queues.visible() if each.kind == "request"))
        assert world.status(second.id) is Status.INITIATED
        reads.append(world.reads)
    single, soon = reads
    assert soon == single + 1


def test_a_close_reads_twice_and_the_sweep_after_it_not_at_all() -> None:
    """A close reads the firewall before its write and after it; no sweep reads it once more."""
    world = protected_world()
    request_id = open_one(world, DB)
    close_one(world)
    assert world.status(request_id) is Status.REVOKED
    assert not world.is_open(DB)
    assert world.reads <= 2
    assert world.table_calls <= 14  # one of them is the test's own
    assert world.calls.chain <= 14
    world.clock.advance(20)
    world.start_counting()
    assert world.sweep() == 0
    assert world.reads == 0


def test_a_grant_is_read_again_after_its_grace() -> None:
    """A write that lands late is found: the sweep reads once more before it deletes the grant."""
    world = protected_world()
    open_one(world, DB)
    close_one(world)
    world.start_counting()
    world.pass_time(17)
    assert world.reads >= 1
    assert not world.services.rows.read(NSG_SUBNET).grants


def test_a_sweep_reads_where_a_row_was_lost() -> None:
    """A rule whose grant was lost goes at its end, though another grant was closed before."""
    world = protected_world()
    open_one(world, DB)
    close_one(world)
    world.clock.advance(60)
    request = world.ask(DB, minutes=5)
    grants = [key for key in world.tables.firewalls.rows if request.id in key[1]]
    assert len(grants) == 1
    del world.tables.firewalls.rows[grants[0]]
    world.queues.waiting.clear()
    world.clock.advance(301)
    assert world.is_open(DB)
    world.sweep()
    assert not world.is_open(DB)


def test_a_load_balancer_that_came_later_is_found_by_reconcile() -> None:
    """Reconcile lists load balancers, and notes a doubt with the VM that openings then heed."""
    world = protected_world()
    balancer = f"{NETWORK}/loadBalancers/lb"
    member = {"properties": {"ipAddress": "10.0.0.5", "virtualNetwork": {"id": VNET}}}
    pool = {"id": f"{balancer}/backendAddressPools/p", "name": "p"}
    rule = {
        "id": f"{balancer}/loadBalancingRules/sql",
        "name": "sql",
        "properties": {"enableFloatingIP": True, "backendAddressPool": {"id": pool["id"]}},
    }
    pools = [{**pool, "properties": {"loadBalancerBackendAddresses": [member]}}]
    properties = {"loadBalancingRules": [rule], "backendAddressPools": pools}
    world.place({"id": balancer, "location": "westeurope", "properties": properties})
    reconcile(world.services)
    world.work()
    request = world.ask(DB)
    assert world.status(request.id) is Status.FAILED
    assert "has a floating IP" in world.why(request.id)


def test_a_vm_that_the_version_before_noted_is_listed_once() -> None:
    """Without a note the first opening lists, and notes that it found nothing."""
    world = protected_world()
    policies = world.services.policies
    for row in policies.vm_rows(world.policy().id):
        policies.put_vm(type(row)(row.policy_id, row.vm_id, row.firewalls))
    open_one(world, DB)
    assert any("loadBalancers" in call for call in world.arm_calls())
    world.pass_time(30)
    open_one(world, DB)
    assert not any("loadBalancers" in call for call in world.arm_calls())


@pytest.mark.parametrize("callers", [100, 20])
def test_a_hundred_closes_at_once_share_their_table_calls(callers: int) -> None:
    """Grants that end together are closed by few transactions, however many callers have them."""
    world = protected_world()
    end = world.clock() + timedelta(minutes=30)
    requests = [
        ask_until(world, end, number, f"caller {number % callers}") for number in range(100)
    ]
    world.pass_time(2)
    assert {world.status(each) for each in requests} == {Status.INITIATED}
    world.clock.now = end - timedelta(seconds=1)
    world.start_counting()
    for message in [each for each in world.queues.waiting if each.kind == "firewall"]:
        world.deliver(message)
    assert world.table_calls <= 1.5 * len(requests)
    assert world.calls.of("requests", "activity") <= 10
    assert {world.status(each) for each in requests} == {Status.REVOKED}
    assert not world.is_open(DB)
    world.pass_time(3)
    left = [row for row in world.tables.requests.rows if row[0].startswith(LIVE)]
    assert not [partition for partition, _ in left if not partition.startswith(INDEX)]


def ask_until(world: CountedWorld, end: datetime, number: int, caller: str) -> str:
    """Ask for a port until an end, from an address of the caller's own; return the id."""
    source = f"203.0.113.{number + 1}"
    asked = AskedPort("ports[0]", DB, 22, (source,), end_at=end)
    who = replace(ALICE, object_id=caller)
    new = PolicyRequest(world.policy(), Asked((asked,), "because", source), who)
    return request_access(world.services, new).id


@pytest.mark.parametrize("vm", [DB, WEB])
def test_initiate_waits_for_eight_calls_in_a_row(vm: str) -> None:
    """Independent reads and writes run side by side, the limits included."""
    world = protected_world()
    world.start_counting()
    world.ask(vm, work=False)
    world.calls.chain -= 1  # the test's own read of the request
    assert world.calls.chain <= 8


@pytest.mark.parametrize(
    ("vm", "most", "chain"), [(DB, 14, 18), (WEB, 20, 22)], ids=["subnet", "nic and subnet"]
)
def test_an_opening_reads_no_request_or_policy_twice_in_a_round(
    vm: str, most: int, chain: int
) -> None:
    """The policy is read once, and a request that was read is changed as it was read."""
    world = protected_world()
    open_one(world, vm)
    assert world.table_calls <= most
    assert world.chain_with_arm <= chain
    assert sum("policies: get" in call and "policy|" in call for call in world.calls.log) == 1
