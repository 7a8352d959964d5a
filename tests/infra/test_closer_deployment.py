"""The independent closer as it is deployed: its identity, its role, its parameters, its alerts."""

import json
import re

from shared.domain.ids import RuleNames
from tests.infra.bicep import INFRA, Text, read

MAIN = read(INFRA / "main.bicep")
CLOSER = read(INFRA / "modules" / "closer.bicep")
DEFINITION = json.loads((INFRA / "workflows" / "closer.json").read_text(encoding="utf-8"))
_NSG = "Microsoft.Network/networkSecurityGroups"


def _resource(symbol: str) -> dict[str, object]:
    (found,) = (each for each in CLOSER.resources if each.symbol == symbol)
    return found.body


def _workflow() -> dict[str, object]:
    held = _resource("workflow")["properties"]
    assert isinstance(held, dict)
    return held


def test_it_is_deployed_unless_it_is_turned_off() -> None:
    """A deployment that sets nothing has it, with fifteen minutes of grace."""
    assert MAIN.parameters["closer"].default is True
    assert MAIN.parameters["closerGrace"].default == 15
    assert "module independentCloser 'modules/closer.bicep' = if (closer) {" in MAIN.text


def test_the_workflow_gets_every_parameter_and_runs() -> None:
    """A parameter that is missing would stop the deployment, a disabled workflow all closing."""
    given = _workflow()["parameters"]

    assert isinstance(given, dict)
    assert set(given) == set(DEFINITION["parameters"])
    assert _workflow()["state"] == "Enabled"
    assert DEFINITION["parameters"]["graceMinutes"]["defaultValue"] == 15


def test_it_has_an_identity_that_nothing_else_uses() -> None:
    """The app cannot obtain its token, and it cannot obtain the app's."""
    identity = _resource("workflow")["identity"]
    users = [module.symbol for module in MAIN.modules if "closer" in str(module.parameters)]
    app = read(INFRA / "modules" / "app.bicep")

    assert identity == {
        "type": "UserAssigned",
        "userAssignedIdentities": {"'${identityId}'": {}},
    }
    assert "closer" not in app.text.lower()
    assert sorted(users) == ["alerts", "independentCloser"]
    assert _identities(DEFINITION) == ["{closerIdentity}"] * 4


def _identities(held: object) -> list[str]:
    """Find every identity that an action calls with."""
    if isinstance(held, dict):
        own = [held["identity"]] if "identity" in held else []
        return own + [found for each in held.values() for found in _identities(each)]
    if isinstance(held, list):
        return [found for each in held for found in _identities(each)]
    return []


def test_its_role_opens_nothing() -> None:
    """It reads groups and rules and deletes rules: no write, no wildcard."""
    (role,) = (
        each
        for each in read(INFRA / "modules" / "roles.bicep").resources
        if each.symbol == "closer"
    )
    (permission,) = role.body["properties"]["permissions"]

    assert permission == {
        "actions": [f"{_NSG}/read", f"{_NSG}/securityRules/read", f"{_NSG}/securityRules/delete"],
        "notActions": [],
    }


def test_a_failed_run_alerts_without_the_workspace() -> None:
    """The alert on what it did reads the platform's own metric."""
    held = _resource("acted")["properties"]

    assert isinstance(held, dict)
    (criterion,) = held["criteria"]["allOf"]
    assert held["severity"] == 0
    assert held["enabled"] is True
    assert (criterion["metricName"], criterion["operator"], criterion["threshold"]) == (
        "RunsFailed",
        "GreaterThan",
        0,
    )


def test_the_alerts_read_the_workflow_that_is_deployed() -> None:
    """The queries name the workflow, and its runs go to the workspace."""
    queries = {each["name"]: each["query"].source for each in CLOSER.variables["alerts"]}
    logs = _resource("runs")["properties"]

    assert _resource("workflow")["name"] == Text("workflowName")
    assert "'{workflow}', workflowName" in queries["jit-closer-silent"]
    assert "'{workflow}', workflowName" in queries["jit-closer-changed"]
    assert isinstance(logs, dict)
    assert logs["logs"] == [{"category": "WorkflowRuntime", "enabled": True}]


def test_a_deletion_is_its_own_exactly_if_the_name_is_an_allow_of_ours() -> None:
    """The alert on strayed deletions agrees with the code on what an allow rule of ours is called."""
    names = RuleNames("SecurityCenter-JITRule", "j0123456789a")
    (form,) = re.findall(r"matches regex '\(\?i\)([^']+)'", CLOSER.variables["strayed"])
    own = re.compile(form.replace("{mark}", "j0123456789a"), re.IGNORECASE)
    at = "/subscriptions/s/resourceGroups/g/providers/x/networkSecurityGroups/n/securityRules/"

    assert own.search(at + names.allow("request", "/vm", 22, 4))
    assert not own.search(at + names.deny("/vm", 4))
    assert not own.search(at + "allow-https")
    assert not own.search(at + f"SecurityCenter-JITRule-other1-{'A' * 32}")


def test_its_deletions_are_no_foreign_change() -> None:
    """The alert on foreign changes to our rules knows the closer as well as the app."""
    alerts = read(INFRA / "modules" / "alerts.bicep")
    (query,) = (
        e["query"].source for e in alerts.variables["alerts"] if e["name"] == "jit-foreign-rule"
    )

    assert "principal !in~ ('{network}', '{closer}')" in alerts.variables["foreignRule"]
    assert "'{closer}', closerPrincipalId" in query
