"""Each use case is broken at each of its calls, in each way; ordinary recovery mends it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from shared.domain.model import AccessRequest, Conditions, Principal
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import decide as approval
from shared.use_cases.timers.reconcile import reconcile
from tests.faults.harness import FOREIGN, FaultType, FragileWorld, check, check_all_over
from tests.world import ALICE, BOB, DB, POLICY, SOURCE, WEB

Scene = tuple[Callable[[FragileWorld], object], Callable[[FragileWorld], object]]
_MOST_CALLS = 2_000
CAROL = Principal("tenant", "carol-id", "carol@contoso.example", roles=frozenset({"Jit.Approve"}))


def _protected(world: FragileWorld) -> None:
    world.protect()


def _open(world: FragileWorld) -> AccessRequest:
    world.protect()
    return world.ask()


def _open_long(world: FragileWorld) -> AccessRequest:
    """Open for so long, and so long ago, that no due row of the opening is left to help."""
    world.protect()
    request = world.ask(minutes=90)
    world.pass_time(20)
    return request


def _await_approval(world: FragileWorld) -> AccessRequest:
    policy = replace(world.protect(), conditions=Conditions(approvers_needed=1))
    protection.put_policy(world.services, policy)
    world.work()
    return world.ask()


def _decide(world: FragileWorld, *, approved: bool) -> None:
    request, caller = _first(world), approval.Caller(CAROL)
    world.attempt(lambda: approval.decide(world.services, request, caller, approved=approved))
    world.work()


def _approve(world: FragileWorld) -> None:
    _decide(world, approved=True)


def _deny(world: FragileWorld) -> None:
    _decide(world, approved=False)


def _let_approval_time_out(world: FragileWorld) -> None:
    world.clock.advance(61 * 60)
    world.sweep()
    world.work()


def _apply(world: FragileWorld) -> None:
    world.attempt(lambda: world.protect(WEB, DB))
    world.work()


def _drop(world: FragileWorld) -> None:
    world.attempt(lambda: world.protect(DB))
    world.work()


def _delete(world: FragileWorld) -> None:
    world.attempt(lambda: protection.delete_policy(world.services, POLICY))
    world.work()


def _request_and_open(world: FragileWorld) -> None:
    world.attempt(lambda: world.ask(work=False))
    world.work()


def _newer(world: FragileWorld) -> None:
    world.clock.advance(1)
    world.attempt(lambda: world.ask(minutes=20, work=False))
    world.work()


def _another_writer(world: FragileWorld) -> None:
    world.attempt(lambda: world.ask(who=BOB, source=SOURCE, work=False))
    world.work()


def _open_in_a_batch(world: FragileWorld) -> None:
    for source in ("203.0.113.20", "203.0.113.21"):
        world.attempt(partial(world.ask, who=BOB, source=source, work=False))
    world.work()
    world.clock.advance(1)
    world.work()


def _revoke(world: FragileWorld) -> None:
    request = _first(world)
    world.attempt(lambda: approval.revoke(world.services, request, approval.Caller(ALICE)))
    world.work()


def _first(world: FragileWorld) -> str:
    rows = world.tables.requests.rows
    partition, key = next(each for each in rows if not each[0].startswith("live|"))
    return f"{partition}-{key}"


def _extend(world: FragileWorld) -> None:
    request = _first(world)
    world.attempt(
        lambda: approval.extend_access(
            world.services, request, approval.Caller(ALICE), duration=timedelta(minutes=100)
        )
    )
    world.work()


def _expire(world: FragileWorld) -> None:
    world.clock.advance(10 * 60)
    world.sweep()
    world.work()


def _purge(world: FragileWorld) -> None:
    world.pass_time(11)
    world.clock.advance(16 * 60)
    world.sweep()
    world.work()


def _reconcile(world: FragileWorld) -> None:
    ours = world.firewall.ours(next(iter(world.firewall.groups)))
    world.firewall.edit(next(iter(world.firewall.groups)), remove=[rule.name for rule in ours])
    world.attempt(lambda: reconcile(world.services))
    world.work()


SCENES: dict[str, Scene] = {
    "apply a policy": (lambda _world: None, _apply),
    "drop a VM from a policy": (_open, _drop),
    "delete a policy": (_open, _delete),
    "request and open": (_protected, _request_and_open),
    "ask again for the same": (_open, _newer),
    "ask beside another writer": (_open, _another_writer),
    "open in a batch": (_open, _open_in_a_batch),
    "revoke": (_open_long, _revoke),
    "extend": (_open_long, _extend),
    "approve": (_await_approval, _approve),
    "deny": (_await_approval, _deny),
    "let an approval time out": (_await_approval, _let_approval_time_out),
    "expire": (_open, _expire),
    "purge": (_open, _purge),
    "reconcile": (_open, _reconcile),
}


@pytest.mark.parametrize("fault_type", FaultType, ids=lambda fault_type: fault_type.name.lower())
@pytest.mark.parametrize("scene", SCENES)
def test_recovery_from_a_fault_at_every_call(
    scene: str, fault_type: FaultType, fault_points: Callable[[str, int], None]
) -> None:
    """However a call fails, recovery leaves nothing open, stuck, lost or told twice."""
    prepare, act = SCENES[scene]
    for at in range(1, _MOST_CALLS):
        where = f"{scene}, call {at}, {fault_type.name}"
        world = FragileWorld(*FOREIGN)
        prepare(world)
        world.faults.arm(at, fault_type)
        act(world)
        fired = world.faults.fired
        world.recover()
        check(world, where)
        world.pass_time(130)
        check_all_over(world, where)
        if not fired:
            fault_points(f"{scene} ({fault_type.name.lower()})", at - 1)
            return
    raise AssertionError(f"{scene} never ends")
