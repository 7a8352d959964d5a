"""The loop's rules, each on a security group, on shared rules and on a slow serial firewall."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from shared.domain.audit import Operation
from shared.domain.model import CloseReason, Status
from shared.ports import OutsideError, RefusedError, UnknownFirewallError
from shared.store.audit import AuditEvent
from shared.use_cases.firewalls.converge import Outcome, converge
from shared.use_cases.firewalls.failing import _give_back_end
from shared.use_cases.firewalls.lanes import overdue_others
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests.decide import Caller, extend_access, revoke
from shared.use_cases.timers import health
from shared.use_cases.timers.reconcile import reconcile
from tests.providers.serial.provider import Serial
from tests.providers.shared_rules.cloud import Rule
from tests.three_providers import (
    BEHIND_NEIGHBOUR,
    BEHIND_SERIAL,
    BEHIND_SHARED,
    FIREWALLS,
    NEIGHBOUR,
    SERIAL,
    SHARED,
    SLOW_MINUTES,
    VMS,
    ThreeProviders,
)
from tests.world import ALICE, BOB, DB, NSG_SUBNET, POLICY

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world() -> ThreeProviders:
    """Protect a VM behind each provider."""
    made = ThreeProviders()
    made.pass_time(SLOW_MINUTES)
    return made


@pytest.fixture(params=VMS)
def vm(request: pytest.FixtureRequest) -> str:
    """Return a VM behind one type of firewall."""
    return VMS[request.param]


def refuse(world: ThreeProviders, vm: str, choose: Callable[[str, str], bool]) -> None:
    """Have the service of a VM's firewall refuse changes, by verb and target."""
    provider = world.services.firewalls.of(FIREWALLS[vm])
    apply = provider.apply

    def refusing(observed: object, plan: object) -> None:
        for change in plan.changes:  # type: ignore[attr-defined]
            if choose(change.verb, change.target):
                raise RefusedError("not authorized", {change.id})
        apply(observed, plan)  # type: ignore[arg-type]

    object.__setattr__(provider, "apply", refusing)


def accept(world: ThreeProviders, vm: str) -> None:
    """Have every change accepted again."""
    world.services.firewalls.of(FIREWALLS[vm]).__dict__.pop("apply")


def events(world: ThreeProviders, operation: Operation) -> list[str]:
    """Return the reasons of the audit events of one operation, of today."""
    events = world.services.activity.on(world.clock())
    return [event.reason for _, event in events if event.operation == operation]


# --- acceptance ----------------------------------------------------------------------------------


def test_one_request_over_three_providers_opens_and_closes_all(world: ThreeProviders) -> None:
    """A request over VMs behind three providers is Initiated on each and closed on each."""
    request = world.ask_for_all(minutes=30)
    world.pass_time(SLOW_MINUTES)
    assert {port.status for port in world.request(request.id).ports} == {Status.INITIATED}
    assert all(world.reaches(each) for each in VMS.values())
    world.pass_time(30)
    assert {port.status for port in world.request(request.id).ports} == {Status.REVOKED}
    assert not any(world.reaches(each) for each in VMS.values())
    assert not health.report(world.services).problems


def test_one_sweep_closes_all_three_providers_without_a_message(world: ThreeProviders) -> None:
    """With every message lost the sweep alone closes what has expired behind every provider."""
    world.ask_for_all(minutes=20)
    world.pass_time(SLOW_MINUTES)
    world.queues.waiting.clear()
    world.clock.advance(9 * 60)
    world.sweep()
    world.queues.waiting.clear()
    world.clock.advance(5 * 60)
    world.sweep()
    assert not any(world.reaches(each) for each in VMS.values())


def test_a_slow_firewall_is_overdue_by_its_own_pace(world: ThreeProviders) -> None:
    """A close that takes minutes is no problem on a serial firewall, and one on a group."""
    world.ask(BEHIND_SERIAL, minutes=20)
    world.pass_time(SLOW_MINUTES)
    world.queues.waiting.clear()
    world.clock.advance(12 * 60)
    assert not health.report(world.services).problems[1:]
    world.clock.advance(10 * 60)
    problems = " ".join(health.report(world.services).problems)
    assert "1 firewalls are overdue by more than 2 minutes (network security group)" in problems
    assert "10 minutes (serial firewall)" in problems


