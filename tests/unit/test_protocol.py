"""The ten rules of the rows (docs/architecture.md), each by name."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.errors import ConflictError, NotPermittedError
from shared.domain.model import (
    GRACE,
    AccessRequest,
    Attachment,
    CloseReason,
    Conditions,
    Principal,
    Status,
)
from shared.domain.request import change_ports, close
from shared.firewalls.nsg.model import Access, SecurityRule, Snapshot
from shared.firewalls.nsg.rules import Plan
from shared.ports import (
    FirewallChangedError,
    FirewallRefusedError,
    Machine,
    OutsideError,
    Row,
    RowChangedError,
)
from shared.use_cases import audit
from shared.use_cases.firewalls.converge import Outcome, converge
from shared.use_cases.grants import close_early, grant_of
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests import open as opening
from shared.use_cases.requests.granting import insert_grants
from shared.use_cases.timers.reconcile import reconcile
from tests.fakes import NAMES, START
from tests.world import ALICE, BOB, DB, NSG_NIC, NSG_SUBNET, POLICY, SOURCE, WEB, World

CAROL = Principal("tenant", "carol-id", "carol@contoso.example", roles=frozenset({"Jit.Approve"}))


def allows(world: World, nsg: str = NSG_NIC) -> list[SecurityRule]:
    """Return our allow rules on a group."""
    return world.firewall.ours(nsg, Access.ALLOW)


def test_rule_1_the_request_row_decides() -> None:
    """A redelivery of the opening message keeps the end and the firewalls that stand there."""
    world = World()
    world.protect()
    first = world.ask(minutes=10)
    world.clock.advance(120)
    world.machines.add(WEB, Attachment(NSG_NIC, ("10.0.0.4",)))
    opening.open_access(world.services, first.id)
    again = world.request(first.id)
    assert again.ports[0].end_at == START + timedelta(minutes=10)
    assert again.ports == first.ports


def test_rule_1_expired_only_if_the_end_that_stands_there_has_passed() -> None:
    """An extension that was written first wins over a sweep that saw the old end."""
    world = World()
    world.protect()
    request = world.ask(minutes=10)
    held = world.services.rows.read(NSG_NIC).grants[0]
    approval.extend_access(
        world.services, request.id, approval.Caller(ALICE), duration=timedelta(minutes=30)
    )
    world.work()
    fresh = world.services.rows.read(NSG_NIC).grants[0]
    world.services.rows.replace_grant(replace(fresh, expires_at=held.expires_at))
    world.clock.advance(11 * 60)
    world.sweep()
    world.work()
    assert world.status(request.id) is Status.INITIATED
    assert "until 2026-11-22T14:30:00Z" in allows(world)[0].description


def test_rule_2_a_late_opener_finds_its_place_taken() -> None:
    """An opener that stalled before its grant's insert cannot open what was revoked meanwhile."""
    world = World()
    world.protect()
    request = world.ask(work=False)
    attachments, _ = opening._find_attachments(world.services, request)
    begun = opening._begin(world.services, request, attachments)
    approval.revoke(world.services, request.id, approval.Caller(ALICE))
    known = opening._read_again(world.services, begun)
    insert_grants(world.services, begun, known)
    world.work()
    assert not allows(world)
    assert world.status(request.id) is Status.REVOKED


def test_rule_2_closing_before_any_firewall_is_listed_stops_the_opener() -> None:
    """Where the request lists no firewalls yet, the opener's own first write fails."""
    world = World()
    world.protect()
    request = world.ask(work=False)
    approval.revoke(world.services, request.id, approval.Caller(ALICE))
    world.work()
    assert world.status(request.id) is Status.REVOKED
    assert world.request(request.id).ports[0].fronts is None
    assert not allows(world)


def test_rule_2_a_revoke_seals_before_it_answers() -> None:
    """When revoke returns, every grant is sealed, though no firewall was written yet."""
    world = World()
    world.protect()
    request = world.ask()
    approval.revoke(world.services, request.id, approval.Caller(ALICE))
    for nsg in (NSG_NIC, NSG_SUBNET):
        assert all(grant.is_sealed for grant in world.services.rows.read(nsg).grants)
    assert allows(world)


def test_rule_3_failed_is_a_close_on_all_firewalls() -> None:
    """Where the second NSG refuses, the first does not stay open."""
    quarantine = SecurityRule("quarantine", Access.DENY, "*", ("*",), ("*",), ("*",), priority=150)
    world = World(quarantine)
    world.protect()
    request = world.ask()
    world.pass_time(2)
    port = world.request(request.id).ports[0]
    assert port.status is Status.FAILED
    assert port.closing is not None
    assert "quarantine" in port.closing.message
    assert not allows(world, NSG_NIC)
    assert not allows(world, NSG_SUBNET)


