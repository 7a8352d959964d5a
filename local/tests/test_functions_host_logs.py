"""The functions host shows the records that the platform shows, and loses those it loses."""

import logging
import uuid
from collections.abc import Iterator

import pytest
from azure_functions_runtime import invocation_id_cv

from local.functions_host.logs import Invocations, LogLevels, WorkerRecords
from local.tests.platform_app.harness import Platform, running_platform


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """Run the platform app."""
    with running_platform() as running:
        yield running


def test_records_of_threads_without_the_context_are_lost(platform: Platform) -> None:
    """A record arrives from the function's thread and where its context was handed on.

    From a thread of the app's own it does not, nor after the invocation has ended.
    """
    platform.read_log()
    name = str(uuid.uuid4())
    platform.call("GET", f"/log/threads?name={name}")
    platform.call("GET", f"/log/late?name={name}")
    shown = [line.partition(" sample ") for line in platform.read_log().splitlines()]
    texts = [text.removesuffix(f" {name}") for _, _, text in shown if text.endswith(name)]
    assert texts == ["same thread", "error", "handed on"]


def test_sdk_records_at_information_are_shown(platform: Platform) -> None:
    """The host hides nothing that a library logs: an app has to quiet it."""
    platform.wait_for("work done", platform.enqueue())
    assert " INFO azure.core.pipeline.policies.http_logging_policy " in platform.read_log()


@pytest.mark.parametrize(
    ("category", "level"),
    [
        ("Function.f.User", logging.INFO),
        ("Function.g.User", logging.ERROR),
        ("function.G", logging.ERROR),
        ("Functional", logging.WARNING),
        ("Host.Results", logging.CRITICAL + 1),
    ],
)
def test_the_longest_prefix_of_a_category_decides(category: str, level: int) -> None:
    """host.json's levels are by category, letter case aside, and `default` is for the rest."""
    section = {
        "default": "Warning",
        "Function": "Information",
        "Function.g": "Error",
        "Host.Results": "None",
    }
    assert LogLevels(section).of(category) == level


def test_the_level_is_information_where_host_json_says_nothing() -> None:
    """Without a section every category is shown from Information on."""
    assert LogLevels({}).of("Function.f.User") == logging.INFO


@pytest.mark.parametrize(
    ("name", "level", "is_shown"),
    [
        ("jit", logging.INFO, True),
        ("functions_host", logging.ERROR, True),
        ("functions_host.queue", logging.INFO, False),
        ("uvicorn.error", logging.INFO, False),
        ("uvicorn.error", logging.WARNING, True),
        ("azure.functions", logging.INFO, False),
        ("azure.functionsx", logging.INFO, True),
    ],
)
def test_levels_of_host_json_apply(name: str, level: int, is_shown: bool) -> None:
    """The app's records go by its function's level, the host's own by the default one."""
    invocations = Invocations()
    records = WorkerRecords(
        invocations, LogLevels({"default": "Warning", "Function": "Information"})
    )
    record = logging.LogRecord(name, level, "", 0, "text", (), None)
    mark = invocation_id_cv.set("1")
    try:
        with invocations.running("1", "f"):
            assert records.filter(record) is is_shown
    finally:
        invocation_id_cv.reset(mark)