def test_a_slow_write_holds_no_worker(world: ThreeProviders) -> None:
    """The worker that started a write of minutes leaves it to a message and moves no clock."""
    request = world.ask(BEHIND_SERIAL, minutes=40, work=False)
    began = world.clock()
    world.run("request", request.id)
    assert world.clock() - began < MINUTE
    delays = [m.visible_at - began for m in world.queues.waiting if m.subject == SERIAL]
    assert timedelta(minutes=5) in delays
    assert converge(world.services, SERIAL) is Outcome.SETTLING


# --- life ----------------------------------------------------------------------------------------


def test_a_request_opens_extends_and_closes(world: ThreeProviders, vm: str) -> None:
    """An access opens, is extended, and closes at its later end."""
    request = world.ask(vm, minutes=30)
    world.pass_time(SLOW_MINUTES)
    assert world.status(request.id) is Status.INITIATED
    until = world.clock() + 40 * MINUTE
    extend_access(world.services, request.id, Caller(ALICE), end_at=until)
    world.pass_time(25)
    assert world.reaches(vm)
    world.pass_time(25)
    assert world.status(request.id) is Status.REVOKED
    assert not world.reaches(vm)


def test_a_revoked_access_closes_and_the_others_stay(world: ThreeProviders, vm: str) -> None:
    """Of two grants from one source, closing one keeps access for the other requestor."""
    mine, theirs = world.ask(vm, minutes=60), world.ask(vm, who=BOB, minutes=60)
    world.pass_time(SLOW_MINUTES)
    revoke(world.services, mine.id, Caller(ALICE))
    world.pass_time(SLOW_MINUTES)
    assert world.status(mine.id) is Status.REVOKED
    assert world.status(theirs.id) is Status.INITIATED
    assert world.reaches(vm)


def test_a_deleted_policy_leaves_no_protection(world: ThreeProviders, vm: str) -> None:
    """Deleting the policy closes its accesses and deletes every protection."""
    world.ask(vm, minutes=60)
    world.pass_time(SLOW_MINUTES)
    protection.delete_policy(world.services, POLICY)
    world.pass_time(2 * SLOW_MINUTES)
    assert not world.reaches(vm)
    assert not world.services.rows.read(FIREWALLS[vm]).protections
    assert world.services.policies.get(POLICY) is None


def test_a_revoked_rule_is_stored_and_restored_with_the_last_removal(
    world: ThreeProviders,
) -> None:
    """A foreign rule on a governed port goes, is stored before it goes, and comes back."""
    foreign = Rule("tcp", 22, 22, "198.51.100.0/24", "theirs")
    world.shared.put(SHARED, foreign)
    reconcile(world.services)
    assert not world.shared.reaches(SHARED, "198.51.100.9", 22)
    (held,) = world.services.rows.read(SHARED).protections
    assert "198.51.100.0/24" in held.memory
    protection.delete_policy(world.services, POLICY)
    world.pass_time(2 * SLOW_MINUTES)
    assert world.shared.groups[SHARED].rules[foreign.identity] == foreign


def test_drift_is_repaired_and_recorded(world: ThreeProviders, vm: str) -> None:
    """An opening of ours that another writer removed is put back, and the repair is recorded."""
    world.ask(vm, minutes=60)
    world.pass_time(SLOW_MINUTES)
    observed = world.services.firewalls.of(FIREWALLS[vm]).read(FIREWALLS[vm])
    (target,) = (own.id for own in observed.own if own.opens)
    remove_openings(world, vm, target)
    reconcile(world.services)
    world.pass_time(SLOW_MINUTES)
    assert world.reaches(vm)
    assert any(target in reason for reason in events(world, Operation.REPAIRED))
    assert not world.tables.firewalls.query("repairs")


