import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
OUTSIDE = ("azure", "jwt", "requests", "boto3", "botocore")
# The programming model of the platform is what a trigger is made of.
TRIGGER_MODEL = "azure.functions"
# The client of security groups stands with its provider: one folder for each provider.
ADAPTERS = ("shared/adapters/", "shared/firewalls/nsg/client.py")


def test_the_import_contracts_hold() -> None:
    """Imports go one way, and each library stays in its layer: import-linter's contracts."""
    command = Path(sys.executable).with_name("lint-imports")

    done = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_outside_libraries_are_named_in_adapters_only() -> None:
    """No file but an adapter imports a cloud, token or HTTP library, inside functions included."""
    named = {
        path: name
        for path in _code()
        for name in _imports(path)
        if name.partition(".")[0] in OUTSIDE and not name.startswith(TRIGGER_MODEL)
    }

    assert {where for where in named if not where.startswith(ADAPTERS)} == set()


def test_only_triggers_know_the_platform() -> None:
    """Nothing below functions/ imports azure.functions: a use case runs without a host."""
    knowing = {path for path in _code() if TRIGGER_MODEL in set(_imports(path))}

    assert knowing
    assert {where for where in knowing if not where.startswith("functions/")} == set()


def test_no_trigger_decides_authority() -> None:
    """Use cases decide what a caller may do: no file of functions/ imports that part of them."""
    deciding = "shared.use_cases.permission"
    triggers = [path for path in _code() if path.startswith("functions/")]

    assert triggers
    assert [path for path in triggers if deciding in set(_imports(path))] == []


def test_the_local_stack_imports_no_tests() -> None:
    """The local stack runs without tests: only files in local/tests import tests."""
    paths = (path.relative_to(ROOT).as_posix() for path in ROOT.glob("local/**/*.py"))
    stack = [path for path in paths if not path.startswith("local/tests/")]

    assert stack
    named = {(path, name) for path in stack for name in _imports(path)}
    assert {each for each in named if each[1].startswith(("tests", "local.tests"))} == set()


def _code() -> list[str]:
    paths = [*ROOT.glob("functions/**/*.py"), *ROOT.glob("shared/**/*.py")]
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def _imports(path: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
