"""Failures: each has one exit code, and says what to do next."""

import json
import socket
from collections.abc import Callable
from datetime import timedelta

import pytest

from jit_access.commands.exits import Exit
from jit_access.commands.failures import report
from jit_access.commands.session import Session
from local.stack import Stack
from tests.cli.scripted import Scripted, serving
from tests.cli.terminal import Jit
from tests.e2e.playing import APP_RG, Play, Site

Person = Callable[..., Jit]


def test_an_unknown_vm(alice: Jit, vm: str) -> None:
    """Exit code 3; a similar name is proposed."""
    assert f"Did you mean {vm}" in alice.run("request", f"{vm}x", code=3).err
    assert "jit vm ls" in alice.run("request", "nothing-like-it", code=3).err


def test_an_ambiguous_name(alice: Jit, play: Play, site: Site, vm: str) -> None:
    """Exit code 3; each VM of the name is listed in the form that names it alone."""
    twin = {
        "id": f"{APP_RG.replace('app-rg', 'ops-rg')}/providers/Microsoft.Compute/virtualMachines/twin",
        "type": "Microsoft.Compute/virtualMachines",
        "location": "westeurope",
        "properties": {"networkProfile": {"networkInterfaces": []}},
    }
    other = {**twin, "id": twin["id"].replace("ops-rg", "app-rg")}  # type: ignore[attr-defined]
    play.azure.control("edit", {"resources": [twin, other]})

    done = alice.run("request", "Twin", code=3)

    assert "app-rg/twin" in done.err
    assert "ops-rg/twin" in done.err
    assert alice.run("vm", "show", "ops-rg/twin").out
    assert json.loads(alice.run("vm", "show", f"app-rg/{vm}").out)["id"] == site.vm


def test_an_expired_token(alice: Jit, stack: Stack) -> None:
    """Exit code 4, and how to get another; the doctor finds it by itself."""
    old = stack.token("alice", ["Jit.Request"], lifetime=timedelta(minutes=-10))
    late = alice.using(JIT_TOKEN=old)

    assert "JIT_TOKEN" in late.run("ls", code=4).err
    doctor = late.run("doctor", "-o", "table", code=4).out
    assert "expiry" in doctor
    assert "Get another token" in doctor


def test_no_permission(person: Person, vm: str) -> None:
    """Exit code 4; the missing action is named."""
    assert "initiate/action" in person("mallory", "Jit.Read").run("request", vm, code=4).err


def test_no_token_at_all(alice: Jit) -> None:
    """Exit code 4; each way to sign in is named, and a failing command says why."""
    assert "az login" in alice.using(JIT_TOKEN="").run("ls", code=4).err
    alice.run("config", "set", "token_command", "sh -c 'echo wrong >&2; exit 3'")
    assert "token_command failed: wrong" in alice.using(JIT_TOKEN="").run("ls", code=4).err


def test_the_service_is_down(alice: Jit) -> None:
    """Exit code 1 after a few tries; the address is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    down = alice.using(JIT_URL=url)

    assert f"no answer from {url}: Connection refused" in down.run("ls", code=1).err
    assert "service" in down.run("doctor", "-o", "table", code=1).out


def test_the_service_fails(alice: Jit) -> None:
    """Exit code 1; the request id is shown, to be quoted."""
    body = {"error": {"code": "InternalServerError", "message": "broken"}}
    with serving(Scripted(500, body, {"x-ms-request-id": "q-77"})) as service:
        assert "q-77" in alice.using(JIT_URL=service.url).run("show", "r-1", code=1).err


def test_another_service_at_the_address(alice: Jit) -> None:
    """Exit code 1; it says that the answer is not this service's."""
    with serving(Scripted(200, b"<html></html>")) as service:
        done = alice.using(JIT_URL=service.url).run("ls", code=1)
    assert "not JSON" in done.err
    assert "jit config show" in done.err


def test_texts_of_others_cannot_move_the_cursor(alice: Jit) -> None:
    """Control characters in an answer reach neither terminal stream."""
    body = {"error": {"code": "NotFound", "message": "no\x1b[2Jno"}}
    with serving(Scripted(404, body)) as service:
        done = alice.using(JIT_URL=service.url).on_terminal("show", "r-1")
    assert done.code == 3
    assert "\x1b[2J" not in done.out
    assert "no?[2Jno" in done.out
    event = {"time": "2026-11-22T14:00:00Z", "operation": "opened", "reason": "\x9b2J\x1b[2J"}
    with serving(Scripted(200, {"value": [event]})) as service:
        listed = alice.using(JIT_URL=service.url).run("activity").out
    assert json.loads(listed)[0]["reason"] == event["reason"]
    assert "\x9b" not in listed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("request", "app-1", "--for", "soon"), "not a length of time"),
        (("request", "app-1", "--for", "1h", "--until", "15:40"), "not both"),
        (("extend", "r-1"), "--for and --until"),
        (("end",), "ID or --all"),
        (("revoke",), "--vm and --person"),
        (("ls", "--query", "[?"), "--query"),
        (("ls", "--profile", "other"), "there is no profile 'other'"),
        (("policy", "show", "/nowhere"), "not the id of a JIT policy"),
        (("config", "set", "colour", "red"), "there is no key 'colour'"),
        (("config", "init", "http://jit.example"), "https://"),
        (("nonsense",), "No such command"),
        (("ssh", "app-1", "--sorce", "203.0.113.7"), "No such option"),
    ],
)
def test_usage(alice: Jit, arguments: tuple[str, ...], told: str) -> None:
    """Exit code 2; the mistake is named."""
    with serving(Scripted(200, {"value": []})) as service:
        found = alice.using(JIT_URL=service.url)
        if "app-1" in arguments:
            arguments = tuple(
                "/subscriptions/x/vm" if part == "app-1" else part for part in arguments
            )
            service.answers = [Scripted(403, {"error": {"code": "x", "message": "y"}})]
        assert told in found.within(*arguments, code=2).err


def test_a_reader_that_leaves_is_no_failure(alice: Jit) -> None:
    """A closed pipe ends the command without a trace."""
    done = alice.using(JIT=alice.command)
    shell = Jit("/bin/sh", done.environment)
    assert shell.run("-c", '"$JIT" vm ls | head -c 1').err == ""


@pytest.mark.parametrize(
    ("left", "shown"),
    [
        ([], "jit: interrupted\n"),
        (["a"], "jit: interrupted; request a stays\n  -> End it with: jit end a\n"),
        (
            ["a", "b"],
            "jit: interrupted; requests a, b stay\n  -> End them with: jit end a and jit end b\n",
        ),
    ],
)
def test_ctrl_c_names_what_stays(
    left: list[str], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each request that was made and not told of is named, with the command that ends it."""
    session = Session()
    for request_id in [*left, "settled"]:
        session.leaves(request_id)
    session.settles("settled")

    assert report(KeyboardInterrupt(), session) == Exit.INTERRUPTED
    assert capsys.readouterr().err == shown
