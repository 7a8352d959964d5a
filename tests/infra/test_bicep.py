import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.infra.bicep import (
    APP_ROLES,
    FILES,
    GRAPH,
    INFRA,
    ROOT,
    Bicep,
    everywhere,
    read,
    source,
    walk,
)

TOOLS = ROOT.parent / "shared" / "tools"
MAIN = read(INFRA / "main.bicep")
PARAMETERS = INFRA / "main.parameters.json"
# What the parser in the tests, or the one in checkov, does not read. The Graph registration needs
# `extension`; nothing else may.
OUTSIDE_THE_SUBSET = {
    "import_statement": "import",
    "type_declaration": "user-defined type",
    "user_defined_function": "user-defined function",
    "lambda_expression": "lambda",
    "spread_expression": "spread",
    "assert_statement": "assert",
}
ids = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


@ids
def test_every_file_parses(path: Path) -> None:
    """The syntax is understood throughout, but for the one line that names an extension."""
    faults = read(path).faults

    if path in GRAPH:
        assert len(faults) == 1
        assert "extension microsoftGraphV1" in faults[0]
    else:
        assert faults == []


@ids
def test_every_file_stays_in_the_subset(path: Path) -> None:
    """Only constructs that both parsers read are used: an unreadable file is not checked."""
    found = {OUTSIDE_THE_SUBSET.get(node.type) for node in walk(read(path).root)} - {None}

    assert found == set()


@ids
def test_every_name_is_declared_once_and_used(path: Path) -> None:
    """No parameter, variable, resource or module is declared twice, and no input is ignored."""
    file = read(path)
    twice = [name for name, count in Counter(file.names).items() if count > 1]
    unused = {*file.parameters, *file.variables} - file.used

    assert twice == []
    assert unused == set()


def test_a_variable_that_is_not_set_means_none() -> None:
    """For it azd gives an empty string or nothing, by its version: both have to mean the same."""
    given = json.loads(PARAMETERS.read_text(encoding="utf-8"))["parameters"]
    empty = [name for name, each in given.items() if "=" not in each["value"]]

    assert all(each["value"].startswith("${") for each in given.values())
    assert {MAIN.parameters[name].default for name in empty} <= {"", None}
    assert {name for name in empty if MAIN.parameters[name].default is None} == {
        "environmentName",
        "location",
        "scopes",
    }


@ids
def test_every_parameter_says_what_it_is(path: Path) -> None:
    """Each parameter carries a description; azd and the portal show it to the deployer."""
    undescribed = [
        name
        for name, parameter in read(path).parameters.items()
        if not parameter.decorators.get("description")
    ]

    assert undescribed == []


@ids
def test_modules_get_what_they_ask_for(path: Path) -> None:
    """A module gets exactly the parameters it declares, none missing and none unknown."""
    for module in read(path).modules:
        declared = Bicep(module.path).parameters
        required = {name for name, each in declared.items() if not each.is_optional}

        assert set(module.parameters) <= set(declared), module.symbol
        assert required <= set(module.parameters), module.symbol


def test_outputs_that_are_read_exist() -> None:
    """Each value read of a module is an output of it, and no output goes unread."""
    read_outputs: dict[str, set[str]] = {}
    for symbol, name in re.findall(r"\b(\w+)\.outputs\.(\w+)", MAIN.text):
        read_outputs.setdefault(symbol, set()).add(name)

    for module in MAIN.modules:
        assert read_outputs.get(module.symbol, set()) == set(Bicep(module.path).outputs), (
            module.symbol
        )


def test_every_file_is_deployed() -> None:
    """Each file is the main one or a module of it: nothing lies about that no deployment reads."""
    used = {module.path for file in everywhere() for module in file.modules}

    assert {*used, MAIN.path.resolve()} == {path.resolve() for path in FILES}


def test_modules_are_files_of_ours() -> None:
    """No module comes from a registry: what is deployed is what is read here."""
    for file in everywhere():
        for module in file.modules:
            assert module.path.is_relative_to(INFRA.resolve())


def test_azd_gives_parameters_that_exist() -> None:
    """The parameters file names parameters of main.bicep, and every required one."""
    given = json.loads(PARAMETERS.read_text(encoding="utf-8"))["parameters"]
    required = {name for name, each in MAIN.parameters.items() if not each.is_optional}

    assert set(given) <= set(MAIN.parameters)
    assert required <= set(given)


