"""docs/deploy.md says what a deployer needs, step by step, and the files bear it out."""

import json
import re

import pytest
import yaml

from tests.infra.bicep import INFRA, ROOT, read

DOCUMENT = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
NEEDED = DOCUMENT.partition("## What you need")[2].partition("\n## ")[0]
CREATED = DOCUMENT.partition("## What `azd up` creates")[2].partition("\n## ")[0]
PROJECT = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))


def test_the_version_of_azd_is_the_one_that_azure_yaml_requires() -> None:
    """A deployer reads of the version before azd refuses the project."""
    required = PROJECT["requiredVersions"]["azd"].removeprefix(">= ")

    assert f"**{required} or newer**" in NEEDED
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert f"**Use azd {required} or newer.**" in operations


def test_the_python_that_azd_looks_for_is_named() -> None:
    """Without a Python of 3.7.6 or newer on the deployer's machine azd packages no Python app."""
    assert PROJECT["services"]["api"]["language"] == "python"
    assert "Python 3.7.6 or newer" in NEEDED


def test_the_rights_at_the_scopes_are_those_that_the_hook_uses() -> None:
    """The hook assigns roles there and deploys nothing, so no right to deploy is asked for."""
    hook = (INFRA / "hooks" / "rights.sh").read_text(encoding="utf-8")
    (line,) = (line for line in NEEDED.splitlines() if "every scope in `JIT_SCOPES`" in line)

    assert re.findall(r"^ *az (\w+ \w+ \w+)", hook, re.MULTILINE) == ["role assignment create"]
    assert "no deployment is made there" in line
    assert "Contributor" not in line


def test_a_deployer_who_assigns_no_app_roles_finds_the_parameter() -> None:
    """Application Developer cannot assign app roles: the table says so, and how to go without."""
    (line,) = (line for line in NEEDED.splitlines() if "Application Developer" in line)

    assert "JIT_ASSIGN_APP_ROLES=false" in line
    assert "assignAppRoles" in read(INFRA / "main.bicep").parameters


def test_every_variable_that_azd_reads_is_documented() -> None:
    """Each variable of main.parameters.json stands on the page, but for azd's own and the hook's."""
    text = (INFRA / "main.parameters.json").read_text(encoding="utf-8")
    variables = set(re.findall(r"\$\{(JIT_\w+)", text))

    undocumented = {name for name in variables if f"`{name}" not in DOCUMENT}
    assert undocumented <= {"JIT_DEPLOYMENT_ID", "JIT_ALERT_EMAIL", "JIT_WATCH_SILENCE"}


@pytest.mark.parametrize("hook", PROJECT["hooks"])
def test_every_hook_is_a_step(hook: str) -> None:
    """The hooks change the deployment, or say whether it works, so each stands among the steps."""
    if hook == "predown":
        assert "infra/hooks/predown.sh" in DOCUMENT
    else:
        assert f"| hook `{hook}`" in CREATED


@pytest.mark.parametrize(
    "failure", ["Not a valid reference update", "RoleDefinitionDoesNotExist", "403 at `azd deploy`"]
)
def test_failures_that_a_second_run_cures_are_named(failure: str) -> None:
    """Entra and ARM tell of new identities with a delay: what that looks like and what to do."""
    second = CREATED.partition("### The second run")[2]

    assert failure in second
    assert "`azd up` once more" in second


def test_redundancy_of_storage_is_a_variable() -> None:
    """A region without zones takes another redundancy, through azd and without an edit."""
    given = json.loads((INFRA / "main.parameters.json").read_text(encoding="utf-8"))["parameters"]

    assert given["storageSku"]["value"] == "${JIT_STORAGE_SKU=Standard_ZRS}"
    assert "azd env set JIT_STORAGE_SKU Standard_LRS" in DOCUMENT


def test_callers_find_where_their_client_id_goes() -> None:
    """A caller that gets a bare 403 from the platform finds the variable in both documents."""
    logic_apps = (ROOT / "docs" / "logic-apps.md").read_text(encoding="utf-8")

    assert 'azd env set JIT_ALLOWED_CLIENTS "' in DOCUMENT
    assert "`JIT_ALLOWED_CLIENTS`" in logic_apps
