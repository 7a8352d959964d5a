"""One row that fails is set aside: everything else about its firewall is planned and closed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain import desired
from shared.domain.desired import Desired
from shared.domain.ids import digest, key_of
from shared.domain.model import (
    CloseReason,
    FirewallRows,
    Policy,
    PolicyVm,
    PortRule,
    Protection,
    Status,
)
from shared.domain.policy import Asked, AskedPort
from shared.firewalls.nsg.model import Access, SecurityRule, Snapshot
from shared.ports import Machine, OutsideError, Row, RowChangedError, ThrottledError
from shared.use_cases.firewalls.converge import Outcome, converge, converge_on_message
from shared.use_cases.grants import close_early
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import submit as access
from shared.use_cases.timers.reconcile import reconcile
from tests.fakes import NAMES
from tests.unit.breaking import END, FAR, GARBAGE, NSG_FAR, BreakingWorld
from tests.world import ALICE, BOB, DB, NSG_NIC, NSG_SUBNET, POLICY, SOURCE, WEB, World

OTHER = POLICY.replace("/default", "/other")
DESIRED: Callable[..., Desired] = desired.desired


@pytest.fixture
def world() -> BreakingWorld:
    """Open four accesses behind three firewalls, which end together."""
    return BreakingWorld()


def deny_of(world: World, vm: str = WEB, nsg: str = NSG_SUBNET) -> SecurityRule | None:
    """Return the deny rule of a VM on a firewall."""
    return world.firewall.rules(nsg).get(NAMES.deny(vm, 4))


def garble_protection(world: World, vm: str, nsg: str, policy: str = POLICY) -> None:
    """Make one protection's row undecodable."""
    held = world.services.rows.get_protection(nsg, policy, vm)
    assert held is not None
    for place, row in list(world.tables.firewalls.rows.items()):
        if row.version == held.version and place[1].startswith("protection|"):
            world.tables.firewalls.rows[place] = replace(row, values=GARBAGE)


# --- requests ------------------------------------------------------------------------------------


def test_80_ports_with_no_room_for_their_close_keep_nothing_open() -> None:
    """The store refuses a request's row that grows: its rules go, and all others on time."""
    world = World()
    world.protect(WEB, DB, ports=tuple(range(1000, 1081)))
    ports = tuple(AskedPort("", WEB, port, (SOURCE,), duration=END) for port in range(1000, 1080))
    large = access.request_access(
        world.services, access.PolicyRequest(world.policy(), Asked(ports, "because", SOURCE), ALICE)
    )
    other = world.ask(DB, 1080, who=BOB, minutes=5)
    world.work()
    key = large.id.partition("-")[2]
    replace_row = world.tables.requests.replace

    def full(row: Row) -> str:
        if row.key == key:
            raise OutsideError("413 EntityTooLarge")
        return replace_row(row)

    world.tables.requests.replace = full  # type: ignore[method-assign]
    world.clock.advance(END.total_seconds())
    world.work()
    assert not world.firewall.ours(NSG_SUBNET, Access.ALLOW)
    assert world.status(other.id) is Status.REVOKED
    assert any("EntityTooLarge" in str(error) for _, error in world.telemetry.faults)
    world.tables.requests.replace = replace_row  # type: ignore[method-assign]
    world.pass_time(2)
    assert world.request(large.id).is_final


def test_a_request_that_does_not_answer_opens_nothing_and_closes_nothing_early() -> None:
    """Its open access stays until its end; one that is not open yet is not opened."""
    world = World()
    world.protect()
    opened = world.ask(DB)
    waiting = world.ask(DB, 3389, work=False)
    get = world.tables.requests.get

    def away(partition: str, key: str) -> Row | None:
        if key in {each.id.partition("-")[2] for each in (opened, waiting)} and broken:
            raise OutsideError("no answer")
        return get(partition, key)

    broken: list[int] = []
    world.tables.requests.get = away  # type: ignore[method-assign]
    write = world.firewall.write

    def lost(*_given: object) -> None:
        broken.append(1)
        raise OutsideError("no answer")

    world.firewall.write = lost  # type: ignore[method-assign, assignment]
    with pytest.raises(OutsideError):
        world.run("request", waiting.id)
    world.firewall.write = write  # type: ignore[method-assign]
    assert converge(world.services, NSG_SUBNET) is Outcome.PARTLY
    assert [rule.ports for rule in world.firewall.ours(NSG_SUBNET, Access.ALLOW)] == [("22",)]
    broken.clear()
    assert converge(world.services, NSG_SUBNET) is Outcome.DONE
    assert world.status(waiting.id) is Status.INITIATED