def test_drift_on_a_slow_firewall_is_kept_until_a_run_records_it(world: ThreeProviders) -> None:
    """A run that ends before its write has settled leaves what it found to the run after it."""
    world.ask(BEHIND_SERIAL, minutes=60)
    world.pass_time(SLOW_MINUTES)
    observed = world.services.firewalls.of(SERIAL).read(SERIAL)
    (target,) = (own.id for own in observed.own if own.opens)
    remove_openings(world, BEHIND_SERIAL, target)
    found_at = world.clock()
    reconcile(world.services)
    assert not events(world, Operation.REPAIRED)
    assert len(world.tables.firewalls.query("repairs")) == 1
    world.pass_time(SLOW_MINUTES)
    (event,) = (f for _, f in world.services.activity.on(found_at) if f.operation == "repaired")
    assert (event.firewall_id, event.at) == (SERIAL, found_at)


def test_lateness_is_told_by_each_provider_against_its_own_pace(world: ThreeProviders) -> None:
    """Minutes on a slow provider and seconds on a fast one never share a percentile."""
    at = world.clock()
    for number, (firewall, late) in enumerate(((FIREWALLS[DB], 3), (SERIAL, 240), ("old", 7))):
        event = AuditEvent(
            f"close-{number}", at, "closed", firewall_id=firewall, lateness_seconds=late
        )
        world.services.activity.record(event)
    found = health.lateness_by_kind(world.services)
    slow, fast = (world.services.firewalls.of(each) for each in (SERIAL, FIREWALLS[DB]))
    assert {provider: each.measured.p99 for provider, each in found.items()} == {
        slow.label: 240,
        fast.label: 3,
        health.UNKNOWN_FIREWALL: 7,
    }
    assert found[slow.label].allowed == slow.pace.overdue
    latest = max(found.values(), key=lambda each: each.measured.p99 / each.allowed.total_seconds())
    assert health.report(world.services).lateness == latest.measured
    assert world.services.label("old") == ""


def remove_openings(world: ThreeProviders, vm: str, target: str) -> None:
    """Remove what opens a VM, as another writer."""
    if vm == DB:
        world.firewall.edit(FIREWALLS[DB], remove=[target])
    elif vm == BEHIND_SHARED:
        for identity, rule in list(world.shared.groups[SHARED].rules.items()):
            if rule.text.startswith("JIT"):
                world.shared.remove(SHARED, identity)
    else:
        world.serial.edit(SERIAL, remove=(target,))


# --- refusals ------------------------------------------------------------------------------------


def test_a_refused_opening_fails_and_keeps_no_other_from_closing(
    world: ThreeProviders, vm: str
) -> None:
    """The refused request fails with the reason; an access that expired closes all the same."""
    open_now = world.ask(vm, who=BOB, source="192.0.2.9", minutes=20)
    world.pass_time(SLOW_MINUTES)
    refuse(world, vm, lambda verb, _target: verb == "put")
    refused = world.ask(vm, minutes=60)
    world.pass_time(3 * SLOW_MINUTES)
    assert world.status(refused.id) is Status.FAILED
    assert "not authorized" in str(world.request(refused.id).ports[0].closing)
    assert world.status(open_now.id) is Status.REVOKED
    assert not world.reaches(vm, "192.0.2.9")


def test_a_refused_extension_gives_the_end_back(world: ThreeProviders, vm: str) -> None:
    """Where the later end is refused, the end in the rule's text counts, and that is recorded."""
    request = world.ask(vm, minutes=60)
    world.pass_time(SLOW_MINUTES)
    before = world.request(request.id).ports[0].end_at
    assert before is not None
    refuse(world, vm, lambda verb, _target: verb == "put")
    until = world.clock() + 100 * MINUTE
    extend_access(world.services, request.id, Caller(ALICE), end_at=until)
    world.pass_time(SLOW_MINUTES)
    port = world.request(request.id).ports[0]
    assert port.status is Status.INITIATED
    assert port.end_at == before.replace(microsecond=0)
    assert len(events(world, Operation.EXTENSION_REFUSED)) == 1
    assert world.reaches(vm)
    world.pass_time(60)
    assert world.status(request.id) is Status.REVOKED
    assert not world.reaches(vm)


