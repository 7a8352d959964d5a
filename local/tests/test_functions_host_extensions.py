"""A trigger needs its extension: the host has HTTP and timer, and a bundle brings the rest."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.functions_host.config import ConfigError, HostConfig
from local.functions_host.extensions import binding_error
from local.json_calls import call
from local.stack import Stack, StackError
from local.tests.platform_app.harness import APP

QUEUE_SENTENCE = (
    "The binding type(s) 'queueTrigger' are not registered. "
    "Please ensure the type is correct and the binding extension is installed."
)
BUNDLE = {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"}
_FUNCTIONS = """
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="plain", methods=["GET"])
def plain(req: func.HttpRequest) -> str:
    return "plain"


@app.route(route="enqueue", methods=["GET"])
@app.queue_output(arg_name="out", queue_name="jobs", connection="AzureWebJobsStorage")
def enqueue(req: func.HttpRequest, out: func.Out[str]) -> str:
    out.set("job")
    return "enqueued"


@app.queue_trigger(arg_name="msg", queue_name="jobs", connection="AzureWebJobsStorage")
def on_job(msg: func.QueueMessage) -> None:
    pass


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
def yearly(timer: func.TimerRequest) -> None:
    pass
"""


def _app(folder: Path, functions: str, **host_json: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "host.json").write_text(json.dumps({"version": "2.0", **host_json}))
    (folder / "function_app.py").write_text(functions)
    (folder / "estate.json").write_text('{"resources": []}')
    return folder


def _stack(app: Path) -> Stack:
    return Stack(app=app, estate=app / "estate.json", directory=app / "stack")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run an app whose host.json names no bundle."""
    routes = {"http": {"routePrefix": ""}}
    with _stack(_app(tmp_path_factory.mktemp("app"), _FUNCTIONS, extensions=routes)) as running:
        yield running


def test_function_without_its_extension_is_in_error(bare: Stack) -> None:
    """The host names the function and its binding type in the real host's sentence."""
    log = bare.host_log.read_text(encoding="utf-8")
    assert f"ERROR functions_host The 'on_job' function is in error: {QUEUE_SENTENCE}" in log
    _, status = call("GET", f"{bare.api}/admin/functions/on_job/status")
    assert status == {"errors": [QUEUE_SENTENCE]}
    assert call("GET", f"{bare.api}/admin/functions/plain/status")[1] == {}
    assert call("GET", f"{bare.api}/admin/functions/absent/status")[0] == 404


def test_output_without_its_extension_is_an_error_too(bare: Stack) -> None:
    """An HTTP function that writes to a queue loses its route; the log says why."""
    log = bare.host_log.read_text(encoding="utf-8")
    assert "The 'enqueue' function is in error: The binding type(s) 'queue' are not" in log
    assert call("GET", f"{bare.api}/enqueue")[0] == 404


def test_the_other_functions_run(bare: Stack) -> None:
    """Functions that need no extension run beside those in error."""
    bare.invoke("yearly")
    with pytest.raises(StackError, match="404"):
        bare.invoke("on_job")
    names = {one["name"] for one in call("GET", f"{bare.api}/admin/functions")[1]}
    assert names == {"plain", "enqueue", "on_job", "yearly"}


@pytest.mark.parametrize(
    ("types", "bundle", "error"),
    [
        (["httpTrigger", "http"], False, ""),
        (["timerTrigger"], False, ""),
        (["queueTrigger"], False, QUEUE_SENTENCE),
        (["queueTrigger", "queue"], True, ""),
        (["blobTrigger"], True, ""),
        (["queueTrigger", "queue", "queue"], False, "'queueTrigger, queue' are not registered"),
        (
            ["http2Trigger"],
            True,
            "'http2Trigger' were not found in the configured extension bundle",
        ),
    ],
)
def test_missing_types_are_named(types: list[str], bundle: bool, error: str) -> None:
    """Each missing type is named once, in the sentence for a host with or without a bundle."""
    sentence = binding_error(types, bundle=bundle)
    assert error in sentence
    assert bool(error) is bool(sentence)


def test_platform_app_names_the_bundle() -> None:
    """The app that shows what the platform does runs on the real host too."""
    host_json = json.loads((APP / "host.json").read_text(encoding="utf-8"))
    assert host_json["extensionBundle"] == BUNDLE


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"version": "[4.*, 5.0.0)"},
        {"id": "Microsoft.Azure.Functions.Bundle", "version": "[4.*, 5.0.0)"},
        {**BUNDLE, "version": "4"},
        {**BUNDLE, "version": "[1.*, 2.0.0)"},
        {"id": BUNDLE["id"]},
    ],
)
def test_bundle_that_does_not_exist_stops_the_host(tmp_path: Path, section: object) -> None:
    """A bundle section that the real host refuses is an error, not a host without extensions."""
    with pytest.raises(ConfigError, match="extensionBundle"):
        HostConfig.load(_app(tmp_path, "", extensionBundle=section), {})


@pytest.mark.parametrize(
    "version", ["[4.*, 5.0.0)", "[3.3.0, 4.0.0)", "[2.*, 3.0.0)", "[4.0.0, 5.0.0)"]
)
def test_bundle_is_read(tmp_path: Path, version: str) -> None:
    """A bundle of any version that this host takes counts."""
    section = {**BUNDLE, "version": version}
    assert HostConfig.load(_app(tmp_path, "", extensionBundle=section), {}).bundle


def test_bundled_type_that_this_host_does_not_play_is_one_line(tmp_path: Path) -> None:
    """A trigger of the bundle that only the real host can play stops the start, by name."""
    blob = (
        "import azure.functions as func\napp = func.FunctionApp()\n"
        "@app.blob_trigger(arg_name='b', path='x/{name}', connection='AzureWebJobsStorage')\n"
        "def on_blob(b: func.InputStream) -> None: ...\n"
    )
    with pytest.raises(StackError, match=r"on_blob.*blobTrigger"):
        _stack(_app(tmp_path, blob, extensionBundle=BUNDLE))
