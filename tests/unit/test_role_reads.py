"""How many reads of roles one caller can cause, and what is kept of them."""

from collections.abc import Callable

import pytest

from shared.adapters import read_budget
from shared.adapters.roles import RoleAuthorizer
from shared.domain.model import Principal
from shared.domain.permissions import Action, Decision
from shared.ports import GoneError, OutsideError
from tests.fakes import Clock
from tests.unit.test_roles import ALICE, ASSIGNED, OTHER, ROOT, Arm
from tests.world import WEB, vm_id

BOB = Principal("tenant", OTHER, "bob@contoso.example")


@pytest.fixture
def arm() -> Arm:
    """Make an ARM without role assignments."""
    return Arm()


@pytest.fixture
def clock() -> Clock:
    """Make a clock that stands still."""
    return Clock()


@pytest.fixture
def ask(arm: Arm, clock: Clock) -> Callable[..., Decision]:
    """Ask whether a caller may request access to a VM."""
    authorizer = RoleAuthorizer(lambda: arm, (ROOT,), clock)  # type: ignore[arg-type,return-value]
    return lambda scope, who=ALICE: authorizer(who, Action.INITIATE, scope)


Ask = Callable[..., Decision]


def test_reads_in_vain_are_bounded_for_each_caller(arm: Arm, ask: Ask, clock: Clock) -> None:
    """Past the bound a stranger causes no read and is told when to come again; others get theirs."""
    for number in range(read_budget.MOST_IN_VAIN):
        assert ask(vm_id(f"made-up-{number}")).retry_after == 0
    refused = ask(vm_id("one-more"))
    assert (refused.allowed, refused.failed_check, refused.retry_after) == (False, True, 61)
    assert len(arm.reads) == read_budget.MOST_IN_VAIN
    assert ask(WEB, BOB).retry_after == 0
    clock.advance(60)
    assert ask(vm_id("one-more")).retry_after == 0


def test_reads_that_find_a_role_have_a_wider_bound(
    arm: Arm, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller with a role may ask at many scopes, and not at any number of them."""
    monkeypatch.setattr(read_budget, "MOST_IN_VAIN", 2)
    monkeypatch.setattr(read_budget, "MOST_READS", 9)
    arm.assign(arm.role(Action.INITIATE))
    assert [ask(vm_id(f"vm-{number}")).allowed for number in range(4)] == [True] * 4
    assert len(arm.reads) == 9  # two for each VM, and the definition once
    assert ask(vm_id("vm-4")).retry_after
    assert ask(vm_id("vm-0")).allowed  # what is kept costs nothing


def test_reads_that_fail_are_in_vain(arm: Arm, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that ARM refuses counts; a failed check is never kept, least of all as allowed."""
    monkeypatch.setattr(read_budget, "MOST_IN_VAIN", 2)

    def fail(resource_type: str) -> None:
        raise OutsideError(resource_type)

    arm.assign(arm.role(Action.INITIATE))
    arm.before = fail
    assert [ask(WEB).allowed for _ in range(3)] == [False] * 3
    assert arm.listed == [ASSIGNED, ASSIGNED]


def test_a_clock_that_was_set_back_keeps_no_answer(arm: Arm, ask: Ask, clock: Clock) -> None:
    """An answer from the future is read anew, and a caller's count starts anew with it."""
    arm.assign(arm.role(Action.INITIATE))
    assert ask(WEB).allowed
    clock.advance(-3600)
    arm.assignments.clear()
    assert not ask(WEB).allowed


def test_a_scope_that_does_not_exist_looks_like_one_without_a_role(arm: Arm, ask: Ask) -> None:
    """ARM's 404 for a resource group is not told to a caller who holds nothing."""
    held = ask(WEB)

    def gone(_type: str) -> None:
        raise GoneError("ResourceGroupNotFound")

    arm.before = gone
    absent = vm_id("absent")
    assert ask(absent) == Decision(False, tuple(r.replace(WEB, absent) for r in held.reasons))


def test_the_callers_that_are_counted_are_bounded(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past so many callers the counting begins anew, so that it does not grow for ever."""
    monkeypatch.setattr(read_budget, "_MOST_CALLERS", 2)
    budget = read_budget.ReadBudget(clock)
    for number in range(10):
        budget.spend(f"caller-{number}")
        budget.found(f"caller-{number}")
    budget.found("never counted")
    assert len(budget._reads) <= 3
