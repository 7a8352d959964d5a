"""Accesses close while the tables, the queues or a firewall do not answer."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.model import LONGEST_GRANT, Status
from shared.domain.times import format_sortable
from shared.firewalls.nsg.expiry import MARGIN, end_of, next_end, past_end
from shared.firewalls.nsg.model import Access, Snapshot
from shared.firewalls.nsg.rules import Plan, allow_rules
from shared.ports import (
    FirewallChangedError,
    FirewallRefusedError,
    OutsideError,
    RefusedError,
    Row,
    SettlingError,
)
from shared.use_cases.firewalls.converge import Outcome, converge, converge_on_message
from shared.use_cases.firewalls.unread import close_past_ends
from shared.use_cases.requests.decide import Caller, revoke
from shared.use_cases.timers.overruns import note_overruns, overran_before
from shared.use_cases.timers.reconcile import reconcile
from shared.use_cases.timers.sweep import sweep_if_late
from shared.use_cases.timers.sweep_firewalls import BUDGET
from tests.fakes import NAMES, START, MemoryTable
from tests.samples import grant
from tests.unit.breaking import NSG_FAR, BreakingWorld
from tests.world import ALICE, DB, NSG_NIC, NSG_SUBNET, World

MINUTE = timedelta(minutes=1)
METHODS = ("get", "query", "scan", "insert", "replace", "upsert", "delete", "remove", "transact")


@pytest.fixture
def world() -> BreakingWorld:
    """Open four accesses behind three firewalls, which end together."""
    return BreakingWorld()


def unanswered(*_given: object, **_named: object) -> None:
    """Fail as a service that does not answer."""
    raise OutsideError("no answer")


def take_tables_away(world: World) -> None:
    """Let no table answer."""
    for table in world.tables.all():
        for method in METHODS:
            setattr(table, method, unanswered)


def bring_tables_back(world: World) -> None:
    """Let every table answer again."""
    for table in world.tables.all():
        for method in METHODS:
            table.__dict__.pop(method, None)


def take_queues_away(world: World) -> None:
    """Lose every message, and let no queue answer."""
    world.queues.waiting.clear()
    world.queues._send = unanswered  # type: ignore[method-assign]
    world.queues.requested = unanswered  # type: ignore[method-assign, assignment]


# --- the tables are away -------------------------------------------------------------------------


def sweep_without_tables(world: World) -> None:
    """Run the sweep, which raises that it could not read what is due."""
    with pytest.raises(OutsideError):
        world.sweep()


def test_without_tables_a_message_of_an_end_closes(world: BreakingWorld) -> None:
    """Ten minutes without tables keep nothing open past its end message, and cost no record."""
    later = world.ask(DB, 3389, minutes=12)
    world.clock.advance(60)
    take_tables_away(world)
    world.pass_time(10, sweeping=False)
    (left,) = world.firewall.ours(NSG_SUBNET, Access.ALLOW)
    assert end_of(left) == later.ports[0].end_at
    assert not world.firewall.ours(NSG_NIC, Access.ALLOW)
    assert not world.firewall.ours(NSG_FAR, Access.ALLOW)
    bring_tables_back(world)
    world.pass_time(3)
    assert world.status(world.victim) is Status.REVOKED
    told = {f.operation for _, f in world.services.activity.on(world.clock())}
    assert "closed" in told


def test_without_tables_each_close_comes_within_a_minute_of_its_end(world: BreakingWorld) -> None:
    """The messages were sent when the accesses opened."""
    take_tables_away(world)
    world.pass_time(6, sweeping=False)
    assert world.allows() == []
    assert 0 < world.late <= 60


def test_without_tables_and_messages_the_sweep_closes_by_the_rules_own_text(
    world: BreakingWorld,
) -> None:
    """The firewalls are found by listing them; what has not ended stays, and so do the denies."""
    later = world.ask(DB, 3389, minutes=30)
    denies = len(world.firewall.ours(NSG_SUBNET, Access.DENY))
    take_queues_away(world)
    take_tables_away(world)
    world.clock.now = world.end + MARGIN
    sweep_without_tables(world)
    assert [end_of(rule) for rule in world.firewall.ours(NSG_SUBNET, Access.ALLOW)] == [
        later.ports[0].end_at
    ]
    assert not world.firewall.ours(NSG_NIC, Access.ALLOW)
    assert len(world.firewall.ours(NSG_SUBNET, Access.DENY)) == denies


def test_a_sweep_without_tables_goes_on_after_a_firewall_that_fails(world: BreakingWorld) -> None:
    """One that cannot be read stops no other; nor does a list that cannot be read raise."""
    take_tables_away(world)
    read = world.firewall.read

    def away(firewall_id: str) -> Snapshot:
        if firewall_id.lower() == NSG_NIC.lower():
            raise OutsideError("away")
        return read(firewall_id)

    world.firewall.read = away  # type: ignore[method-assign]
    world.clock.now = world.end + MARGIN
    sweep_without_tables(world)
    assert not world.firewall.ours(NSG_FAR, Access.ALLOW)
    assert world.firewall.ours(NSG_NIC, Access.ALLOW)
    world.firewall.list_with_our_rules = unanswered  # type: ignore[method-assign, assignment]
    sweep_without_tables(world)


def test_without_tables_what_has_not_ended_stays_open(world: BreakingWorld) -> None:
    """An unanswered read proves nothing: it closes nothing early and removes no deny."""
    before = {nsg: list(world.firewall.ours(nsg)) for nsg in (NSG_NIC, NSG_SUBNET)}
    take_tables_away(world)
    with pytest.raises(OutsideError):
        converge_on_message(world.services, NSG_SUBNET)
    assert {nsg: world.firewall.ours(nsg) for nsg in before} == before


def test_a_late_sweep_that_fails_is_reported(world: BreakingWorld) -> None:
    """The message that found the sweep late has been handled, and does not come back for it."""
    take_tables_away(world)
    sweep_if_late(world.services)
    assert any(name == "jit.sweep.failed" for name, _ in world.telemetry.faults)


def note_as_ignored(world: BreakingWorld) -> None:
    """Have another worker find that If-Match is not honoured any more."""
    values = {"state": "ignored", "at": format_sortable(world.clock())}
    world.services.tables.firewalls.upsert(Row("health", "probe", values))


def test_whole_writes_go_on_as_they_were_while_the_store_is_away(world: BreakingWorld) -> None:
    """The store is not asked again for half a minute: a close waits for the answer."""
    ask = world.probe.allows
    assert ask()
    world.clock.advance(15 * 60)
    take_tables_away(world)
    assert ask()
    bring_tables_back(world)
    note_as_ignored(world)
    assert ask()
    world.clock.advance(31)
    assert not ask()


def test_a_proof_of_whole_writes_is_read_once_in_a_quarter_of_an_hour(world: BreakingWorld) -> None:
    """Writes that follow each other do not each read its row; what another worker found counts then."""
    ask = world.probe.allows
    assert ask()
    world.clock.advance(14 * 60)
    note_as_ignored(world)
    take_tables_away(world)
    assert ask()
    assert not world.telemetry.named("jit.probe.unread")
    bring_tables_back(world)
    world.clock.advance(61)
    assert not ask()


# --- the end in a rule's own text ----------------------------------------------------------------

RULE = allow_rules(grant(expires_at=START + MINUTE), NAMES)[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "JIT access request id1 until tomorrow",
        "JIT access request id1 until 2026-13-22T14:00:00Z",
        "JIT access request id1",
        "until 2026-11-22T14:01:00Z",
        "JIT access request id1 until 2027-11-22T14:01:00Z",
    ],
)
def test_an_allow_whose_end_is_missing_unreadable_or_too_far_has_ended(text: str) -> None:
    """With any text it is our rule, and no grant lasts longer than a day."""
    rule = replace(RULE, description=text)
    assert past_end([rule], NAMES, START) == (RULE.name,)
    assert next_end([rule], NAMES, START) is None


@pytest.mark.parametrize("requestor", ["", " for alice", " for x until 2099-01-01T00:00:00Z"])
def test_an_allow_has_ended_once_its_end_and_the_margin_have_passed(requestor: str) -> None:
    """Clocks disagree, and the text is cut to the second; a name at its end counts for nothing."""
    rule = replace(RULE, description=RULE.description + requestor)
    end = START + MINUTE + MARGIN
    assert past_end([rule], NAMES, end - timedelta(milliseconds=1)) == ()
    assert past_end([rule], NAMES, end) == (RULE.name,)
    assert next_end([rule], NAMES, START) == end


def test_denies_and_the_rules_of_others_have_no_end() -> None:
    """Their texts are not read."""
    theirs = replace(RULE, name="theirs", description="")
    deny = replace(RULE, access=Access.DENY, description="")
    assert past_end([theirs, deny], NAMES, START) == ()


def test_the_longest_grant_has_not_ended() -> None:
    """Not even where the clock of the worker that wrote it was ahead."""
    rule = allow_rules(grant(expires_at=START + LONGEST_GRANT), NAMES)[0]
    assert past_end([rule], NAMES, START) == ()


def test_a_rule_that_is_not_let_go_keeps_no_other_open(world: BreakingWorld) -> None:
    """The others are removed, and the refusal is raised."""
    stubborn = world.firewall.ours(NSG_SUBNET, Access.ALLOW)[0]
    world.firewall.refuse[stubborn.name] = "ScopeLocked"
    world.clock.now = world.end + MARGIN
    with pytest.raises(RefusedError):
        close_past_ends(world.services, NSG_SUBNET)
    assert world.firewall.ours(NSG_SUBNET, Access.ALLOW) == [stubborn]


def test_a_refusal_that_blames_no_rule_is_raised(world: BreakingWorld) -> None:
    """There is nothing else to try."""

    def refuse(_snapshot: Snapshot, _plan: Plan) -> None:
        raise FirewallRefusedError("locked", code="ScopeLocked")

    world.firewall.before_write = refuse
    world.clock.now = world.end + MARGIN
    with pytest.raises(RefusedError):
        close_past_ends(world.services, NSG_SUBNET)


def test_a_neighbour_who_is_always_quicker_is_given_up(world: BreakingWorld) -> None:
    """After some tries; the next message or sweep tries again."""
    tried = []

    def quicker(snapshot: Snapshot, _plan: Plan) -> None:
        tried.append(snapshot)
        raise FirewallChangedError("changed")

    world.firewall.before_write = quicker
    world.clock.now = world.end + MARGIN
    with pytest.raises(OutsideError, match="still holds"):
        close_past_ends(world.services, NSG_SUBNET)
    assert len(tried) < 10


# --- the queues are away -------------------------------------------------------------------------


def test_without_queues_two_sweeps_close_everything(world: BreakingWorld) -> None:
    """No message is needed: the sweep converges by itself."""
    take_queues_away(world)
    world.clock.now = world.end
    world.sweep()
    world.clock.advance(60)
    world.sweep()
    assert world.allows() == []
    assert world.status(world.victim) is Status.REVOKED


def test_without_queues_a_revoke_closes_with_the_next_sweep(world: BreakingWorld) -> None:
    """It is recorded, and its due row leads the sweep to it."""
    take_queues_away(world)
    revoke(world.services, world.victim, Caller(ALICE))
    world.sweep()
    assert not [r for r in world.firewall.ours(NSG_NIC, Access.ALLOW) if r.ports == ("22",)]


def test_without_queues_an_opening_is_not_left_to_a_message() -> None:
    """Openings that cannot be counted or deferred are written at once."""
    world = World()
    world.protect()
    world.ask(DB)
    for method in ("requested", "_send"):
        second = world.ask(DB, source=f"192.0.2.{len(method)}", work=False)
        world.queues.waiting.clear()
        world.queues.requested = lambda: 100  # type: ignore[method-assign]
        setattr(world.queues, method, unanswered)
        world.run("request", second.id)
        assert world.status(second.id) is Status.INITIATED
        world.queues.__dict__.pop("_send", None)


# --- a firewall that stays busy ------------------------------------------------------------------


def keep_busy(world: World, nsg: str, seconds: float = 10.0) -> Callable[[], None]:
    """Let a firewall never settle: each read waits in vain; return what lets it settle."""
    read = world.firewall.read

    def busy(firewall_id: str) -> Snapshot:
        snapshot = read(firewall_id)
        if firewall_id.lower() != nsg.lower():
            return snapshot
        world.clock.advance(seconds)
        raise SettlingError("updating", retry_after=2.0, snapshot=snapshot)

    world.firewall.read = busy  # type: ignore[method-assign]
    return lambda: setattr(world.firewall, "read", read)


def test_a_firewall_that_never_settles_is_left_to_a_message(world: BreakingWorld) -> None:
    """Ended openings on it are removed all the same; nothing is proven before it settles."""
    settle = keep_busy(world, NSG_NIC)
    world.clock.now = world.end
    world.queues.waiting.clear()
    assert converge(world.services, NSG_NIC) is Outcome.SETTLING
    assert not world.firewall.ours(NSG_NIC, Access.ALLOW)
    assert world.firewall.ours(NSG_NIC, Access.DENY)
    assert world.status(world.victim) is Status.INITIATED
    assert [each.subject for each in world.queues.waiting if each.kind == "firewall"]
    settle()
    world.pass_time(2)
    assert world.status(world.victim) is Status.REVOKED


def test_a_removal_that_a_busy_firewall_refuses_is_tried_again(world: BreakingWorld) -> None:
    """It is reported, and the message that follows finds it again."""
    settle = keep_busy(world, NSG_NIC)
    world.clock.now = world.end

    def quicker(_snapshot: Snapshot, _plan: Plan) -> None:
        raise FirewallChangedError("changed")

    world.firewall.before_write = quicker
    assert converge(world.services, NSG_NIC) is Outcome.SETTLING
    assert any(name == "jit.converge.busy" for name, _ in world.telemetry.faults)
    settle()
    world.firewall.before_write = lambda _s, _p: None
    world.pass_time(2)
    assert world.allows() == []


def test_without_tables_a_busy_firewall_is_closed_by_its_own_text(world: BreakingWorld) -> None:
    """Neither its rows nor its settling are waited for."""
    keep_busy(world, NSG_NIC)
    take_tables_away(world)
    world.clock.now = world.end + MARGIN
    close_past_ends(world.services, NSG_NIC)
    assert not world.firewall.ours(NSG_NIC, Access.ALLOW)


def test_a_firewall_that_overran_comes_last_in_the_next_sweep(world: BreakingWorld) -> None:
    """It gets a message and keeps its due row; the others are closed before it is tried again."""
    keep_busy(world, NSG_FAR)
    world.clock.now = world.end
    world.sweep()
    assert not world.firewall.ours(NSG_SUBNET, Access.ALLOW)
    assert len(overran_before(world.services)) == 1
    order: list[str] = []
    read = world.firewall.read

    def noted(firewall_id: str) -> Snapshot:
        order.append(firewall_id.lower())
        return read(firewall_id)

    world.firewall.read = noted  # type: ignore[method-assign]
    for nsg in (NSG_SUBNET, NSG_NIC):
        world.services.due.add(world.clock(), "firewall", nsg, since=world.clock())
    world.sweep()
    assert order[-1] == NSG_FAR.lower()
    assert set(order) == {NSG_FAR.lower(), NSG_NIC.lower(), NSG_SUBNET.lower()}


def test_a_neighbour_who_writes_all_the_time_uses_up_the_budget_and_no_more(
    world: BreakingWorld,
) -> None:
    """The sweep leaves that firewall to a message, and closes every other on time."""

    def quicker(snapshot: Snapshot, _plan: Plan) -> None:
        if snapshot.firewall_id.lower() == NSG_NIC.lower():
            world.clock.advance(2)
            raise FirewallChangedError("changed")

    world.firewall.before_write = quicker
    world.queues.waiting.clear()
    world.clock.now = world.end
    world.sweep()
    assert world.clock() - world.end <= BUDGET + timedelta(seconds=15)
    assert not world.firewall.ours(NSG_SUBNET, Access.ALLOW)
    assert not world.firewall.ours(NSG_FAR, Access.ALLOW)
    assert NSG_NIC.lower() in {each.subject.lower() for each in world.queues.waiting}
    assert any(
        due.subject.lower() == NSG_NIC.lower()
        for due in world.services.due.until(world.clock() + MINUTE)
    )
    world.firewall.before_write = lambda _s, _p: None
    world.pass_time(1)
    assert world.allows() == []


def test_the_memory_of_overruns_may_be_lost(world: BreakingWorld) -> None:
    """It decides an order and nothing else."""
    note_overruns(world.services, {NSG_NIC})
    assert len(overran_before(world.services)) == 1
    note_overruns(world.services, ())
    assert overran_before(world.services) == frozenset()
    take_tables_away(world)
    note_overruns(world.services, {NSG_NIC})
    assert overran_before(world.services) == frozenset()


# --- one row among many --------------------------------------------------------------------------


def test_a_lease_dated_far_ahead_is_no_lease(world: BreakingWorld) -> None:
    """The row stops no converge, whatever its origin."""
    rows: MemoryTable = world.tables.firewalls
    place = next(key for key in rows.rows if key[1] == "lease" and "subnet" in key[0])
    for until in ("2099-01-01T00:00:00.000Z", "zzz", 7):
        rows.upsert(Row(*place, {"owner": "x", "until": until}))
        assert converge(world.services, NSG_SUBNET) is Outcome.DONE
    rows.upsert(Row(*place, {"owner": "x"}))
    assert converge(world.services, NSG_SUBNET) is Outcome.DONE


def test_a_list_of_firewalls_that_fails_stops_no_sweep(world: BreakingWorld) -> None:
    """Every decodable firewall is swept; the due row that cannot be decoded stays."""
    world.garble("due")
    world.firewall.list_with_our_rules = unanswered  # type: ignore[method-assign, assignment]
    world.queues.waiting.clear()
    world.clock.now = world.end
    world.sweep()
    assert not world.firewall.ours(NSG_FAR, Access.ALLOW)


def test_a_reconcile_goes_on_without_its_policies(world: BreakingWorld) -> None:
    """Firewalls are found by listing them, and orphans go."""
    orphan = allow_rules(grant("gone"), NAMES)[0]
    world.firewall.edit(NSG_FAR, replace(orphan, priority=300))
    world.tables.policies.scan = unanswered  # type: ignore[method-assign, assignment]
    assert reconcile(world.services) == 1
    assert orphan.name not in world.firewall.rules(NSG_FAR)
