"""How tools like this one have failed their users, each failure as a test that it is not ours.

The cases come from the issue trackers of other just-in-time access tools and of Azure's clients.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.domain.errors import ConflictError
from shared.domain.ids import RuleNames
from shared.domain.model import Conditions, Principal, Status
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.rules import Band
from shared.ports import (
    FirewallRefusedError,
    OutsideError,
    Row,
    ThrottledError,
)
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests import notify as notices
from shared.use_cases.timers import health as watch
from shared.use_cases.timers.reconcile import reconcile
from tests.fakes import NAMES
from tests.faults.harness import FaultType, FragileWorld
from tests.faults.simulated import (
    NETWORK,
    SETTLE_SECONDS,
    SimulatedWorld,
    assert_never_wrote_while_updating,
    assert_over,
    machine,
    nic,
    nic_id,
    nsg,
)
from tests.functions.web_app import AS_ALICE, WebApp
from tests.world import ALICE, BOB, DB, NSG_NIC, NSG_SUBNET, SOURCE, WEB, World, vm_id

CAROL = Principal("tenant", "carol-id", "carol", roles=frozenset({"Jit.Approve"}))
DAN = Principal("tenant", "dan-id", "dan", roles=frozenset({"Jit.Approve"}))


def opens(world: World, firewall_id: str = NSG_NIC) -> list[SecurityRule]:
    """Return our allow rules on a group in memory."""
    return world.firewall.ours(firewall_id, Access.ALLOW)


def events(world: World, operation: str) -> list[str]:
    """Return the ids of the events of one type."""
    docs = [
        json.loads(str(r.values["doc"]))
        for r in world.tables.activity.rows.values()
        if "doc" in r.values
    ]
    return [doc["id"] for doc in docs if doc["operation"] == operation]


def awaiting(world: World, needed: int = 1) -> str:
    """Make a request that waits for people."""
    policy = replace(world.protect(), conditions=Conditions(approvers_needed=needed))
    protection.put_policy(world.services, policy)
    world.work()
    return world.ask().id


# --- 1: a redeployment while grants are live made their revokes fail ----------------------------


def _newer(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "addedLater": {"nested": [1]}}


def _older(document: dict[str, Any]) -> dict[str, Any]:
    known = {"justification", "source_address", "authorized_by", "opened_at", "requestor_name"}
    return {name: value for name, value in document.items() if name not in known}


@pytest.mark.parametrize("rewrite", [_newer, _older])
def test_01_rows_of_another_version_still_close(
    rewrite: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    """An upgrade or a downgrade in the middle of a grant keeps nothing open.

    Rules written under another prefix are still ours.
    """
    world = World()
    world.protect()
    request = world.ask(minutes=10)
    for table in world.tables.all():
        for row in list(table.rows.values()):
            if "doc" in row.values:
                changed = json.dumps(rewrite(json.loads(str(row.values["doc"]))))
                table.upsert(replace(row, values={**row.values, "doc": changed}))
    names = RuleNames("JustInTime", NAMES.deployment)
    world.rewire(names=names)
    world.pass_time(12)
    assert world.status(request.id) is Status.REVOKED
    assert not opens(world)
    assert not opens(world, NSG_SUBNET)


# --- 2: an earlier grant's expiry removed a later grant's access --------------------------------


@pytest.mark.parametrize("who", [ALICE, BOB])
def test_02_the_end_of_one_grant_leaves_the_next_one_open(who: Principal) -> None:
    """Same VM, port and address, staggered, by one person or by two: each lasts as promised."""
    world = World()
    world.protect()
    first = world.ask(minutes=10)
    world.pass_time(5)
    second = world.ask(minutes=10, who=who)
    world.pass_time(6)
    assert world.status(first.id) is Status.REVOKED
    assert world.status(second.id) is Status.INITIATED
    assert len(opens(world)) == 1
    world.pass_time(5)
    assert world.status(second.id) is Status.REVOKED
    assert not opens(world)


# --- 3: revoke and grant collided at the boundary -----------------------------------------------


@pytest.mark.parametrize("sweep_first", [True, False])
def test_03_closing_and_extending_in_the_same_second(*, sweep_first: bool) -> None:
    """Whichever is written first stands: open with the later end, or closed and told so.

    Never a promise of access without its rule, never a rule without a promise.
    """
    world = World()
    world.protect()
    request = world.ask(minutes=10)

    def extend() -> None:
        caller = approval.Caller(ALICE)
        later = timedelta(minutes=10)
        approval.extend_access(world.services, request.id, caller, duration=later)

    if sweep_first:
        world.clock.advance(10 * 60)
        world.sweep()
        with pytest.raises(ConflictError):
            extend()
    else:
        world.clock.advance(10 * 60 - 1)
        extend()
        world.clock.advance(1)
        world.sweep()
    world.work()
    is_open = world.status(request.id) is Status.INITIATED
    assert is_open is not sweep_first
    assert bool(opens(world)) is is_open
    world.pass_time(12)
    assert world.status(request.id) is Status.REVOKED
    assert not opens(world)


# --- 4: five retries, then `error`, and the access stayed ---------------------------------------


def test_04_two_hours_without_arm_end_in_a_close_and_an_alarm() -> None:
    """No number of failures is the last: the alarm is raised meanwhile, the first sweep closes."""
    world = SimulatedWorld()
    world.protect()
    request = world.ask(minutes=5)
    world.order(kind="serverError", times=None)
    for _ in range(24):
        world.clock.advance(5 * 60)
        world.sweep()
    assert len(world.telemetry.named("jit.sweep.failed")) >= 2 * 23
    assert watch.report(world.services).problems
    world.order()
    world.sweep()
    assert_over(world)
    assert world.status(request.id) is Status.REVOKED


# --- 5: "granted", though the asynchronous operation failed -------------------------------------


def test_05_a_write_that_was_accepted_and_then_cancelled_is_no_grant() -> None:
    """After a 201 the operation ends as Canceled.

    The request is Initiated only once a fresh read shows the rule.
    """
    world = SimulatedWorld()
    world.protect()
    world.order(kind="supersede", times=1)
    request = world.ask()
    opened_at = world.port(request.id).opened_at
    assert opened_at is not None
    writes = [call for call in world.writes(NSG_NIC) if call["method"] == "PUT"][1:]
    assert len(writes) == 2
    settled = datetime.fromisoformat(writes[1]["at"]) + timedelta(seconds=SETTLE_SECONDS)
    assert opened_at >= settled
    assert world.is_open()


# --- 6: the UI said revoked, and nothing had changed --------------------------------------------


def test_06_a_revoke_that_azure_refuses_is_not_called_revoked() -> None:
    """Every removal answers 403.

    The rule lets no caller in any more, the request says it is closing and not that it is closed, and
    an alert is raised.
    """
    world = SimulatedWorld()
    world.protect(DB)
    request = world.ask(DB)
    world.order(
        {"kind": "policyDenied", "method": "DELETE", "path": "/securityRules/", "times": None},
        {"kind": "policyDenied", "times": None},
    )
    approval.revoke(world.services, request.id, approval.Caller(ALICE))
    world.pass_time(2)
    assert world.status(request.id) is not Status.REVOKED
    assert world.port(request.id).closing is not None
    assert world.telemetry.named("jit.close.refused")
    assert not world.is_open(DB)
    world.order()
    world.pass_time(2)
    assert world.status(request.id) is Status.REVOKED
    assert not world.ours(NSG_SUBNET, Access.ALLOW)


# --- 7: access opened, and a crash before the expiry was recorded -------------------------------


def test_07_a_crash_after_any_step_of_opening_keeps_nothing_open() -> None:
    """The process dies after its k-th call, for every k, and nothing but the timer goes on."""
    for at in range(1, 500):
        world = FragileWorld()
        world.protect()
        world.faults.arm(at, FaultType.DEATH_AFTER)
        world.attempt(lambda world=world: world.ask(minutes=10, work=False))  # type: ignore[misc]
        world.work()
        fired = world.faults.fired
        world.faults.disarm()
        world.queues.waiting.clear()
        for _ in range(14):
            world.clock.advance(60)
            world.sweep()
            world.queues.waiting.clear()
        for firewall_id in (NSG_NIC, NSG_SUBNET):
            assert not opens(world, firewall_id), f"open after a crash at call {at}"
        if not fired:
            return
    raise AssertionError("opening never ends")


# --- 8: two approvers clicked at once, and there were two schedules -----------------------------


@pytest.mark.parametrize("needed", [1, 2])
def test_08_two_approvals_at_once_make_one_grant(needed: int) -> None:
    """The second approver's click comes between the first one's read and write."""
    world = World()
    request = awaiting(world, needed)
    table = world.tables.requests
    write = table.replace
    late: list[str] = []

    def click_in_between(row: Row) -> str:
        table.replace = write  # type: ignore[method-assign]
        approval.decide(world.services, request, approval.Caller(DAN), approved=True)
        return write(row)

    table.replace = click_in_between  # type: ignore[method-assign]
    try:
        approval.decide(world.services, request, approval.Caller(CAROL), approved=True)
    except ConflictError as told:
        late.append(told.code)
    world.work()
    assert late == (["NotAwaitingApproval"] if needed == 1 else [])
    assert world.status(request) is Status.INITIATED
    assert len(opens(world)) == 1
    assert len(events(world, "opened")) == 2  # one for each group
    assert len(events(world, "approved")) == needed
    world.pass_time(12)
    assert not opens(world)


# --- 9: renaming a resource wiped all state -----------------------------------------------------


def test_09_empty_tables_and_live_rules_close() -> None:
    """With no row left, reconcile finds our rules by name: what opens goes, what closes stays."""
    world = World()
    world.protect()
    world.ask(minutes=60)
    world.ask(DB, who=BOB, minutes=60)
    for table in world.tables.all():
        table.rows.clear()
    world.queues.waiting.clear()
    denies = {group: world.firewall.ours(group, Access.DENY) for group in (NSG_NIC, NSG_SUBNET)}
    reconcile(world.services)
    for group, standing in denies.items():
        assert standing
        assert world.firewall.ours(group) == standing


# --- 10: one malformed entry stopped the sweep --------------------------------------------------


def test_10_a_poison_row_and_a_poison_rule_among_good_ones() -> None:
    """Unreadable rows in every table, and a rule that Azure will not take.

    Reported, and everybody else's access opens and ends as ever.
    """
    world = World()
    world.protect()
    request = world.ask(minutes=5)
    for table in (world.tables.due, world.tables.firewalls, world.tables.policies):
        good = next(iter(table.rows.values()))
        table.upsert(replace(good, key=f"0|bad|{good.key}", values={"doc": "{", "kind": "policy"}))
    grant = next(row for row in world.tables.firewalls.rows.values() if "grant|" in row.key)
    world.tables.firewalls.upsert(replace(grant, key="grant|bad", values={"doc": '{"port":"x"}'}))
    bad = world.ask(who=BOB, work=False)
    world.firewall.whole = False
    world.firewall.refuse[NAMES.allow(bad.id, WEB, 22, 4)] = "SecurityRuleInvalidAddressPrefix"
    world.pass_time(7)
    assert world.status(request.id) is Status.REVOKED
    assert world.status(bad.id) is Status.FAILED
    assert not opens(world)
    assert reconcile(world.services) == 0
    assert world.telemetry.named("jit.row.unreadable")


# --- 11: `timedelta.seconds` wraps at 24 h, and local time jumps --------------------------------


def test_11_a_sweep_that_was_down_for_25_hours_closes_all_and_says_how_late() -> None:
    """Lateness of more than a day is told in full."""
    world = World()
    world.protect()
    request = world.ask(minutes=10)
    world.queues.waiting.clear()
    world.clock.advance(25 * 3600 + 10 * 60)
    world.sweep()
    assert world.status(request.id) is Status.REVOKED
    assert not opens(world)
    assert watch.lateness(world.services).max == 25 * 3600


@pytest.mark.parametrize(
    "changing", [datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC)]
)
def test_11_clocks_that_change_move_no_end(changing: datetime) -> None:
    """An hour over the change to or from summer time is an hour."""
    world = World()
    world.clock.now = changing - timedelta(minutes=30)
    world.protect()
    request = world.ask(minutes=60)
    assert request.ports[0].end_at == changing + timedelta(minutes=30)
    world.pass_time(59)
    assert world.status(request.id) is Status.INITIATED
    world.pass_time(2)
    assert world.status(request.id) is Status.REVOKED


# --- 12: a cached "nothing due" skipped work ----------------------------------------------------


def test_12_what_another_process_recorded_is_found_at_the_next_tick() -> None:
    """A process that has looked a hundred times in vain remembers nothing of it."""
    world = World()
    world.protect()
    for _ in range(100):
        world.clock.advance(60)
        world.sweep()
    elsewhere = World()
    elsewhere.clock, elsewhere.queues = world.clock, world.queues
    elsewhere.services = replace(world.services, telemetry=elsewhere.telemetry)
    request = elsewhere.ask(minutes=5)
    world.queues.waiting.clear()
    world.clock.advance(5 * 60)
    world.sweep()
    assert world.status(request.id) is Status.REVOKED
    assert not opens(world)


# --- 13: a race for priorities, and their exhaustion --------------------------------------------


def test_13_fifty_requests_at_once_and_a_band_that_is_full() -> None:
    """Fifty get a priority each; the one for whom there is none is told so in plain words."""
    world = World()
    world.rewire(band=Band(allow_to=249))
    world.protect()
    requests = [world.ask(DB, source=f"203.0.113.{number}", work=False) for number in range(51)]
    world.work()
    world.clock.advance(10)  # all but the first are batched
    world.work()
    ended = [world.request(each.id).ports[0] for each in requests]
    assert [port.status for port in ended].count(Status.INITIATED) == 50
    (refused,) = [port for port in ended if port.status is Status.FAILED]
    assert refused.closing is not None
    assert refused.closing.message == "no free priority from 200 to 249"
    assert sorted(r.priority for r in opens(world, NSG_SUBNET)) == list(range(200, 250))


# --- 14: identity and address as the caller sent them ----------------------------------------


def test_14_forged_headers_and_fields_never_reach_a_rule() -> None:
    """The rule lets in the address that the platform saw, for whom the token names."""
    web = WebApp(World())
    web.world.protect()
    forged = {
        "X-Forwarded-For": f"198.51.100.66, {SOURCE}:50123",
        "X-Client-IP": "198.51.100.66",
        "Client-IP": "198.51.100.66",
        "X-MS-CLIENT-PRINCIPAL-NAME": "root@contoso.example",
        "X-MS-CLIENT-PRINCIPAL-ID": "root-id",
    }
    body = {"virtualMachine": WEB, "ports": [22], "duration": "PT10M"}
    answer = web.call("POST", "/api/requests", body, who=AS_ALICE, headers=forged)
    assert answer.status == 202, answer.text
    web.world.work()
    (rule,) = opens(web.world)
    assert rule.sources == (SOURCE,)
    request = web.world.request(answer.json["id"])
    assert request.requestor.object_id == "alice-id"
    for field in ({"requestor": "root-id"}, {"sourceAddress": "198.51.100.66"}):
        refused = web.call("POST", "/api/requests", {**body, **field}, who=AS_ALICE)
        assert refused.status == 400
    assert len(opens(web.world)) == 1


# --- 15: 429 and 409 that mean "another write is under way" -------------------------------------


@pytest.mark.parametrize("concurrency", ["locked", "conflict"])
def test_15_writes_to_one_group_go_one_after_the_other(concurrency: str) -> None:
    """With a colleague's write under way ours waits, backs off and comes through.

    No write of ours ever meets another one of ours.
    """
    world = SimulatedWorld()
    world.set(concurrency=concurrency)
    world.protect()
    body = nsg(NSG_SUBNET)
    body["properties"]["securityRules"] = world.raw(NSG_SUBNET)
    other = {**body["properties"]["securityRules"][0], "name": "colleague"}
    other["properties"] = {**other["properties"], "priority": 4000}
    body["properties"]["securityRules"].append(other)
    assert world.arm.call("PUT", NSG_SUBNET, body).status == 200
    requests = [world.ask(DB, who=who, work=False) for who in (ALICE, BOB)]
    world.order(
        {"kind": "locked", "times": 1},
        {"kind": "conflict", "times": 1},
        {"kind": "throttle", "method": "PUT", "retryAfter": 9, "times": 1},
    )
    world.work()
    assert {world.status(each.id) for each in requests} == {Status.INITIATED}
    assert "colleague" in world.foreign(NSG_SUBNET)
    assert_never_wrote_while_updating(world)


# --- 16: another writer PUT the whole group without our rule ------------------------------------


def test_16_a_whole_put_from_a_template_without_our_rules_is_mended() -> None:
    """Allow and deny are put back by the next look, each on record.

    The template's rules stay, and our own write of the group loses none of them.
    """
    world = SimulatedWorld()
    world.protect()
    request = world.ask(DB, minutes=60)
    template = SecurityRule(
        "from-template", Access.ALLOW, "Tcp", ("*",), ("*",), ("443",), priority=310
    )
    assert world.arm.call("PUT", NSG_SUBNET, nsg(NSG_SUBNET, template)).status == 200
    world.clock.advance(SETTLE_SECONDS)
    assert not world.ours(NSG_SUBNET)
    reconcile(world.services)
    assert len(world.allows(NSG_SUBNET)) == 1
    assert len(world.denies(NSG_SUBNET)) == 2
    assert list(world.foreign(NSG_SUBNET)) == ["from-template"]
    assert sorted(event.reason[-7:] for event in world.events("repaired")) == ["deleted"] * 3
    assert world.status(request.id) is Status.INITIATED
    assert world.is_open(DB)


# --- 17: an error of a lookup was read as "does not exist" --------------------------------------

NOT_GONE: dict[str, dict[str, Any]] = {
    "503": {"kind": "serverError", "status": 503},
    "no answer": {"kind": "dropBefore"},
    "forbidden": {"kind": "policyDenied"},
}


@pytest.mark.parametrize("failure", NOT_GONE)
@pytest.mark.parametrize("what", ["virtualMachines", "networkInterfaces", "networkSecurityGroups"])
def test_17_only_an_answered_404_means_gone(what: str, failure: str) -> None:
    """While something cannot be read, no access and no rule is revoked.

    And no caller is told that it does not exist.
    """
    world = SimulatedWorld()
    world.protect(DB)
    request = world.ask(DB, minutes=60)
    before = world.ours(NSG_SUBNET)
    world.order({**NOT_GONE[failure], "method": "GET", "path": f"/{what}", "times": None})
    try:
        assert reconcile(world.services) > 0
    except (OutsideError, ThrottledError, FirewallRefusedError):
        assert what == "networkSecurityGroups"
    world.order()
    assert world.ours(NSG_SUBNET) == before
    assert world.status(request.id) is Status.INITIATED
    assert world.is_open(DB)
    assert "not exist" not in world.policy().error


# --- 18: the VM was deleted, and what was left could not be deleted -----------------------------


def test_18_a_deleted_vm_leaves_nothing_and_its_address_is_not_open() -> None:
    """The rules go with the VM; the next VM at that address is not open by an old grant."""
    world = SimulatedWorld()
    world.protect(DB)
    request = world.ask(DB, minutes=60)
    world.remove(DB, nic_id("db-nic"))
    world.place(nic("heir-nic", "10.0.0.5"), machine("heir", "heir-nic"))
    reconcile(world.services)
    world.work()
    assert not world.ours(NSG_SUBNET)
    assert world.request(request.id).is_final
    assert not world.is_open(vm_id("heir"))
    world.pass_time(80)
    assert not world.services.rows.read(NSG_SUBNET).grants


# --- 19: the group was opened for an address that packets never carry ---------------------------


def test_19_a_front_end_that_keeps_its_own_address_is_detected_and_refused() -> None:
    """Behind a floating IP a rule on the VM's address decides nothing: no promise is made."""
    balancer = f"{NETWORK}/loadBalancers/lb"
    nat = f"{balancer}/inboundNatRules/ssh"
    rule = {"name": "ssh", "id": nat, "properties": {"enableFloatingIP": True}}
    world = SimulatedWorld()
    world.place(
        {"id": balancer, "location": "westeurope", "properties": {"inboundNatRules": [rule]}},
        nic("db-nic", "10.0.0.5", loadBalancerInboundNatRules=[{"id": nat}]),
    )
    world.protect(DB)
    request = world.ask(DB)
    assert world.status(request.id) is Status.FAILED
    assert "load balancing rule 'ssh' has a floating IP" in world.why(request.id)
    assert not world.allows(NSG_SUBNET)


# --- 20: a notification that failed blocked or hid the outcome ----------------------------------


def test_20_a_webhook_that_is_down_delays_no_request() -> None:
    """The notice fails and is handed out again.

    Meanwhile the request can be approved, opens and closes; once the webhook is back and all is
    decided, no notification is sent about the past.
    """
    world = World()
    request = awaiting(world)
    assert world.queues.notices == [request]
    told: list[dict[str, Any]] = []

    def down(event: dict[str, Any]) -> None:
        told.append(event)
        raise OutsideError("the approval workflow answered 503")

    for _ in range(3):
        with pytest.raises(OutsideError):
            notices.notify(world.services, down, request)
    assert [event["requestId"] for event in told] == [request] * 3
    approval.decide(world.services, request, approval.Caller(CAROL), approved=True)
    world.work()
    assert world.status(request) is Status.INITIATED
    assert opens(world)
    notices.notify(world.services, down, request)
    assert len(told) == 3
    world.pass_time(12)
    assert world.status(request) is Status.REVOKED
    assert not opens(world)
