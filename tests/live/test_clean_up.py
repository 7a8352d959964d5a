"""The clean-up removes everything of a run, stopped at any step, and nothing else."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from local import azd as local_azd
from local.live import LOCATION, SUBSCRIPTION
from tests.live.playing import BUILDING, Cloud, Fate, Killed
from tests.package import ROOT
from tools.live import __main__ as command
from tools.live.outside import RESOURCES, LiveError
from tools.live.report import FAILED, PASSED, SKIPPED
from tools.live.session import Session
from tools.live.suite import Step, clean, play


def _quiet(_line: str) -> None:
    """Print nothing."""


_play = partial(play, steps=BUILDING, say=_quiet)
_clean = partial(clean, say=_quiet)


def test_a_run_leaves_nothing(cloud: Cloud) -> None:
    """All steps pass, and afterwards exactly what was there before exists."""
    before = cloud.ids()

    report = _play(cloud.session(), cloud.journal)

    assert [line.verdict for line in report.lines] == [PASSED] * len(BUILDING), report.text()
    assert report.is_good
    assert cloud.ids() == before
    assert cloud.journal.unfinished() == []


@pytest.mark.parametrize("after", [False, True])
def test_a_run_killed_at_any_call_is_removed_by_the_next_clean_up(
    cloud: Cloud, *, after: bool
) -> None:
    """The process is killed before or after each of its calls; a clean-up then leaves nothing."""
    before = cloud.ids()
    for at in range(1, 500):
        fate = Fate(at, after=after)
        with contextlib.suppress(Killed):
            _play(cloud.session(fate), cloud.journal)
        for run in cloud.journal.unfinished():
            assert _clean(cloud.session(run_id=run.id), cloud.journal) == []

        assert cloud.ids() == before, f"killed at call {at}"
        assert not (cloud.folder / ".azure" / "jit-live-abcd1234").exists()
        if not fate.is_dead:
            assert at > 40
            return
    pytest.fail("the run never ends")


@pytest.mark.parametrize("module", ["tools.live", "tools.verify_audit"])
def test_the_command_starts_as_make_starts_it(module: str) -> None:
    """Neither the tests' search path nor an installed command line is needed."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "usage: python -m" in done.stdout


class _Signalled(Fate):
    """Sends a signal to this process after one of its calls, and ends nothing itself."""

    def around(self, call: Callable[[], Any]) -> Any:
        """Make a call."""
        self.calls += 1
        result = call()
        if self.calls == self.at:
            os.kill(os.getpid(), signal.SIGTERM)
        return result


@pytest.fixture
def signals() -> Iterator[None]:
    """Give the handlers of signals back that the command sets."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_a_run_stopped_at_any_call_removes_everything_and_says_so(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM after any call, within a step or the clean-up, ends with nothing left and code 130."""
    monkeypatch.setattr(command, "play", _play)
    monkeypatch.setattr(command, "clean", _clean)
    before = cloud.ids()
    for at in range(1, 500):
        fate = _Signalled(at)
        code = command.main(
            ["run", "--subscription", SUBSCRIPTION, "--location", LOCATION],
            connect=lambda run, fate=fate: cloud.session(fate, run.id).target,  # type: ignore[misc]
            journal=cloud.journal,
        )

        assert cloud.ids() == before, f"stopped at call {at}"
        assert cloud.journal.unfinished() == []
        if fate.calls < at:
            assert code == 0
            return
        assert code == 130
    pytest.fail("the run never ends")


def test_a_step_that_fails_is_reported_and_removed(cloud: Cloud) -> None:
    """Steps that depend on a failed one are skipped, the rest is played, and nothing is left."""
    before = cloud.ids()

    def fail(_session: Session) -> str:
        raise LiveError("refused | for good")

    steps = [Step("VM", fail, ("resource group",)) if s.name == "VM" else s for s in BUILDING]
    steps.append(Step("policy", fail, ("VM",)))
    report = _play(cloud.session(), cloud.journal, steps=steps)

    assert report.verdict_of("VM") == FAILED
    assert report.verdict_of("deployment") == PASSED
    assert report.verdict_of("policy") == SKIPPED
    assert "| VM | FAILED | 0 s | LiveError: refused / for good |" in report.text()
    assert not report.is_good
    assert cloud.ids() == before


