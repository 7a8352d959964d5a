"""The released package: what is deployed, its packages and bytecode, in the same bytes each time."""

import zipfile
from pathlib import Path

import pytest

from tests.package import shipped
from tools.build_package import PACKAGES, ROOT, build, main


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Return a folder as pip leaves it."""
    folder = tmp_path / "packages"
    for name, text in {
        "sample/__init__.py": "VALUE = 1\n",
        "sample/__pycache__/__init__.cpython-313.pyc": "stale",
        "sample-1.0.dist-info/METADATA": "Name: sample\n",
        "sample-1.0.dist-info/LICENSE": "MIT\n",
        "sample-1.0.dist-info/licenses/NOTICE.md": "Thanks\n",
        "sample-1.0.dist-info/RECORD": "the folder of the build",
        "bin/sample": "#!/build/python\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_the_package_holds_what_is_deployed_and_its_packages(
    packages: Path, tmp_path: Path
) -> None:
    """The app's files, the installed packages without what pip leaves behind, and bytecode; licences stay."""
    out = tmp_path / "app.zip"
    build(ROOT, packages, out)
    with zipfile.ZipFile(out) as package:
        names = set(package.namelist())
    own = {name for name in names if not name.endswith(".pyc") and not name.startswith(".")}
    installed = {Path(name).relative_to(PACKAGES).as_posix() for name in names if name[0] == "."}

    assert own == shipped()
    assert {name for name in installed if not name.endswith(".pyc")} == {
        "sample/__init__.py",
        "sample-1.0.dist-info/METADATA",
        "sample-1.0.dist-info/LICENSE",
        "sample-1.0.dist-info/licenses/NOTICE.md",
    }
    assert len([name for name in names if name.endswith(".pyc")]) == len(
        [name for name in names if name.endswith(".py")]
    )


def test_two_builds_are_the_same_bytes(
    packages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the time nor the folder of the build is in the package."""
    first, second = tmp_path / "first" / "app.zip", tmp_path / "second" / "app.zip"
    digests = []
    for out in (first, second):
        out.parent.mkdir()
        assert main(["--packages", str(packages), str(out)]) == 0
        digests.append(capsys.readouterr().out)

    assert first.read_bytes() == second.read_bytes()
    assert digests[0] == digests[1]
    assert digests[0].endswith("  app.zip\n")


def test_a_package_without_packages_is_refused(tmp_path: Path) -> None:
    """A build whose packages were not installed does not look like a good one."""
    with pytest.raises(FileNotFoundError, match="install them there first"):
        build(ROOT, tmp_path / "none", tmp_path / "app.zip")
