"""The hooks of azd, run by sh with a stand-in for the Azure CLI."""

import json
import os
from pathlib import Path

import pytest
import yaml

from tests.infra.bicep import INFRA, ROOT, read
from tests.infra.hook_world import (
    ALLOW,
    DENY,
    FOREIGN,
    POLICY,
    SUBSCRIPTION,
    Run,
)


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
    """An administrator who goes on with rules left behind has to say so."""
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
    """The Azure CLI may be set to another one, where a group of the same name could be another project's."""
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
    """Connections wait for a person to sign in, where a channel is chosen."""
    done, _ = run("postprovision", environment={"JIT_APPROVAL_CHANNEL": "outlook"})

    assert "Authorize" in done.stdout


def test_azd_runs_the_hooks_that_are_there() -> None:
    """azure.yaml names files that exist and are executable, and azd hands them what they read."""
    project = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
    # The subscription is azd's own to tell.
    outputs = {"AZURE_SUBSCRIPTION_ID", *read(INFRA / "main.bicep").outputs}

    assert set(project["hooks"]) == {"postprovision", "postdeploy", "predown"}
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


OLD_AZD = ["1.24.0", "1.5.0", "1.23.13", "0.9.9", "1.24.1-beta.1", "1.24", "daily", ""]
NEW_AZD = ["1.24.1", "1.24.2", "1.24.10", "1.25.0-beta.1", "1.100.0", "2.0.0"]


@pytest.mark.parametrize("version", OLD_AZD)
def test_an_azd_that_deletes_foreign_groups_is_refused(run: Run, version: str) -> None:
    """An azd before 1.24.1 goes no further, with nothing drained, whatever else is asked for."""
    for anyway in ("false", "true"):
        done, after = run(azd=version, environment={"JIT_DRAIN_ANYWAY": anyway})

        assert done.returncode == 1
        assert "1.24.1 or newer" in done.stderr
        assert after["calls"] == []


@pytest.mark.parametrize("version", NEW_AZD)
def test_an_azd_that_leaves_foreign_groups_alone_goes_on(run: Run, version: str) -> None:
    """An azd from 1.24.1 on drains."""
    done, after = run(azd=version, policies=[], rules=FOREIGN)

    assert done.returncode == 0, done.stdout + done.stderr
    assert after["calls"]


def test_azd_without_a_version_to_ask_is_refused(run: Run, tmp_path: Path) -> None:
    """Under azd an unknown version stops the leaving; by hand no `azd down` follows."""
    azd = tmp_path / "bin" / "azd"
    azd.unlink()
    done, after = run(environment={"AZURE_ENV_NAME": "prod"})
    assert done.returncode == 1
    assert after["calls"] == []

    done, _ = run(policies=[], rules=FOREIGN)
    assert done.returncode == 0, done.stdout + done.stderr


def test_azure_yaml_refuses_an_old_azd() -> None:
    """The file makes azd itself refuse the project before 1.24.1, as the hook does."""
    project = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
    hook = (INFRA / "hooks" / "predown.sh").read_text(encoding="utf-8")

    assert project["requiredVersions"] == {"azd": ">= 1.24.1"}
    assert "update azd to 1.24.1 or newer" in hook


@pytest.mark.parametrize("hook", sorted((INFRA / "hooks").glob("*.sh")), ids=lambda path: path.name)
def test_ids_reach_the_tools_unchanged_on_windows(hook: Path) -> None:
    """Git Bash takes an argument that begins with a slash for a path, unless it is told not to."""
    assert "\nexport MSYS_NO_PATHCONV=1\n" in hook.read_text(encoding="utf-8")
