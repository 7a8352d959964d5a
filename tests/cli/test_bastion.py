"""Connect through Azure Bastion: the tunnel of a stand-in `az`, and what is said without one."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jit_access.commands import tunnel
from tests.cli.bastion_hosts import PREFIX, add_bastion
from tests.cli.listener import Listener
from tests.cli.terminal import CTRL_C, Jit, run_on_terminal
from tests.e2e.playing import Play, Site

Person = Callable[..., Jit]
_STAND_IN = Path(__file__).parent / "stand_in_az.py"


@dataclass(frozen=True)
class Desk:
    """A person whose `az` and `ssh` are stand-ins."""

    jit: Jit
    folder: Path
    site: Site
    host_id: str

    @property
    def name(self) -> str:
        """Return the name of the VM."""
        return self.site.vm.rpartition("/")[2]

    @property
    def tunnels(self) -> list[dict[str, Any]]:
        """Return the calls of `az` so far."""
        log = self.folder / "az.log"
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def install(self, name: str, script: str) -> None:
        """Put a program on the PATH."""
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def requests(self) -> list[dict[str, Any]]:
        """Return the person's requests for the VM."""
        found: list[dict[str, Any]] = json.loads(self.jit.within("ls", "--vm", self.name).out)
        return found


def is_running(process_id: int) -> bool:
    """Tell whether a process still runs."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, 0)
        return True
    return False


def desk_at(person: Person, play: Play, folder: Path, **host: Any) -> Desk:
    """Return a person, a protected VM with a Bastion host in its network, and an own PATH."""
    site = play.protected()
    host_id = add_bastion(play, site, **host)
    (folder / "bin").mkdir()
    alice = person("alice", "Jit.Request")
    path = f"{folder / 'bin'}:{alice.environment['PATH']}"
    return Desk(alice.using(PATH=path), folder, site, host_id)


@pytest.fixture
def desk(person: Person, play: Play, tmp_path: Path, listener: Listener) -> Desk:
    """Return a desk whose tunnel leads to the listener, and whose ssh writes what it is given."""
    found = desk_at(person, play, tmp_path)
    log = tmp_path / "az.log"
    found.install("az", f'exec {sys.executable} {_STAND_IN} {log} {listener.port} "$@"')
    found.install("ssh", 'echo "$@"; exit 7')
    return found


def test_ssh_runs_in_a_tunnel_that_ends_with_it(desk: Desk) -> None:
    """`--via bastion` requests Bastion, opens the tunnel, gives ssh its port, and ends it."""
    done = desk.jit.run("ssh", desk.name, "--via", "bastion", "-l", "root", code=7)

    (call,) = desk.tunnels
    parts = desk.host_id.split("/")
    options = dict(zip(call["arguments"][3::2], call["arguments"][4::2], strict=True))
    local = options.pop("--port")
    assert call["arguments"][:3] == ["network", "bastion", "tunnel"]
    assert options == {
        "--subscription": parts[2],
        "--resource-group": parts[4],
        "--name": parts[8],
        "--target-resource-id": desk.site.vm,
        "--resource-port": "22",
    }
    assert done.out == (
        f"-o HostKeyAlias={desk.name}.app-rg.jit -o CheckHostIP=no -o Port={local} "
        "-l root 127.0.0.1\n"
    )
    assert not is_running(call["pid"])
    (request,) = desk.requests()
    port = request["virtualMachines"][0]["ports"][0]
    assert (port["allowedSourceAddressPrefix"], port["bastion"]) == (PREFIX, desk.host_id)
    assert f"jit end {request['id']}" in done.err


def test_an_access_through_bastion_is_reused_for_bastion_alone(desk: Desk) -> None:
    """A second tunnel requests nothing; a direct connection does, and the reverse."""
    for source in ("bastion", desk.host_id):
        desk.jit.run("ssh", desk.name, "--source", source, code=7)
    assert [each["bastion"] for each in ports_of(desk)] == [desk.host_id]
    desk.jit.run("ssh", desk.name, "--no-probe", code=7)
    desk.jit.run("ssh", desk.name, "--no-probe", code=7)
    assert sorted(each.get("bastion", "") for each in ports_of(desk)) == ["", desk.host_id]


def ports_of(desk: Desk) -> list[dict[str, Any]]:
    """Return the port of each request."""
    return [each["virtualMachines"][0]["ports"][0] for each in desk.requests()]


def test_a_request_names_the_command_that_connects(desk: Desk) -> None:
    """`jit request --source bastion` says `--via bastion`, and tries no address itself."""
    done = desk.jit.on_terminal("request", desk.name, "--source", "bastion", "--for", "10m")
    assert done.code == 0
    assert f"from {PREFIX}" in done.out
    assert f"connect with: jit ssh {desk.name} --via bastion" in done.out


def test_vm_show_names_the_bastion_hosts(desk: Desk) -> None:
    """The text tells name, SKU and id; the JSON is the service's."""
    text = desk.jit.within("vm", "show", desk.name, "-o", "text").out
    assert f"bastion     {desk.host_id.rpartition('/')[2]} (Standard)  {desk.host_id}" in text
    (host,) = json.loads(desk.jit.within("vm", "show", desk.name).out)["bastions"]
    assert (host["id"], host["sku"], host["enableTunneling"]) == (desk.host_id, "Standard", True)


