"""A bad day of Azure Resource Manager: what must close closes, and what is Initiated is open."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.domain.model import GRACE, Status
from shared.firewalls.nsg.model import Access, SecurityRule, Snapshot
from shared.firewalls.nsg.rules import Plan
from shared.ports import OutsideError, ThrottledError
from shared.use_cases.firewalls.converge import converge
from shared.use_cases.timers.reconcile import reconcile
from tests.faults.simulated import (
    FOREIGN,
    SETTLE_SECONDS,
    SimulatedWorld,
    assert_never_wrote_while_updating,
    assert_over,
    machine,
    nic_id,
    nsg,
)
from tests.world import ALICE, BOB, DB, NSG_NIC, NSG_SUBNET, WEB

WRITES = "PUT|DELETE"
# What passes by itself: each strikes the first calls of opening, replacing and closing.
PASSING: dict[str, list[dict[str, Any]]] = {
    "a quota with a short Retry-After": [{"kind": "throttle", "retryAfter": 7, "times": 2}],
    "ARM's own quota": [{"kind": "throttle", "by": "arm", "retryAfter": 3, "times": 2}],
    "a quota on reads": [{"kind": "throttle", "retryAfter": 5, "method": "GET", "times": 2}],
    "429 that is a lock": [{"kind": "locked", "times": 3}],
    "409 another operation": [{"kind": "conflict", "times": 3}],
    "412 from another writer": [{"kind": "precondition", "times": 5}],
    "superseded after its 201": [{"kind": "supersede", "times": 2}],
    "accepted and not taken": [{"kind": "notTaken", "times": 2}],
    "500": [{"kind": "serverError", "status": 500, "method": WRITES, "times": 2}],
    "503 on reads": [{"kind": "serverError", "status": 503, "method": "GET", "times": 2}],
    "504": [{"kind": "serverError", "status": 504, "method": WRITES, "times": 2}],
    "dropped before": [{"kind": "dropBefore", "method": WRITES, "times": 2}],
    "dropped after": [{"kind": "dropAfter", "method": WRITES, "times": 2}],
    "dropped reads": [{"kind": "dropBefore", "method": "GET", "times": 2}],
    "all at once": [
        {"kind": "locked", "times": 1},
        {"kind": "dropAfter", "method": WRITES, "times": 1},
        {"kind": "precondition", "times": 1},
        {"kind": "supersede", "times": 1},
        {"kind": "serverError", "status": 503, "method": WRITES, "times": 1},
    ],
}

# Those that meet child writes alone in another place than whole ones.
ONE_BY_ONE = {
    "412 from another writer",
    "superseded after its 201",
    "accepted and not taken",
    "dropped after",
    "all at once",
}


@pytest.mark.parametrize(
    ("faults", "nsg_write"),
    [
        *((faults, "auto") for faults in PASSING),
        *((faults, "rules") for faults in PASSING if faults in ONE_BY_ONE),
    ],
)
def test_what_passes_by_itself_delays_and_changes_nothing(faults: str, nsg_write: str) -> None:
    """Protecting, opening, replacing and closing get there, on time, and touch no foreign rule."""
    world = SimulatedWorld(*FOREIGN, nsg_write=nsg_write)
    foreign = world.foreign(NSG_SUBNET)
    world.order(*PASSING[faults])
    world.protect()
    world.pass_time(1)
    assert len(world.denies(NSG_SUBNET)) == 2
    world.order(*PASSING[faults])
    first, bobs = world.ask(DB, minutes=5), world.ask(DB, who=BOB, minutes=5)
    world.order(*PASSING[faults])
    second = world.ask(DB, minutes=5)
    world.pass_time(1)
    assert world.is_open(DB)
    assert [world.status(each.id) for each in (bobs, second)] == [Status.INITIATED] * 2
    assert world.status(first.id) is Status.REVOKED
    world.pass_time(3)
    world.order(*PASSING[faults])
    world.pass_time(3)
    assert_over(world)
    assert world.status(second.id) is Status.REVOKED
    assert world.foreign(NSG_SUBNET) == foreign
    assert_never_wrote_while_updating(world)
    assert max(each.lateness_seconds or 0 for each in world.events("closed")) < 120


# --- quotas ------------------------------------------------------------------------------------


def test_a_short_quota_is_waited_for_with_the_lease_held() -> None:
    """No call is made before the Retry-After has passed: asking earlier is not processed."""
    world = SimulatedWorld()
    world.protect()
    world.order(kind="throttle", retryAfter=20, method=WRITES)
    request = world.ask()
    assert world.status(request.id) is Status.INITIATED
    refused = next(at for at, call in enumerate(world.writes()) if call["status"] == 429)
    calls = [datetime.fromisoformat(call["at"]) for call in world.writes()[refused : refused + 2]]
    assert calls[1] - calls[0] >= timedelta(seconds=20)


def test_a_long_quota_gives_the_lease_back() -> None:
    """Where the wait is longer than half a minute, no worker holds the lease meanwhile."""
    world = SimulatedWorld()
    world.protect()
    request = world.ask(minutes=5)
    world.clock.advance(5 * 60)
    world.order(kind="throttle", retryAfter=200, method=WRITES, times=None)
    with pytest.raises(ThrottledError) as told:
        converge(world.services, NSG_NIC)
    assert told.value.retry_after == 200
    world.order()
    world.sweep()
    assert_over(world)
    assert world.status(request.id) is Status.REVOKED


@pytest.mark.parametrize("method", [WRITES, "GET"])
@pytest.mark.parametrize("by", ["arm", "network"])
def test_a_long_quota_delays_an_opening_and_fails_no_request(method: str, by: str) -> None:
    """A request made while a quota is used up for minutes opens as soon as the quota is back."""
    world = SimulatedWorld()
    world.protect()
    world.order(kind="throttle", by=by, retryAfter=240, method=method, times=None)
    request = world.ask(minutes=15, work=False)
    world.pass_time(3)
    assert world.status(request.id) is Status.INITIATING
    calls = [call for call in world.writes() if call["status"] == 429]
    assert len(calls) <= 2 * 4
    world.order()
    world.pass_time(2)
    assert world.status(request.id) is Status.INITIATED
    assert world.is_open()


def test_a_quota_used_up_for_five_minutes_delays_a_close_by_no_more() -> None:
    """The first sweep after the quota is back closes what expired meanwhile."""
    world = SimulatedWorld()
    world.protect()
    request = world.ask(minutes=5)
    world.pass_time(4)
    world.order(kind="throttle", retryAfter=300, times=None)
    world.pass_time(6)
    assert world.status(request.id) is Status.INITIATED
    world.order()
    world.sweep()
    assert_over(world)
    assert world.port(request.id).closing is not None


def test_the_real_quotas_are_enough_for_a_burst() -> None:
    """With Azure's own quotas in force, and one write at a time, a dozen people get in and out."""
    world = SimulatedWorld()
    world.protect()
    world.arm.control("quotas", {"enabled": True})
    for number in range(12):
        world.ask(DB, source=f"203.0.113.{number}", work=False)
    world.pass_time(2)
    assert len(world.allows(NSG_SUBNET)) == 12
    world.pass_time(12)
    assert_over(world)
    assert_never_wrote_while_updating(world)