@pytest.mark.parametrize("command", ["up", "down"])
def test_azd_that_fails_leaves_nothing(cloud: Cloud, command: str) -> None:
    """The resource groups are deleted without azd where azd does not do it."""
    before = cloud.ids()
    session = cloud.session()
    session.target.azd.failing.add(command)  # type: ignore[attr-defined]

    report = _play(session, cloud.journal)

    assert report.verdict_of("deployment") == (FAILED if command == "up" else PASSED)
    assert report.left == []
    assert cloud.ids() == before


@pytest.mark.parametrize("created", range(8))
def test_a_deployment_that_ends_half_way_leaves_nothing(
    cloud: Cloud, created: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever resources azd has created when it fails, all of them are removed."""
    before = cloud.ids()
    deployed = local_azd.deployed_beside_the_app

    def some(*arguments: Any) -> Iterator[dict[str, object]]:
        yield from deployed(*arguments)[:created]
        raise local_azd.AzdError("the deployment failed")

    monkeypatch.setattr(local_azd, "deployed_beside_the_app", some)
    report = _play(cloud.session(), cloud.journal)

    assert "the deployment failed" in report.lines[-1].seen
    assert report.left == []
    assert cloud.ids() == before


def test_a_group_without_the_tag_is_left_alone(cloud: Cloud) -> None:
    """A resource group of the same name that does not bear the run's tag is named, not deleted."""
    session = cloud.session()
    run, arm = session.run, session.target.arm
    foreign = {"location": run.location, "tags": {"jit-live-run": "otherone"}}
    arm.require("PUT", run.machine_group, RESOURCES, foreign)
    cloud.journal.open(run)

    left = _clean(session, cloud.journal)

    assert len(left) == 1
    assert "does not bear the run's tag" in left[0]
    assert run.machine_group in cloud.ids()
    assert cloud.journal.unfinished() == [run]


def test_a_group_that_exists_stops_the_run_before_it_creates_anything(cloud: Cloud) -> None:
    """The first step fails, every other is skipped, and the group stays."""
    session = cloud.session()
    session.target.arm.require("PUT", session.run.app_group, RESOURCES, {"location": "westeurope"})
    before = cloud.ids()

    report = _play(session, cloud.journal)

    assert [line.verdict for line in report.lines] == [FAILED, *[SKIPPED] * 4]
    assert "exists or cannot be read" in report.lines[0].seen
    assert cloud.ids() == before
    assert len(report.left) == 1


def test_a_role_that_is_still_assigned_is_waited_for(cloud: Cloud) -> None:
    """A role is deleted once Azure has dropped its last assignment."""
    session = cloud.session()
    subscription = session.run.subscription_id
    definition = f"{subscription}/providers/Microsoft.Authorization/roleDefinitions/r1"
    assignment = f"{subscription}/providers/Microsoft.Authorization/roleAssignments/a1"
    properties = {"roleName": f"JIT network ({session.run.mark})", "type": "CustomRole"}
    properties |= {"assignableScopes": [subscription], "permissions": []}  # type: ignore[dict-item]
    held = {"principalId": "p", "roleDefinitionId": definition, "scope": subscription}
    before = cloud.ids()
    cloud.control(
        "edit",
        {
            "resources": [
                {"id": definition, "properties": properties},
                {"id": assignment, "properties": held},
            ]
        },
    )
    refused = session.target.arm.call("DELETE", definition, "2022-04-01")
    assert (refused.status, refused.code) == (400, "RoleDefinitionHasAssignments")

    tries = 0
    wait = session.target.arm.call

    def drop_at_the_third_try(*arguments: object, **named: object) -> object:
        nonlocal tries
        if arguments[:2] == ("DELETE", definition):
            tries += 1
            if tries == 3:
                cloud.control("edit", {"remove": [assignment]})
        return wait(*arguments, **named)  # type: ignore[arg-type]

    session.target.arm.call = drop_at_the_third_try  # type: ignore[method-assign,assignment]
    assert _clean(session, cloud.journal) == []
    assert tries == 3
    assert cloud.ids() == before