def test_the_deployment_id_survives_redeployment() -> None:
    """It is given back to the next deployment, and derived from what does not change."""
    given = json.loads(PARAMETERS.read_text(encoding="utf-8"))["parameters"]
    token = MAIN.variables["token"].source

    assert given["deploymentId"]["value"] == "${JIT_DEPLOYMENT_ID}"
    assert "JIT_DEPLOYMENT_ID" in MAIN.outputs
    assert "utcNow" not in MAIN.text
    assert "newGuid" not in MAIN.text
    assert re.findall(r"\w+(?:\(\)\.id)?", token.partition("uniqueString(")[2]) == [
        "subscription().id",
        "environmentName",
    ]


@pytest.mark.skipif(not TOOLS.is_dir(), reason="../shared/tools is not at hand")
def test_the_checker_finds_nothing() -> None:
    """Types, properties, enums and names hold, but for the one line that names an extension."""
    done = subprocess.run(
        [
            sys.executable,
            TOOLS / "bicepcheck.py",
            TOOLS / "bicep-types.json",
            *(str(path) for path in FILES),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    *findings, summary = done.stdout.splitlines()
    assert summary == f"{len(findings)} findings", done.stderr
    assert len(findings) == len(GRAPH)
    for path in GRAPH:
        (finding,) = (each for each in findings if path.name in each)
        assert "extension microsoftGraphV1" in finding


@pytest.mark.skipif(not TOOLS.is_dir(), reason="../shared/tools is not at hand")
def test_every_type_can_be_checked() -> None:
    """Each resource type has an API version that the checker knows; Graph's are outside ARM."""
    known = {name.lower() for name in json.loads((TOOLS / "bicep-types.json").read_text("utf-8"))}
    used = {
        f"{found.type}@{found.version}".lower()
        for file in everywhere()
        for found in file.resources
        if file.path not in GRAPH
    }

    assert used <= known


def _modules_that_wait_for(symbol: str) -> set[str]:
    """Name the modules of main.bicep that read a module or list it under `dependsOn`."""
    found = set()
    for node in MAIN.root.children:
        if node.type == "module_declaration":
            names = [source(each) for each in walk(node) if each.type == "identifier"]
            if symbol in names[1:]:
                found.add(names[0])
    return found


def test_nothing_waits_for_the_assignment_of_app_roles() -> None:
    """Graph may refuse an identity that was just made: all else is deployed before, or without."""
    (module,) = (each for each in MAIN.modules if each.path == APP_ROLES.resolve())

    assert _modules_that_wait_for(module.symbol) == set()
    assert f"{module.symbol}.outputs" not in MAIN.text
    assert module.symbol in _modules_that_wait_for("app")
    assert "app" not in _modules_that_wait_for("app")


def test_app_roles_are_assigned_in_one_module_behind_a_parameter() -> None:
    """No other file assigns an app role, and a deployer without the right leaves it out."""
    assigned = {
        file.path
        for file in everywhere()
        for found in file.resources
        if found.type == "Microsoft.Graph/appRoleAssignedTo"
    }
    (condition,) = re.findall(r"^module appRoles '[^']+' = if (.+) \{$", MAIN.text, re.MULTILINE)

    assert assigned == {APP_ROLES}
    assert condition == "(createAppRegistration && assignAppRoles)"
    assert MAIN.parameters["assignAppRoles"].default is True


def _as_written(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_defaults_in_both_places_are_the_same() -> None:
    """For an unset variable azd and Bicep have the same default: azd may take either."""
    given = json.loads(PARAMETERS.read_text(encoding="utf-8"))["parameters"]
    defaults = {
        name: each["value"].partition("=")[2].rstrip("}")
        for name, each in given.items()
        if "=" in each["value"]
    }
    # azd alone runs the hook that switches these alerts on.
    assert defaults.pop("watchSilence") == "false"

    assert defaults == {name: _as_written(MAIN.parameters[name].default) for name in defaults}
    assert defaults["storageSku"] == "Standard_ZRS"


def test_proxies_that_are_named_are_the_only_way_to_the_app() -> None:
    """One parameter restricts access and tells the app so; without it nothing is restricted."""
    app = (INFRA / "modules" / "app.bicep").read_text(encoding="utf-8")
    assert "var isOpen = empty(proxyAddresses) && empty(callerAddresses)" in app
    assert "ipSecurityRestrictionsDefaultAction: isOpen ? 'Allow' : 'Deny'" in app
    assert "ipSecurityRestrictions: concat(proxyRules, callerRules)" in app
    assert "for (range, i) in proxyAddresses" in app
    told = app.partition("name: 'JIT_PROXIES_ONLY'")[2].partition("}")[0]
    # Callers who reach the app directly could write the header that is believed.
    assert "string(!empty(proxyAddresses) && empty(callerAddresses))" in told
    assert "proxyAddresses: proxyAddresses" in (INFRA / "main.bicep").read_text("utf-8")
