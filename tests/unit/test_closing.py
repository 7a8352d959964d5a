"""Closing: what ends a grant, what a firewall may answer, and what is believed."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.desired import AGREES, desired
from shared.domain.desired import Plan as Planned
from shared.domain.model import LONGEST_GRANT, AccessRequest, Attachment, PolicyState, Status
from shared.domain.policy import Asked, AskedPort
from shared.domain.request import change_ports
from shared.firewalls.nsg.model import Access, Snapshot
from shared.firewalls.nsg.rules import Plan
from shared.ports import (
    FirewallRefusedError,
    Machine,
    OutsideError,
    Row,
    RowChangedError,
    ThrottledError,
)
from shared.use_cases.firewalls.confirm import Prover
from shared.use_cases.firewalls.converge import converge
from shared.use_cases.firewalls.failures import Failures
from shared.use_cases.firewalls.planning import Judged
from shared.use_cases.firewalls.refusals import CloseRefusedError
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests import submit as access
from shared.use_cases.requests.decide import Caller
from shared.use_cases.timers.reconcile import reconcile
from tests.unit.approving import APPROVER, asking, code_of, decide, extend
from tests.unit.racing import overtake
from tests.world import ALICE, DB, NSG_NIC, NSG_SUBNET, POLICY, SOURCE, WEB, World


@pytest.fixture
def world() -> World:
    """Protect both VMs."""
    made = World()
    made.protect()
    return made


def allows(world: World, nsg: str = NSG_SUBNET) -> list[str]:
    """Return the addresses that our rules leave open."""
    return sorted(rule.destinations[0] for rule in world.firewall.ours(nsg, Access.ALLOW))


def closing_of(request: AccessRequest) -> str:
    """Say why a request's first port was closed."""
    closing = request.ports[0].closing
    return closing.message if closing else ""


def test_revoking_on_one_vm_leaves_the_other_open(world: World) -> None:
    """A request for two VMs ends on the one that was named."""
    asked = tuple(
        AskedPort("", vm, 22, (SOURCE,), duration=timedelta(minutes=30)) for vm in (WEB, DB)
    )
    new_request = access.PolicyRequest(world.policy(), Asked(asked, "because", SOURCE), ALICE)
    request = access.request_access(world.services, new_request)
    world.work()
    assert allows(world) == ["10.0.0.4", "10.0.0.5"]
    approval.revoke(world.services, request.id, Caller(ALICE), vm_id=WEB)
    world.work()
    fates = [port.status for port in world.request(request.id).ports]
    assert fates == [Status.REVOKED, Status.INITIATED]
    assert (allows(world, NSG_NIC), allows(world)) == ([], ["10.0.0.5"])


# --- rows that were tampered with, or lost ----------------------------------------------------


def test_a_grant_sealed_without_a_reason_closes_its_request(world: World) -> None:
    """A request whose port is closed on one of its firewalls is not open."""
    request = world.ask()
    (held,) = world.services.rows.read(NSG_NIC).grants
    world.services.rows.replace_grant(replace(held, sealed_at=world.clock(), proven=False))
    converge(world.services, NSG_NIC)
    world.work()
    assert world.status(request.id) is Status.FAILED
    assert closing_of(world.request(request.id)) == "its grant was sealed without a reason"
    assert (allows(world, NSG_NIC), allows(world)) == ([], [])


def test_a_sealed_grant_is_not_proven_closed_before_there_is_a_reason(world: World) -> None:
    """Otherwise no worker would look at it again, and its request would stay open for ever."""
    world.ask(DB)
    (held,) = world.services.rows.read(NSG_SUBNET).grants
    world.services.rows.replace_grant(replace(held, sealed_at=world.clock(), proven=False))
    rows = world.services.rows.read(NSG_SUBNET)
    intents = desired(rows, ())
    gone = Planned(findings=dict.fromkeys(intents.keys, AGREES))
    failures = Failures(world.services, NSG_SUBNET)
    Prover(world.services, NSG_SUBNET, Judged(rows, intents, gone, failures)).prove()
    (still,) = world.services.rows.read(NSG_SUBNET).grants
    assert not still.proven


def test_an_end_further_ahead_than_any_grant_may_last_closes(world: World) -> None:
    """The row is judged alike in the request and in the grant."""
    request = world.ask(DB)
    far = world.clock() + LONGEST_GRANT + timedelta(minutes=1)
    world.services.requests.change(
        request.id, lambda held: change_ports(held, lambda port: replace(port, end_at=far))
    )
    (held,) = world.services.rows.read(NSG_SUBNET).grants
    world.services.rows.replace_grant(replace(held, expires_at=far))
    converge(world.services, NSG_SUBNET)
    assert world.status(request.id) is Status.FAILED
    assert "further ahead than any grant" in closing_of(world.request(request.id))
    assert allows(world) == []


