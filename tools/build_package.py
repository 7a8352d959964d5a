"""Build the package that is deployed: `python -m tools.build_package --packages DIR OUT.zip`.

The package holds what .funcignore lets through and the installed packages, bytecode included. Two
builds of the same input are the same bytes, so that its digest can be compared.
"""

import argparse
import compileall
import hashlib
import py_compile
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pathspec

ROOT = Path(__file__).parents[1]
PACKAGES = Path(".python_packages", "lib", "site-packages")
_MOMENT = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can say
_MODE = 0o100644 << 16
# What pip leaves behind and the app never reads; the first names the folder of the build.
_LEFT_OUT = ("bin", "__pycache__")
_UNREPRODUCIBLE = frozenset({"direct_url.json", "RECORD", "INSTALLER", "REQUESTED"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the package, and print its digest."""
    parser = argparse.ArgumentParser(prog="python -m tools.build_package", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--packages", type=Path, required=True, help="folder that pip installed to")
    options = parser.parse_args(arguments)
    build(ROOT, options.packages, options.out)
    print(f"{hashlib.sha256(options.out.read_bytes()).hexdigest()}  {options.out.name}")
    return 0


def build(root: Path, packages: Path, out: Path) -> None:
    """Write the package of a work tree and its installed packages."""
    if not packages.is_dir() or not any(packages.iterdir()):
        raise FileNotFoundError(f"{packages} holds no packages; install them there first")
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder)
        for path in shipped(root):
            _copy(root / path, stage / path)
        for path in _installed(packages):
            _copy(packages / path, stage / PACKAGES / path)
        _compile(stage)
        _zip(stage, out)


def shipped(root: Path) -> list[Path]:
    """List the files that .funcignore and .gitignore let through."""
    lines = [
        line
        for name in (".funcignore", ".gitignore")
        for line in (root / name).read_text(encoding="utf-8").splitlines()
    ]
    ignored = pathspec.GitIgnoreSpec.from_lines(lines)
    return [Path(name) for name in sorted(ignored.match_tree_files(root, negate=True))]


def _installed(packages: Path) -> list[Path]:
    found = (path.relative_to(packages) for path in packages.rglob("*") if path.is_file())
    return sorted(
        path
        for path in found
        if not any(part in _LEFT_OUT for part in (path.parts[0], path.parent.name))
        and path.name not in _UNREPRODUCIBLE
    )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _compile(stage: Path) -> None:
    """Compile everything; a file's hash, and not its time, says whether its bytecode is current."""
    compileall.compile_dir(
        stage,
        quiet=2,
        stripdir=str(stage),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def _zip(stage: Path, out: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        for path in sorted(each for each in stage.rglob("*") if each.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(stage).as_posix(), _MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _MODE
            package.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
