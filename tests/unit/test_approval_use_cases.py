"""Approve, deny, revoke and extend, over rows: who may, what is recorded, what is refused."""

from dataclasses import replace
from datetime import datetime

import pytest

from shared.domain.errors import (
    NotPermittedError,
    OutsidePolicyError,
)
from shared.domain.model import AccessRequest, Principal, Status
from shared.ports import OutsideError, Row
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests.decide import Caller
from tests.fakes import one_by_one
from tests.samples import MINUTE
from tests.unit.approving import (
    ADMIN,
    APPROVER,
    BOTH,
    RELAY,
    SECOND,
    asking,
    code_of,
    decide,
    events,
    extend,
    is_open,
    opened,
    world,
)
from tests.world import ALICE, BOB, NSG_NIC, WEB, World

__all__ = ["world"]


def test_nothing_opens_before_an_approver_agrees(world: World) -> None:
    """It waits, people are told once, and the last approval that is needed opens it."""
    request = world.ask()
    world.pass_time(5)
    assert world.status(request.id) is Status.PENDING_APPROVAL
    assert (is_open(world), world.queues.notices) == (False, [request.id])
    decide(world, request, APPROVER)
    world.work()
    assert world.status(request.id) is Status.INITIATED
    (event,) = events(world, "approved")
    assert (event.principal, event.on_behalf_of, event.reason) == (APPROVER.key, ALICE.key, "said")


@pytest.mark.parametrize(
    ("who", "by"),
    [
        (BOTH, None),
        (replace(BOTH, object_id="ALICE-ID", name="other"), None),
        (BOTH, RELAY),
        (replace(APPROVER, is_app=True), None),
        (RELAY, RELAY),
        (APPROVER, BOTH),
    ],
)
def test_who_asked_has_no_hand_in_it(world: World, who: Principal, by: Principal | None) -> None:
    """No requestor approves their own request, in any spelling; no app does; nor by relaying another's."""
    request = world.ask()
    assert code_of(lambda: decide(world, request, who, by=by)) == "ApproverNotAllowed"
    assert world.status(request.id) is Status.PENDING_APPROVAL


def test_a_relay_s_requestor_is_the_person(world: World) -> None:
    """The requestor cannot agree, whichever app asked; the same app may carry both sides."""
    request = world.ask()
    services = world.services
    services.requests.change(request.id, lambda held: replace(held, relayed_by=RELAY))
    assert code_of(lambda: decide(world, request, BOTH, by=RELAY)) == "ApproverNotAllowed"
    decided = decide(world, request, APPROVER, by=RELAY)
    assert decided.approval is not None
    assert decided.approval.votes[0].relayed_by == RELAY
    assert events(world, "approved")[0].relayed_by == RELAY.key


def test_a_person_carries_one_side_only(world: World) -> None:
    """A relay that sent a request for one person cannot send the approval of another."""
    request = world.ask()
    carrier = replace(RELAY, is_app=False)
    world.services.requests.change(request.id, lambda held: replace(held, relayed_by=carrier))
    assert code_of(lambda: decide(world, request, APPROVER, by=carrier)) == "ApproverNotAllowed"
    assert code_of(lambda: decide(world, request, carrier)) == "ApproverNotAllowed"


def test_the_right_to_approve_is_needed_on_every_vm(world: World) -> None:
    """And on record is who was refused it."""
    request = world.ask()
    for who in (BOB, ADMIN, replace(APPROVER, roles=frozenset())):
        assert code_of(lambda who=who: decide(world, request, who)) == "AuthorizationFailed"  # type: ignore[misc]


def test_two_people_are_two_people() -> None:
    """Neither twice the same person nor two apps for one."""
    world = asking(2)
    request = world.ask()
    decide(world, request, APPROVER)
    decide(world, request, APPROVER)
    decide(world, request, replace(APPROVER, name="C. again"), by=RELAY)
    assert world.status(request.id) is Status.PENDING_APPROVAL
    decide(world, request, SECOND)
    world.work()
    assert world.status(request.id) is Status.INITIATED


def test_an_approval_that_no_longer_counts_opens_nothing() -> None:
    """Looked at again by the worker: the policy as it is then, and who carried the votes."""
    world = asking(1)
    request = world.ask()
    decide(world, request, APPROVER)
    policy = world.policy()
    stricter = replace(policy, conditions=replace(policy.conditions, approvers_needed=2))
    protection.put_policy(world.services, stricter)
    world.work()
    assert (world.status(request.id), is_open(world)) == (Status.FAILED, False)
    other = asking(1)
    request = other.ask()
    other.services.requests.change(
        request.id,
        lambda held: replace(
            held, ports=tuple(replace(p, status=Status.INITIATING) for p in held.ports)
        ),
    )
    other.queues.send_request(request.id)
    other.work()
    assert (other.status(request.id), is_open(other)) == (Status.FAILED, False)


def test_a_denial_says_why(world: World) -> None:
    """And by whom; the port stays closed, and the requestor holds nothing any more."""
    request = world.ask()
    denied = decide(world, request, APPROVER, yes=False)
    assert denied.ports[0].status is Status.DENIED
    assert denied.ports[0].closing is not None
    assert denied.ports[0].closing.message == "said (by carol@x)"
    world.pass_time(2)
    assert world.services.requests.live(requestor=ALICE.key) == []
    assert {f.operation for f in events(world)} >= {"requested", "denied", "ended"}


