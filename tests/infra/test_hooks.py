"""The hooks of azd, run by sh with a stand-in for the Azure CLI."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.bicep import INFRA, ROOT, read

HOOKS = INFRA / "hooks"
SUBSCRIPTION = "/subscriptions/3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
NSG = f"{SUBSCRIPTION}/resourceGroups/app-rg/providers/Microsoft.Network/networkSecurityGroups/n"
POLICY = (
    f"{SUBSCRIPTION}/resourceGroups/app-rg/providers/Microsoft.Security/locations/westeurope"
    "/jitNetworkAccessPolicies/default"
)
MARK = "j0123456789a"
HASH = "0123456789ABCDEF" * 2
ALLOW = f"{NSG}/securityRules/SecurityCenter-JITRule-{MARK}-{HASH}"
DENY = f"{NSG}/securityRules/SecurityCenter-JITRule_{MARK}_{HASH}"
FOREIGN = [
    f"{NSG}/securityRules/allow-https",
    f"{NSG}/securityRules/SecurityCenter-JITRule-otherone1-{HASH}",
    f"{NSG}/securityRules/SecurityCenter-JITRule_-1105480617_{HASH}",
    f"{NSG}/securityRules/about-{MARK}-rules",
]
Run = Callable[..., tuple[subprocess.CompletedProcess[str], dict[str, Any]]]

pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="there is no sh")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a way to run a hook in a world of rules and policies."""
    az = tmp_path / "bin" / "az"
    az.parent.mkdir()
    fake = Path(__file__).with_name("fake_az.py")
    az.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake}" "$@"\n', encoding="utf-8")
    az.chmod(az.stat().st_mode | stat.S_IXUSR)
    state = tmp_path / "state.json"

    def run_hook(
        name: str = "predown", *, environment: dict[str, str] | None = None, **world: Any
    ) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
        held = {
            "api": "https://func-jit.example",
            "audience": "api://tenant/jit",
            "mark": MARK,
            "running": True,
            "scopes": [f"{SUBSCRIPTION}/resourceGroups/app-rg", SUBSCRIPTION],
            "policies": [POLICY],
            "rules": [*FOREIGN, DENY, ALLOW],
            "locked": [],
            "stuck": [],
            "looks": 0,
            "calls": [],
            **world,
        }
        state.write_text(json.dumps(held), encoding="utf-8")
        done = subprocess.run(
            ["sh", HOOKS / f"{name}.sh"],
            env={
                "PATH": f"{az.parent}:{os.environ['PATH']}",
                "FAKE_AZ_STATE": str(state),
                "JIT_API_URL": "https://func-jit.example",
                "JIT_API_AUDIENCE": "api://tenant/jit",
                "JIT_DEPLOYMENT_ID": MARK,
                "JIT_SCOPES": f"{SUBSCRIPTION}/resourceGroups/app-rg,{SUBSCRIPTION}",
                "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION.rpartition("/")[2],
                "AZURE_FUNCTION_NAME": "func-jit-x",
                "AZURE_RESOURCE_GROUP": "rg-jit-x",
                "AZURE_LOCATION": "westeurope",
                "JIT_STORAGE_ACCOUNT": "stjitx",
                "JIT_WORKSPACE_ID": "/workspace",
                "JIT_INSIGHTS_ID": "/insights",
                "JIT_DRAIN_SECONDS": "2",
                "JIT_DRAIN_PAUSE": "1",
                "JIT_DRAIN_BACKUP": str(tmp_path / "policies.json"),
                **(environment or {}),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done, json.loads(state.read_text(encoding="utf-8"))

    return run_hook


def test_a_running_app_is_drained_through_itself(run: Run, tmp_path: Path) -> None:
    """Policies are saved and deleted, the app closes everything, no rule is touched by hand."""
    done, after = run()

    assert done.returncode == 0, done.stdout + done.stderr
    assert after["rules"] == FOREIGN
    assert after["policies"] == []
    assert after["running"] is True
    assert json.loads((tmp_path / "policies.json").read_text()) == [{"id": POLICY}]
    assert "no rule of ours is left" in done.stdout


def test_without_the_app_its_rules_go_all_the_same(run: Run) -> None:
    """The app is down: it is stopped, so that it puts nothing back, and the rules are deleted."""
    done, after = run(running=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert after["rules"] == FOREIGN
    assert ["functionapp", "stop"] in [call[:2] for call in after["calls"]]


def test_allow_rules_go_before_deny_rules(run: Run) -> None:
    """No port stands open between the two."""
    _, after = run(running=False)

    deleted = [call[-3] for call in after["calls"] if call[:4] == _DELETE]
    assert deleted == [ALLOW, DENY]


_DELETE = ["network", "nsg", "rule", "delete"]


def test_what_the_app_does_not_close_in_time_is_deleted(run: Run) -> None:
    """The app answers, but one rule stays: it is stopped first, then the rule is deleted."""
    done, after = run(stuck=[ALLOW])

    assert done.returncode == 0, done.stdout + done.stderr
    assert after["rules"] == FOREIGN
    assert after["running"] is False


def test_what_cannot_be_removed_is_listed_and_stops_the_leaving(run: Run) -> None:
    """A lock holds a rule: it is named, and `azd down` does not go on."""
    done, after = run(running=False, locked=[DENY])

    assert done.returncode == 1
    assert after["rules"] == [*FOREIGN, DENY]
    assert DENY in done.stdout
    assert ALLOW not in done.stdout.partition("are left")[2]


def test_an_app_that_stays_runs_again(run: Run) -> None:
    """The leaving was stopped: what is left open is closed by the app, once the lock is gone."""
    _, after = run(stuck=[ALLOW], locked=[ALLOW])

    done = [call[1] for call in after["calls"] if call[0] == "functionapp"]
    assert done == ["stop", "start"]
    assert after["running"] is True


def test_leaving_anyway_is_a_decision(run: Run) -> None:
    """Whoever wants to go on with rules left behind has to say so."""
    done, after = run(running=False, locked=[DENY], environment={"JIT_DRAIN_ANYWAY": "true"})

    assert done.returncode == 0
    assert after["running"] is False
    assert DENY in done.stdout


def test_nothing_to_drain_is_fine(run: Run) -> None:
    """A deployment that never opened anything leaves at once."""
    done, after = run(policies=[], rules=FOREIGN)

    assert done.returncode == 0, done.stdout + done.stderr
    assert after["running"] is True


def test_every_page_of_policies_is_drained(run: Run, tmp_path: Path) -> None:
    """Policies on a later page are saved and deleted like those on the first."""
    policies = [f"{POLICY}-{number}" for number in range(5)]
    done, after = run(policies=policies)

    assert done.returncode == 0, done.stdout + done.stderr
    assert after["policies"] == []
    saved = (tmp_path / "policies.json").read_text()
    assert [line for line in policies if line not in saved] == []


def test_scopes_that_are_groups_are_drained_through_the_app(run: Run, tmp_path: Path) -> None:
    """A role that counts in two groups does not list their subscription; each group is listed."""
    groups = [f"{SUBSCRIPTION}/resourceGroups/{name}" for name in ("app-rg", "ops-rg")]
    policies = [POLICY, POLICY.replace("app-rg", "ops-rg")]
    within = f"{groups[0]}/providers/Microsoft.Compute/virtualMachines/one"
    environment = {"JIT_SCOPES": ", ".join([*groups, within])}
    done, after = run(environment=environment, scopes=groups, policies=policies)

    assert done.returncode == 0, done.stdout + done.stderr
    assert after["policies"] == []
    assert not [call for call in after["calls"] if call[0] == "functionapp"]
    saved = (tmp_path / "policies.json").read_text()
    assert [each for each in policies if each not in saved] == []


def test_policies_that_cannot_be_saved_are_not_deleted(run: Run, tmp_path: Path) -> None:
    """A full disk or a folder that cannot be written stops the leaving before anything is gone."""
    nowhere = {"JIT_DRAIN_BACKUP": str(tmp_path / "nowhere" / "policies.json")}
    done, after = run(environment=nowhere)

    assert done.returncode == 1
    assert after["policies"] == [POLICY]
    assert after["rules"] == [*FOREIGN, DENY, ALLOW]
    done, after = run(environment={**nowhere, "JIT_DRAIN_ANYWAY": "true"})
    assert done.returncode == 0
    assert after["rules"] == FOREIGN


def test_it_can_be_run_again(run: Run) -> None:
    """A run that stopped half-way is taken up: policies are gone, rules are left."""
    done, after = run(policies=[], stuck=[DENY])

    assert done.returncode == 0, done.stdout + done.stderr
    assert after["rules"] == FOREIGN


def test_what_was_never_deployed_can_be_left(run: Run) -> None:
    """An `azd up` that failed half-way has no outputs; it is said how to go on."""
    done, _ = run(environment={"JIT_API_URL": ""})

    assert done.returncode == 1
    assert "JIT_DRAIN_ANYWAY=true" in done.stderr
    done, after = run(environment={"JIT_API_URL": "", "JIT_DRAIN_ANYWAY": "true"})
    assert done.returncode == 0
    assert after["calls"] == []


def test_the_hooks_work_in_azd_s_subscription(run: Run) -> None:
    """The Azure CLI may be set to another one, where a group of the same name could be somebody else's."""
    subscription = SUBSCRIPTION.rpartition("/")[2]
    for name, command in (("predown", "functionapp"), ("postprovision", "deployment")):
        _, after = run(name, running=False)

        (call,) = [each for each in after["calls"] if each[0] == command]
        assert call[call.index("--subscription") + 1] == subscription


@pytest.mark.parametrize("mark", ["", "a.*", "x y", "$(id)", "-"])
def test_a_mark_that_is_none_deletes_nothing(run: Run, mark: str) -> None:
    """The mark decides what is deleted, so it is checked before anything is."""
    done, after = run(environment={"JIT_DEPLOYMENT_ID": mark})

    assert done.returncode == 1
    assert after["calls"] == []


def test_extras_get_every_parameter_they_ask_for(run: Run) -> None:
    """The hook hands over each required parameter of the template, and none it does not know."""
    template = json.loads((INFRA / "extras" / "extras.json").read_text(encoding="utf-8"))
    done, after = run("postprovision")

    assert done.returncode == 0, done.stderr
    (call,) = [each for each in after["calls"] if each[:3] == ["deployment", "group", "create"]]
    given = {each.partition("=")[0] for each in call if "=" in each and not each.startswith("-")}
    required = {name for name, each in template["parameters"].items() if "defaultValue" not in each}
    assert required <= given <= set(template["parameters"])


def test_the_postprovision_hook_says_what_is_left_to_do(run: Run) -> None:
    """Connections wait for somebody to sign in, where a channel is chosen."""
    done, _ = run("postprovision", environment={"JIT_APPROVAL_CHANNEL": "outlook"})

    assert "Authorize" in done.stdout


def test_azd_runs_the_hooks_that_are_there() -> None:
    """azure.yaml names files that exist and are executable, and azd hands them what they read."""
    project = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
    # The subscription is azd's own to tell.
    outputs = {"AZURE_SUBSCRIPTION_ID", *read(INFRA / "main.bicep").outputs}

    assert set(project["hooks"]) == {"postprovision", "predown"}
    for hook in project["hooks"].values():
        path = ROOT / hook["run"]
        assert os.access(path, os.X_OK)
        text = path.read_text(encoding="utf-8")
        needed = {
            name
            for line in text.splitlines()
            if line.startswith(("for name in", "    JIT_DEPLOYMENT_ID"))
            for name in line.replace(";", " ").split()
            if name.startswith(("JIT_", "AZURE_"))
        }
        assert needed
        assert needed <= outputs


def test_azd_finds_the_app() -> None:
    """The service has its tag on the site, and azd deploys the folder that .funcignore prunes."""
    project = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
    ((name, service),) = project["services"].items()
    site = read(INFRA / "modules" / "app.bicep").text

    assert service == {"project": ".", "language": "python", "host": "function"}
    assert f"'azd-service-name': '{name}'" in site