# --- other writers -----------------------------------------------------------------------------


def busy_colleague(world: SimulatedWorld, times: int) -> Callable[[Snapshot, Plan], None]:
    """Return a writer that edits a group right before each write of ours, so many times."""
    edits = iter(range(times))

    def edit(snapshot: Snapshot, _plan: Plan) -> None:
        number = next(edits, None)
        if number is not None:
            rule = SecurityRule(
                f"colleague-{number}", Access.ALLOW, "Tcp", ("*",), ("10.0.0.4",), ("8080",),
                priority=2000 + number,
            )  # fmt: skip
            world.edit(snapshot.firewall_id, rule)

    return edit


@pytest.mark.parametrize("nsg_write", ["auto", "rules"])
def test_a_storm_of_412s_ends_with_everybodys_changes_in_place(nsg_write: str) -> None:
    """Each of a colleague's thirty edits between our read and our write survives, and so do ours."""
    world = SimulatedWorld(nsg_write=nsg_write)
    world.protect()
    first, second = world.ask(DB, minutes=5), world.ask(DB, who=BOB, minutes=5)
    world.clock.advance(5 * 60)
    world.before_write = busy_colleague(world, 30)
    world.sweep()
    assert_over(world)
    assert [world.status(each.id) for each in (first, second)] == [Status.REVOKED] * 2
    assert len(world.foreign(NSG_SUBNET)) == 30
    refused = [call for call in world.writes(NSG_SUBNET) if call["status"] == 412]
    assert len(refused) >= 29


