"""Each command as it is installed: in a real terminal, and through pipes."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import click
import pytest

from jit_access.commands.exits import Exit
from jit_access.commands.main import main
from local.stack import Stack
from tests.cli.listener import Listener
from tests.cli.terminal import CTRL_C, Jit, run_on_terminal
from tests.e2e.playing import APP_RG, Json, Play, Site

Person = Callable[..., Jit]


@dataclass(frozen=True)
class Case:
    """A command, what it shows to a person, and the JSON type that it writes into a pipe.

    `{vm}`, `{id}`, `{policy}` and so on stand for what the test has prepared.
    """

    line: str
    shows: str
    json_type: type | None
    code: Exit = Exit.DONE
    needs: str = ""  # what is prepared: open, pending or policy
    by: str = "alice"
    types: str = ""  # what is typed once "open until" is shown


CASES = (
    Case("request {vm} --for 10m --no-probe", r"open until \d\d:\d\d", dict),
    Case("ssh {vm} -p {port} --address 127.0.0.1", "still open; end it with", None, Exit.FAILED),
    Case("rdp {vm} -p {port} --address 127.0.0.1 --file {file}", "wrote ", dict),
    Case("proxy {vm} {port} --address 127.0.0.1", "seen", None, types="hello\n\x04"),
    Case("ssh-config", "ProxyCommand", dict),
    Case("ls --vm {vm}", "{vm}:22", list, needs="open"),
    Case("show {id}", "{id}", dict, needs="open"),
    Case("wait {id}", "open until", dict, needs="open"),
    Case("extend {id} --for 30m", "30 min", dict, needs="open"),
    Case("end {id}", "{vm}:22", dict, needs="open"),
    Case("approve {id} -c yes", "approved", dict, needs="pending", by="carol"),
    Case("deny {id} -c no", "denied", dict, needs="pending", by="carol"),
    Case("revoke --vm {vm} -y", "{vm}:22", list, needs="open", by="carol"),
    Case("vm ls", "CATEGORY", list),
    Case("vm show {vm}", "Configured", dict),
    Case("policy ls", "{name}", list),
    Case("policy show {name}", "maxRequestAccessDuration: PT3H", dict),
    Case("policy put {body} --dry-run", "would be accepted|no difference|Deny", dict, by="carol"),
    Case("policy rm {spare} -y", "", None, needs="policy", by="carol"),
    Case("activity --vm {vm}", "OPERATION", list, needs="open"),
    Case("doctor", "SEEN", list),
    Case("whoami", "alice@contoso.example", dict),
    Case("config init {url} --name other", "other", dict),
    Case("config show", "local", dict),
    Case("config set duration 30m", "", None),
    Case("config use local", "'local' is used", None),
    Case("config path", "config.toml", dict),
    Case("completion bash", "_JIT_COMPLETE", None),
)


@dataclass(frozen=True)
class Ground:
    """The ground that the cases work on."""

    play: Play
    site: Site
    guarded: Site
    listener: Listener
    folder: Path
    person: Person

    def fill(self, case: Case) -> dict[str, str]:
        """Prepare what a case needs and return what its placeholders stand for."""
        site = self.guarded if case.needs == "pending" else self.site
        body = self.folder / "policy.json"
        listed = {"id": self.site.policy_id, "properties": {"virtualMachines": site.listed(22)}}
        body.write_text(json.dumps(listed), encoding="utf-8")
        values = {
            "guarded": self.guarded.vm.rpartition("/")[2],
            "vm": site.vm.rpartition("/")[2],
            "name": self.site.policy_id.rpartition("/")[2],
            "port": str(self.listener.port),
            "file": str(self.folder / "vm.rdp"),
            "body": str(body),
            "url": self.play.stack.api,
        }
        if case.needs in {"open", "pending"}:
            values["id"] = self._request(values["vm"], wait=case.needs == "open")
        if case.needs in {"ended", "denied"}:
            values["id"] = self._decided(case.needs)
        if case.needs == "policy":
            values["spare"] = self.play.protected().policy_id
        return values

    def _decided(self, outcome: str) -> str:
        """Make a request that was ended or denied, and return its id."""
        site = self.guarded if outcome == "denied" else self.site
        request_id = self._request(site.vm.rpartition("/")[2], wait=outcome == "ended")
        if outcome == "ended":
            self.person("alice", "Jit.Request").within("end", request_id, "-q")
        else:
            self.person("carol", "Jit.Approve").within("deny", request_id, "-c", "no", "-q")
        return request_id

    def _request(self, vm: str, *, wait: bool) -> str:
        more = ["--no-probe"] if wait else ["--no-wait"]
        alice = self.person("alice", "Jit.Request")
        done = alice.within("request", vm, "-q", "-j", "INC1", "--for", "10m", *more)
        made: str = json.loads(done.out)["id"]
        return made


@pytest.fixture(scope="module")
def guarded(play: Play) -> Site:
    """Protect a VM whose policy wants an approval."""
    site = play.azure.build()
    properties = {"virtualMachines": site.listed(22), "conditions": {"approversNeeded": 1}}
    play.admin.call("PUT", site.policy_id, {"kind": "Basic", "properties": properties})
    play.admin.wait_for_policy(site.policy_id)
    return site


@pytest.fixture(scope="module")
def near(play: Play) -> Iterator[tuple[Site, Listener]]:
    """Protect a VM, also on the port of a listener in its place."""
    site, listener = play.azure.build(), Listener()
    play.admin.put_policy(site.policy_id, site.listed(22, listener.port))
    yield site, listener
    listener.close()


@pytest.fixture
def ground(
    play: Play, guarded: Site, near: tuple[Site, Listener], tmp_path: Path, person: Person
) -> Ground:
    """Return a VM with a listener in its place, and one whose policy wants an approval."""
    return Ground(play, near[0], guarded, near[1], tmp_path, person)


def caller(ground: Ground, case: Case) -> Jit:
    """Return the command as the person of a case, whose ssh always fails with 7."""
    roles = {"alice": ("Jit.Request",), "carol": ("Jit.Admin", "Jit.Approve")}
    stand_in = ground.folder / "bin" / "ssh"
    stand_in.parent.mkdir(exist_ok=True)
    stand_in.write_text("#!/bin/sh\nexit 7\n", encoding="utf-8")
    stand_in.chmod(0o755)
    jit = ground.person(case.by, *roles[case.by])
    return jit.using(PATH=f"{stand_in.parent}:{jit.environment['PATH']}")


def test_every_command_has_a_case() -> None:
    """The cases name each command of the table, and each command of its groups."""
    named = {tuple(case.line.split()[:2]) for case in CASES}
    context = click.Context(main, info_name="jit")
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        inner = getattr(command, "commands", {})
        assert all((name, each) in named for each in inner), name
        assert inner or name in {first for first, *_ in named}, name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line.partition(" {")[0])
def test_on_a_terminal_and_piped(ground: Ground, case: Case) -> None:
    """A terminal shows text; a pipe gets JSON alone, and stderr no control characters."""
    values = ground.fill(case)
    jit = caller(ground, case)
    command = [jit.command, *case.line.format(**values).split()]
    keys = {"open until": case.types} if case.types else {}

    done = run_on_terminal(command, jit.environment, keys)

    assert done.code == case.code, done.out
    assert re.search(case.shows.format(**values), done.out), done.out
    assert not done.out.lstrip().startswith(("{", "["))

    values = ground.fill(case)
    jit = caller(ground, case)
    piped = jit.run(*case.line.format(**values).split(), given=case.types[:-1], code=case.code)

    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", piped.err)
    if case.json_type:
        assert isinstance(json.loads(piped.out), case.json_type)


CODES = (
    Case("ls", "no answer from http", None, Exit.SERVICE, by="offline"),
    Case("extend r-1", "--for and --until", None, Exit.USAGE),
    Case("request nothing-like-it", "there is no VM", None, Exit.NOT_FOUND),
    Case("request twin", "2 VMs are called 'twin'", None, Exit.NOT_FOUND),
    Case("ls", "JIT_TOKEN", None, Exit.NOT_PERMITTED, by="late"),
    Case("request {guarded} --timeout 1s", "waits for 1 of 1", None, Exit.WAITING),
    Case("wait {id}", "denied by carol", None, Exit.DENIED, needs="denied"),
    Case("wait {id}", "ended early", None, Exit.FAILED, needs="ended"),
    Case("vm ls --fail-on configured", "CATEGORY", None, Exit.EXPOSED),
    Case("request {vm} --for 9h", "DurationTooLong", None, Exit.OUTSIDE_POLICY),
    Case("ls --watch", "STATUS", None, Exit.INTERRUPTED, needs="open"),
)


def test_every_exit_code_has_a_case() -> None:
    """The cases name every exit code but that of a broken record, which has tests of its own."""
    assert {case.code for case in (*CODES, *CASES)} == set(Exit) - {Exit.BROKEN}


@pytest.mark.parametrize("case", CODES, ids=lambda case: f"{case.code.name} {case.line}")
def test_exit_codes_on_a_terminal(ground: Ground, stack: Stack, case: Case) -> None:
    """Each failure has its exit code on a terminal too, and says why."""
    ground.play.azure.control("edit", {"resources": twins()})
    values = ground.fill(case)
    jit = ground.person("alice", "Jit.Request")
    if case.by == "late":
        old = stack.token("alice", ["Jit.Request"], lifetime=timedelta(minutes=-10))
        jit = jit.using(JIT_TOKEN=old)
    if case.by == "offline":
        with socket.create_server(("127.0.0.1", 0)) as taken:
            jit = jit.using(JIT_URL=f"http://127.0.0.1:{taken.getsockname()[1]}")
    keys = {"STATUS": CTRL_C} if case.code is Exit.INTERRUPTED else {}

    done = jit.on_terminal(*case.line.format(**values).split(), keys=keys)

    assert done.code == case.code, done.out
    assert re.search(case.shows, done.out), done.out


def twins() -> list[Json]:
    """Return two VMs of one name in two groups."""
    groups = (APP_RG, APP_RG.replace("app-rg", "ops-rg"))
    return [
        {
            "id": f"{group}/providers/Microsoft.Compute/virtualMachines/twin",
            "type": "Microsoft.Compute/virtualMachines",
            "location": "westeurope",
            "properties": {"networkProfile": {"networkInterfaces": []}},
        }
        for group in groups
    ]
