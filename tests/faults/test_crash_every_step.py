"""Each use case is broken at each of its calls, in each way; ordinary recovery mends it."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from shared.domain.model import AccessRequest
from shared.use_cases import approval, protection
from shared.use_cases.reconcile import reconcile
from tests.faults.harness import FOREIGN, FragileWorld, Kind, check, check_all_over
from tests.world import ALICE, BOB, DB, POLICY, SOURCE, WEB

Scene = tuple[Callable[[FragileWorld], object], Callable[[FragileWorld], object]]
_MOST_CALLS = 2_000


def _protected(world: FragileWorld) -> None:
    world.protect()


def _open(world: FragileWorld) -> AccessRequest:
    world.protect()
    return world.ask()


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


def _somebody_else(world: FragileWorld) -> None:
    world.attempt(lambda: world.ask(who=BOB, source=SOURCE, work=False))
    world.work()


def _newest(world: FragileWorld) -> AccessRequest:
    return world.services.requests.newest(POLICY, 1)[0]


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
            world.services, request, approval.Caller(ALICE), duration=timedelta(minutes=30)
        )
    )
    world.work()


def _expire(world: FragileWorld) -> None:
    world.clock.advance(10 * 60)
    world.sweep()
    world.work()


def _forget(world: FragileWorld) -> None:
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
    "ask beside somebody else": (_open, _somebody_else),
    "revoke": (_open, _revoke),
    "extend": (_open, _extend),
    "expire": (_open, _expire),
    "forget": (_open, _forget),
    "reconcile": (_open, _reconcile),
}


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize("scene", SCENES)
def test_recovery_from_a_fault_at_every_call(
    scene: str, kind: Kind, fault_points: Callable[[str, int], None]
) -> None:
    """However a call fails, recovery leaves nothing open, stuck, lost or told twice."""
    prepare, act = SCENES[scene]
    for at in range(1, _MOST_CALLS):
        where = f"{scene}, call {at}, {kind.name}"
        world = FragileWorld(*FOREIGN)
        prepare(world)
        world.faults.arm(at, kind)
        act(world)
        fired = world.faults.fired
        world.recover()
        check(world, where)
        world.pass_time(60)
        check_all_over(world, where)
        if not fired:
            fault_points(f"{scene} ({kind.name.lower()})", at - 1)
            return
    raise AssertionError(f"{scene} never ends")