def test_a_storm_that_never_ends_is_left_to_the_next_sweep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After some minutes of 412s converging gives up its lease; it ends when the storm does."""
    monkeypatch.setattr("shared.use_cases.firewalls.converge.LONGEST_RUN", timedelta(minutes=1))
    world = SimulatedWorld()
    world.protect()
    request = world.ask(DB, minutes=5)
    world.clock.advance(5 * 60)
    world.order(kind="precondition", times=None)
    assert world.sweep() == 1
    assert world.status(request.id) is Status.INITIATED
    world.order()
    assert world.sweep() == 0
    assert_over(world)


def test_a_group_that_is_updating_is_not_written() -> None:
    """While another writer's write is on its way, ours waits until it has settled."""
    world = SimulatedWorld()
    world.protect()
    request = world.ask(DB, minutes=5)
    world.clock.advance(5 * 60)
    body = nsg(NSG_SUBNET)
    body["properties"]["securityRules"] = world.raw(NSG_SUBNET)
    body["properties"]["securityRules"].append(
        {
            "name": "colleague",
            "properties": {
                "access": "Allow",
                "direction": "Inbound",
                "priority": 500,
                "protocol": "Tcp",
                "sourceAddressPrefix": "*",
                "sourcePortRange": "*",
                "destinationAddressPrefix": "*",
                "destinationPortRange": "8443",
            },
        }
    )
    assert world.arm.call("PUT", NSG_SUBNET, body).status == 200
    before = len(world.writes(NSG_SUBNET))
    started = world.clock()
    world.sweep()
    assert_over(world)
    assert_never_wrote_while_updating(world)
    first = world.writes(NSG_SUBNET)[before]
    assert datetime.fromisoformat(first["at"]) >= started + timedelta(seconds=SETTLE_SECONDS)
    assert "colleague" in world.foreign(NSG_SUBNET)
    assert world.status(request.id) is Status.REVOKED


@pytest.mark.parametrize("concurrency", ["accept", "locked", "conflict", "supersede"])
def test_whatever_a_second_write_meets_ours_is_alone(concurrency: str) -> None:
    """However the service treats overlapping writes, we never send one, and all comes true."""
    world = SimulatedWorld(*FOREIGN)
    world.set(concurrency=concurrency)
    world.protect()
    requests = [world.ask(who=who, minutes=5) for who in (ALICE, BOB)]
    assert world.is_open()
    world.pass_time(6)
    assert_over(world)
    assert {world.status(each.id) for each in requests} == {Status.REVOKED}
    assert_never_wrote_while_updating(world)


# --- proof, not hope ---------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["supersede", "notTaken"])
def test_nothing_is_initiated_that_was_only_accepted(fault: str) -> None:
    """As long as writes answer 201 and come to nothing, a request is not Initiated."""
    world = SimulatedWorld()
    world.protect()
    world.order(kind=fault, times=None)
    request = world.ask(work=False)
    with pytest.raises(OutsideError):
        world.run("request", request.id)
    assert world.status(request.id) is Status.INITIATING
    assert not world.is_open()
    assert len(world.writes()) < 60
    world.order()
    world.work()
    assert world.status(request.id) is Status.INITIATED
    assert world.is_open()


@pytest.mark.parametrize("fault", ["supersede", "notTaken"])
def test_nothing_is_closed_that_was_only_accepted(fault: str) -> None:
    """As long as removals answer 202 and come to nothing, the request is not Revoked."""
    world = SimulatedWorld()
    world.protect()
    request = world.ask(minutes=5)
    world.clock.advance(5 * 60)
    world.order(kind=fault, times=None)
    sent = len(world.writes())
    assert world.sweep() == 2
    assert world.status(request.id) is Status.INITIATED
    assert len(world.writes()) - sent < 60
    world.order()
    assert world.sweep() == 0
    assert world.status(request.id) is Status.REVOKED
    assert_over(world)


def test_a_write_that_lands_after_the_close_was_proven_is_undone() -> None:
    """A stalled write of ours that takes effect late finds its sealed row, and is an orphan."""
    world = SimulatedWorld()
    world.protect()
    request = world.ask(minutes=5)
    late = world.allows(NSG_SUBNET)[0]
    world.pass_time(6)
    assert world.status(request.id) is Status.REVOKED
    world.edit(NSG_SUBNET, late)
    world.edit(NSG_NIC, late)
    assert world.is_open()
    world.pass_time(GRACE.total_seconds() / 60 + 1)
    assert_over(world)
    assert not world.services.rows.read(NSG_SUBNET).grants


