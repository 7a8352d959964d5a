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
from shared.use_cases.reports.dry_run import explain_request
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests import submission
from shared.use_cases.requests import submit as access
from shared.use_cases.requests.decide import Caller
from tests.functions.web_app import MemoryInventory
from tests.world import ALICE, POLICY, SOURCE, WEB, World, vm_id

NOBODY = Principal("tenant", "nobody-id", "nobody@contoso.example")
GLASS = replace(NOBODY, roles=frozenset({"Jit.BreakGlass"}))
NOWHERE = POLICY.replace("/default", "/nowhere")


@pytest.fixture
def world() -> World:
    """Make a world whose policy covers both VMs."""
    made = World()
    made.protect()
    return made


def _asked(vm: str = WEB, justification: str | None = None) -> Asked:
    return Asked((AskedPort("", vm, 22, (SOURCE,), duration=timedelta(minutes=10)),), justification)


def _wish(world: World, who: Principal, *, break_glass: bool = False) -> access.PolicyRequest:
    return access.PolicyRequest(world.policy(), _asked(), who, break_glass=break_glass)


USES: dict[str, Callable[[World], object]] = {
    "request": lambda w: access.request_access(w.services, _wish(w, NOBODY)),
    "dry run": lambda w: explain_request(w.services, _wish(w, NOBODY)),
    "submit": lambda w: submission.submit(
        w.services, submission.NewRequest(_asked(), NOBODY, NOWHERE)
    ),
    "submit without a policy": lambda w: submission.submit(
        w.services, submission.NewRequest(_asked(vm_id("absent")), NOBODY)
    ),
    "dry run of a submission": lambda w: dry_run.explain_submission(
        w.services, submission.NewRequest(_asked(), NOBODY)
    ),
    "break glass": lambda w: access.request_access(w.services, _wish(w, ALICE, break_glass=True)),
    "read": lambda w: access.read_request(w.services, w.ask().id, NOBODY),
    "approve": lambda w: approval.decide(w.services, w.ask().id, Caller(NOBODY), approved=True),
    "revoke": lambda w: approval.revoke(w.services, w.ask().id, Caller(NOBODY)),
    "extend": lambda w: approval.extend_access(w.services, w.ask().id, Caller(NOBODY)),
    "revoke all": lambda w: approval.revoke_all(w.services, Caller(NOBODY), vm_id=WEB),
    "write a policy": lambda w: policy_changes.write_policy(
        w.services, Changer(NOBODY), w.policy()
    ),
    "explain a policy": lambda w: dry_run.explain_write(
        w.services, MemoryInventory(w), Changer(NOBODY), w.policy()
    ),
    "delete a policy": lambda w: policy_changes.remove_policy(w.services, Changer(NOBODY), POLICY),
}


@pytest.mark.parametrize("use", USES)
def test_a_principal_who_holds_nothing_is_refused(world: World, use: str) -> None:
    """Each use case refuses a principal without permission by itself, whoever calls it."""
    with pytest.raises(NotPermittedError):
        USES[use](world)


def test_the_bound_of_role_reads_is_told_as_429(world: World) -> None:
    """Where a caller's roles may not be looked up now, the use case says when to come again."""
    bounded = replace(
        world.services,
        authorize=lambda *_: Decision(False, ("too many",), failed_check=True, retry_after=7),
    )
    for work in (
        lambda: policy_changes.write_policy(bounded, Changer(NOBODY), world.policy()),
        lambda: is_permitted(bounded, NOBODY, Action.READ, POLICY),
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
    wish = access.PolicyRequest(world.policy(), _asked(justification=" "), GLASS, break_glass=True)
    with pytest.raises(JitError) as refused:
        access.request_access(world.services, wish)
    assert "needs a reason" in refused.value.message