def test_rule_4_the_newest_wins() -> None:
    """The same person asking again replaces the older grant in one plan, without a gap."""
    world = World()
    world.protect()
    older = world.ask(minutes=10)
    world.clock.advance(60)
    plans: list[Plan] = []
    world.firewall.before_write = lambda _snapshot, plan: plans.append(plan)
    newer = world.ask(minutes=20)
    assert world.status(newer.id) is Status.INITIATED
    port = world.request(older.id).ports[0]
    assert port.status is Status.REVOKED
    assert port.closing is not None
    assert port.closing.reason is CloseReason.NEWER
    assert all(plan.put and plan.remove for plan in plans)


def test_rule_4_other_peoples_grants_are_untouched() -> None:
    """Another person's grant for the same VM, port and source stands, whichever ends first."""
    world = World()
    world.protect()
    mine = world.ask(minutes=5)
    theirs = world.ask(who=BOB, minutes=20)
    world.pass_time(8)
    assert world.status(mine.id) is Status.REVOKED
    assert world.status(theirs.id) is Status.INITIATED
    assert len(allows(world)) == 1


def test_rule_5_initiated_only_if_the_proving_read_still_wants_it() -> None:
    """A request closed between the write and the proof is closed, never Initiated."""
    world = World()
    world.protect()
    request = world.ask(work=False)

    def revoke_meanwhile(_snapshot: Snapshot, plan: Plan) -> None:
        if plan.put:
            world.firewall.before_write = lambda _s, _p: None
            close_early(world.services, request.id, lambda _port: True, CloseReason.REVOKED)

    world.firewall.before_write = revoke_meanwhile
    world.work()
    assert world.request(request.id).ports[0].opened_at is None
    assert world.status(request.id) is Status.REVOKED
    assert not allows(world)


def test_rule_6_late_writes_land_late() -> None:
    """A write of ours that lands after the close was proven is undone within the grace."""
    world = World()
    world.protect()
    request = world.ask(minutes=5)
    late = allows(world)[0]
    world.pass_time(6)
    assert world.status(request.id) is Status.REVOKED
    world.firewall.edit(NSG_NIC, late)
    world.pass_time(GRACE.total_seconds() / 60 + 1)
    assert not allows(world)
    assert not world.services.rows.read(NSG_NIC).grants
    assert not world.tables.due.rows


def test_rule_6_a_delete_touches_only_the_sealed_row_that_was_read() -> None:
    """A grant's row that changed after it was read is not deleted."""
    world = World()
    world.protect()
    world.ask(minutes=5)
    world.pass_time(6)
    held = world.services.rows.read(NSG_NIC).grants[0]
    world.services.rows.replace_grant(held)
    with pytest.raises(RowChangedError):
        world.services.rows.delete_grant(held)


def test_rule_7_due_before_row() -> None:
    """At every write of a grant, something due leads back to its firewall."""
    world = World()
    world.protect()
    inserts = 0
    insert = world.tables.firewalls.insert

    def watched(row: object) -> str:
        nonlocal inserts
        if "grant|" in str(row):
            inserts += 1
            assert world.services.due.until(START + timedelta(days=1)), "nothing is due"
        return insert(row)  # type: ignore[arg-type]

    world.tables.firewalls.insert = watched  # type: ignore[method-assign]
    world.ask()
    assert inserts == 2


def test_rule_8_who_finds_the_lease_taken_leaves_and_the_holder_looks_again() -> None:
    """A grant recorded while another worker converges is opened by that worker."""
    world = World()
    world.protect()
    first = world.ask(work=False)
    second = world.ask(who=BOB, work=False)
    world.queues.waiting.clear()  # so that they are not batched

    def arrive(_snapshot: Snapshot, _plan: Plan) -> None:
        world.firewall.before_write = lambda _s, _p: None
        opening.open_access(world.services, second.id)
        assert converge(world.services, NSG_NIC) is Outcome.BUSY

    world.firewall.before_write = arrive
    opening.open_access(world.services, first.id)
    assert world.status(first.id) is Status.INITIATED
    assert world.status(second.id) is Status.INITIATED


def test_rule_8_a_lease_that_was_not_given_back_expires() -> None:
    """A holder that died delays no worker for longer than the lease."""
    world = World()
    now = world.clock()
    world.services.rows.take_lease(NSG_NIC, "dead", now, now + timedelta(minutes=2))
    world.protect()
    world.pass_time(3)
    assert world.firewall.ours(NSG_NIC, Access.DENY)


