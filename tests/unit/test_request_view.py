"""A request as a caller sees it: details for those who may read them, and what each can do."""

from dataclasses import replace
from datetime import timedelta

from shared.domain.disclosure import HIDDEN, without_details
from shared.domain.model import (
    AccessRequest,
    Approval,
    Extension,
    FirewallState,
    PortRule,
    Principal,
)
from shared.domain.permissions import Decision
from shared.domain.request import firewall_state
from shared.domain.summary import summarize
from shared.store.policies import PolicyRow
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests.decide import Caller, decide, extend_access, revoke
from shared.use_cases.requests.view import RequestView, Viewer
from tests.unit.approving import ADMIN, APPROVER, RELAY, SECOND, asking
from tests.world import ALICE, BOB, POLICY, SOURCE, WEB, World

READER = Principal("tenant", "rita-id", "rita", roles=frozenset({"Jit.Read"}))


def view(world: World, request: AccessRequest, who: Principal = ALICE) -> RequestView:
    """Return a stored request as a caller sees it."""
    return Viewer(world.services, who).view(world.request(request.id))


def can(world: World, request: AccessRequest, who: Principal = ALICE) -> list[str]:
    """Return what a caller can do with a request."""
    return [ability.value for ability in view(world, request, who).can]


def governed() -> World:
    """Return a world with a policy."""
    world = World()
    world.protect()
    return world


def sees(world: World, request: AccessRequest, who: Principal) -> bool:
    """Tell whether a caller is shown a request's reason; the addresses go with it."""
    shown = view(world, request, who).request
    assert (shown.justification is None) is (shown.ports[0].sources == ())
    return shown.justification == "because"


def test_a_requestor_can_end_and_extend_what_is_open() -> None:
    """An open request can be revoked and extended by its requestor, and by no caller without the permission."""
    world = governed()
    request = world.ask()
    assert can(world, request) == ["revoke", "extend"]
    assert can(world, request, BOB) == []
    assert can(world, request, ADMIN) == ["revoke"]
    assert can(world, request, APPROVER) == []


def test_what_has_ended_offers_nothing() -> None:
    """A final request can neither be changed nor extended."""
    world = governed()
    request = world.ask(minutes=5)
    revoke(world.services, request.id, Caller(ALICE))
    assert can(world, request) == []
    world.work()
    assert view(world, request) == RequestView(world.request(request.id))


def test_people_can_decide_what_waits_once() -> None:
    """An approver can approve or deny until they have; the requestor and apps cannot."""
    world = asking(2)
    request = world.ask(work=False)
    assert can(world, request, APPROVER) == ["approve", "deny"]
    assert can(world, request) == ["revoke"]
    assert can(world, request, replace(APPROVER, is_app=True)) == []
    decide(world.services, request.id, Caller(APPROVER), approved=True)
    assert can(world, request, APPROVER) == []
    assert can(world, request, SECOND) == ["approve", "deny"]


def test_the_latest_end_can_be_had_and_no_later_one() -> None:
    """An extension to the latest end is given; it is the policy's longest access from now."""
    world = governed()
    request = world.ask(minutes=10)
    latest = view(world, request).latest_end
    assert latest == (world.clock() + timedelta(hours=3)).replace(microsecond=0)
    extend_access(world.services, request.id, Caller(ALICE), end_at=latest)
    assert can(world, request) == ["revoke"]
    world.clock.advance(60)
    assert can(world, request) == ["revoke", "extend"]


def test_the_latest_end_is_bounded_by_the_whole_access() -> None:
    """The bound of an access with all its extensions counts from when it was opened."""
    world = governed()
    policy = world.policy()
    most = replace(policy.conditions, max_total_duration=timedelta(hours=1))
    protection.put_policy(world.services, replace(policy, conditions=most))
    world.work()
    request = world.ask(minutes=10)
    opened = world.clock()
    world.clock.advance(300)
    assert view(world, request).latest_end == opened + timedelta(hours=1)


