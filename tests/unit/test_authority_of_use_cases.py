"""Every use case that acts for a caller, called directly by a principal that holds nothing.

Authority is decided in use cases: whichever trigger calls one, it refuses such a caller, or shows
what is the caller's own and nothing else. A use case without a line here fails the first test.
"""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

import shared.use_cases
from shared.domain.errors import ConflictError, NotFoundError, NotPermittedError
from shared.domain.model import AccessRequest, Principal
from shared.domain.permissions import Action, Decision
from shared.domain.policy import Asked, AskedPort
from shared.use_cases import permission
from shared.use_cases.policies import manage
from shared.use_cases.policies.manage import Changer
from shared.use_cases.reports import activity, dry_run, machines, me, policies
from shared.use_cases.reports.estates import Estates
from shared.use_cases.requests import decide, listing, relay, submission, submit
from shared.use_cases.requests.decide import Caller
from shared.use_cases.requests.listing import RequestFilter
from shared.use_cases.requests.view import Viewer
from tests.world import ALICE, POLICY, SOURCE, SUBSCRIPTION, WEB, World

ROOT = Path(__file__).parents[2]
PREFIX = "shared.use_cases."
STRANGER = Principal("tenant", "stranger-id", "stranger@x")
ACTING = Caller(STRANGER)
CHANGER = Changer(STRANGER)
CALLER_TYPES = frozenset(
    {"Principal", "Caller", "Changer", "PolicyRequest", "NewRequest", "Viewer"}
)

Call = Callable[[World, AccessRequest], object]


def _asked() -> Asked:
    port = AskedPort("ports[0]", WEB, 22, (SOURCE,), duration=timedelta(minutes=5))
    return Asked((port,), "because", SOURCE)


def _new_in_policy(world: World) -> submit.PolicyRequest:
    return submit.PolicyRequest(world.policy(), _asked(), STRANGER)


def _new() -> submission.NewRequest:
    return submission.NewRequest(_asked(), STRANGER, POLICY)


def _all_activity(world: World) -> activity.Asked:
    day = timedelta(days=1)
    return activity.Asked(world.clock() - day, world.clock() + day)


# Each raises NotPermittedError, and nothing is stored, queued or written.
REFUSED: dict[str, Call] = {
    "permission.enforce": lambda w, _: permission.enforce(
        w.services, STRANGER, Action.READ, POLICY
    ),
    "permission.enforce_for_missing": lambda w, _: permission.enforce_for_missing(
        w.services, STRANGER, Action.READ
    ),
    "permission.enforce_on_found": lambda w, _: permission.enforce_on_found(
        w.services, STRANGER, Action.REVOKE, [WEB]
    ),
    "permission.enforce_on_vms": lambda w, _: permission.enforce_on_vms(
        w.services, STRANGER, Action.WRITE, [WEB]
    ),
    "permission.refuse": lambda w, _: permission.refuse(
        w.services, STRANGER, Action.READ, POLICY, w.services.authorize(STRANGER, Action.READ, "/")
    ),
    "policies.manage.enforce_on_replaced": lambda w, _: manage.enforce_on_replaced(
        w.services, CHANGER, w.policy()
    ),
    "policies.manage.enforce_write": lambda w, _: manage.enforce_write(
        w.services, CHANGER, POLICY, [WEB]
    ),
    "policies.manage.remove_policy": lambda w, _: manage.remove_policy(w.services, CHANGER, POLICY),
    "policies.manage.write_policy": lambda w, _: manage.write_policy(
        w.services, CHANGER, w.policy()
    ),
    "reports.activity.enforce_figures": lambda w, _: activity.enforce_figures(w.services, STRANGER),
    "reports.dry_run.dry_run_request": lambda w, _: dry_run.dry_run_request(
        w.services, _new_in_policy(w)
    ),
    "reports.dry_run.dry_run_submission": lambda w, _: dry_run.dry_run_submission(
        w.services, _new()
    ),
    "reports.dry_run.dry_run_write": lambda w, _: dry_run.dry_run_write(
        w.services, w.services.inventory, CHANGER, w.policy()
    ),
    "reports.machines.report_to_caller": lambda w, _: machines.report_to_caller(
        w.services, Estates(w.services, w.services.inventory), STRANGER
    ),
    "reports.policies.read_policies": lambda w, _: policies.read_policies(
        w.services, STRANGER, policies.PolicyScope(SUBSCRIPTION)
    ),
    "reports.policies.read_policy": lambda w, _: policies.read_policy(w.services, STRANGER, POLICY),
    "requests.decide.decide": lambda w, r: decide.decide(w.services, r.id, ACTING, approved=True),
    "requests.decide.extend_access": lambda w, r: decide.extend_access(
        w.services, r.id, ACTING, duration=timedelta(minutes=50)
    ),
    "requests.decide.revoke": lambda w, r: decide.revoke(w.services, r.id, ACTING),
    "requests.decide.revoke_all": lambda w, _: decide.revoke_all(w.services, ACTING, vm_id=WEB),
    "requests.relay.act_for": lambda w, _: relay.act_for(w.services, STRANGER, ALICE),
    "requests.submission.submit": lambda w, _: submission.submit(w.services, _new()),
    "requests.submission.with_policy": lambda w, _: submission.with_policy(w.services, _new()),
    "requests.submit.enforce_initiate": lambda w, _: submit.enforce_initiate(
        w.services, STRANGER, _asked(), break_glass=False
    ),
    "requests.submit.find_request": lambda w, _: submit.find_request(
        w.services, "no-such-request", STRANGER, Action.READ
    ),
    "requests.submit.permitted": lambda w, _: submit.permitted(w.services, _new_in_policy(w)),
    "requests.submit.read_request": lambda w, r: submit.read_request(w.services, r.id, STRANGER),
    "requests.submit.request_access": lambda w, _: submit.request_access(
        w.services, _new_in_policy(w)
    ),
}
# A refusal whatever is held: the second is for the requestor alone.
NEVER_PERMITTED = {"permission.refuse", "requests.decide.extend_access"}
# Each shows the caller's own data only: here there is none.
OWN: dict[str, Call] = {
    "permission.is_permitted": lambda w, _: permission.is_permitted(
        w.services, STRANGER, Action.READ, POLICY
    ),
    "reports.activity.read_activity": lambda w, _: (
        activity.read_activity(w.services, STRANGER, _all_activity(w)).events
    ),
    "reports.me.describe_caller": lambda w, _: (
        me.describe_caller(w.services, STRANGER, [POLICY]).held[0].actions
    ),
    "requests.listing.list_requests": lambda w, _: (
        listing.list_requests(w.services, Viewer(w.services, STRANGER), RequestFilter()).requests
    ),
}
# Why the others decide nothing.
WITHOUT_AUTHORITY = {
    "firewalls.converge.converge_on_message": "a worker runs it: a message carries keys only",
    "policies.apply.apply_policy": "a worker runs it: a message carries keys only",
    "policies.apply.fail_policy": "a worker runs it: a message carries keys only",
    "requests.notify.notify": "a worker runs it: a message carries keys only",
    "requests.open.fail_request": "a worker runs it: a message carries keys only",
    "requests.open.open_access": "a worker runs it, and checks the requestor's permission again",
    "timers.disconnect_sessions.disconnect_sessions": "a timer runs it",
    "timers.export_audit.export_audit": "a timer runs it",
    "timers.reconcile.reconcile": "a timer runs it",
    "timers.send_notifications.send_notifications": "a timer runs it",
    "timers.sweep.sweep_expired": "a timer runs it",
    "timers.sweep.sweep_if_late": "a worker runs it after its own message",
    "reports.bastions.find_bastions": "it takes VMs that a refused caller is not given",
    "reports.policies.newest_requests": "it takes a policy that a refused caller is not given",
    "requests.refusals.record_refusal": "it records that a caller was refused",
    "requests.source_bounds.check_sources_held": "request_access calls it once it has permitted",
    "requests.submit.judge": "request_access calls it once it has permitted",
    "requests.submit.new_request": "it makes a value and stores nothing",
}