def test_ctrl_c_belongs_to_ssh_and_the_tunnel_ends(desk: Desk) -> None:
    """Ctrl-C ends ssh, which a tunnel in the same terminal would not outlive; then the tunnel."""
    desk.install("ssh", "echo started; exec sleep 30")
    command = [desk.jit.command, "ssh", desk.name, "--via", "bastion"]
    done = run_on_terminal(command, desk.jit.environment, {"started": CTRL_C})
    assert done.code == 130
    assert "still open; end it with: jit end" in done.out
    assert [is_running(each["pid"]) for each in desk.tunnels] == [False]


def test_ctrl_c_while_the_tunnel_opens(desk: Desk) -> None:
    """Ctrl-C before the tunnel listens: exit code 130, the way to end, and no `az` left."""
    desk.install("az", f"echo $$ > {desk.folder / 'az.pid'}; exec sleep 60")
    command = [desk.jit.command, "ssh", desk.name, "--via", "bastion"]
    done = run_on_terminal(command, desk.jit.environment, {"opening a tunnel": CTRL_C})
    assert done.code == 130
    assert f"End it with: jit end {desk.requests()[0]['id']}" in done.out
    pid = desk.folder / "az.pid"
    assert not pid.exists() or not is_running(int(pid.read_text(encoding="utf-8")))


