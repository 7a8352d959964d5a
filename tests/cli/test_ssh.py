"""Connect: with the real ssh client, a listener in place of the VM's sshd, and through pipes.

Tests that need a server for sign-in are in tests/e2e/test_ssh.py.
"""

import json
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from jit_access.client.models import RequestStatus
from jit_access.commands.connecting import Entry, entry_of
from jit_access.commands.exits import CommandError
from jit_access.commands.vms import Vm
from tests.cli.listener import Listener
from tests.cli.terminal import CTRL_C, Jit, run_on_terminal
from tests.e2e.playing import Play, Site

Person = Callable[..., Jit]
needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="not installed: ssh")


def name_of(site: Site) -> str:
    """Return the name of the site's VM."""
    return site.vm.rpartition("/")[2]


@pytest.fixture
def configured(alice: Jit) -> tuple[list[str], Jit]:
    """Write the configuration and return the beginning of an ssh command that uses it."""
    alice.run("ssh-config", "--write", "-q")
    folder = Path(alice.environment["HOME"]) / ".ssh"
    assert (folder / "config").read_text(encoding="utf-8") == "Include jit.config\n"
    # ssh takes its home from the accounts, not from HOME.
    options = ["-F", str(folder / "jit.config"), "-o", "BatchMode=yes", "-o", "ConnectTimeout=30"]
    return ["ssh", *options], alice