def test_each_use_case_with_a_caller_has_a_line() -> None:
    """The lines are the functions that take a caller, and those that a trigger calls."""
    assert sorted([*REFUSED, *OWN, *WITHOUT_AUTHORITY]) == sorted(_taking_a_caller() | _called())


@pytest.mark.parametrize("name", REFUSED)
def test_a_principal_that_holds_nothing_is_refused(name: str) -> None:
    """The use case raises NotPermittedError, and the tables and queues stay as they were."""
    world, request = _waiting_world()
    before = _state(world)

    with pytest.raises(NotPermittedError):
        REFUSED[name](world, request)

    assert _state(world) == before


@pytest.mark.parametrize("name", sorted(REFUSED.keys() - NEVER_PERMITTED))
def test_a_principal_that_holds_everything_is_not_refused(name: str) -> None:
    """The same call is not refused where every action is held: the test above is of authority."""
    world, request = _waiting_world()
    world.rewire(authorize=lambda *_: Decision(True, ("held",)))

    with suppress(NotFoundError, ConflictError):  # what the call would do next
        REFUSED[name](world, request)


@pytest.mark.parametrize("name", OWN)
def test_a_principal_that_holds_nothing_is_shown_nothing(name: str) -> None:
    """The use case returns an empty result, although another person's request is stored."""
    world, request = _waiting_world()

    assert not OWN[name](world, request)


def _waiting_world() -> tuple[World, AccessRequest]:
    world = World()
    world.protect()
    return world, world.ask()


def _state(world: World) -> object:
    tables = (dict(table.rows) for table in world.tables.all())
    return [*tables, [str(message) for message in world.queues.waiting]]


def _modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(shared.use_cases.__path__, PREFIX):
        yield importlib.import_module(found.name)


def _name(function: FunctionType) -> str:
    return f"{function.__module__}.{function.__name__}".removeprefix(PREFIX)


def _taking_a_caller() -> set[str]:
    """Return the public functions of use cases with a parameter that says who calls."""
    return {
        _name(function)
        for module in _modules()
        for function in vars(module).values()
        if inspect.isfunction(function) and function.__module__ == module.__name__
        if not function.__name__.startswith("_") and _callers(function)
    } | {"requests.refusals.record_refusal"}


def _callers(function: FunctionType) -> frozenset[str]:
    annotations = (str(each) for each in inspect.get_annotations(function).values())
    return CALLER_TYPES & {word for text in annotations for word in re.findall(r"\w+", text)}


def _called() -> set[str]:
    """Return the functions of use cases that a trigger imports, by itself or with its module."""
    found: set[str] = set()
    for path in (ROOT / "functions").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = dict(_imports(tree))
        found |= {_name(each) for each in imported.values() if inspect.isfunction(each)}
        attributes = (
            getattr(imported[node.value.id], node.attr, None)
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if inspect.ismodule(imported.get(node.value.id))
        )
        found |= {_name(each) for each in attributes if inspect.isfunction(each)}
    return found


def _imports(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(PREFIX):
            for alias in node.names:
                module = importlib.import_module(str(node.module))
                part = getattr(module, alias.name, None) or importlib.import_module(
                    f"{node.module}.{alias.name}"
                )
                yield alias.asname or alias.name, part
