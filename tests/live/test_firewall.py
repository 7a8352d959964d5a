"""The live suite with an Azure Firewall: its steps, its clean-up after a kill, and what it costs."""

import contextlib
from functools import partial

import pytest

from local import azd as local_azd
from local.live import LOCATION, SUBSCRIPTION
from tests.live.playing import BUILDING, Cloud, Fate, Killed
from tools.live.building import deploy
from tools.live.firewall import create_firewall, route_vm
from tools.live.names import Run
from tools.live.report import estimate, minutes
from tools.live.session import Session
from tools.live.suite import STEPS, Step, clean, play, steps_of


def _route(session: Session) -> str:
    """Lead the VM's route to the firewall."""
    route_vm(session)
    return "routed"


# What a firewall needs: neither the app nor the test of If-Match.
_STEPS = (
    *(step for step in BUILDING if step.name not in {"If-Match", "deployment"}),
    Step("Azure Firewall", create_firewall, ("VM",)),
    Step("route", _route, ("Azure Firewall",)),
)


def _quiet(_line: str) -> None:
    """Print nothing."""


_play = partial(play, steps=_STEPS, say=_quiet)


@pytest.mark.parametrize("after", [False, True])
def test_a_run_with_a_firewall_killed_at_any_call_is_removed(cloud: Cloud, *, after: bool) -> None:
    """The firewall, its policy, address and route go, whichever call was the last."""
    before = cloud.ids()
    for at in range(1, 200):
        fate = Fate(at, after=after)
        with contextlib.suppress(Killed):
            _play(cloud.session(fate, firewall=True), cloud.journal)
        for run in cloud.journal.unfinished():
            assert run.firewall
            left = clean(cloud.session(run_id=run.id, firewall=True), cloud.journal, say=_quiet)
            assert left == []
        assert cloud.ids() == before, f"killed at call {at}"
        if not fate.is_dead:
            assert at > 20
            return
    pytest.fail("the run never ends")


def test_a_firewall_is_created_in_the_vm_s_network(cloud: Cloud) -> None:
    """The step waits until the firewall is ready, and its policy holds no rule."""
    session = cloud.session(firewall=True)
    for step in _STEPS:
        step.play(session)
    held = session.target.arm.require(
        "GET", session.run.network("azureFirewalls", "afw-jit-live"), "2024-05-01"
    ).body["properties"]
    assert held["provisioningState"] == "Succeeded"
    assert held["ipConfigurations"][0]["properties"]["privateIPAddress"].startswith("10.77.2.")
    assert clean(session, cloud.journal, say=_quiet) == []


def test_the_deployment_looks_for_firewalls_only_with_the_option(cloud: Cloud) -> None:
    """The scope, and with it the roles for firewalls, come with the option alone; all go again."""
    before = cloud.ids()
    for option in (False, True):
        session = cloud.session(firewall=option)
        cloud.journal.open(session.run)
        for step in STEPS[:2]:
            step.play(session)
        deploy(session)
        assert ("JIT_FIREWALL_SCOPES" in session.outputs) is option
        made = len(cloud.ids()) - len(before)
        roles = len(local_azd.ROLES) + (len(local_azd.FIREWALL_ROLES) if option else 0)
        assert made == roles + 6  # two groups, registration, account, setting, assignment
        assert clean(session, cloud.journal, say=_quiet) == []
    assert cloud.ids() == before


def test_the_steps_of_the_firewall_come_last_and_need_the_policy() -> None:
    """Without the option there is none; with it, what a firewall costs is in the estimate."""
    plain = Run("abcd1234", SUBSCRIPTION, LOCATION)
    behind = Run("abcd1234", SUBSCRIPTION, LOCATION, bastion=True, firewall=True)
    assert tuple(steps_of(plain)) == STEPS
    names = [step.name for step in steps_of(behind)]
    assert names[-2:] == ["Azure Firewall", "access through Azure Firewall"]
    assert steps_of(behind)[-1].needs == ("Azure Firewall", "policy")
    assert estimate(behind, 1.0) - estimate(plain, 1.0) == pytest.approx(1.45)
    assert (minutes(plain), minutes(behind)) == (20, 75)


def test_a_journal_of_the_version_before_is_read(cloud: Cloud) -> None:
    """A run that was killed under a version without the option is still removed."""
    run = Run("abcd1234", SUBSCRIPTION, LOCATION)
    cloud.journal.open(run)
    path = cloud.journal.folder / "abcd1234.json"
    path.write_text(path.read_text("utf-8").replace(', "firewall": false', ""), encoding="utf-8")
    assert "firewall" not in path.read_text("utf-8")
    assert cloud.journal.unfinished() == [run]
