"""What would be deployed, built by .funcignore's rules, on its own: nothing missing or spare."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pathspec
import pytest

from local.demo import Story, Teller
from local.json_calls import call
from local.stack import Stack
from tests.infra.bicep import ROOT

MODULES = """
import importlib, pkgutil, sys
folder = sys.argv[1]
sys.path.insert(0, folder)
import function_app, functions, shared
for package in (functions, shared):
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(found.name)
strangers = [
    name
    for name, module in sys.modules.items()
    if name.partition(".")[0] in {"function_app", "functions", "shared", "local", "tests"}
    and not (getattr(module, "__file__", None) or folder).startswith(folder)
]
functions = function_app.app.get_functions()
print(len(functions), len(strangers), *strangers)
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the folder that azd would upload."""
    lines = (ROOT / ".funcignore").read_text(encoding="utf-8").splitlines()
    rules = pathspec.GitIgnoreSpec.from_lines(lines)
    target = tmp_path_factory.mktemp("package")
    for folder, folders, files in os.walk(ROOT):
        here = Path(folder).relative_to(ROOT)
        folders[:] = [
            name for name in folders if not rules.match_file(f"{(here / name).as_posix()}/")
        ]
        for name in files:
            if not rules.match_file((here / name).as_posix()):
                (target / here).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / here / name, target / here / name)
    return target


@pytest.fixture(scope="module")
def stack(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start the local stack with the package instead of the work tree."""
    with Stack(app=package, directory=tmp_path_factory.mktemp("stack")) as running:
        yield running


def test_every_module_loads_from_the_package_alone(package: Path, tmp_path: Path) -> None:
    """With the work tree out of reach all functions are found, and no module comes from there."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", MODULES, str(package)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    count, strangers, *names = done.stdout.split()
    assert strangers == "0", names
    assert int(count) > 10


def test_the_package_plays_an_access_end_to_end(stack: Stack) -> None:
    """Protect, refuse, ask, open, close: what is deployed does what the work tree does."""
    told = io.StringIO()

    Story(stack, Teller(told)).play()

    assert "closed" in told.getvalue()


def test_the_package_says_that_it_is_well(stack: Stack) -> None:
    """The availability test's question is answered without a token."""
    status, body = call("GET", f"{stack.api}/api/health")

    assert status in {200, 503}
    assert body["status"] in {"Healthy", "Degraded", "Unhealthy"}


def test_the_package_carries_every_dependency_it_imports(package: Path) -> None:
    """The pins that are deployed name each library that the code imports."""
    pins = (package / "requirements.txt").read_text(encoding="utf-8").lower()
    needed = {
        "azure-functions": "azure.functions",
        "azure-identity": "azure.identity",
        "azure-mgmt-network": "azure.mgmt.network",
        "azure-data-tables": "azure.data.tables",
        "azure-storage-queue": "azure.storage.queue",
        "pydantic": "pydantic",
        "pydantic-settings": "pydantic_settings",
        "pyjwt": "jwt",
    }
    code = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))

    for distribution, module in needed.items():
        assert f"{distribution}==" in pins or f"{distribution}[" in pins, distribution
        assert module in code, f"{distribution} is deployed and not imported"
