"""The input of the functions host: host.json, app settings, connections, route templates."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.azurite import Azurite
from local.functions_host.config import ConfigError, HostConfig, resolve, time_span
from local.functions_host.engine import Function
from local.functions_host.queues import INVISIBLE, Connections
from local.functions_host.route_templates import RouteError, Template
from local.functions_host.routes import Router


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """Run Azurite."""
    with Azurite() as azurite:
        yield azurite.connection_string


@pytest.mark.parametrize("name", ["Store", "AzureWebJobsStore"])
def test_connection_is_found_by_either_name(storage: str, name: str) -> None:
    """A connection is looked up with the WebJobs prefix and without."""
    connections = Connections({name: storage}, "none")
    asyncio.run(connections.queue("Store", "Made-On-Demand").send("text"))
    (message,) = asyncio.run(connections.queue("Store", "made-on-demand").receive(1))
    assert (message.text, message.dequeue_count) == ("text", 1)
    assert message.next_visible_at > datetime.now(UTC) + 0.9 * INVISIBLE
    asyncio.run(connections.queue("Store", "made-on-demand").delete(message))
    connections.close()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("Store__queueServiceUri", "https://a.queue.core.windows.net"),
        ("AzureWebJobsStore__queueServiceUri", "https://a.queue.core.windows.net"),
        ("Store__accountName", "a"),
    ],
)
def test_connection_by_identity(setting: str, value: str) -> None:
    """A connection without a secret names the service, and gets the app's identity."""
    connections = Connections({setting: value}, "base64")
    assert connections.queue("Store", "jobs").name == "jobs"
    connections.close()


def test_missing_connection_is_named() -> None:
    """A connection setting that is missing is an error that names it."""
    with pytest.raises(ConfigError, match="JitStorage"):
        Connections({}, "base64").queue("JitStorage", "jobs")


def test_message_taken_over_by_another_is_let_go(storage: str) -> None:
    """A stale pop receipt and a message that is gone are ignored, on every operation."""
    queue = Connections({"S": storage}, "base64").queue("S", "taken-over")

    async def play() -> None:
        await queue.send("text")
        (mine,) = await queue.receive(1)
        await queue.release(mine, timedelta(0))
        mine.pop_receipt = "AAAA"
        await queue.delete(mine)
        await queue.renew(mine)
        (theirs,) = await queue.receive(1)
        assert theirs.dequeue_count == 2
        await queue.delete(theirs)
        await queue.delete(theirs)
        await queue.release(theirs, timedelta(0))

    asyncio.run(play())


def _app(tmp_path: Path, **queues: object) -> Path:
    content = {"extensions": {"queues": queues, "http": {"routePrefix": ""}}}
    (tmp_path / "host.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def test_host_json_is_read(tmp_path: Path) -> None:
    """The queue options are taken from host.json, and app settings override them."""
    app = _app(tmp_path, batchSize=4, maxPollingInterval="00:00:02", messageEncoding="none")
    settings = {"AzureFunctionsJobHost__extensions__queues__maxDequeueCount": "9"}
    config = HostConfig.load(app, settings)
    assert config.route_prefix == ""
    assert config.queues.batch_size == 4
    assert config.queues.max_polling_interval == timedelta(seconds=2)
    assert config.queues.message_encoding == "none"
    assert config.queues.max_dequeue_count == 9


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, timedelta(minutes=1)),
        ({"AZURE_FUNCTIONS_ENVIRONMENT": "Development"}, timedelta(seconds=2)),
    ],
)
def test_host_json_defaults(
    tmp_path: Path, environment: dict[str, str], interval: timedelta
) -> None:
    """Settings that host.json leaves out have the platform's defaults; development polls faster."""
    (tmp_path / "host.json").write_text('{"version": "2.0"}', encoding="utf-8")
    config = HostConfig.load(tmp_path, environment)
    assert config.route_prefix == "api"
    options = config.queues
    assert (options.batch_size, options.max_dequeue_count) == (16, 5)
    assert options.visibility_timeout == timedelta(0)
    assert options.max_polling_interval == interval
    assert options.message_encoding == "base64"


@pytest.mark.parametrize(
    "queues", [{"batchSize": 33}, {"messageEncoding": "utf8"}, {"visibilityTimeout": "7"}]
)
def test_host_json_mistakes(tmp_path: Path, queues: dict[str, object]) -> None:
    """A value the platform would refuse is refused."""
    with pytest.raises(ConfigError):
        HostConfig.load(_app(tmp_path, **queues), {})


def test_time_spans() -> None:
    """Time spans are .NET's."""
    assert time_span("1.02:03:04.5") == timedelta(days=1, hours=2, minutes=3, seconds=4.5)


def test_settings_in_names() -> None:
    """%NAME% is the value of an app setting, and a missing one is an error."""
    assert resolve("a-%B%-c", {"B": "b"}) == "a-b-c"
    with pytest.raises(ConfigError, match="%MISSING%"):
        resolve("%MISSING%", {})


def _http(name: str, route: str | None, *methods: str) -> Function:
    trigger = {"type": "httpTrigger", "name": "req", "route": route, "methods": methods}
    return Function(name, name, trigger, ())


@pytest.mark.parametrize(
    ("route", "path", "parameters"),
    [
        ("{a:int:range}", "", RouteError),
        ("a/{b=c}", "", RouteError),
        ("a/{b", "", RouteError),
        ("{a:length(x)}", "", RouteError),
        ("{a:regex([)}", "", RouteError),
        (
            "{g:guid}",
            "/9d2cf024-54cb-4b1e-9d0e-950da78fe86b",
            {"g": "9d2cf024-54cb-4b1e-9d0e-950da78fe86b"},
        ),
        ("{g:guid}", "/1", None),
        ("{a:alpha}", "/abc", {"a": "abc"}),
        ("{a:alpha}", "/ab1", None),
        ("{a:minlength(2):maxlength(3)}", "/abc", {"a": "abc"}),
        ("{a:minlength(2):maxlength(3)}", "/abcd", None),
        ("{a:length(2)}", "/ab", {"a": "ab"}),
        ("{a:regex(^v[0-9]+$)}", "/V12", {"a": "V12"}),
        ("{a:bool}", "/TRUE", {"a": "TRUE"}),
        ("file-{name}.{suffix}", "/File-a.b.txt", {"name": "a", "suffix": "b.txt"}),
        ("x/{*rest}", "/x/a/b/", {"rest": "a/b/"}),
        ("x/{*rest}", "/x", {}),
        ("{*rest}", "/", {}),
    ],
)
def test_route_templates(
    route: str, path: str, parameters: dict[str, str] | type[Exception] | None
) -> None:
    """Templates match as ASP.NET's do; what is not known is refused, never guessed."""
    if isinstance(parameters, type):
        with pytest.raises(parameters):
            Template.parse(route)
    else:
        assert Template.parse(route).match(path) == parameters


def test_prefix_and_name_make_the_default_route() -> None:
    """Without a route the function's name is the route, after the prefix."""
    router = Router([_http("Hello", None, "GET")], "api")
    assert router.match("GET", "/API/hello")
    assert router.match("GET", "/hello") is None
    assert router.match("POST", "/api/hello") is None


def test_wrong_route_takes_only_its_function_away() -> None:
    """A route that cannot be read leaves the other functions their routes."""
    router = Router([_http("bad", "{a:nonsense}"), _http("good", "good")], "")
    assert router.match("GET", "/x") is None
    assert router.match("GET", "/good")
