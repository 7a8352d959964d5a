"""Revoke one request, or revoke all: whose access, and what the record says."""

from dataclasses import replace

import pytest

from shared.domain.errors import (
    ConflictError,
    NotFoundError,
    NotPermittedError,
)
from shared.domain.model import AccessRequest, Principal, Status
from shared.ports import OutsideError, Row
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests.decide import Caller
from tests.fakes import one_by_one
from tests.unit.approving import (
    ADMIN,
    APPROVER,
    RELAY,
    code_of,
    decide,
    events,
    extend,
    is_open,
    opened,
    world,
)
from tests.world import ALICE, BOB, DB, POLICY, WEB, World, vm_id

__all__ = ["world"]


def test_one_s_own_is_one_s_own(world: World) -> None:
    """To end it needs no role; anybody else's needs one."""
    request = opened(world)
    with pytest.raises(NotPermittedError, match="revoke/action"):
        approval.revoke(world.services, request.id, Caller(BOB))
    approval.revoke(world.services, request.id, Caller(ALICE), reason="done")
    world.work()
    assert (world.status(request.id), is_open(world)) == (Status.REVOKED, False)


def test_naming_another_vm_shows_nothing_of_a_request(world: World) -> None:
    """A caller without the right to end it is refused before the request is searched."""
    request = opened(world)
    with pytest.raises(NotPermittedError):
        approval.revoke(world.services, request.id, Caller(BOB), vm_id=vm_id("other"))
    with pytest.raises(NotFoundError):
        approval.revoke(world.services, request.id, Caller(ALICE), vm_id=vm_id("other"))
    assert is_open(world)


def test_revoke_all_ends_all_or_nothing() -> None:
    """A caller without the right to end every access on a VM ends none there."""
    world = World(workers=one_by_one)
    world.protect(WEB, DB)
    mine, theirs, elsewhere = world.ask(), world.ask(who=BOB), world.ask(DB)

    def press(who: Principal, **what: str) -> list[AccessRequest]:
        return approval.revoke_all(world.services, Caller(who), **what)

    with pytest.raises(NotPermittedError):
        press(ALICE, vm_id=WEB)
    assert world.status(mine.id) is Status.INITIATED
    assert len(press(ADMIN, vm_id=WEB.upper())) == 2
    world.work()
    fates = [world.status(each.id) for each in (mine, theirs, elsewhere)]
    assert fates == [Status.REVOKED, Status.REVOKED, Status.INITIATED]
    assert len(press(ALICE, requestor=ALICE.key)) >= 1
    world.work()
    assert not is_open(world)
    assert press(ALICE, requestor=ALICE.key) == []
    with pytest.raises(NotPermittedError):
        press(ALICE, requestor=BOB.key)


def test_what_fails_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Revoke all goes on past a request that it cannot end, and reports it at last."""
    world = World(workers=one_by_one)
    world.protect(WEB, DB)
    requests = [world.ask(port=port) for port in (22, 3389)]
    real, broken = world.tables.requests.replace, requests[0].id.partition("-")[2]

    def fails_once(row: Row) -> str:
        if row.key == broken:
            raise OutsideError("away")
        return real(row)

    monkeypatch.setattr(world.tables.requests, "replace", fails_once)
    with pytest.raises(OutsideError):
        approval.revoke_all(world.services, Caller(ADMIN), vm_id=WEB)
    closings = [world.request(each.id).ports[0].closing is not None for each in requests]
    assert closings == [False, True]


def test_revoking_goes_on_record_with_who_carried_it(world: World) -> None:
    """The person who ended it, not the app, and not the one who asked."""
    request = opened(world)
    approval.revoke(world.services, request.id, Caller(ADMIN, RELAY), reason="enough")
    (event,) = events(world, "revoked")
    assert (event.principal, event.relayed_by) == (ADMIN.key, RELAY.key)
    assert (event.on_behalf_of, event.policy_id) == (ALICE.key, POLICY)


def test_an_unknown_request_is_not_found(world: World) -> None:
    """Each operation on an unknown request returns not found."""
    ghost = replace(world.ask(), id="x-y")
    for work in (
        lambda: decide(world, ghost, APPROVER),
        lambda: extend(world, ghost, 60),
        lambda: approval.revoke(world.services, ghost.id, Caller(ADMIN)),
    ):
        assert code_of(work) == "RequestNotFound"
    with pytest.raises(ConflictError):
        extend(world, world.ask(), 60)