def test_ctrl_c_while_az_is_started_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A signal between the start of az and the note of its process ends az all the same."""
    started = []

    def interrupted(target: tunnel.Target, *_: object) -> "subprocess.Popen[bytes]":
        started.append(subprocess.Popen([target.az, "60"], start_new_session=True))
        signal.raise_signal(signal.SIGINT)
        return started[0]

    monkeypatch.setattr(tunnel, "_start", interrupted)
    target = tunnel.Target("/bin/sleep", "/subscriptions/s/x/y", "vm", 22)

    with pytest.raises(KeyboardInterrupt), tunnel.tunnel(target):
        pytest.fail("no tunnel opens")

    assert started[0].poll() is not None


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("Please run 'az login' to setup account.", "Sign in: az login."),
        ("The command requires the extension bastion.", "az extension add --name bastion"),
        ("(AuthorizationFailed) no", "You need Reader"),
    ],
)
def test_a_tunnel_that_does_not_open(desk: Desk, written: str, advice: str) -> None:
    """Exit code 8 with the words of `az`, what to do, and how to end the access."""
    desk.install("az", f'echo "{written}" >&2; exit 1')
    done = desk.jit.within("ssh", desk.name, "--via", "bastion", code=8)
    assert f"az opened no tunnel: {written}" in done.err
    assert advice in done.err
    assert f"jit end {desk.requests()[0]['id']}" in done.err


def test_without_az_nothing_is_requested(desk: Desk) -> None:
    """Exit code 2; it says what to install."""
    (desk.folder / "bin" / "az").unlink()
    done = desk.jit.using(PATH=str(desk.folder / "bin")).within(
        "ssh", desk.name, "--via", "bastion", code=2
    )
    assert "az extension add --name bastion" in done.err
    assert desk.requests() == []


@pytest.mark.parametrize(
    ("host", "lacks"),
    [
        ({"sku": "Basic"}, "is Basic; native clients need Standard or Premium"),
        ({"sku": "Premium", "tunnels": False}, "switched off"),
    ],
)
def test_a_host_without_native_clients(
    person: Person, play: Play, tmp_path: Path, host: dict[str, Any], lacks: str
) -> None:
    """Exit code 2: what the host lacks, and the portal instead; nothing is requested."""
    desk = desk_at(person, play, tmp_path, **host)
    desk.install("az", "exit 1")
    done = desk.jit.within("ssh", desk.name, "--via", "bastion", code=2)
    assert lacks in done.err
    assert f"jit request {desk.name} --source bastion" in done.err
    assert f"https://portal.azure.com/#resource{desk.site.vm}" in done.err
    assert desk.requests() == []


def test_no_bastion_reaches_the_vm(desk: Desk, play: Play) -> None:
    """Exit code 3, before anything is requested."""
    other = play.protected().vm.rpartition("/")[2]
    done = desk.jit.within("ssh", other, "--via", "bastion", code=3)
    assert f"no Bastion host reaches {other}" in done.err
    assert desk.tunnels == []


@pytest.mark.parametrize(
    "options",
    [
        ("--via", "bastion", "--source", "203.0.113.9"),
        ("--via", "direct", "--source", "bastion"),
        ("--via", "bastion", "--address", "10.0.0.4"),
    ],
)
def test_options_that_contradict_each_other(desk: Desk, options: tuple[str, ...]) -> None:
    """Exit code 2; nothing is requested."""
    desk.jit.within("ssh", desk.name, *options, code=2)
    assert desk.requests() == []


def test_remote_desktop_in_a_tunnel(desk: Desk) -> None:
    """The client gets a file with the tunnel's port; `--file` would outlive it and is refused."""
    desk.install("xfreerdp3", 'cat "$1"')
    done = desk.jit.run("rdp", desk.name, "-p", "22", "--via", "bastion")
    local = desk.tunnels[0]["arguments"][-1]
    assert f"full address:s:127.0.0.1:{local}" in done.out
    assert [is_running(each["pid"]) for each in desk.tunnels] == [False]
    file = str(desk.folder / "x.rdp")
    desk.jit.within("rdp", desk.name, "--via", "bastion", "--file", file, code=2)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="not installed: ssh")
def test_plain_ssh_through_a_tunnel(desk: Desk, listener: Listener) -> None:
    """The lines of `ssh-config --via bastion` lead the real ssh through a tunnel that ends."""
    (desk.folder / "bin" / "ssh").unlink()
    desk.jit.run("ssh-config", "--via", "bastion", "--write", "-q")
    config = Path(desk.jit.environment["HOME"]) / ".ssh" / "jit.config"
    assert "ProxyUseFdpass" not in config.read_text(encoding="utf-8")
    done = subprocess.run(
        ["ssh", "-F", str(config), "-o", "BatchMode=yes", f"{desk.name}.jit", "true"],
        env=dict(desk.jit.environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 255, done.stderr  # the listener does not log in
    assert listener.lines[-1].startswith(b"SSH-2.0-OpenSSH")
    (call,) = desk.tunnels
    subprocess.run(["tail", f"--pid={call['pid']}", "-f", "/dev/null"], timeout=60, check=True)
    assert "cannot be handed over" in (
        desk.jit.within("proxy", desk.name, "22", "--via", "bastion", "--fdpass", code=2).err
    )
