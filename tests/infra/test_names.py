"""Names that infrastructure, code, sample and documents share."""

import json
import re
from typing import Any

from function_app import app
from shared.adapters import queues, tables
from shared.settings import Settings
from tests.infra.bicep import INFRA, ROOT, Text, read

STORAGE = read(INFRA / "modules" / "storage.bicep")
SITE = next(
    found for found in read(INFRA / "modules" / "app.bicep").resources if found.symbol == "site"
)
# What the platform reads, not the app.
PLATFORM = {
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsDisableHomepage",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "PYTHON_THREADPOOL_THREAD_COUNT",
    "JitStorage__credential",
}
# What is set on a developer's machine only: a connection string, the simulator of AWS, and the language, which the plan
# says on Flex Consumption.
LOCAL_ONLY = {
    "AzureWebJobsStorage",
    "FUNCTIONS_WORKER_RUNTIME",
    "JIT_AWS_URL",
    "JIT_PAGE_AUTHORITY_METADATA",
    "JitStorage",
}


def _settings_of_the_code() -> set[str]:
    return {
        str(field.validation_alias or f"JIT_{name.upper()}")
        for name, field in Settings.model_fields.items()
    }


def _settings_of_infra() -> dict[str, Any]:
    listed = SITE.body["properties"]["siteConfig"]["appSettings"]
    assert len(listed) == len({each["name"] for each in listed})
    return {each["name"]: each["value"] for each in listed}


def test_infra_sets_exactly_what_the_code_and_the_platform_read() -> None:
    """A setting the code reads is set, and none is set that nothing reads."""
    assert set(_settings_of_infra()) == (_settings_of_the_code() | PLATFORM) - LOCAL_ONLY


def test_the_sample_sets_nothing_that_infra_does_not() -> None:
    """A developer's settings are Azure's, but for the connection strings of the emulator."""
    sample = json.loads((ROOT / "local.settings.sample.json").read_text(encoding="utf-8"))

    assert set(sample["Values"]) - LOCAL_ONLY <= set(_settings_of_infra())


def test_the_document_lists_what_infra_sets_for_the_app() -> None:
    """Each setting of the deployment is in docs/settings.md."""
    document = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([^`]+)` \|", document, re.MULTILINE))

    assert set(_settings_of_infra()) - PLATFORM <= documented


def test_parameters_default_to_what_the_code_defaults_to() -> None:
    """A tunable that the deployer leaves alone is what the code would take without it."""
    main = read(INFRA / "main.bicep")
    text = main.text
    fields = {name: field.default for name, field in Settings.model_fields.items() if field.default}
    compared = set()
    for name in main.parameters:
        snake = re.sub(r"([A-Z])", lambda match: f"_{match[1].lower()}", name)
        match = re.search(rf"^param {name} \w+ = (.+)$", text, re.MULTILINE)
        default = fields.get(snake, fields.get(re.sub(r"(\d)", r"\1", snake)))
        if match is None or (default is None) or not isinstance(default, (int, str)):
            continue
        compared.add(name)
        assert match[1].strip("'") == str(default), name

    assert {"nsgWrite", "rulePrefix", "allowFrom", "widestIpv4", "callsPerMinute"} <= compared


def test_tables_are_the_code_s() -> None:
    """Infra makes the tables that the code reads, no more."""
    assert sorted(STORAGE.variables["tableNames"]) == sorted(tables.NAMES)


def test_queues_are_the_code_s() -> None:
    """Infra makes the queues that the code sends to, and the poison queue of each."""
    assert sorted(STORAGE.variables["queueNames"]) == sorted(queues.NAMES)
    assert STORAGE.variables["poisonNames"] == [
        f"{name}-poison" for name in STORAGE.variables["queueNames"]
    ]


def test_every_queue_a_function_listens_to_is_made() -> None:
    """A trigger on a queue that does not exist would fail until the first message."""
    listened = {
        trigger["queueName"]
        for trigger in _triggers().values()
        if trigger["type"].lower() == "queuetrigger"
    }

    assert listened <= {*STORAGE.variables["queueNames"], *STORAGE.variables["poisonNames"]}


def test_always_ready_names_are_functions() -> None:
    """Each function kept ready exists: a group of the platform's, or a function of ours."""
    app_file = read(INFRA / "modules" / "app.bicep")
    named = re.findall(r"name: '(http|function:\w+)'", app_file.text)
    functions = {f"function:{name}" for name in _triggers()}

    assert set(named) == {"http", "function:sweep_expired"}
    assert set(named) - {"http"} <= functions


def test_paths_without_authentication_are_routes_that_need_none() -> None:
    """Platform authentication lets through the page, health and the list of endpoints alone."""
    paths = read(INFRA / "modules" / "app.bicep").variables["openPaths"]
    routes = {f"/{trigger.get('route')}" for trigger in _triggers().values()}

    assert paths == ["/", "/ui", "/ui/*", "/api/health", "/metadata/endpoints"]
    assert {"/ui/{*path}", "/{*path}"} <= routes
    assert set(paths) - {"/", "/ui", "/ui/*"} <= routes


def test_the_runtime_is_the_one_the_code_is_for() -> None:
    """Python 3.13 on the host, and the code says that it runs there."""
    runtime = SITE.body["properties"]["functionAppConfig"]["runtime"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    assert runtime == {"name": "python", "version": "3.13"}
    assert 'requires-python = ">=3.11"' in project


def test_host_names_stay_within_thirty_two_characters() -> None:
    """The host takes its lock names from the app's first 32 characters; ours are all of them."""
    name = read(INFRA / "main.bicep").variables["functionAppName"]

    assert name == Text("'func-jit-${token}'")
    assert len("func-jit-") + 13 <= 32  # uniqueString gives thirteen


def _triggers() -> dict[str, dict[str, Any]]:
    """Read the functions' triggers without asking the app, which may be asked once only."""
    found = {}
    for builder in app._function_builders:
        function = builder._function
        trigger = function._trigger
        assert trigger is not None
        found[function._name] = trigger.get_dict_repr()
    return found