@needs_ssh
def test_plain_ssh_asks_first_and_only_once(
    configured: tuple[list[str], Jit], near: Site, listener: Listener
) -> None:
    """Ssh to NAME.jit opens the port and connects; the second time nothing is requested."""
    ssh, alice = configured
    for _ in range(2):
        done = subprocess.run(
            [*ssh, "-p", str(listener.port), f"{name_of(near)}.jit", "true"],
            env=dict(alice.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 255, done.stderr  # the listener does not log in
    assert [line.startswith(b"SSH-2.0-OpenSSH") for line in listener.lines] == [True, True]
    requests = json.loads(alice.run("ls", "--vm", name_of(near)).out)
    assert [request["status"] for request in requests] == ["Initiated"]
    assert "open until" in done.stderr


@needs_ssh
def test_reading_the_configuration_opens_nothing(
    configured: tuple[list[str], Jit], near: Site, listener: Listener
) -> None:
    """Tools read it with `ssh -G`: no request comes of that."""
    ssh, alice = configured
    read = subprocess.run(
        [*ssh, "-G", f"{name_of(near)}.jit"], capture_output=True, text=True, check=True
    ).stdout
    assert "proxyusefdpass yes" in read
    assert listener.lines == []
    assert json.loads(alice.run("ls", "--vm", name_of(near)).out) == []


def test_a_pump_carries_both_directions(alice: Jit, near: Site, listener: Listener) -> None:
    """Without descriptor passing every byte goes through, and each end is passed on."""
    text = "first\n" + "x" * 300_000

    done = alice.run("proxy", f"{name_of(near)}.jit", str(listener.port), given=text)

    assert done.out == "seen\n" + "x" * 300_000
    assert listener.lines == [b"first\n"]


def test_descriptors_are_passed_under_ssh_only(alice: Jit, near: Site, listener: Listener) -> None:
    """--fdpass on a pipe is refused, and says what it needs."""
    port = str(listener.port)
    assert (
        "ProxyUseFdpass" in alice.run("proxy", f"{name_of(near)}.jit", port, "--fdpass", code=2).err
    )


@needs_ssh
def test_ssh_is_run_with_the_name_of_the_vm(alice: Jit, near: Site, listener: Listener) -> None:
    """`jit ssh` opens, connects, passes on ssh's exit code, and ends the access if told to."""
    port = str(listener.port)

    done = alice.run("ssh", name_of(near), "-p", port, "--end-after", "--", "true", code=255)

    assert "requested" in done.err
    assert listener.lines[0].startswith(b"SSH-2.0-OpenSSH")
    request = json.loads(alice.run("ls", "--vm", name_of(near)).out)[0]
    assert f"ended {request['id']}" in done.err
    assert "ended early" in alice.run("end", request["id"], "-o", "text").out


def test_a_request_that_waits_is_waited_for(person: Person, play: Play) -> None:
    """A second ssh does not request again what approvers have before them: exit code 5."""
    site = play.azure.build()
    properties = {"virtualMachines": site.listed(22), "conditions": {"approversNeeded": 1}}
    play.admin.call("PUT", site.policy_id, {"kind": "Basic", "properties": properties})
    play.admin.wait_for_policy(site.policy_id)
    anna = person("anna", "Jit.Request")

    for _ in range(2):
        done = anna.run("ssh", name_of(site), "--timeout", "1s", code=5)

    assert "requested" not in done.err
    assert "waits for 1 of 1 approvals" in done.err
    assert len(json.loads(anna.run("ls", "--pending", "--mine").out)) == 1


def test_what_ssh_is_given(alice: Jit, near: Site, listener: Listener, tmp_path: Path) -> None:
    """Key name, port, user, address and the person's own arguments, in ssh's order."""
    shown = tmp_path / "bin" / "ssh"
    shown.parent.mkdir()
    shown.write_text('#!/bin/sh\necho "$@"\nexit 7\n', encoding="utf-8")
    shown.chmod(0o755)
    path = f"{shown.parent}:{alice.environment['PATH']}"
    port = str(listener.port)

    done = alice.using(PATH=path).run(
        "ssh", name_of(near), "-p", port, "-l", "root", "--", "-L", "8080:localhost:80", code=7
    )

    assert done.out == (
        f"-o HostKeyAlias={name_of(near)}.app-rg.jit -o CheckHostIP=no -o Port={port} "
        "-l root 127.0.0.1 -L 8080:localhost:80\n"
    )
    assert "jit end" in done.err


def test_ctrl_c_belongs_to_ssh(alice: Jit, near: Site, listener: Listener, tmp_path: Path) -> None:
    """A program that is interrupted ends; jit then says how to end the access."""
    shown = tmp_path / "bin" / "ssh"
    shown.parent.mkdir()
    shown.write_text("#!/bin/sh\necho started\nexec sleep 30\n", encoding="utf-8")
    shown.chmod(0o755)
    path = f"{shown.parent}:{alice.environment['PATH']}"
    command = [alice.command, "ssh", name_of(near), "-p", str(listener.port)]

    done = run_on_terminal(command, {**alice.environment, "PATH": path}, {"started": "\x03"})

    assert done.code == 130
    assert "still open; end it with: jit end" in done.out


def test_open_but_unreachable(alice: Jit, play: Play) -> None:
    """Exit code 8; the address is named, and what may be the cause."""
    site = play.azure.build()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    vms = [{**vm, "publicIpAddress": "127.0.0.1"} for vm in site.listed(port)]
    play.admin.put_policy(site.policy_id, vms)

    done = alice.run("ssh", name_of(site), "-p", str(port), "--timeout", "4s", code=8)

    assert f"127.0.0.1:{port} does not answer" in done.err
    assert "--source" in done.err


def test_a_remote_desktop_file(alice: Jit, play: Play, tmp_path: Path) -> None:
    """It names the address that Azure tells the caller, the port and the user."""
    site = play.protected(ports=3389)
    file = tmp_path / "vm.rdp"

    alice.run("rdp", name_of(site), "--no-probe", "-l", "anna", "--file", str(file))

    lines = file.read_bytes().decode().split("\r\n")
    assert f"full address:s:{site.addresses[0]}:3389" in lines
    assert "username:s:anna" in lines


@pytest.mark.parametrize("host", ["-oProxyCommand=touch x", "a b", "$(x)", "a\nb"])
def test_an_address_cannot_be_an_option(host: str) -> None:
    """An address from the service becomes no option of ssh."""
    with pytest.raises(CommandError):
        Entry(host, 22)
    assert Entry("2001:db8::1", 22).host == "2001:db8::1"


def test_a_mapped_port_is_the_entry() -> None:
    """Where the answer names an address and a mapped port, those are connected to."""
    vm_id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/a"
    port = {
        "number": 22,
        "status": "Initiated",
        "statusReason": "UserRequested",
        "firewalls": [],
    }
    mapped = {**port, "publicIpAddress": "203.0.113.9", "mappedPort": 50022}
    answer = {
        "id": "r",
        "status": "Initiated",
        "policyId": "p",
        "virtualMachines": [{"id": vm_id, "ports": [mapped]}],
        "startTimeUtc": "2026-11-22T14:00:00Z",
        "requestor": "a",
        "requestorObjectId": "o-1",
        "can": [],
        "latestEndTimeUtc": None,
        "openedAt": None,
        "closedAt": None,
    }
    request = RequestStatus.from_json(answer)

    assert entry_of(request, Vm(vm_id.upper()), 22) == Entry("203.0.113.9", 50022)
    assert entry_of(request, Vm(vm_id), 3389) == Entry("", 3389)


def test_a_configuration_for_other_names(alice: Jit) -> None:
    """Suffix and profile stand in the lines; a suffix that is none is refused."""
    text = alice.run("ssh-config", "--suffix", ".vm", "--profile", "local", "-o", "text").out

    assert "Host *.vm\n" in text
    assert "--suffix .vm --profile local --fdpass -- '%h' %p" in text
    assert f"ProxyCommand {alice.command} proxy" in text
    alice.run("ssh-config", "--suffix", ".x\n  ProxyCommand evil", code=2)


def test_ctrl_c_says_how_to_end_what_is_open_already(alice: Jit, play: Play) -> None:
    """Ctrl-C while the open port is tried: exit code 130, and the command that ends the access."""
    site = play.azure.build()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    vms = [{**vm, "publicIpAddress": "127.0.0.1"} for vm in site.listed(port)]
    play.admin.put_policy(site.policy_id, vms)

    command = ["ssh", name_of(site), "-p", str(port)]
    done = alice.on_terminal(*command, keys={"trying": CTRL_C})

    assert done.code == 130
    newest = json.loads(alice.run("ls", "--mine", "--vm", name_of(site)).out)[0]
    assert f"End it with: jit end {newest['id']}" in done.out