def test_a_refused_edit_of_another_change_fails_nothing_that_works(
    world: ThreeProviders, vm: str
) -> None:
    """Agreement counts before refusal: what stands as desired is open though its put is refused."""
    request = world.ask(vm, minutes=60)
    world.pass_time(SLOW_MINUTES)
    refuse(world, vm, lambda verb, _target: verb == "put")
    world.ask(vm, who=BOB, source="192.0.2.9", minutes=60)
    world.pass_time(SLOW_MINUTES)
    assert world.status(request.id) is Status.INITIATED
    assert world.reaches(vm)


def test_a_refused_close_is_an_alert_and_never_an_end(world: ThreeProviders) -> None:
    """While a removal is refused, the request stays open and each sweep tells it."""
    request = world.ask(DB, minutes=10)
    refuse(world, DB, lambda verb, _target: verb == "remove")
    world.pass_time(20)
    assert world.status(request.id) is Status.INITIATED
    assert world.telemetry.named("jit.close.refused")
    accept(world, DB)
    world.pass_time(2)
    assert world.status(request.id) is Status.REVOKED


@pytest.mark.parametrize("provider", ["shared rules", "serial"])
def test_a_refused_removal_is_closed_in_another_way(world: ThreeProviders, provider: str) -> None:
    """A provider that knows another way to close uses it, and the request ends."""
    vm = VMS[provider]
    request = world.ask(vm, minutes=20)
    world.pass_time(SLOW_MINUTES)
    refuse(world, vm, lambda verb, target: verb == "remove" and "192.0.2.1/32" not in target)
    world.pass_time(3 * SLOW_MINUTES)
    assert not world.reaches(vm)
    assert world.status(request.id) is Status.REVOKED


def test_a_refusal_that_blames_none_is_split(world: ThreeProviders, vm: str) -> None:
    """Closes go alone; openings are tried by halves, so that only the refused one fails."""
    provider = world.services.firewalls.of(FIREWALLS[vm])
    apply = provider.apply
    ending = world.ask(vm, who=BOB, source="192.0.2.9", minutes=SLOW_MINUTES + 2)
    world.pass_time(SLOW_MINUTES)
    wanted = [world.ask(vm, port=port, minutes=90, work=False) for port in (22, 3389)]
    bad = wanted[1].id

    def refusing(observed: object, plan: object) -> None:
        if any(bad in key for change in plan.changes for key in change.serves):  # type: ignore[attr-defined]
            raise RefusedError("something of this is not allowed")
        apply(observed, plan)  # type: ignore[arg-type]

    object.__setattr__(provider, "apply", refusing)
    world.pass_time(4 * SLOW_MINUTES)
    assert world.status(ending.id) is Status.REVOKED
    assert world.status(wanted[0].id) is Status.INITIATED
    assert world.status(bad) is Status.FAILED


# --- planning that raises ------------------------------------------------------------------------


def test_an_intent_that_cannot_be_planned_is_found_and_the_others_close(
    world: ThreeProviders, vm: str
) -> None:
    """It is retried as one that must be gone; every other grant closes on time."""
    bad = world.ask(vm, minutes=20)
    good = world.ask(vm, who=BOB, source="192.0.2.9", minutes=20)
    world.pass_time(SLOW_MINUTES)
    provider = world.services.firewalls.of(FIREWALLS[vm])
    plan = provider.plan

    def raising(observed: object, wanted: object, refused: object = None) -> object:
        for allow in wanted.allows:  # type: ignore[attr-defined]
            if allow.request_id == bad.id and allow.wanted:
                raise ArithmeticError("odd")
        return plan(observed, wanted, refused)  # type: ignore[arg-type]

    object.__setattr__(provider, "plan", raising)
    world.pass_time(3 * SLOW_MINUTES)
    assert not world.reaches(vm)
    assert not world.reaches(vm, "192.0.2.9")
    assert world.status(good.id) is Status.REVOKED


# --- lost and unreadable rows --------------------------------------------------------------------