def test_a_blocked_grant_that_cannot_be_ended_stops_no_other(world: BreakingWorld) -> None:
    """It is reported and tried again later; the converge ends."""
    world.break_rows("request", "replace", lambda: ValueError("odd"))
    del world.firewall.groups[NSG_NIC.lower()]
    grants = world.services.rows.read(NSG_NIC).grants
    assert len(grants) == 2
    assert converge(world.services, NSG_NIC) is Outcome.PARTLY
    held = world.services.rows.read(NSG_NIC).grants
    assert [grant.is_sealed for grant in held if grant.request_id == world.victim] == [False]
    assert all(grant.is_sealed for grant in held if grant.request_id != world.victim)


def test_a_grant_that_never_stands_still_is_not_sealed_for_ever(world: BreakingWorld) -> None:
    """After some tries the close is left to the sweep."""
    world.break_rows("grant", "replace", lambda: RowChangedError("changed"))
    with pytest.raises(RowChangedError, match="while being sealed"):
        close_early(world.services, world.victim, lambda _port: True, CloseReason.FAILED)


# --- planning ------------------------------------------------------------------------------------


def raise_for(monkeypatch: pytest.MonkeyPatch, bad: Callable[[Any], bool]) -> None:
    """Let planning raise for the rows that a test calls bad."""

    def raising(rows: FirewallRows, wanted: object) -> Desired:
        if any(bad(row) for row in (*rows.grants, *rows.protections, rows)):
            raise ArithmeticError("odd")
        return DESIRED(rows, wanted)

    monkeypatch.setattr("shared.use_cases.firewalls.planning.desired", raising)


