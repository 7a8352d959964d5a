"""The package to deploy, on its own: nothing missing, nothing spare.

The end-to-end tests run on the same package (tests/conftest.py).
"""

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import files
from pathlib import Path

import pathspec
import pytest

from local.stack import Stack, StackError
from tests.infra import load_package
from tests.infra.bicep import ROOT
from tests.infra.load_package import imported

LICENCE = "LICENSE"
# What the platform reads, beside the code.
READ_BY_AZURE = {"host.json", "requirements.txt"}
OURS = {"function_app", "functions", "shared"}


@cache
def _imports(package: Path) -> dict[str, dict[str, set[str]]]:
    """Map each file of the package to what it imports."""
    return {
        path.relative_to(package).as_posix(): imported(path.read_text(encoding="utf-8"))
        for path in package.rglob("*.py")
    }


def test_everything_loads_from_the_package_and_its_pins_alone(
    package: Path, tmp_path: Path
) -> None:
    """Without the work tree and the development packages, each import is found, late ones too."""
    done = subprocess.run(
        [sys.executable, "-I", load_package.__file__, str(package)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["elsewhere"] == []
    assert {"request_access", "open_access", "sweep_expired"} <= set(told["functions"])


def test_development_packages_cannot_be_imported(package: Path, tmp_path: Path) -> None:
    """The test above would notice: code that imports one of them does not load."""
    broken = Path(shutil.copytree(package, tmp_path / "package"))
    (broken / "shared" / "spare.py").write_text("import starlette\n", encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-I", load_package.__file__, str(broken)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "starlette is not pinned" in done.stderr


def test_every_file_is_needed(package: Path) -> None:
    """A file that neither function_app.py nor the platform needs is not deployed."""
    imports = _imports(package)
    reached: set[str] = set()
    ahead = {"function_app.py"}
    while ahead:
        path = ahead.pop()
        reached.add(path)
        for module, names in imports[path].items():
            # What is taken from a module may be a module below it.
            for dotted in (module, *(f"{module}.{name}" for name in names)):
                ahead |= _files_of(dotted) & set(imports)
        ahead -= reached
    held = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}

    needed = reached | READ_BY_AZURE | _files_of_the_page(package) | {LICENCE}
    assert {path for path in held if "__pycache__" not in path} == needed


def test_the_licence_of_all_that_is_shipped_goes_with_it(package: Path) -> None:
    """The package holds our licence, and beside each vendored library the licence of that."""
    vendored = [path for path in (package / "web" / "vendor").iterdir() if path.suffix == ".js"]

    assert (package / LICENCE).read_text("utf-8") == (ROOT / LICENCE).read_text("utf-8")
    assert vendored
    for path in vendored:
        licence = path.with_name(path.name.removesuffix(".min.js") + ".LICENSE.txt")
        assert "Permission is hereby granted" in licence.read_text(encoding="utf-8")


def _files_of_the_page(package: Path) -> set[str]:
    """Name the page's index, what it asks a browser to load, and the licences of that."""
    index = (package / "web" / "index.html").read_text(encoding="utf-8")
    loaded = {f"web/{name}" for name in re.findall(r'="\{files\}/([^"]+)"', index)}
    vendored = {name.removesuffix(".min.js") for name in loaded if "/vendor/" in name}
    return {"web/index.html"} | loaded | {f"{name}.LICENSE.txt" for name in vendored}


def _files_of(dotted: str) -> set[str]:
    """Name the files that an import of a module would run."""
    parts = dotted.split(".")
    above = {"/".join([*parts[:count], "__init__.py"]) for count in range(1, len(parts) + 1)}
    return {"/".join(parts) + ".py", *above}


def test_every_package_that_is_asked_for_is_imported(package: Path) -> None:
    """Each line of requirements.in is imported by the code, and each import stands there."""
    lines = (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    asked = {re.split(r"[\[<>=]", line)[0].lower() for line in lines if line[:1] not in {"", "#"}}
    sources = {name: _sources(name) for name in asked}

    taken = {
        module: {module, *(f"{module}.{name}" for name in names)}
        for imports in _imports(package).values()
        for module, names in imports.items()
        if module.split(".")[0] not in {*sys.stdlib_module_names, *OURS}
    }
    used = {
        module: {name for name in asked if sources[name] & set().union(*map(_files_of, dotted))}
        for module, dotted in taken.items()
    }

    assert [module for module, names in used.items() if not names] == []
    assert set().union(*used.values()) == asked


def _sources(distribution: str) -> set[str]:
    return {each.as_posix() for each in files(distribution) or () if each.suffix == ".py"}


def test_the_host_runs_the_package_and_nothing_of_the_work_tree(
    package: Path, tmp_path: Path
) -> None:
    """A file that is missing in the package is missed, though the work tree has it."""
    broken = Path(shutil.copytree(package, tmp_path / "package"))
    (broken / "shared" / "domain" / "times.py").unlink()

    with pytest.raises(StackError, match=r"No module named 'shared\.domain\.times'"):
        Stack(app=broken, directory=tmp_path / "stack")


def test_nothing_of_the_work_tree_takes_the_place_of_a_missing_folder(
    package: Path, tmp_path: Path
) -> None:
    """Without `shared` in the package there is none, though the host was started beside one."""
    broken = Path(shutil.copytree(package, tmp_path / "package"))
    shutil.rmtree(broken / "shared")

    with pytest.raises(StackError, match="No module named 'shared'"):
        Stack(app=broken, directory=tmp_path / "stack")


@pytest.mark.parametrize(
    "path",
    [
        "venv/lib/python3.13/site-packages/azure/core/__init__.py",
        "env/bin/python",
        "my_env/pyvenv.cfg",
        ".venv/pyvenv.cfg",
        ".venv-checkov/pyvenv.cfg",
        "jit-policies-20261122T150000Z.json",
    ],
)
def test_local_environments_and_saved_policies_are_not_deployed(path: str) -> None:
    """With .funcignore azd's own rule for virtual environments is off, so the file names them."""
    lines = (ROOT / ".funcignore").read_text(encoding="utf-8").splitlines()

    assert pathspec.GitIgnoreSpec.from_lines(lines).match_file(path)
