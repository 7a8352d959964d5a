"""The stack as tests use it: one object, real parts, nothing left behind."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient

from local.app_settings import Addresses, app_environment, local_settings
from local.azurite import Azurite, AzuriteError
from local.json_calls import call
from local.ports import listen
from local.stack import Stack, StackError
from local.tests.platform_app.harness import Platform, platform_stack, until


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run a stack with the platform app."""
    with platform_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


def test_parts_answer(stack: Stack) -> None:
    """Every part of a started stack answers at the address it gives."""
    assert call("GET", f"{stack.api}/admin/host/status")[0] == 200
    assert call("GET", f"{stack.arm}/_sim/log")[1] == {"calls": []}
    assert call("GET", f"{stack.environment['JIT_JWKS_URL']}")[0] == 200
    assert "platform-seen" in Platform(stack.api, stack.storage).queue_names()
    assert stack.failed_part() is None
    assert stack.describe()["pid"] == os.getpid()


def test_tokens_fit_the_settings(stack: Stack) -> None:
    """A token's issuer and audience are those that the app is told to accept."""
    token = stack.token("alice", ["Jit.Request"])
    key = jwt.PyJWKClient(stack.environment["JIT_JWKS_URL"]).get_signing_key_from_jwt(token)
    claims = jwt.decode(
        token,
        key,
        algorithms=["RS256"],
        audience=stack.environment["JIT_AUDIENCE"],
        issuer=stack.environment["JIT_ISSUERS"].split(","),
    )
    assert claims["roles"] == ["Jit.Request"]


def test_functions_run_by_hand(stack: Stack) -> None:
    """A timer function runs when told to, and an unknown one is an error."""
    platform = Platform(stack.api, stack.storage)
    stack.invoke("yearly")
    platform.wait_for("yearly")
    with pytest.raises(StackError, match="absent"):
        stack.invoke("absent")


def test_listener_that_cannot_start_is_logged(stack: Stack) -> None:
    """The listener of one function that cannot start is named in the log; the others run."""
    log = stack.host_log.read_text(encoding="utf-8")
    assert "The listener for function 'broken' was unable to start" in log
    assert "%PLATFORM_SETTING_THAT_IS_MISSING%" in log


def test_host_comes_back_at_its_address(stack: Stack) -> None:
    """A host that is killed or restarted comes back where it was, and goes on."""
    address = stack.api
    platform = Platform(stack.api, stack.storage)
    stack.kill_host()
    assert "functions host" in str(stack.failed_part())
    stack.start_host()
    stack.restart_host()
    assert stack.api == address
    assert stack.failed_part() is None
    platform.wait_for("work done", platform.enqueue())


def test_restart_finishes_what_is_running(stack: Stack) -> None:
    """SIGTERM lets a running function finish: its message is done, not tried again."""
    platform = Platform(stack.api, stack.storage)
    name = platform.enqueue(sleep=1)
    platform.wait_for("work", name)
    stack.restart_host()
    (done,) = platform.wait_for("work done", name)
    assert done
    until(
        lambda: (
            not platform.queue("platform-work").get_queue_properties().approximate_message_count
        ),
        "the message is deleted",
    )
    assert len(platform.seen("work", name)) == 1


def test_missed_occurrence_is_past_due_after_a_restart(stack: Stack) -> None:
    """A timer that missed its time while the host was away runs at once, past due."""
    platform = Platform(stack.api, stack.storage)
    platform.seen("yearly")
    stack.stop_host()
    kept = Path(stack.host_log).parent / "timers" / "yearly.json"
    assert "Next" in json.loads(kept.read_text(encoding="utf-8"))
    year = {"Last": "2025-01-01T00:00:00+00:00", "Next": "2026-01-01T00:00:00+00:00"}
    kept.write_text(json.dumps({**year, "LastUpdated": year["Last"]}), encoding="utf-8")
    stack.start_host()
    until(lambda: any(one["past_due"] for one in platform.seen("yearly")), "the past due run")


def test_app_gets_only_the_stack_s_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings of the shell do not reach the app; those given to the stack win."""
    monkeypatch.setenv("JIT_LEFT_OVER", "from the shell")
    with platform_stack(tmp_path, JIT_MIN_DURATION="PT9S") as stack:
        pid = stack._host.pid if stack._host else 0
        environment = Path(f"/proc/{pid}/environ")
        if not environment.exists():
            pytest.skip("only Linux shows another process's environment")
        settings = environment.read_bytes().decode().split("\0")
    assert "JIT_MIN_DURATION=PT9S" in settings
    assert not any(setting.startswith("JIT_LEFT_OVER") for setting in settings)


def test_app_without_functions_is_one_line(tmp_path: Path) -> None:
    """An app that cannot be indexed stops the start, with the reason in one line."""
    (tmp_path / "host.json").write_text('{"version": "2.0"}', encoding="utf-8")
    (tmp_path / "function_app.py").write_text("import no_such_module\n", encoding="utf-8")
    (tmp_path / "estate.json").write_text('{"resources": []}', encoding="utf-8")
    with pytest.raises(StackError, match="no_such_module") as caught:
        Stack(app=tmp_path, estate=tmp_path / "estate.json", directory=tmp_path / "stack")
    assert "\n" not in str(caught.value)


def test_taken_port_is_one_line(tmp_path: Path) -> None:
    """A port of another process is named in one line."""
    with listen(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port} .* taken"):
            Stack(port=port, directory=tmp_path)
        with pytest.raises(AzuriteError, match=f"port {port} .* taken"):
            Azurite(ports=(port, port, port))


def test_missing_node_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Node.js the reason is said in one line."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AzuriteError, match=r"Node\.js"):
        Azurite()


def test_missing_estate_is_one_line(tmp_path: Path) -> None:
    """An estate that cannot be read is named in one line."""
    with pytest.raises(StackError, match="nowhere"):
        Stack(estate=tmp_path / "nowhere.json", directory=tmp_path)


def test_settings_come_from_the_estate(tmp_path: Path) -> None:
    """The scope is the estate's subscription, the probe its NSG of that name."""
    group = "/subscriptions/5ub/resourceGroups/rg/providers/Microsoft.Network"
    probe = f"{group}/networkSecurityGroups/JIT-probe"
    estate = tmp_path / "estate.json"
    estate.write_text(json.dumps({"resources": [{"id": f"{group}/x/y"}, {"id": probe}]}))
    settings = app_environment(Addresses("storage", "http://arm", "http://issuer"), estate)
    assert settings["JIT_SCOPES"] == "/subscriptions/5ub"
    assert settings["JIT_PROBE_NSG"] == probe
    assert settings["JitStorage"] == settings["AzureWebJobsStorage"] == "storage"
    written = json.loads(local_settings(settings, 7071))
    refused = {"AZURE_FUNCTIONS_ENVIRONMENT"}
    assert written["Values"] == {k: v for k, v in settings.items() if k not in refused}
    assert written["Host"] == {"LocalHttpPort": 7071}


def test_azurite_keeps_what_it_has_in_a_location(tmp_path: Path) -> None:
    """With a location a second Azurite finds what the first one got."""
    for _ in range(2):
        with Azurite(location=tmp_path, log=tmp_path / "azurite.log") as azurite:
            storage = azurite.connection_string
            with QueueClient.from_connection_string(storage, "kept") as queue:
                with contextlib.suppress(ResourceExistsError):
                    queue.create_queue()
                found = [message.content for message in queue.peek_messages()]
                queue.send_message("kept")
    assert found == ["kept"]
