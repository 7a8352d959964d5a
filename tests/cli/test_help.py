"""The table of commands, their help, and what starting costs."""

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from bench.commands import measure
from jit_access.client.codes import REASONS, REFUSALS, advice_for
from jit_access.commands.exits import Exit
from jit_access.commands.main import COMMANDS, main
from jit_access.commands.settings import KEYS
from tests.package import ROOT

TABLE = (
    *("request", "ssh", "rdp", "proxy", "ssh-config", "ls", "show", "wait", "extend", "end"),
    *("approve", "deny", "revoke", "vm", "policy", "activity", "doctor", "whoami", "config"),
    "completion",
)
_HEAVY = ("azure", "requests", "jmespath", "yaml", "jit_access.client", "tomllib", "subprocess")


def _all_commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(main, info_name="jit")
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        yield name, command
        for inner, found in getattr(command, "commands", {}).items():
            yield f"{name} {inner}", found


def test_every_command_is_there() -> None:
    """The table has each command, and its line is the command's own help."""
    assert tuple(COMMANDS) == TABLE
    for name, command in _all_commands():
        if name in COMMANDS:
            assert command.get_short_help_str(200) == COMMANDS[name][1]


@pytest.mark.parametrize("name", [name for name, _ in _all_commands()])
def test_help_tells_every_option(name: str) -> None:
    """Each option has a help text that begins in capitals or quotes and ends in a full stop."""
    command = dict(_all_commands())[name]
    context = click.Context(command, info_name=f"jit {name}")
    assert command.get_help(context).startswith(f"Usage: jit {name}")
    assert (command.help or "").strip()
    for option in command.params:
        if isinstance(option, click.Option) and option.name != "help":
            assert (option.help or "").endswith("."), option.opts


def test_help_loads_nothing_heavy() -> None:
    """`jit --help` imports click and the table; nothing of azure, no client."""
    code = (
        "import sys\nfrom jit_access.commands.main import main\n"
        "main(['--help'], standalone_mode=False)\nprint(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": "cli/src"},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stderr.split())
    assert "click" in loaded
    assert [name for name in _HEAVY if name in loaded] == []


def test_help_starts_within_one_and_a_half_times_a_bare_program() -> None:
    """The least CPU time of `jit --help` is at most 1.5 times that of a bare click program."""
    jit, bare = measure(7)
    assert min(jit) <= 1.5 * min(bare)


def test_identity_is_loaded_only_for_a_token() -> None:
    """Importing every command and the client leaves azure-identity alone."""
    modules = [f"jit_access.commands.{module}" for module, _ in COMMANDS.values()]
    code = "import importlib, sys\n" + "".join(
        f"importlib.import_module({name!r})\n" for name in ["jit_access.client", *modules]
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print('azure.identity' in sys.modules)"],
        env={"PYTHONPATH": "cli/src"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"


def test_advice_names_commands_that_exist() -> None:
    """Each `jit ...` in an advice is a command of the table."""
    texts = " ".join([*REFUSALS.values(), *REASONS.values()])
    named = {part.split("`")[0].split()[0] for part in texts.split("`jit ")[1:]}
    assert named <= set(TABLE)
    assert advice_for("RequestNotWithinPolicy", ("DurationTooLong",)) == REASONS["DurationTooLong"]
    assert advice_for("RequestNotWithinPolicy") == REFUSALS["RequestNotWithinPolicy"]
    assert advice_for("SomethingNewer") == ""


def test_the_page_names_every_command_key_and_exit_code() -> None:
    """docs/cli.md has each command, each key of a profile, and each exit code."""
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [name for name in TABLE if f"`jit {name}" not in page] == []
    assert [key for key in KEYS if f"`{key}`" not in page] == []
    codes = re.findall(r"^\| (\d+) \|", page, re.MULTILINE)
    assert codes == [str(int(code)) for code in Exit]


def test_it_imports_nothing_of_the_app() -> None:
    """The distribution stands alone: what it imports is its own, click, azure or standard."""
    root = importlib.import_module("jit_access").__path__[0]
    found = subprocess.run(
        ["grep", "-rnE", r"^\s*(from|import) (shared|functions|local|tests)\b", root],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""
