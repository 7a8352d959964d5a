"""An EC2 instance through the whole app, broken at its calls; ordinary recovery mends it."""

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from shared.domain.model import Conditions, Policy, PolicyState, PolicyVm, PortRule, Status
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import decide
from tests.aws_cloud import REGION
from tests.ec2_world import GROUP, INSTANCE, INSTANCE_ID, POLICY, add_ec2, ask_for
from tests.faults.harness import Breakable, FaultType, FragileWorld
from tests.world import ALICE, SOURCE

STRANGER = "198.51.100.23"
POINTS = (
    1_000 if os.environ.get("JIT_SOAK") else 4
)  # calls of a scene that are broken, evenly spread


class FragileEc2(FragileWorld):
    """The app with an AWS account, whose calls to AWS, tables and queues can break."""

    def __init__(self, *, revoke: bool = True) -> None:
        super().__init__()
        self.cloud = add_ec2(self)
        endpoint: Any = Breakable(self.cloud.endpoint, self.faults, frozenset({"answer"}))
        self.cloud.endpoint = endpoint
        self.revoke = revoke
        self.before = self.theirs()

    def theirs(self) -> set[Any]:
        """Return the owner's rules, ids apart."""
        return {(r.identity, r.description, *r.tags.items()) for r in self.cloud.rules(GROUP)}

    def reaches(self, source: str = SOURCE) -> bool:
        """Tell whether SSH from a source reaches the instance."""
        return self.cloud.reaches(INSTANCE_ID, source)

    def govern(self, *machines: str) -> None:
        """PUT a policy over machines."""
        listed = tuple(PolicyVm(vm, (PortRule(22, "TCP"),)) for vm in machines)
        conditions = Conditions(revoke_foreign=self.revoke)
        policy = Policy(POLICY, REGION, listed, conditions=conditions)
        self.attempt(lambda: protection.put_policy(self.services, policy))

    def policy_state(self) -> PolicyState:
        """Return what became of the policy."""
        return protection.get_policy(self.services, POLICY).state


Scene = tuple[Callable[[FragileEc2], None], Callable[[FragileEc2], None]]


def _nothing(_world: FragileEc2) -> None:
    pass


def _governed(world: FragileEc2) -> None:
    world.govern(INSTANCE)
    world.step(2)
    assert world.policy_state() is PolicyState.SUCCEEDED


def _open(world: FragileEc2) -> None:
    _governed(world)
    ask_for(world, INSTANCE, minutes=10, policy_id=POLICY)
    assert world.reaches()


def _protect(world: FragileEc2) -> None:
    world.govern(INSTANCE)
    world.step(2)


def _request(world: FragileEc2) -> None:
    world.attempt(partial(ask_for, world, INSTANCE, minutes=10, policy_id=POLICY))
    world.step(2)


def _extend(world: FragileEc2) -> None:
    (request,) = world.kept_requests.newest(POLICY, 1)
    more = timedelta(minutes=20)
    caller = decide.Caller(ALICE)
    world.attempt(lambda: decide.extend_access(world.services, request.id, caller, duration=more))
    world.step(2)


def _expire(world: FragileEc2) -> None:
    world.step(12)


def _remove(world: FragileEc2) -> None:
    world.govern()
    world.step(2)


SCENES: dict[str, Scene] = {
    "protect": (_nothing, _protect),
    "open": (_governed, _request),
    "extend": (_open, _extend),
    "expire": (_open, _expire),
    "remove": (_governed, _remove),
    "remove while open": (_open, _remove),
}


def _broken(
    scene: str, fault_type: FaultType, *, revoke: bool = True
) -> Iterator[tuple[FragileEc2, str]]:
    """Play a scene again and again, each time with another call broken."""
    calls = _play(scene, 0, fault_type, revoke=revoke).faults.calls
    step = max(1, calls // POINTS)
    first = 1 + list(FaultType).index(fault_type) * step // len(
        FaultType
    )  # each type of fault tries calls of its own
    for at in range(first, calls + 1, step):
        world = _play(scene, at, fault_type, revoke=revoke)
        where = f"{scene}, call {at}, {fault_type.value}"
        assert world.faults.fired, where
        yield world, where


def _play(scene: str, at: int, fault_type: FaultType, *, revoke: bool) -> FragileEc2:
    """Break one call of a scene; 0: none."""
    prepare, act = SCENES[scene]
    world = FragileEc2(revoke=revoke)
    prepare(world)
    world.faults.arm(at, fault_type)
    act(world)
    world.faults.disarm()
    return world


def _check_closed(world: FragileEc2, where: str) -> None:
    """Everything has ended: only what is foreign and not governed stands."""
    world.step(40)
    for request in world.kept_requests.newest(POLICY, 10):
        assert request.is_final, f"{where}: {[port.status for port in request.ports]}"
    group = world.cloud.own_group(INSTANCE_ID)
    opening = [] if group is None else [r for r in group.rules.values() if not r.identity.egress]
    assert not opening, f"{where}: open past its end"


def _check_restored(world: FragileEc2, where: str) -> None:
    """After the last removal the account is as it was, and no row of the instance is left."""
    world.govern()
    world.step(30)
    assert world.theirs() == world.before, f"{where}: the owner's rules differ"
    assert world.cloud.own_group(INSTANCE_ID) is None, f"{where}: our group is left"
    assert not world.tables.due.rows, f"{where}: still due: {list(world.tables.due.rows)}"
    assert world.reaches(STRANGER)


@pytest.mark.parametrize("fault_type", FaultType, ids=lambda fault_type: fault_type.name.lower())
@pytest.mark.parametrize("scene", SCENES)
def test_a_fault_at_a_call_leaves_nothing_open_and_all_restored(
    scene: str, fault_type: FaultType
) -> None:
    """In mode revoke: the end closes, and the removal gives back every rule with text and tags."""
    for world, where in _broken(scene, fault_type):
        _check_closed(world, where)
        _check_restored(world, where)


@pytest.mark.parametrize("scene", ["protect", "open", "expire", "remove while open"])
def test_a_death_in_mode_report_never_touches_foreign_rules(scene: str) -> None:
    """In mode report the owner's rules stay from the first call to the last."""
    for world, where in _broken(scene, FaultType.DEATH_AFTER, revoke=False):
        assert world.theirs() == world.before, where
        _check_closed(world, where)
        _check_restored(world, where)


def test_an_unbroken_life_opens_and_closes() -> None:
    """The scenes do what the faults are tried on."""
    world = FragileEc2()
    _open(world)
    assert not world.reaches(STRANGER)
    (request,) = world.kept_requests.newest(POLICY, 1)
    _extend(world)
    world.step(13)
    assert world.reaches()
    world.step(15)
    assert world.request(request.id).ports[0].status is Status.REVOKED
    assert not world.reaches()
    _check_restored(world, "unbroken")