def with_approval(world: World, needed: int = 1) -> None:
    """Have the policy ask for approvals."""
    policy = replace(world.protect(), conditions=Conditions(approvers_needed=needed))
    protection.put_policy(world.services, policy)
    world.work()


def waiting(world: World) -> AccessRequest:
    """Make a request that waits for approval."""
    with_approval(world)
    return world.ask()


def test_rule_9_one_write_leaves_a_state() -> None:
    """Whichever of approval, denial and time-out comes first stands, and only it."""
    world = World()
    request = waiting(world)
    assert world.status(request.id) is Status.PENDING_APPROVAL
    approval.decide(world.services, request.id, approval.Caller(CAROL), approved=True)
    dan = Principal("tenant", "dan-id", "dan", roles=frozenset({"Jit.Approve"}))
    with pytest.raises(ConflictError):
        approval.decide(world.services, request.id, approval.Caller(dan), approved=False)
    world.work()
    assert world.status(request.id) is Status.INITIATED


def test_rule_9_approval_past_its_deadline_is_refused() -> None:
    """After the time to decide, an approval opens nothing, and the sweep ends the request."""
    world = World()
    request = waiting(world)
    world.clock.advance(61 * 60)
    with pytest.raises(ConflictError, match="time to decide"):
        approval.decide(world.services, request.id, approval.Caller(CAROL), approved=True)
    world.pass_time(1)
    assert world.status(request.id) is Status.DENIED
    assert not allows(world)


def test_rule_9_no_requestor_approves_their_own_request() -> None:
    """The requestor is refused, and so is an app."""
    world = World()
    request = waiting(world)
    requestor = replace(ALICE, roles=frozenset({"Jit.Approve"}))
    robot = replace(CAROL, is_app=True)
    for who in (requestor, robot):
        with pytest.raises(NotPermittedError):
            approval.decide(world.services, request.id, approval.Caller(who), approved=True)
    assert world.status(request.id) is Status.PENDING_APPROVAL


def test_rule_10_a_repeat_over_midnight_is_still_the_same_event() -> None:
    """An event recorded again on the next day is found where its own time put it."""
    world = World()
    world.protect()
    request = world.ask()
    before = dict(world.tables.activity.rows)
    world.clock.advance(24 * 3600)
    audit.record(world.services, world.request(request.id))
    assert world.tables.activity.rows == before


def test_a_forged_grant_opens_nothing() -> None:
    """A grant row without an accepted request behind it is sealed, and its rule never appears."""
    world = World()
    world.protect()
    request = world.ask(minutes=5)
    world.pass_time(6)
    ended = world.request(request.id)
    port = ended.ports[0]
    front = (port.fronts or ())[0]
    forged = replace(
        grant_of(ended, port, front),
        request_id=f"{request.id[:-1]}x",
        expires_at=world.clock() + timedelta(hours=3),
    )
    world.services.rows.insert_grant(forged)
    converge(world.services, NSG_NIC)
    assert not allows(world)


def test_a_tampered_expiry_in_the_grant_or_the_rule_lengthens_nothing() -> None:
    """The request's end counts, whatever a grant's row or a rule's text says."""
    world = World()
    world.protect()
    request = world.ask(minutes=10)
    grant = world.services.rows.read(NSG_NIC).grants[0]
    far = grant.expires_at + timedelta(hours=5)
    world.services.rows.replace_grant(replace(grant, expires_at=far, proven=False))
    rule = allows(world)[0]
    world.firewall.edit(NSG_NIC, replace(rule, description="until 2099-01-01T00:00:00Z"))
    converge(world.services, NSG_NIC)
    assert "until 2026-11-22T14:10:00Z" in allows(world)[0].description
    world.pass_time(11)
    assert world.status(request.id) is Status.REVOKED
    assert not allows(world)


def test_lost_tables_close_every_access_by_name_and_keep_the_denies() -> None:
    """With every row gone, reconciling finds our allows by name and removes them, and no deny."""
    world = World()
    world.protect()
    world.ask()
    for table in world.tables.all():
        table.rows.clear()
    reconcile(world.services)
    for nsg in (NSG_NIC, NSG_SUBNET):
        assert {rule.access for rule in world.firewall.ours(nsg)} == {Access.DENY}
    world.protect()
    assert world.firewall.ours(NSG_NIC, Access.DENY)