def test_nothing_is_extended_beyond_the_policy() -> None:
    """Without the policy, its port or its sources there is no later end to have."""
    world = governed()
    request = world.ask()
    other = tuple(
        replace(vm, ports=(PortRule(22, sources=("10.0.0.0/8",)),)) for vm in world.policy().vms
    )
    world.services.policies.replace(_row(world), replace(world.policy(), vms=other))
    assert can(world, request) == ["revoke"]
    world.services.policies.replace(_row(world), replace(world.policy(), vms=()))
    assert view(world, request).latest_end is None
    protection.delete_policy(world.services, POLICY)
    assert can(world, request) == ["revoke"]


def _row(world: World) -> PolicyRow:
    row = world.services.policies.get(POLICY)
    assert row is not None
    return row


def test_what_waits_to_open_has_no_latest_end() -> None:
    """A request that is not open yet cannot be extended, nor one whose later end waits."""
    world = asking(1)
    request = world.ask(work=False)
    assert view(world, request).latest_end is None
    decide(world.services, request.id, Caller(APPROVER), approved=True)
    world.work()
    assert can(world, request) == ["revoke", "extend"]
    extend_access(world.services, request.id, Caller(ALICE), duration=timedelta(hours=1))
    assert can(world, request) == ["revoke"]
    assert can(world, request, APPROVER) == ["approve", "deny"]


def test_details_are_for_the_requestor_and_readers() -> None:
    """The requestor and readers of the activity see reasons and addresses; others do not."""
    world = governed()
    request = world.ask()
    assert [sees(world, request, who) for who in (ALICE, READER, ADMIN)] == [True] * 3
    assert [sees(world, request, who) for who in (BOB, APPROVER, RELAY)] == [False] * 3


def test_approvers_see_what_they_decide_on() -> None:
    """An approver, and the app that carries decisions, see requests that need approval."""
    world = asking(1)
    request = world.ask(work=False)
    assert [sees(world, request, who) for who in (APPROVER, RELAY)] == [True] * 2
    app = replace(APPROVER, is_app=True)
    assert [sees(world, request, who) for who in (BOB, app)] == [False] * 2


def test_a_check_that_cannot_be_made_shows_nothing() -> None:
    """Past the bound of role reads a caller is shown what a caller without rights is."""
    world = governed()
    request = world.ask()
    refused = Decision(False, ("busy",), failed_check=True, retry_after=30)
    world.services = replace(world.services, authorize=lambda *_: refused)
    assert not sees(world, request, READER)
    assert can(world, request, BOB) == []


def test_no_text_and_no_address_is_left() -> None:
    """Comments, messages, justification and addresses are gone; who and when stay."""
    world = asking(1)
    request = world.ask(work=False)
    decide(world.services, request.id, Caller(APPROVER), approved=False, comment="secret")
    held = replace(world.request(request.id), justification="secret")
    waiting = Approval(1, world.clock(), held.approval.votes if held.approval else ())
    extension = Extension(world.clock(), waiting, world.clock())
    bare = without_details(replace(held, extension=extension, decided=(extension,)))
    assert "secret" not in repr(bare)
    assert SOURCE not in repr(bare)
    assert bare.ports[0].closing is not None
    assert bare.ports[0].closing.message == HIDDEN
    assert bare.approval is not None
    assert bare.approval.votes[0].approver.key == APPROVER.key
    assert "an address that is not shown" in summarize(bare)[0]


def test_the_state_on_a_firewall_follows_what_was_seen() -> None:
    """A firewall is opening, open, closing and closed, each as reads of it have shown."""
    world = governed()
    request = world.ask(WEB, minutes=5)
    port = request.ports[0]
    assert port.fronts is not None
    front = port.fronts[0]
    assert firewall_state(port, front) is FirewallState.OPEN
    assert firewall_state(port, replace(front, opened_at=None)) is FirewallState.OPENING
    revoke(world.services, request.id, Caller(ALICE))
    closing = world.request(request.id).ports[0]
    assert firewall_state(closing, front) is FirewallState.CLOSING
    assert firewall_state(closing, replace(front, closed_at=world.clock())) is FirewallState.CLOSED
    world.work()
    closed = world.request(request.id).ports[0]
    assert firewall_state(closed, front) is FirewallState.CLOSED