def test_with_every_row_lost_accesses_close_and_protections_stay(
    world: ThreeProviders, vm: str
) -> None:
    """Orphans that open go; strays that close stay."""
    world.ask(vm, minutes=60)
    world.pass_time(SLOW_MINUTES)
    before = closing(world, vm)
    for table in world.tables.all():
        table.rows.clear()
    converge(world.services, FIREWALLS[vm])
    world.clock.advance(5 * 60)
    assert not world.reaches(vm)
    assert closing(world, vm) == before


def closing(world: ThreeProviders, vm: str) -> set[str]:
    """Return the ids of what is ours and closes."""
    observed = world.services.firewalls.of(FIREWALLS[vm]).read(FIREWALLS[vm])
    return {own.id for own in observed.own if not own.opens}


def test_with_unreadable_rows_only_what_has_ended_is_closed(world: ThreeProviders, vm: str) -> None:
    """The rule's own text is the last home of its end; everything else of ours is kept."""
    world.ask(vm, minutes=20)
    world.ask(vm, who=BOB, port=3389, source="192.0.2.9", minutes=90)
    world.pass_time(SLOW_MINUTES)
    before = closing(world, vm)
    query = world.tables.firewalls.query

    def away(*_given: object, **_named: object) -> list[object]:
        raise OutsideError("no answer")

    world.tables.firewalls.query = away  # type: ignore[method-assign, assignment]
    world.clock.advance(10 * 60)
    with suppress(OutsideError):  # raised, unless a write that takes minutes is under way
        converge(world.services, FIREWALLS[vm])
    world.clock.advance(5 * 60)
    assert not world.reaches(vm)
    assert world.reaches(vm, "192.0.2.9", 3389)
    assert closing(world, vm) == before
    world.tables.firewalls.query = query  # type: ignore[method-assign]


# --- lanes ---------------------------------------------------------------------------------------


def test_the_holder_of_a_lane_serves_its_most_overdue_firewall_first(world: ThreeProviders) -> None:
    """Firewalls whose writes exclude each other share one lease; the longest overdue is first."""
    far = world.ask(BEHIND_SERIAL, minutes=20)
    near = world.ask(BEHIND_NEIGHBOUR, minutes=22)
    world.pass_time(SLOW_MINUTES + 5)
    assert {world.status(far.id), world.status(near.id)} == {Status.INITIATED}
    world.queues.waiting.clear()
    world.clock.advance(10 * 60)
    provider = world.services.firewalls.of(SERIAL)
    assert overdue_others(world.services, provider, NEIGHBOUR)[0] == [SERIAL]
    assert overdue_others(world.services, provider, SERIAL) == ([], [NEIGHBOUR])
    converge(world.services, NEIGHBOUR)
    assert world.serial.calls[-1] == SERIAL
    world.pass_time(15)
    assert {world.status(far.id), world.status(near.id)} == {Status.REVOKED}


def test_a_lease_of_a_lane_that_is_taken_leaves_a_message(world: ThreeProviders) -> None:
    """A worker that finds the lane's lease taken sends a message for its own firewall."""
    now = world.clock()
    world.services.rows.take_lease("serial:tree:tree", "other", now, now + timedelta(seconds=30))
    world.queues.waiting.clear()
    world.run("firewall", NEIGHBOUR)
    assert [each.subject for each in world.queues.waiting] == [NEIGHBOUR]


def test_a_firewall_that_no_provider_knows_stops_no_other(world: ThreeProviders) -> None:
    """Its due row stays and is reported; every other firewall is swept on time."""
    request = world.ask(DB, minutes=5)
    now = world.clock()
    world.services.due.add(now, "firewall", "/unknown/type", since=now)
    world.pass_time(7)
    assert world.status(request.id) is Status.REVOKED
    closing = world.request(request.id).ports[0].closing
    assert closing is not None
    assert closing.reason is CloseReason.EXPIRED
    assert any(isinstance(error, UnknownFirewallError) for _, error in world.telemetry.faults)


# --- crashes -------------------------------------------------------------------------------------


