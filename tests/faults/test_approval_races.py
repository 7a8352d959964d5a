"""Two people at the same instant: in either order, one legal state is left, and one grant."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from threading import Barrier, RLock
from typing import Any

import pytest

from shared.domain.errors import JitError
from shared.domain.model import AccessRequest, ExtensionApproval, Principal, Status
from shared.firewalls.nsg.model import Access
from shared.ports import RowChangedError
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests.decide import Caller
from tests.fakes import MemoryTable
from tests.faults.harness import FOREIGN, FragileWorld, check, check_all_over
from tests.world import ALICE, DB, NSG_NIC, NSG_SUBNET, POLICY, WEB, World

CAROL = Principal("tenant", "carol-id", "carol@x", roles=frozenset({"Jit.Approve"}))
DAVE = Principal("tenant", "dave-id", "dave@x", roles=frozenset({"Jit.Approve", "Jit.Admin"}))
TIMES = 50
Step = Callable[[World, str], object]


def put(world: World, **conditions: Any) -> None:
    """Have the policy ask for approval."""
    policy = world.protect(WEB, DB)
    conditions.setdefault("approval_timeout", timedelta(minutes=10))
    changed = replace(policy, conditions=replace(policy.conditions, **conditions))
    protection.put_policy(world.services, changed)
    world.work()


def vote(who: Principal, *, yes: bool = True) -> Step:
    """Have an approver decide."""
    return lambda world, request_id: approval.decide(
        world.services, request_id, Caller(who), approved=yes
    )


def extend(minutes: int) -> Step:
    """Have Alice ask for a longer end."""
    return lambda world, request_id: approval.extend_access(
        world.services, request_id, Caller(ALICE), duration=timedelta(minutes=minutes)
    )


def revoke(world: World, request_id: str) -> object:
    """Have Alice end it."""
    return approval.revoke(world.services, request_id, Caller(ALICE))


def revoke_all(world: World, request_id: str) -> object:
    """Have an administrator end everything on the VM."""
    del request_id
    return approval.revoke_all(world.services, Caller(DAVE), vm_id=WEB)


def time_out(world: World, request_id: str) -> object:
    """Let the deadline pass, and a sweep notice."""
    pending = world.request(request_id).approval
    assert pending is not None
    world.clock.now = max(world.clock(), pending.deadline)
    return world.sweep()


def lose_permission(world: World, request_id: str) -> None:
    """Revoke the permission of Alice."""
    del request_id
    world.unpermitted.add(ALICE.key)


def delete_policy(world: World, request_id: str) -> object:
    """Delete the policy."""
    del request_id
    return protection.delete_policy(world.services, POLICY)


def open_it(world: World, request_id: str) -> None:
    """Let the workers work."""
    del request_id
    world.work()


@dataclass(frozen=True)
class Race:
    """Two steps, from where they start, and how it may end."""

    one: Step
    other: Step
    ends: frozenset[Status]
    start: str = "waiting"  # or agreed, open, longer
    needed: int = 1


OPEN, SHUT = Status.INITIATED, frozenset({Status.DENIED, Status.REVOKED, Status.FAILED})
RACES: dict[str, Race] = {
    "two approve, one needed": Race(vote(CAROL), vote(DAVE), frozenset({OPEN})),
    "two approve, two needed": Race(vote(CAROL), vote(DAVE), frozenset({OPEN}), needed=2),
    "the same approves twice": Race(vote(CAROL), vote(CAROL), frozenset({OPEN})),
    "approve, deny": Race(vote(CAROL), vote(DAVE, yes=False), frozenset({OPEN, Status.DENIED})),
    "approve, time out": Race(vote(CAROL), time_out, frozenset({OPEN, Status.DENIED})),
    "approve, revoke all": Race(vote(CAROL), revoke_all, frozenset({Status.REVOKED})),
    "approve, policy deleted": Race(vote(CAROL), delete_policy, SHUT),
    "open, permission lost": Race(
        open_it, lose_permission, frozenset({OPEN, Status.FAILED}), start="agreed"
    ),
    "open, revoke": Race(open_it, revoke, frozenset({Status.REVOKED}), start="agreed"),
    "open, deny": Race(open_it, vote(DAVE, yes=False), frozenset({OPEN}), start="agreed"),
    "revoke, extend": Race(revoke, extend(9), frozenset({Status.REVOKED}), start="open"),
    "two extend": Race(extend(8), extend(9), frozenset({OPEN}), start="open"),
    "the same extends twice": Race(extend(9), extend(9), frozenset({OPEN}), start="open"),
    "revoke, longer end agreed": Race(
        revoke, vote(CAROL), frozenset({Status.REVOKED}), start="longer"
    ),
    "longer end agreed, denied": Race(
        vote(CAROL), vote(DAVE, yes=False), frozenset({OPEN}), start="longer"
    ),
    "two agree to a longer end": Race(vote(CAROL), vote(DAVE), frozenset({OPEN}), start="longer"),
}


def begin(race: Race) -> tuple[FragileWorld, str]:
    """Bring a world to where a race starts."""
    world = FragileWorld(*FOREIGN)
    longer = race.start == "longer"
    asked = ExtensionApproval.AS_OPENING if longer else ExtensionApproval.NEVER
    put(world, approvers_needed=race.needed, extension_approval=asked)
    request_id = world.ask(minutes=5).id
    if race.start != "waiting":
        vote(CAROL)(world, request_id)
    if race.start in {"open", "longer"}:
        world.work()
        assert world.status(request_id) is OPEN
    if longer:
        extend(9)(world, request_id)
    return world, request_id


def attempt(step: Step, world: World, request_id: str) -> None:
    """Take a step; the person may be told that they came too late."""
    try:
        step(world, request_id)
    except (JitError, RowChangedError):
        return


def interleaved(race: Race, at: int, *, swapped: bool) -> bool:
    """Take the second step whole at the first one's `at`-th call; False: it has fewer calls."""
    one, other = (race.other, race.one) if swapped else (race.one, race.other)
    world, request_id = begin(race)
    calls = 0

    def call(work: Callable[[], Any]) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            attempt(other, world, request_id)
        return work()

    world.faults.call = call  # type: ignore[method-assign]
    attempt(one, world, request_id)
    took_place = calls >= at
    del world.faults.call
    if not took_place:  # the last case: one after the other
        attempt(other, world, request_id)
    where = f"{'swapped ' if swapped else ''}at call {at}"
    _settle(world, request_id, race, where)
    return took_place


