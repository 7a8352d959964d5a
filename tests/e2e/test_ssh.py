"""Plain ssh from a closed port to a shell: the real client and server, and a packet filter."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.terminal import install
from tests.e2e.netns import GuardedVm, Person, inside, tool, why_not
from tests.e2e.playing import SOURCE, Play, Site
from tests.package import ROOT

_RELAY = Path(__file__).parent / "relay.py"
_PATIENCE = 60


@pytest.fixture(scope="module", autouse=True)
def _namespaces_work() -> None:
    """Skip where a VM cannot be built."""
    reason = why_not()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def jit_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Install the command as a user does."""
    return install(tmp_path_factory.mktemp("installed"), ROOT, sys.executable)


@contextmanager
def relayed(namespace: str, url: str, folder: Path) -> Iterator[None]:
    """Make a port of this machine's loopback reachable in a namespace, under the same address."""
    port = str(urlsplit(url).port)
    file = str(folder / f"{port}.sock")
    python = [sys.executable, str(_RELAY)]
    here = [*python, "file", file, "port", port]
    there = inside(namespace, *python, "port", port, "file", file)
    with ExitStack() as stack:
        for command in (here, there):
            relay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            stack.callback(relay.wait)
            stack.callback(relay.kill)
            assert relay.stdout is not None
            stack.callback(relay.stdout.close)
            assert relay.stdout.readline() == "ready\n"
        yield


@contextmanager
def following(guarded: GuardedVm) -> Iterator[None]:
    """Let the packet filter follow the groups all the while."""
    over = threading.Event()

    def follow() -> None:
        while not over.wait(0.05):
            guarded.follow()

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@dataclass(frozen=True)
class Desk:
    """A person with `jit`, at an address behind the router."""

    person: Person
    name: str
    jit_path: str
    folder: Path
    token: str

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a program in the person's namespace."""
        environment = {
            **{
                name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ
            },
            "HOME": str(self.folder),
            "JIT_CONFIG": str(self.folder / "config.toml"),
            "JIT_TOKEN": self.token,
        }
        return subprocess.run(
            inside(self.person.namespace, *command),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )

    def jit(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the command."""
        return self.run(self.jit_path, *arguments)

    def options(self) -> list[str]:
        """Return the options that stand for the person's own ~/.ssh."""
        mine = {
            "IdentityFile": str(self.person.guarded.key),
            "UserKnownHostsFile": str(self.folder / "known_hosts"),
            "StrictHostKeyChecking": "accept-new",
            "BatchMode": "yes",
            "User": "root",
        }
        return [part for name, value in mine.items() for part in ("-o", f"{name}={value}")]

    def configured(self) -> list[str]:
        """Return the options of ssh, scp and sftp with the written configuration."""
        return ["-F", str(self.folder / ".ssh" / "jit.config"), *self.options()]

    @property
    def requests(self) -> int:
        """Count the requests that were made so far."""
        return len(json.loads(self.jit("ls", "--mine").stdout))


@pytest.fixture
def site(play: Play) -> Site:
    """Protect a VM behind a group on its interface and one on its subnet."""
    return play.protected(on_subnet=True)


@pytest.fixture
def desk(play: Play, site: Site, jit_path: str, tmp_path: Path) -> Iterator[Desk]:
    """Put a person with a configured `jit` at the address that the requests name."""
    guarded = GuardedVm(play.azure.url, site.vm, site.addresses[0], tmp_path)
    try:
        person = guarded.person("requestor", SOURCE)
        (tmp_path / "config.toml").write_text(
            f'[profiles.local]\nurl = "{play.stack.api}"\nsource = "{SOURCE}"\n'
            f'arm = "{play.stack.arm}"\narm_token_command = "echo local:cli"\n',
            encoding="utf-8",
        )
        name = site.vm.rpartition("/")[2]
        token = play.stack.token(f"ssh-{name}", ["Jit.Request"])
        with (
            relayed(person.namespace, play.stack.api, tmp_path),
            relayed(person.namespace, play.stack.arm, tmp_path),
            following(guarded),
        ):
            found = Desk(person, name, jit_path, tmp_path, token)
            assert found.jit("ssh-config", "--write").returncode == 0
            yield found
    finally:
        guarded.close()


def test_plain_ssh_opens_the_port_and_logs_in(desk: Desk, site: Site) -> None:
    """The port is closed; ssh opens it; the second asks nothing; after the end it asks again."""
    assert desk.person.knock().is_dropped
    command = ["ssh", *desk.configured(), f"{desk.name}.jit", "echo $SSH_CONNECTION"]

    first = desk.run(*command)
    assert first.returncode == 0, first.stderr
    assert first.stdout.split()[::2] == [SOURCE, site.addresses[0]]
    assert "requested" in first.stderr

    second = desk.run(*command)
    assert second.returncode == 0, second.stderr
    assert "requested" not in second.stderr
    assert desk.requests == 1

    assert desk.jit("end", "--all").returncode == 0
    assert desk.person.knock().is_dropped
    third = desk.run(*command)
    assert third.returncode == 0, third.stderr
    assert "requested" in third.stderr
    assert desk.requests == 2


def test_files_are_copied(desk: Desk, tmp_path: Path) -> None:
    """Scp uses the same configuration, by a passed descriptor and through the pump."""
    content = os.urandom(200_000)
    (tmp_path / "file").write_bytes(content)
    pump = f"ProxyCommand={desk.jit_path} proxy %h %p"
    for number, more in enumerate(([], ["-o", "ProxyUseFdpass=no", "-o", pump])):
        target = tmp_path / f"copy-{number}"
        done = desk.run(
            *("scp", *more, *desk.configured()),
            *(str(tmp_path / "file"), f"{desk.name}.jit:{target}"),
        )
        assert done.returncode == 0, done.stderr
        assert target.read_bytes() == content


@pytest.mark.skipif(tool("rsync") is None, reason="not installed: rsync")
def test_rsync_copies(desk: Desk, tmp_path: Path) -> None:
    """Rsync runs ssh with the same configuration."""
    (tmp_path / "file").write_bytes(b"content")
    shell = " ".join(["ssh", *desk.configured()])
    done = desk.run(
        *("rsync", "-e", shell, f"--rsync-path={tool('rsync')}"),
        *(str(tmp_path / "file"), f"{desk.name}.jit:{tmp_path / 'copy'}"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy").read_bytes() == b"content"


def test_jit_ssh_passes_on_the_exit_code_and_ends_the_access(desk: Desk) -> None:
    """`jit ssh` runs a command on the VM; with --end-after the port is closed behind it."""
    done = desk.jit("ssh", desk.name, "--end-after", "--", *desk.options(), "exit 7")
    assert done.returncode == 7, done.stderr
    assert "requested" in done.stderr
    request_id = done.stderr.rpartition("ended ")[2].strip()
    # The command does not stay for the proof of the close, so the test waits for it.
    assert desk.jit("end", request_id).returncode == 0
    assert desk.jit("wait", request_id).returncode == 7
    assert desk.person.knock().is_dropped