def test_silence_is_a_denial(world: World) -> None:
    """At its own time-out, a due row and no scan; a decision after it is refused."""
    request = world.ask()
    world.pass_time(61)
    assert world.status(request.id) is Status.DENIED
    assert code_of(lambda: decide(world, request, APPROVER)) == "NotAwaitingApproval"


# --- extending -----------------------------------------------------------------------------------


def test_a_longer_end_waits_for_people(world: World) -> None:
    """The old end stands until they agree; then the rule's text moves, and all is on record."""
    request = opened(world)
    before = world.request(request.id).ports[0].end_at
    assert extend(world, request, 60).extension is not None
    assert world.request(request.id).ports[0].end_at == before
    decide(world, request, APPROVER)
    after = world.request(request.id)
    assert after.ports[0].end_at == world.clock() + 60 * MINUTE
    assert (after.extension, len(after.decided), len(after.extended)) == (None, 1, 1)
    told = [f.operation for f in events(world) if "xten" in f.operation or "appro" in f.operation]
    assert sorted(told) == ["approved", "approved", "extended", "extensionRequested"]


def test_a_longer_end_that_is_denied_or_missed_is_on_record(world: World) -> None:
    """The access ends when it would have; the record names the refuser, or that there was none."""
    request = opened(world, minutes=170)
    extend(world, request, 175)
    decide(world, request, APPROVER, yes=False)
    assert [f.reason for f in events(world, "denied")] == ["said"]
    world.clock.advance(1)
    extend(world, request, 178)
    world.pass_time(62)
    assert len(events(world, "extensionTimedOut")) == 1
    assert world.request(request.id).extension is None
    assert world.status(request.id) is Status.INITIATED


def test_one_end_waits_at_a_time(world: World) -> None:
    """A second one cannot inherit what people decided about the first; a repeat is no second."""
    world = asking(2)
    request = world.ask()
    decide(world, request, APPROVER)
    decide(world, request, SECOND)
    world.work()
    until = world.clock() + 60 * MINUTE

    def ask_until(end: datetime) -> AccessRequest:
        return approval.extend_access(world.services, request.id, Caller(ALICE), end_at=end)

    ask_until(until)
    decide(world, request, APPROVER)
    ask_until(until)
    assert code_of(lambda: ask_until(until + 60 * MINUTE)) == "ExtensionPending"
    decide(world, request, SECOND)
    assert world.request(request.id).ports[0].end_at == until


@pytest.mark.parametrize("lost", ["permission", "policy", "check"])
def test_a_longer_end_is_checked_again_when_it_is_agreed_to(
    world: World, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy or permission behind it may be gone since the request."""
    request = opened(world)
    extend(world, request, 60)
    if lost == "permission":
        world.unpermitted.add(ALICE.key)
    elif lost == "policy":
        policy = world.policy()
        vms = tuple(
            replace(vm, ports=tuple(replace(p, max_duration=30 * MINUTE) for p in vm.ports))
            for vm in policy.vms
        )
        protection.put_policy(world.services, replace(policy, vms=vms))
    else:
        monkeypatch.setattr(world.tables.policies, "get", _fails)
    with pytest.raises((NotPermittedError, OutsidePolicyError, OutsideError)):
        decide(world, request, APPROVER)
    monkeypatch.undo()
    end_at = world.request(request.id).ports[0].end_at
    assert end_at is not None
    assert end_at <= world.clock() + 10 * MINUTE


def _fails(partition: str, key: str) -> Row:
    raise OutsideError(f"{partition}/{key}")


def test_what_has_ended_waits_for_no_approver(world: World) -> None:
    """An end that was asked for is no more awaited once the access is over."""
    request = opened(world)
    extend(world, request, 60)
    approval.revoke(world.services, request.id, Caller(ALICE))
    world.pass_time(2)
    assert world.status(request.id) is Status.REVOKED
    assert code_of(lambda: decide(world, request, APPROVER)) == "NotAwaitingApproval"
    assert code_of(lambda: extend(world, request, 90)) == "NotOpen"
    assert not is_open(world)


def test_only_who_asked_extends(world: World) -> None:
    """Neither an administrator nor an approver."""
    request = opened(world)
    for who in (BOB, ADMIN, APPROVER):
        with pytest.raises(NotPermittedError, match="Only who asked"):
            extend(world, request, 60, who)


def test_a_longer_end_is_within_the_policy_from_now() -> None:
    """In place, as long as the policy's longest from now; never earlier than it was."""
    world = World(workers=one_by_one)
    world.protect(WEB)
    request = world.ask(minutes=30)
    assert code_of(lambda: extend(world, request, 181)) == "RequestNotWithinPolicy"
    assert code_of(lambda: extend(world, request, 30)) == "NotAnExtension"
    names = set(world.firewall.rules(NSG_NIC))
    extend(world, request, 180)
    world.work()
    assert set(world.firewall.rules(NSG_NIC)) == names
    assert "until 2026-11-22T17:00:00Z" in str(world.firewall.ours(NSG_NIC))