def test_a_bad_row_stops_no_other() -> None:
    """A row that cannot be read is reported, and the others are closed on time."""
    world = World()
    world.protect()
    request = world.ask(minutes=5)
    good = next(row for row in world.tables.firewalls.rows.values() if "grant|" in row.key)
    world.tables.firewalls.upsert(replace(good, key="grant|bad", values={"doc": "{"}))
    bad_due = next(iter(world.tables.due.rows.values()))
    world.tables.due.upsert(replace(bad_due, key="2026-11-22T14:00:00.000Z|x", values={"doc": "["}))
    world.pass_time(6)
    assert world.status(request.id) is Status.REVOKED
    assert any(name == "jit.row.unreadable" for name, _ in world.telemetry.faults)


def test_a_firewall_that_fails_keeps_no_other_open() -> None:
    """While one NSG cannot be read, the other is closed on time; it follows when it recovers."""
    world = World()
    world.protect()
    web = world.ask(minutes=5)
    db = world.ask(DB, minutes=5, source=SOURCE)
    read = world.firewall.read

    def failing(firewall_id: str) -> Snapshot:
        if firewall_id == NSG_NIC:
            raise FirewallChangedError("for ever")
        return read(firewall_id)

    world.firewall.read = failing  # type: ignore[method-assign]
    world.pass_time(7)
    assert not allows(world, NSG_SUBNET)
    assert world.status(db.id) is Status.REVOKED
    assert world.status(web.id) is Status.INITIATED
    world.firewall.read = read  # type: ignore[method-assign]
    world.pass_time(2)
    assert world.status(web.id) is Status.REVOKED
    assert not allows(world, NSG_NIC)


def test_a_refused_rule_is_blamed_and_stalls_no_other() -> None:
    """One rule that the firewall turns down ends in Failed; its neighbour opens."""
    world = World()
    world.protect()
    world.firewall.whole = False
    bad = world.ask(work=False)
    rule = NAMES.allow(bad.id, WEB, 22, 4)
    world.firewall.refuse[rule] = "SecurityRuleInvalidAddressPrefix"
    good = world.ask(who=BOB, work=False)
    world.pass_time(1)
    port = world.request(bad.id).ports[0]
    assert port.status is Status.FAILED
    assert port.closing is not None
    assert "SecurityRuleInvalidAddressPrefix" in port.closing.message
    assert world.status(good.id) is Status.INITIATED


def test_a_deleted_firewall_ends_its_requests() -> None:
    """When an NSG is deleted, what was open there is closed everywhere, with the reason."""
    world = World()
    world.protect()
    request = world.ask(minutes=30)
    del world.firewall.groups[NSG_NIC.casefold()]
    reconcile(world.services)
    world.pass_time(2)
    assert world.request(request.id).ports[0].status in {Status.FAILED, Status.REVOKED}
    assert not allows(world, NSG_SUBNET)


def test_policy_gone_before_opening_fails_the_request() -> None:
    """A request whose policy was deleted while it waited opens nothing."""
    world = World()
    world.protect()
    request = world.ask(work=False)
    protection.delete_policy(world.services, POLICY)
    opening.open_access(world.services, request.id)
    port = world.request(request.id).ports[0]
    assert port.status is Status.FAILED
    assert not allows(world)


def test_permission_lost_before_opening_fails_the_request() -> None:
    """A requestor who lost the permission between asking and opening gets nothing."""
    world = World()
    world.protect()
    request = world.ask(work=False)
    world.unpermitted.add(ALICE.key)
    world.work()
    assert world.status(request.id) is Status.FAILED
    assert not allows(world)


def test_change_ports_keeps_what_a_step_leaves() -> None:
    """A step that changes nothing leaves the request equal, so that nothing is written."""
    world = World()
    world.protect()
    request = world.ask()
    assert change_ports(request, lambda port: port) == request


def test_rule_1_an_extension_in_the_very_moment_of_expiring_wins() -> None:
    """An end moved between converge's read and its write of the reason keeps the grant."""
    world = World()
    world.protect()
    request = world.ask(minutes=10)
    world.clock.advance(10 * 60)
    later = world.clock() + timedelta(minutes=30)
    replace_row = world.tables.requests.replace
    get_row = world.tables.requests.get
    reads = 0

    def racing(partition: str, key: str) -> Row | None:
        nonlocal reads
        reads += 1
        row = get_row(partition, key)
        if reads == 1 and row is not None:
            held = world.services.requests
            world.tables.requests.get = get_row  # type: ignore[method-assign]
            held.change(
                request.id, lambda r: change_ports(r, lambda port: replace(port, end_at=later))
            )
        return row

    world.tables.requests.get = racing  # type: ignore[method-assign]
    world.tables.requests.replace = replace_row  # type: ignore[method-assign]
    converge(world.services, NSG_NIC)
    assert world.request(request.id).ports[0].closing is None
    assert not world.services.rows.read(NSG_NIC).grants[0].is_sealed
    assert allows(world)