@pytest.mark.parametrize("what", ["decision", "extension"])
def test_a_request_lost_during_a_decision_is_not_found(what: str) -> None:
    """Its row is gone between the look and the write: nothing is written, and the caller gets an error."""
    world = asking(0 if what == "extension" else 1)
    request = world.ask()
    get, reads = world.tables.requests.get, [True]

    def lost_after_one_read(partition: str, key: str) -> Row | None:
        row = get(partition, key)
        if key == request.id.partition("-")[2]:
            return row if reads and reads.pop() else None
        return row

    world.tables.requests.get = lost_after_one_read  # type: ignore[method-assign]
    before = dict(world.tables.requests.rows)
    if what == "decision":
        code = code_of(lambda: decide(world, request, APPROVER))
    else:
        code = code_of(lambda: extend(world, request, 60))
    assert code == "RequestNotFound"
    assert world.tables.requests.rows == before


def test_a_firewall_that_a_vm_has_left_holds_nothing_for_it_and_is_dropped(world: World) -> None:
    """The deny on the group that no longer stands in front of it goes, and so does the note."""
    world.machines.add(WEB, Attachment(NSG_SUBNET, ("10.0.0.4",)))
    protection.apply_policy(world.services, POLICY)
    assert not world.firewall.ours(NSG_NIC)
    row = world.services.policies.vm_row(POLICY, WEB)
    assert row is not None
    assert row.firewalls == (NSG_SUBNET,)


def test_what_a_new_firewall_blocks_is_no_longer_called_open(world: World) -> None:
    """A group put in front of an open VM ends the request, which was never opened there."""
    request = world.ask(DB)
    subnet, nic = Attachment(NSG_SUBNET, ("10.0.0.5",)), Attachment(NSG_NIC, ("10.0.0.5",))
    world.machines.add(DB, subnet, nic)
    protection.apply_policy(world.services, POLICY)
    world.work()
    assert world.status(request.id) is Status.FAILED
    assert "another network security group" in closing_of(world.request(request.id))
    assert allows(world) == []


# --- firewalls and people who answer badly -------------------------------------------------------


def test_a_firewall_that_refuses_without_blaming_a_rule_is_tried_for_ever(world: World) -> None:
    """No grant counts as closed or is dropped; the first sweep that may write closes."""
    request = world.ask(DB, minutes=5)

    def refuse(_snapshot: Snapshot, _plan: Plan) -> None:
        raise FirewallRefusedError("locked", code="ScopeLocked")

    world.firewall.before_write = refuse
    world.pass_time(60)
    assert world.status(request.id) is Status.INITIATED
    assert allows(world) == ["10.0.0.5"]
    assert any(isinstance(error, CloseRefusedError) for _, error in world.telemetry.faults)
    world.firewall.before_write = lambda _snapshot, _plan: None
    world.pass_time(1)
    assert world.status(request.id) is Status.REVOKED
    assert allows(world) == []


def test_a_grant_that_ends_while_its_rule_is_written_was_never_open(world: World) -> None:
    """The read before the write proves nothing about a time after its end."""
    request = world.ask(DB, minutes=5, work=False)

    def slow(_snapshot: Snapshot, _plan: Plan) -> None:
        world.firewall.before_write = lambda _s, _p: None
        world.clock.advance(5 * 60)

    world.firewall.before_write = slow
    world.pass_time(6)
    port = world.request(request.id).ports[0]
    assert (port.status, port.opened_at) == (Status.REVOKED, None)
    assert allows(world) == []


def test_a_policy_that_could_not_be_applied_says_so_until_it_could(world: World) -> None:
    """After the last attempt; reconciling applies it once its VMs can be read again."""
    find, policy = world.machines.find, world.policy()

    def away(_vm_id: str) -> Machine | None:
        raise OutsideError("away")

    world.machines.find = away  # type: ignore[method-assign, assignment]
    protection.put_policy(world.services, policy)
    world.pass_time(1)
    assert [message.kind for message in world.poison] == ["policy"]
    assert world.policy().state is PolicyState.FAILED
    assert world.policy().error == "it could not be applied"
    world.machines.find = find  # type: ignore[method-assign]
    reconcile(world.services)
    world.work()
    assert (world.policy().state, world.policy().error) == (PolicyState.SUCCEEDED, "")
    protection.fail_policy(world.services, POLICY, "late")
    protection.fail_policy(world.services, f"{POLICY}-gone", "late")
    assert world.policy().error == ""


