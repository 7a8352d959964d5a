"""Authority is decided in the use cases: each refuses a principal who holds nothing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.errors import (
    JitError,
    NotFoundError,
    NotPermittedError,
    TooManyRequestsError,
)
from shared.domain.model import Principal
from shared.domain.permissions import Action, Decision
from shared.domain.policy import Asked, AskedPort
from shared.use_cases.permission import is_permitted
from shared.use_cases.policies import manage as policy_changes
from shared.use_cases.policies.manage import Changer
from shared.use_cases.reports import dry_run
from shared.use_cases.reports.dry_run import dry_run_request
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests import submission
from shared.use_cases.requests import submit as access
from shared.use_cases.requests.decide import Caller
from tests.functions.web_app import MemoryInventory
from tests.world import ALICE, POLICY, SOURCE, WEB, World, vm_id

NOROLE = Principal("tenant", "norole-id", "norole@contoso.example")
GLASS = replace(NOROLE, roles=frozenset({"Jit.BreakGlass"}))
NOWHERE = POLICY.replace("/default", "/nowhere")


@pytest.fixture
def world() -> World:
    """Make a world whose policy covers both VMs."""
    made = World()
    made.protect()
    return made


def _asked(vm: str = WEB, justification: str | None = None) -> Asked:
    return Asked((AskedPort("", vm, 22, (SOURCE,), duration=timedelta(minutes=10)),), justification)


def _new_request(
    world: World, who: Principal, *, break_glass: bool = False
) -> access.PolicyRequest:
    return access.PolicyRequest(world.policy(), _asked(), who, break_glass=break_glass)


USES: dict[str, Callable[[World], object]] = {
    "request": lambda w: access.request_access(w.services, _new_request(w, NOROLE)),
    "dry run": lambda w: dry_run_request(w.services, _new_request(w, NOROLE)),
    "submit": lambda w: submission.submit(
        w.services, submission.NewRequest(_asked(), NOROLE, NOWHERE)
    ),
    "submit without a policy": lambda w: submission.submit(
        w.services, submission.NewRequest(_asked(vm_id("absent")), NOROLE)
    ),
    "dry run of a submission": lambda w: dry_run.dry_run_submission(
        w.services, submission.NewRequest(_asked(), NOROLE)
    ),
    "break glass": lambda w: access.request_access(
        w.services, _new_request(w, ALICE, break_glass=True)
    ),
    "read": lambda w: access.read_request(w.services, w.ask().id, NOROLE),
    "approve": lambda w: approval.decide(w.services, w.ask().id, Caller(NOROLE), approved=True),
    "revoke": lambda w: approval.revoke(w.services, w.ask().id, Caller(NOROLE)),
    "extend": lambda w: approval.extend_access(w.services, w.ask().id, Caller(NOROLE)),
    "revoke all": lambda w: approval.revoke_all(w.services, Caller(NOROLE), vm_id=WEB),
    "write a policy": lambda w: policy_changes.write_policy(
        w.services, Changer(NOROLE), w.policy()
    ),
    "dry run of a policy": lambda w: dry_run.dry_run_write(
        w.services, MemoryInventory(w), Changer(NOROLE), w.policy()
    ),
    "delete a policy": lambda w: policy_changes.remove_policy(w.services, Changer(NOROLE), POLICY),
}


@pytest.mark.parametrize("use", USES)
def test_a_principal_who_holds_nothing_is_refused(world: World, use: str) -> None:
    """Each use case refuses a principal without permission by itself, for every caller."""
    with pytest.raises(NotPermittedError):
        USES[use](world)


def test_the_bound_of_role_reads_is_told_as_429(world: World) -> None:
    """Where a caller's roles may not be looked up now, the use case says when to come again."""
    bounded = replace(
        world.services,
        authorize=lambda *_: Decision(False, ("too many",), failed_check=True, retry_after=7),
    )
    for work in (
        lambda: policy_changes.write_policy(bounded, Changer(NOROLE), world.policy()),
        lambda: is_permitted(bounded, NOROLE, Action.READ, POLICY),
    ):
        with pytest.raises(TooManyRequestsError) as refused:
            work()
        assert refused.value.retry_after == 7


def test_a_permitted_principal_is_told_what_is_missing(world: World) -> None:
    """With the permission, a policy that does not exist is PolicyNotFound."""
    with pytest.raises(NotFoundError) as refused:
        submission.submit(world.services, submission.NewRequest(_asked(), ALICE, NOWHERE))
    assert refused.value.code == "PolicyNotFound"


def test_breaking_the_glass_needs_a_reason_after_the_permission(world: World) -> None:
    """A blank justification is told to a caller who may break the glass."""
    new_request = access.PolicyRequest(
        world.policy(), _asked(justification=" "), GLASS, break_glass=True
    )
    with pytest.raises(JitError) as refused:
        access.request_access(world.services, new_request)
    assert "needs a reason" in refused.value.message