def test_rule_5_closed_only_once_the_rule_is_seen_gone() -> None:
    """While the firewall does not let the rule go, nothing says that it is closed."""
    world = World()
    world.protect()
    request = world.ask(DB, minutes=5)

    def fail(_snapshot: Snapshot, _plan: Plan) -> None:
        raise OutsideError("down")

    world.firewall.before_write = fail
    world.pass_time(8)
    assert world.status(request.id) is Status.INITIATED
    assert not any("|closed" in str(r.values) for r in world.tables.activity.rows.values())
    world.firewall.before_write = lambda _snapshot, _plan: None
    world.pass_time(1)
    assert world.status(request.id) is Status.REVOKED
    assert not allows(world, NSG_SUBNET)


def test_rule_5_a_write_that_answered_and_did_not_take_proves_nothing() -> None:
    """After a write that had no effect the request is still opening, and is opened by the next."""
    world = World()
    world.protect()
    write = world.firewall.write
    tried = 0

    def not_taken(snapshot: Snapshot, plan: Plan) -> None:
        nonlocal tried
        tried += 1
        if tried > 1:
            write(snapshot, plan)
        else:
            assert world.services.requests.newest(POLICY, 1)[0].ports[0].opened_at is None

    world.firewall.write = not_taken  # type: ignore[method-assign]
    request = world.ask(DB)
    assert tried == 2
    assert world.status(request.id) is Status.INITIATED


def test_rule_7_a_stalled_writer_that_dies_is_still_finished() -> None:
    """A reason written long after its due row was looked at still leads to the seal."""
    world = World()
    world.protect()
    request = world.ask(DB, minutes=60)
    world.pass_time(20)
    now = world.clock()
    world.services.due.add(now + timedelta(minutes=1), "request", request.id, since=now)
    world.pass_time(5)  # the writer stalls; the sweep looks and finds nothing to do
    world.services.requests.change(
        request.id,
        lambda r: change_ports(r, lambda p: close(p, CloseReason.REVOKED, world.clock())),
    )  # and dies right after the write
    world.pass_time(15)
    assert world.status(request.id) is Status.REVOKED
    assert not allows(world, NSG_SUBNET)


def test_ending_live_sessions_is_switched_on_where_the_policy_asks_for_it() -> None:
    """A policy that ends sessions sets the group's property once; others never touch it."""
    world = World()
    policy = world.protect()
    assert not world.firewall.flushing
    ending = replace(policy, conditions=Conditions(flush_connections=True))
    protection.put_policy(world.services, ending)
    world.work()
    assert world.firewall.flushing == {NSG_NIC.casefold(), NSG_SUBNET.casefold()}
    writes = sum(world.firewall.writes.values())
    reconcile(world.services)
    assert sum(world.firewall.writes.values()) == writes


def test_a_refused_session_flush_keeps_no_port_open() -> None:
    """Where the property cannot be set, opening and closing go on."""
    world = World()
    ending = replace(world.protect(), conditions=Conditions(flush_connections=True))
    write = world.firewall.write

    def refusing(snapshot: Snapshot, plan: Plan) -> None:
        if plan.flush_connections and not plan.put and not plan.remove:
            raise FirewallRefusedError("not here", code="RequestDisallowedByPolicy")
        write(snapshot, replace(plan, flush_connections=False))

    world.firewall.write = refusing  # type: ignore[method-assign]
    protection.put_policy(world.services, ending)
    world.work()
    request = world.ask(minutes=5)
    assert world.status(request.id) is Status.INITIATED
    world.pass_time(6)
    assert world.status(request.id) is Status.REVOKED
    assert not allows(world)


def test_one_vm_that_cannot_be_read_leaves_no_other_unprotected() -> None:
    """The other VMs of a policy are closed at once; the policy is applied when it can be."""
    world = World()
    find = world.machines.find

    def failing(each: str) -> Machine | None:
        if each == WEB:
            raise OutsideError("its interface is missing")
        return find(each)

    world.machines.find = failing  # type: ignore[method-assign, assignment]
    world.protect()
    assert [rule.destinations for rule in world.firewall.ours(NSG_SUBNET)] == [("10.0.0.5",)]
    world.machines.find = find  # type: ignore[method-assign]
    world.pass_time(2)
    assert len(world.firewall.ours(NSG_SUBNET)) == 2
    assert len(world.firewall.ours(NSG_NIC)) == 1