def _settle(world: FragileWorld, request_id: str, race: Race, where: str) -> None:
    world.pass_time(1)
    request = world.request(request_id)
    assert request.ports[0].status in race.ends, f"{where}: {request.ports[0]}"
    check(world, where)
    _check_one_grant(world, request, where)
    world.pass_time(40)
    check_all_over(world, where)


def _check_one_grant(world: World, request: AccessRequest, where: str) -> None:
    """Where it is open it is open once, until the end in its row; else not at all."""
    port = request.ports[0]
    for nsg in (NSG_NIC, NSG_SUBNET):
        ours = world.firewall.ours(nsg, Access.ALLOW)
        assert len(ours) == (port.status is OPEN), f"{where}: {ours}"
        if ours and port.end_at is not None:
            assert f"until {port.end_at:%Y-%m-%dT%H:%M:%SZ}" in ours[0].description, where
    votes = request.approval.votes if request.approval else ()
    keys = [cast.approver.key for cast in votes]
    assert len(keys) == len(set(keys)), f"{where}: a vote twice"
    assert len({cast.approved for cast in votes}) <= 1 or port.status is not OPEN, where


@pytest.mark.parametrize("name", RACES)
def test_every_interleaving_ends_in_one_legal_state(
    name: str, fault_points: Callable[[str, int], None]
) -> None:
    """The one step whole at each call of the other, and the other way round."""
    tried = 0
    for swapped in (False, True):
        at = 1
        while interleaved(RACES[name], at, swapped=swapped):
            at += 1
        tried += at
    assert tried > 4
    fault_points(f"race: {name}", tried)


_METHODS = frozenset(
    {"get", "query", "scan", "insert", "replace", "upsert", "delete", "remove", "transact"}
)


class LockedTable(MemoryTable):
    """A table that keeps its promises between threads: one call at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = RLock()

    def __getattribute__(self, name: str) -> Any:
        """Return a method that waits for its turn."""
        found = super().__getattribute__(name)
        if name in _METHODS:
            return partial(_in_turn, super().__getattribute__("_lock"), found)
        return found


def _in_turn(lock: RLock, work: Callable[..., Any], *args: Any, **named: Any) -> Any:
    with lock:
        return work(*args, **named)


@pytest.fixture
def threaded() -> Iterator[Callable[[int], World]]:
    """Make worlds whose tables can be used from several threads."""

    def made(needed: int) -> World:
        world = World(*FOREIGN)
        for name in ("policies", "requests", "firewalls", "due", "activity"):
            setattr(world.tables, name, LockedTable())
        put(world, approvers_needed=needed)
        return world

    return made  # type: ignore[return-value]


@pytest.mark.parametrize("needed", [1, 2])
def test_two_approvers_at_the_same_instant(threaded: Callable[[int], World], needed: int) -> None:
    """Fifty times over, with real threads: one grant on each firewall, and each vote once."""
    with ThreadPoolExecutor(2) as pool:
        for time in range(TIMES):
            world = threaded(needed)
            request_id = world.ask(minutes=5).id
            both = Barrier(2)

            def decide(
                who: Principal, *, at: Barrier = both, on: World = world, what: str = request_id
            ) -> None:
                at.wait()
                attempt(vote(who), on, what)

            list(pool.map(decide, (CAROL, DAVE)))
            world.work()
            request = world.request(request_id)
            assert request.ports[0].status is OPEN, time
            _check_one_grant(world, request, f"time {time}")
            opened = [
                f for _, f in world.services.activity.on(world.clock()) if f.operation == "opened"
            ]
            assert len(opened) == 2, "once for each firewall"
            assert request.approval is not None
            assert len(request.approval.votes) in {needed, 2}