def test_a_rule_that_the_firewall_will_not_let_go_is_told_at_every_look(world: World) -> None:
    """Its port is not reported as closed; the first pass that may remove the rule closes it."""
    request = world.ask(DB, minutes=5)
    (rule,) = world.firewall.ours(NSG_SUBNET, Access.ALLOW)
    world.firewall.refuse[rule.name] = "ScopeLocked"
    world.pass_time(5)
    with pytest.raises(CloseRefusedError, match=rule.name):
        converge(world.services, NSG_SUBNET)
    assert world.telemetry.named("jit.close.refused")[-1]["rules"] == rule.name
    assert world.status(request.id) is Status.INITIATED
    del world.firewall.refuse[rule.name]
    world.pass_time(1)
    assert world.status(request.id) is Status.REVOKED


def test_writes_that_never_come_true_are_not_repeated_for_ever(world: World) -> None:
    """They would use up the quota that other ports need; the sweep goes on later."""
    request = world.ask(DB, minutes=5)
    write, tried = world.firewall.write, []
    world.firewall.write = lambda snapshot, plan: tried.append((snapshot, plan))  # type: ignore[method-assign]
    world.clock.advance(5 * 60)
    with pytest.raises(OutsideError, match="did not come true"):
        converge(world.services, NSG_SUBNET)
    assert len(tried) < 10
    assert world.status(request.id) is Status.INITIATED
    world.firewall.write = write  # type: ignore[method-assign]
    world.pass_time(1)
    assert world.status(request.id) is Status.REVOKED


@pytest.mark.parametrize("seconds", [20.0, 300.0])
def test_a_quota_that_is_used_up_is_waited_for(world: World, seconds: float) -> None:
    """A short wait inside one converge, a long one by a message that comes back then."""
    throttled = [ThrottledError("slow down", retry_after=seconds)]

    def refuse(_snapshot: Snapshot, _plan: Plan) -> None:
        if throttled:
            raise throttled.pop()

    request = world.ask(DB, work=False)
    world.firewall.before_write = refuse
    before = world.clock()
    world.work()
    opened_at_once = seconds < 30
    assert (world.status(request.id) is Status.INITIATED) is opened_at_once
    if not opened_at_once:
        (again,) = [each for each in world.queues.waiting if each.kind == "request"]
        assert again.visible_at == before + timedelta(seconds=seconds)
        world.clock.advance(seconds)
        world.work()
    assert world.status(request.id) is Status.INITIATED
    assert world.clock() == before + timedelta(seconds=seconds)


def test_an_extension_of_what_is_being_closed_is_refused(world: World) -> None:
    """Closed between the look and the write: the end does not move."""
    request = world.ask(DB, minutes=30)
    replace_row = world.tables.requests.replace

    def closed_first(row: Row) -> str:
        world.tables.requests.replace = replace_row  # type: ignore[method-assign]
        approval.revoke(world.services, request.id, Caller(ALICE))
        raise RowChangedError(row.key)

    world.tables.requests.replace = closed_first  # type: ignore[method-assign]
    assert code_of(lambda: extend(world, request, 60)) == "NotOpen"
    world.work()
    assert world.status(request.id) is Status.REVOKED


def test_what_is_closed_between_the_look_and_the_proof_is_not_noted_as_open(world: World) -> None:
    """The rule was seen when no row asked for it any more: its request was never open."""
    request = world.ask(DB, work=False)
    change, world_requests = world.tables.requests.replace, world.tables.requests
    key = request.id.partition("-")[2]

    def closed_first(row: Row) -> str:
        if row.key == key and '"opened_at":"' in str(row.values):
            world_requests.replace = change  # type: ignore[method-assign]
            approval.revoke(world.services, request.id, Caller(ALICE))
            raise RowChangedError(row.key)
        return change(row)

    world_requests.replace = closed_first  # type: ignore[method-assign]
    world.work()
    assert world.request(request.id).ports[0].opened_at is None
    assert world.status(request.id) is Status.REVOKED
    assert allows(world) == []


def test_what_was_proven_while_its_row_changed_is_proven_again(world: World) -> None:
    """The mark was not written; the next look writes it, and the event is recorded once."""
    lost = overtake(world.tables.firewalls, "grant|")
    request = world.ask(DB)
    assert lost() == 1
    assert world.status(request.id) is Status.INITIATED
    assert world.services.rows.read(NSG_SUBNET).grants[0].proven
    told = [f.operation for _, f in world.services.activity.on(world.clock())]
    assert told.count("opened") == 1