def test_a_grant_that_cannot_be_planned_is_wanted_no_more(
    world: BreakingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found by trying each alone; the others stay open, and close on time."""
    raise_for(monkeypatch, lambda row: getattr(row, "request_id", "") == world.victim)
    converge(world.services, NSG_NIC)
    assert [rule.ports for rule in world.firewall.ours(NSG_NIC, Access.ALLOW)] == [("3389",)]
    world.pass_time(6)
    assert world.allows() == []


def test_a_protection_that_cannot_be_planned_keeps_its_deny(
    world: BreakingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The accesses that it covered end; the deny stays as it is."""
    before = deny_of(world)
    raise_for(monkeypatch, lambda row: isinstance(row, Protection) and row.vm_id == WEB)
    world.pass_time(6)
    assert deny_of(world) == before
    assert world.allows() == []


def test_where_nothing_can_be_planned_what_has_ended_is_closed_by_its_text(
    world: BreakingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row is to blame, so none is set aside."""
    raise_for(monkeypatch, lambda _row: True)
    world.pass_time(6)
    assert world.allows() == []
    assert len(world.services.rows.read(NSG_NIC).grants) == 2


# --- protections ---------------------------------------------------------------------------------


def test_the_deny_of_an_undecodable_protection_keeps_its_ports(world: BreakingWorld) -> None:
    """Another policy protects other ports of the same VM: its deny is widened, never narrowed."""
    vms = (PolicyVm(WEB, (PortRule(5985, "TCP"),)),)
    protection.put_policy(world.services, Policy(OTHER, "westeurope", vms))
    world.work()
    before = deny_of(world)
    assert before is not None
    assert set(before.ports) == {"22", "3389", "5985"}
    garble_protection(world, WEB, NSG_SUBNET)
    converge(world.services, NSG_SUBNET)
    after = deny_of(world)
    assert after is not None
    assert set(after.ports) == set(before.ports)
    protection.delete_policy(world.services, OTHER)
    world.queues.waiting.clear()
    protection.apply_policy(world.services, OTHER)
    assert deny_of(world) is not None


def test_a_deny_that_is_removed_elsewhere_goes_beside_an_undecodable_protection(
    world: BreakingWorld,
) -> None:
    """The deny of a removed protection goes; the other VM's deny stays."""
    garble_protection(world, WEB, NSG_SUBNET)
    held = world.services.rows.get_protection(NSG_SUBNET, POLICY, DB)
    assert held is not None
    world.services.rows.replace_protection(replace(held, lifted=True, proven=False))
    converge(world.services, NSG_SUBNET)
    assert deny_of(world) is not None
    assert deny_of(world, DB) is None


def test_an_undecodable_protection_is_written_anew_when_its_policy_is_applied(
    world: BreakingWorld,
) -> None:
    """Reconciling repairs it."""
    garble_protection(world, WEB, NSG_SUBNET)
    assert reconcile(world.services) == 0
    held = world.services.rows.get_protection(NSG_SUBNET, POLICY, WEB)
    assert held is not None
    assert held.ports == (22, 3389)


def test_an_undecodable_protection_is_removed_with_its_policy(world: BreakingWorld) -> None:
    """An administrator who deletes the policy wants no deny."""
    garble_protection(world, WEB, NSG_SUBNET)
    protection.delete_policy(world.services, POLICY)
    world.work()
    assert deny_of(world) is None


def test_one_vm_that_fails_leaves_the_others_protected_and_removed(world: BreakingWorld) -> None:
    """The failure is raised once the other VMs had their turn."""
    find, broken = world.machines.find, [WEB]

    def failing(vm: str) -> Machine | None:
        if vm in broken:
            raise KeyError("odd")
        return find(vm)

    world.machines.find = failing  # type: ignore[method-assign, assignment]
    world.firewall.edit(NSG_FAR, remove=[NAMES.deny(FAR, 4)])
    with pytest.raises(KeyError):
        protection.apply_policy(world.services, POLICY)
    assert deny_of(world, FAR, NSG_FAR) is not None
    broken.clear()
    world.break_rows("protection", "get", lambda: OutsideError("no answer"))
    protection.put_policy(
        world.services, Policy(POLICY, "westeurope", (PolicyVm(FAR, (PortRule(22, "TCP"),)),))
    )
    with pytest.raises(OutsideError):
        protection.apply_policy(world.services, POLICY)
    assert deny_of(world, DB) is None
    assert deny_of(world) is not None


def test_one_firewall_that_fails_leaves_the_others_converged(world: BreakingWorld) -> None:
    """Applying a policy raises what failed once every other firewall holds it."""
    read = world.firewall.read

    def failing(nsg: str) -> Any:
        if nsg.lower() == NSG_FAR.lower():
            raise KeyError("odd")
        return read(nsg)

    world.firewall.edit(NSG_SUBNET, remove=[NAMES.deny(DB, 4)])
    world.firewall.read = failing  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyError):
        protection.apply_policy(world.services, POLICY)
    assert deny_of(world, DB) is not None


def test_the_row_names_the_vm_of_an_undecodable_protection(world: BreakingWorld) -> None:
    """Its key does: the digest of the VM's id stands at its end."""
    garble_protection(world, WEB, NSG_SUBNET)
    rows = world.services.rows.read(NSG_SUBNET)
    assert rows.undecoded == {digest(key_of(WEB))}


# --- what is only recorded -----------------------------------------------------------------------


def test_a_repair_that_cannot_be_recorded_is_made(world: BreakingWorld) -> None:
    """A close or a deny waits for no record, and the repair is recorded later."""
    insert = world.tables.activity.insert

    def away(_row: Row) -> str:
        raise OutsideError("no answer")

    world.firewall.edit(NSG_FAR, remove=[NAMES.deny(FAR, 4)])
    world.tables.activity.insert = away  # type: ignore[method-assign, assignment]
    converge(world.services, NSG_FAR)
    assert deny_of(world, FAR, NSG_FAR) is not None
    assert any(name == "jit.repair.unrecorded" for name, _ in world.telemetry.faults)
    world.tables.activity.insert = insert  # type: ignore[method-assign]


def test_a_sealed_grant_that_cannot_be_purged_stops_no_other(world: BreakingWorld) -> None:
    """It is reported and looked at again; the others are purged."""
    world.pass_time(7)
    world.break_rows("grant", "delete", lambda: OutsideError("no answer"))
    world.pass_time(20)
    assert [g.request_id for g in world.services.rows.read(NSG_NIC).grants] == [world.victim]
    world.mend()
    world.break_rows("request", "get", lambda: ValueError("odd"))
    world.pass_time(timedelta(minutes=3) / timedelta(minutes=1))
    world.mend()
    world.pass_time(20)
    assert world.services.rows.read(NSG_NIC).grants == ()


# --- purging, quotas, and firewalls that do not answer either ------------------------------------


def test_a_row_that_cannot_be_purged_keeps_no_other(world: BreakingWorld) -> None:
    """Old audit events and requests go, but for the one that fails; it goes later."""
    day = timedelta(days=1)
    world.services = replace(world.services, keep_activity=90 * day, keep_requests=90 * day)
    world.pass_time(30)
    world.clock.advance(91 * day.total_seconds())
    first = min(key for key in world.tables.activity.rows if key[0][:1] == "2")
    events = sum(key[0] == first[0] for key in world.tables.activity.rows)
    delete = world.tables.activity.delete

    def stubborn(row: Row) -> None:
        if (row.partition, row.key) == first:
            raise OutsideError("no answer")
        delete(row)

    world.tables.activity.delete = stubborn  # type: ignore[method-assign]
    world.break_rows("grant", "get", lambda: ValueError("odd"))
    reconcile(world.services)
    assert first in world.tables.activity.rows
    assert events > 1
    assert sum(key[0] == first[0] for key in world.tables.activity.rows) == 1
    kept = world.services.requests.newest(POLICY, 10)
    assert [request.id for request in kept] == [world.victim]
    world.mend()
    reconcile(world.services)
    assert world.services.requests.newest(POLICY, 10) == []
    assert first not in world.tables.activity.rows


def test_a_quota_longer_than_the_budget_is_left_to_the_next_sweep(world: BreakingWorld) -> None:
    """The others are closed meanwhile, and its due row stays."""

    def throttled(snapshot: Snapshot, _plan: object) -> None:
        if snapshot.firewall_id.lower() == NSG_NIC.lower():
            raise ThrottledError("slow down", retry_after=25)

    world.firewall.before_write = throttled
    world.queues.waiting.clear()
    world.clock.now = world.end
    assert world.sweep() == 1
    assert world.clock() == world.end
    assert world.firewall.ours(NSG_NIC, Access.ALLOW)
    assert not world.firewall.ours(NSG_FAR, Access.ALLOW)
    world.firewall.before_write = lambda _s, _p: None
    world.sweep()
    assert world.allows() == []


def test_where_neither_rows_nor_firewall_answer_the_message_comes_back(
    world: BreakingWorld,
) -> None:
    """Both are reported, and the reason why the rows were not read is raised."""

    def away(*_given: object) -> Any:
        raise OutsideError("no answer")

    world.tables.firewalls.query = away  # type: ignore[method-assign, assignment]
    world.firewall.read = away  # type: ignore[method-assign, assignment]
    with pytest.raises(OutsideError):
        converge_on_message(world.services, NSG_NIC)
    told = {name for name, _ in world.telemetry.faults}
    assert {"jit.rows.unread", "jit.rules.not_expired"} <= told


def test_an_outage_while_planning_sets_no_row_aside(world: BreakingWorld) -> None:
    """Whether whole writes are allowed is not known: no row is to blame for that."""
    held = world.services.rows.get_protection(NSG_FAR, POLICY, FAR)
    assert held is not None
    world.services.rows.replace_protection(replace(held, flush_connections=True))

    def away() -> bool:
        raise OutsideError("no answer")

    world.firewall.writes_whole = away  # type: ignore[method-assign]
    with pytest.raises(OutsideError):
        converge(world.services, NSG_FAR)
    assert world.firewall.ours(NSG_FAR, Access.ALLOW)
    world.clock.now = world.end + timedelta(seconds=2)
    with pytest.raises(OutsideError):
        converge(world.services, NSG_FAR)
    assert not world.firewall.ours(NSG_FAR, Access.ALLOW)


def away(*_given: object, **_named: object) -> None:
    """Fail as a table that does not answer."""
    raise OutsideError("no answer")


def test_a_request_for_two_ports_that_does_not_answer_is_asked_once(world: BreakingWorld) -> None:
    """In each round; both its ports close at their end by their own rows."""
    ports = tuple(
        AskedPort("", DB, port, (SOURCE,), duration=timedelta(minutes=5)) for port in (22, 3389)
    )
    new_request = access.PolicyRequest(world.policy(), Asked(ports, "because", SOURCE), ALICE)
    world.victim = access.request_access(world.services, new_request).id
    world.work()
    world.break_rows("request", "get", lambda: OutsideError("no answer"))
    world.tables.requests.query = away  # type: ignore[method-assign, assignment]
    world.clock.advance(5 * 60)
    assert converge(world.services, NSG_SUBNET) is Outcome.PARTLY
    assert not world.firewall.ours(NSG_SUBNET, Access.ALLOW)


def test_a_due_row_that_cannot_be_decoded_is_reported(world: BreakingWorld) -> None:
    """Every decodable row is read."""
    world.garble("due")
    later = world.clock() + timedelta(hours=1)
    found = {due.subject for due in world.services.due.until(later)}
    assert NSG_FAR in found
    assert world.victim not in found
    assert any(name == "jit.row.unreadable" for name, _ in world.telemetry.faults)


def test_an_undecodable_row_of_a_vm_is_written_anew_when_its_policy_is_applied(
    world: BreakingWorld,
) -> None:
    """Its deny stands meanwhile, and what was applied is known again."""
    world.garble("vm")
    assert reconcile(world.services) == 0
    row = world.services.policies.vm_row(POLICY, WEB)
    assert row is not None
    assert row.firewalls == tuple(sorted((NSG_NIC, NSG_SUBNET)))
    assert deny_of(world) is not None


def test_a_lease_that_can_be_taken_and_not_kept_stops_no_converge(world: BreakingWorld) -> None:
    """The etag of the firewall decides, and the lease ends by itself."""
    replace_row = world.tables.firewalls.replace
    taken: list[Row] = []

    def once(row: Row) -> str:
        if row.key == "lease" and taken:
            raise OutsideError("no answer")
        taken.extend([row] if row.key == "lease" else [])
        return replace_row(row)

    world.tables.firewalls.replace = once  # type: ignore[method-assign]
    world.clock.now = world.end
    assert converge(world.services, NSG_FAR) is Outcome.DONE
    assert not world.firewall.ours(NSG_FAR, Access.ALLOW)
    assert any(name == "jit.lease.failed" for name, _ in world.telemetry.faults)


def test_of_two_ports_with_different_ends_the_later_stays_open(world: BreakingWorld) -> None:
    """One write ends the ports of a request that have expired, and no other."""
    ports = tuple(
        AskedPort("", DB, port, (SOURCE,), duration=timedelta(minutes=minutes))
        for port, minutes in ((22, 5), (3389, 15))
    )
    new_request = access.PolicyRequest(world.policy(), Asked(ports, "because", SOURCE), ALICE)
    request = access.request_access(world.services, new_request)
    world.work()
    world.pass_time(6)
    fates = [port.status for port in world.request(request.id).ports]
    assert fates == [Status.REVOKED, Status.INITIATED]
    assert [rule.ports for rule in world.firewall.ours(NSG_SUBNET, Access.ALLOW)] == [("3389",)]