class KilledError(BaseException):
    """The worker was killed."""


@pytest.mark.parametrize("call", range(1, 9))
def test_a_crash_before_any_write_of_a_row_leaves_nothing_open(vm: str, call: int) -> None:
    """A worker killed at any write of its rows leaves no access open past its end."""
    world = ThreeProviders()
    world.pass_time(SLOW_MINUTES)
    request = world.ask(vm, minutes=25, work=False)
    left = [call]

    def killed(write: Callable[..., object]) -> Callable[..., object]:
        def writing(*given: object, **named: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                raise KilledError
            return write(*given, **named)

        return writing

    methods = ("insert", "replace", "upsert", "delete")
    for table in world.tables.all():
        for method in methods:
            setattr(table, method, killed(getattr(table, method)))
    with suppress(KilledError):
        world.run("request", request.id)
    for table in world.tables.all():
        for method in methods:
            delattr(table, method)
    world.clock.advance(60)
    world.pass_time(4 * SLOW_MINUTES)
    assert world.request(request.id).is_final
    assert not world.reaches(vm)


# --- what fails beside the loop ------------------------------------------------------------------


def test_a_refused_change_that_is_planned_again_ends_the_run(world: ThreeProviders) -> None:
    """A provider that plans what was refused once more is not asked without end."""
    provider = world.services.firewalls.of(SHARED)
    plan = provider.plan
    world.shared.refuse = lambda _verb, _target: "not authorized"
    world.shared.put(SHARED, Rule("tcp", 22, 22, "198.51.100.0/24", "theirs"))
    provider.plan = lambda observed, wanted, _refused=None: plan(observed, wanted)  # type: ignore[method-assign, assignment]
    with pytest.raises(RefusedError):
        converge(world.services, SHARED)


def test_an_extension_of_a_lost_request_gives_nothing_back(world: ThreeProviders) -> None:
    """Without the request's row there is no end to move: its grant is ended instead."""
    world.ask(DB, minutes=60)
    (grant,) = world.services.rows.read(NSG_SUBNET).grants
    world.tables.requests.rows.clear()
    assert not _give_back_end(world.services, grant, world.clock() + MINUTE, "refused")


def test_a_neighbour_in_the_lane_that_fails_stops_no_other(world: ThreeProviders) -> None:
    """A failure on one firewall of a lane is reported, and the firewall at hand is closed."""
    near = world.ask(BEHIND_NEIGHBOUR, minutes=22)
    world.pass_time(SLOW_MINUTES)
    world.queues.waiting.clear()
    read = Serial.read

    def failing(provider: Serial, firewall_id: str) -> object:
        if firewall_id == SERIAL:
            raise KeyError("odd")
        return read(provider, firewall_id)

    provider = world.services.firewalls.of(SERIAL)
    provider.read = lambda firewall_id: failing(provider, firewall_id)  # type: ignore[method-assign, assignment, return-value, arg-type]
    world.services.due.add(world.clock(), "firewall", SERIAL, since=world.clock())
    world.clock.advance(11 * 60)
    converge(world.services, NEIGHBOUR)
    world.clock.advance(5 * 60)
    assert not world.reaches(BEHIND_NEIGHBOUR)
    assert any(name == "jit.lane.failed" for name, _ in world.telemetry.faults)
    assert not world.request(near.id).is_final


def test_where_a_lane_cannot_be_listed_the_firewall_at_hand_is_converged(
    world: ThreeProviders,
) -> None:
    """The due rows that tell who else waits are no reason to keep anything open."""
    world.ask(BEHIND_SERIAL, minutes=20)
    world.pass_time(SLOW_MINUTES)

    def away(*_given: object, **_named: object) -> list[object]:
        raise OutsideError("no answer")

    world.tables.due.query = away  # type: ignore[method-assign, assignment]
    world.clock.advance(9 * 60)
    converge(world.services, SERIAL)
    world.clock.advance(5 * 60)
    assert not world.reaches(BEHIND_SERIAL)
    assert any(name == "jit.lane.unread" for name, _ in world.telemetry.faults)