# --- outages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["serverError", "dropBefore"])
def test_an_outage_of_two_hours_over_many_expiries(fault: str) -> None:
    """One sweep after ARM is back, everything that expired meanwhile is closed and told so."""
    world = SimulatedWorld(*FOREIGN)
    foreign = world.foreign(NSG_SUBNET)
    world.protect()
    requests = [
        world.ask((WEB, DB)[number % 2], source=f"203.0.113.{number}", minutes=5 + 11 * number)
        for number in range(10)
    ]
    ends = [world.port(each.id).end_at for each in requests]
    world.order(kind=fault, times=None)
    for _ in range(24):
        world.clock.advance(5 * 60)
        world.sweep()
    assert {world.status(each.id) for each in requests} == {Status.INITIATED}
    assert world.telemetry.named("jit.sweep.completed")[-1]["overdue"] == 2
    world.order()
    world.sweep()
    assert_over(world)
    assert {world.status(each.id) for each in requests} == {Status.REVOKED}
    assert [world.port(each.id).end_at for each in requests] == ends
    assert world.foreign(NSG_SUBNET) == foreign
    reasons = {closing.reason for each in requests if (closing := world.port(each.id).closing)}
    assert reasons == {"Expired"}


def test_an_outage_draws_no_burst_of_retries() -> None:
    """However many grants are overdue, a sweep tries a firewall that does not answer once.

    A message for each grant would use up the quota that closing needs.
    """
    world = SimulatedWorld()
    world.protect()
    for number in range(10):
        world.ask(DB, source=f"203.0.113.{number}", minutes=5)
    world.pass_time(4)
    world.order(kind="serverError", times=None)
    world.clock.advance(180)
    world.sweep()
    world.queues.waiting.clear()
    calls = len(world.arm.ask("log")["calls"])
    world.clock.advance(60)
    assert world.sweep() == 1
    assert not world.queues.waiting
    assert len(world.arm.ask("log")["calls"]) - calls <= 5


def test_an_outage_of_one_group_delays_no_other() -> None:
    """While one group answers 503, what stands on the others is closed on time."""
    world = SimulatedWorld()
    world.protect()
    web, db = world.ask(minutes=5), world.ask(DB, minutes=5)
    world.order(kind="serverError", path="nic-nsg", times=None)
    world.pass_time(6)
    assert world.status(db.id) is Status.REVOKED
    assert not world.allows(NSG_SUBNET)
    assert not world.is_open(WEB)
    assert world.status(web.id) is Status.INITIATED
    world.order()
    world.sweep()
    assert_over(world)
    assert world.status(web.id) is Status.REVOKED


# --- what is gone ------------------------------------------------------------------------------


def test_a_deleted_group_ends_what_stood_there() -> None:
    """Of two groups one is deleted: the request ends with that reason, and the other is closed."""
    world = SimulatedWorld()
    world.protect()
    request = world.ask(minutes=60)
    world.remove(NSG_NIC)
    reconcile(world.services)
    world.pass_time(1)
    assert world.request(request.id).is_final
    assert "no longer" in world.why(request.id)
    assert not world.allows(NSG_SUBNET)


def test_a_deleted_vm_is_closed_within_one_reconcile() -> None:
    """Its address may be another machine's tomorrow: allow and deny go before the grant ends."""
    world = SimulatedWorld()
    world.protect()
    request = world.ask(minutes=60)
    world.remove(WEB, nic_id("web-nic"))
    reconcile(world.services)
    world.work()
    assert not world.ours(NSG_NIC)
    assert not world.allows(NSG_SUBNET)
    assert len(world.denies(NSG_SUBNET)) == 1
    assert world.status(request.id) is Status.REVOKED
    assert "the VM does not exist" in world.policy().error


def test_a_vm_deleted_while_its_request_waits_fails_it() -> None:
    """The request ends with the reason, and no rule was ever written for it."""
    world = SimulatedWorld()
    world.protect()
    request = world.ask(work=False)
    world.remove(WEB)
    world.work()
    assert world.status(request.id) is Status.FAILED
    assert world.why(request.id) == "the VM does not exist"
    assert not [*world.allows(), *world.allows(NSG_SUBNET)]


def test_a_missing_interface_proves_nothing() -> None:
    """A VM that names an interface which is not there is tried again, then failed; none opens."""
    world = SimulatedWorld()
    world.protect()
    world.place(machine("web", "web-nic", "web-nic-2"))
    request = world.ask(work=False)
    world.pass_time(2)
    assert world.status(request.id) is Status.FAILED
    assert not world.allows()
    assert not world.allows(NSG_SUBNET)
