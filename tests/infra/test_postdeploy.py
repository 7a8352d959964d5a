"""The checks of azd's postdeploy hook before it says that the app works."""

import re

import pytest

from tests.infra.bicep import INFRA, read
from tests.infra.hook_world import MARK, Run

SWEPT = "Healthy 2026-11-22T15:00:00Z"
SWEPT_AGAIN = "Degraded 2026-11-22T15:01:00Z"
SILENT = 'ERROR: Service Unavailable({"status": "Unhealthy"})'
BARE_403 = "ERROR: Forbidden()"
ALERTS = ["jit-sweep-silent", "jit-health-failing"]


def _enabled(after: dict[str, list[list[str]]]) -> list[str]:
    return [
        re.findall(r"scheduledQueryRules/(.+)-" + MARK, call[call.index("--url") + 1])[0]
        for call in after["calls"]
        if "patch" in call
    ]


def test_the_first_sweep_ends_the_wait_and_switches_the_alerts_on(run: Run) -> None:
    """The API answers a token, the sweep runs: the alerts on silence watch from now on."""
    done, after = run(
        "postdeploy",
        health=[SILENT, SWEPT, SWEPT_AGAIN],
        environment={"JIT_WATCH_SILENCE": "false"},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "the app says Degraded" in done.stdout
    assert _enabled(after) == ALERTS
    assert after["azd_calls"] == [["env", "set", "JIT_WATCH_SILENCE", "true"]]


def test_a_call_with_a_token_comes_first(run: Run) -> None:
    """Health takes no token at the platform, so another path shows that tokens pass."""
    done, after = run("postdeploy", with_token=["ERROR: not yet", "0"], health=[SWEPT, SWEPT_AGAIN])

    assert done.returncode == 0, done.stdout + done.stderr
    first = after["calls"][0]
    assert first[first.index("--resource") + 1] == "api://tenant/jit"
    assert first[first.index("--url") + 1] == "https://func-jit.example/api/requests"


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (BARE_403, "JIT_ALLOWED_CLIENTS"),
        ("ERROR: Forbidden(You do not have permission)", "JIT_ALLOWED_CLIENTS"),
        ('ERROR: Unauthorized({"error": {"code": "AuthenticationFailed"}})', "az login"),
        ("ERROR: AADSTS500011: the resource was not found in the tenant", "az login"),
        ("ERROR: Bad Gateway()", "the log of func-jit-x"),
    ],
)
def test_tokens_that_are_refused_fail_the_deployment(run: Run, refusal: str, told: str) -> None:
    """Health alone may be green: a refused token ends with exit 1, the answer and what to do."""
    done, after = run(
        "postdeploy",
        with_token=[refusal],
        health=[SWEPT, SWEPT_AGAIN],
        environment={"JIT_WATCH_SILENCE": "false"},
    )

    assert done.returncode == 1
    assert refusal in done.stderr
    assert told in done.stderr
    assert _enabled(after) == []


def test_the_app_s_own_refusal_shows_that_tokens_pass(run: Run) -> None:
    """A deployer without a role in the app is refused by the app, not by the platform."""
    own = 'ERROR: Forbidden({"error": {"code": "AuthorizationFailed", "message": "no"}})'
    done, _ = run("postdeploy", with_token=[own], health=["Healthy hidden"])

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("answers", [[SILENT], [SWEPT], ["ERROR: Bad Gateway()"]])
def test_a_sweep_that_does_not_run_fails_the_deployment(run: Run, answers: list[str]) -> None:
    """No answer, no sweep, or none since the version before: exit 1, and the alerts stay off."""
    environment = {"JIT_WATCH_SILENCE": "false"}
    done, after = run("postdeploy", health=answers, environment=environment)

    assert done.returncode == 1
    assert "the sweep has not run within 2 seconds" in done.stderr
    assert _enabled(after) == []


def test_a_sweep_that_runs_is_seen_though_the_app_is_unhealthy(run: Run) -> None:
    """A lock keeps a rule open, so health is 503; the sweep runs all the same, and that is told apart."""
    answers = [
        'ERROR: Service Unavailable({"status": "Unhealthy", "problems": ["1 firewalls are overdue"],'
        f' "lastSweep": "2026-11-22T15:0{minute}:00Z"}})'
        for minute in (0, 1)
    ]
    environment = {"JIT_WATCH_SILENCE": "false"}
    done, after = run("postdeploy", health=answers, environment=environment)

    assert done.returncode == 0, done.stdout + done.stderr
    assert _enabled(after) == ALERTS
    assert "1 firewalls are overdue" in done.stderr


def test_a_later_deployment_leaves_the_alerts_alone(run: Run) -> None:
    """Once they watch, a deployer may mute one, and the hook does not undo that."""
    for given in ({"JIT_WATCH_SILENCE": "true"}, {}):
        done, after = run("postdeploy", health=[SWEPT, SWEPT_AGAIN], environment=given)

        assert done.returncode == 0, done.stdout + done.stderr
        assert _enabled(after) == []
        assert after["azd_calls"] == []


@pytest.mark.parametrize("name", ["JIT_API_URL", "JIT_API_AUDIENCE", "JIT_DEPLOYMENT_ID"])
def test_without_azd_s_outputs_nothing_is_called(run: Run, name: str) -> None:
    """A name that is missing is said, and nothing is asked of a wrong address."""
    done, after = run("postdeploy", environment={name: ""})

    assert done.returncode == 1
    assert name in done.stderr
    assert after["calls"] == []


def test_alerts_on_silence_wait_for_the_first_deployment() -> None:
    """Bicep and the hook name the same two rules; both are off until then, every other one is on."""
    alerts = read(INFRA / "modules" / "alerts.bicep")
    (rule,) = (found for found in alerts.resources if found.symbol == "rules")
    enabled = rule.body["properties"]["enabled"].source
    hook = (INFRA / "hooks" / "postdeploy.sh").read_text(encoding="utf-8")
    (named,) = re.findall(r"for alert in ([\w -]+); do", hook)

    assert enabled == (
        "(watchSilence || !contains(silenceAlerts, alert.name))"
        " && (watchHealth || alert.name != 'jit-health-failing')"
    )
    assert alerts.variables["silenceAlerts"] == named.split() == ALERTS
    assert f"/scheduledQueryRules/$1-$JIT_DEPLOYMENT_ID?api-version={rule.version}" in hook


def test_alerts_on_silence_watch_unless_azd_delays_them() -> None:
    """A deployment without azd's hook watches from the start: a false alarm is better than none."""
    main = read(INFRA / "main.bicep")

    assert main.parameters["watchSilence"].default is True
    assert main.outputs["JIT_WATCH_SILENCE"].source == "watchSilence ? 'true' : 'false'"
