"""The installed command, the people who use it, and VMs on the local stack."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.stack import Stack
from tests.cli.listener import Listener
from tests.cli.terminal import Jit, install
from tests.e2e.playing import SOURCE, Azure, Play, Site
from tests.package import ROOT

Person = Callable[..., Jit]


@pytest.fixture(scope="session")
def jit_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Install the command as a user does."""
    return install(tmp_path_factory.mktemp("installed"), ROOT, sys.executable)


@pytest.fixture
def jit(jit_path: str, tmp_path: Path) -> Jit:
    """Return the command with an empty home and no configuration."""
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ
    }
    home = {"HOME": str(tmp_path), "TERM": "xterm", "JIT_CONFIG": str(tmp_path / "config.toml")}
    return Jit(jit_path, {**kept, **home})


@pytest.fixture(scope="session")
def play(stack: Stack) -> Play:
    """Give the stack and the cloud behind it."""
    return Play(stack, Azure(stack.arm))


@pytest.fixture
def person(jit: Jit, stack: Stack) -> Person:
    """Return the command as a person with roles uses it, from a place outside."""

    def sign_in(name: str, *roles: str) -> Jit:
        config = Path(jit.environment["JIT_CONFIG"])
        config.write_text(
            f'[profiles.local]\nurl = "{stack.api}"\nsource = "{SOURCE}"\narm = "{stack.arm}"\n'
            'arm_token_command = "echo local:cli"\n',
            encoding="utf-8",
        )
        return jit.using(JIT_TOKEN=stack.token(name, roles))

    return sign_in


@pytest.fixture
def alice(person: Person) -> Jit:
    """Return a requestor."""
    return person("alice", "Jit.Request")


@pytest.fixture
def carol(person: Person) -> Jit:
    """Return an administrator who can approve."""
    return person("carol", "Jit.Admin", "Jit.Approve")


@pytest.fixture(scope="session")
def site(play: Play) -> Site:
    """Protect a VM for the tests that change nothing of it."""
    return play.protected()


@pytest.fixture
def vm(site: Site) -> str:
    """Return its name."""
    return site.vm.rpartition("/")[2]


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Listen in place of a VM's sshd."""
    listening = Listener()
    yield listening
    listening.close()


@pytest.fixture
def near(play: Play, listener: Listener) -> Site:
    """Protect a VM that the policy says is reached on this machine, on the listener's port."""
    site = play.azure.build()
    vms = [{**vm, "publicIpAddress": "127.0.0.1"} for vm in site.listed(listener.port)]
    play.admin.put_policy(site.policy_id, vms)
    return site
