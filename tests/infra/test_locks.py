"""The lock files: every distribution with its hashes, and pip refuses what differs from them."""

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.infra.bicep import INFRA, ROOT

LOCKS = [ROOT / "requirements.txt", ROOT / "requirements-dev.txt"]
PIN = re.compile(r"^(?P<name>[\w.-]+)(?:\[[\w,-]+\])?==(?P<version>[^\s;]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})$")
SETUP = (ROOT / "local" / "setup.sh").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def pinned(path: Path) -> dict[str, frozenset[str]]:
    """Read the hashes of each pinned distribution; raises ValueError for any other line."""
    found: dict[str, frozenset[str]] = {}
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pin, *hashes = line.split(" --hash=")
        match = PIN.match(pin)
        digests = [HASH.fullmatch(f"--hash={each.strip()}") for each in hashes]
        if match is None or not digests or None in digests:
            raise ValueError(f"{path.name}: {line[:60]!r} is not pinned with its hashes")
        key = f"{match['name']}=={match['version']}"
        found[key] = frozenset(each[1] for each in digests if each)
    return found


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_line_is_pinned_with_its_hashes(path: Path) -> None:
    """One line without a hash would be taken as it comes where the index is asked."""
    found = pinned(path)

    assert len(found) > 20
    assert all(found.values())


def test_both_locks_say_the_same_of_what_is_deployed() -> None:
    """A hash that was changed in one of the files stands against the other."""
    deployed, development = map(pinned, LOCKS)

    assert deployed.items() <= development.items()


def test_a_changed_hash_is_found(tmp_path: Path) -> None:
    """Changing any one hash of what is deployed makes the two files differ."""
    text = LOCKS[0].read_text(encoding="utf-8")
    for digest in sorted({each for hashes in pinned(LOCKS[0]).values() for each in hashes})[::97]:
        changed = tmp_path / LOCKS[0].name
        flipped = digest[:-1] + ("0" if digest[-1] != "0" else "1")
        changed.write_text(text.replace(digest, flipped), encoding="utf-8")

        assert not pinned(changed).items() <= pinned(LOCKS[1]).items()


def _wheel(folder: Path, name: str) -> str:
    """Build a small wheel, and return its hash."""
    record = f"{name}-1.0.dist-info/RECORD"
    files = {
        f"{name}.py": "",
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    lines = [f"{file},sha256={_recorded(text)},{len(text)}" for file, text in files.items()]
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in {**files, record: "\n".join([*lines, f"{record},,"])}.items():
            wheel.writestr(file, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _recorded(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@pytest.mark.parametrize("options", [["--require-hashes"], []], ids=["setup", "remote build"])
@pytest.mark.parametrize("change", ["none", "another hash", "a line without hash"])
def test_pip_installs_what_has_the_hash_and_nothing_else(
    tmp_path: Path, options: list[str], change: str
) -> None:
    """One hash in the file makes pip check them all, as the remote build calls it too."""
    digest = _wheel(tmp_path, "jit_sample")
    _wheel(tmp_path, "jit_other")
    line = f"jit_sample==1.0 --hash=sha256:{'0' * 64 if change == 'another hash' else digest}\n"
    more = "jit_other==1.0\n" if change == "a line without hash" else ""
    lock = tmp_path / "requirements.txt"
    lock.write_text(line + more, encoding="utf-8")

    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--isolated", "--quiet", *options),
            *("--no-index", "--find-links", str(tmp_path), "--target", str(tmp_path / "site")),
            *("--disable-pip-version-check", "--requirement", str(lock)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode == 0) is (change == "none"), done.stderr
    assert (tmp_path / "site" / "jit_sample.py").exists() is (change == "none")
    if change != "none":
        assert "hash" in done.stderr.lower()


def test_every_install_checks_the_hashes() -> None:
    """Each call of pip in the set-up requires them, the second step's too."""
    installs = re.findall(r"pip\" install((?:[^\n]|(?<=\\)\n)*)", SETUP)

    assert len(installs) == 2
    for install in installs:
        assert "--require-hashes" in install
        assert "--requirement" in install
        assert "==" not in install


def test_the_second_step_installs_the_locked_worker_engine(tmp_path: Path) -> None:
    """On 3.11 and 3.12 the worker engine comes with the version and hashes of the lock file."""
    (script,) = re.findall(r"awk '([^']+)' \\\n", SETUP)
    done = subprocess.run(
        ["awk", script, str(LOCKS[1])], capture_output=True, text=True, check=True
    )
    taken = tmp_path / "worker-engine.txt"
    taken.write_text(done.stdout, encoding="utf-8")

    (name,) = pinned(taken)
    assert name.startswith("azure-functions-runtime==")
    assert pinned(taken)[name] == pinned(LOCKS[1])[name]
    assert ";" not in done.stdout


def test_the_lock_is_written_with_hashes_for_every_version_of_python() -> None:
    """`make lock` keeps what the installs ask for, from Python 3.11 on and on any platform."""
    commands = re.findall(r"uv pip compile (.+)", MAKEFILE)

    assert len(commands) == len(LOCKS)
    for command in commands:
        assert "--generate-hashes" in command
        assert "--universal --python-version 3.11" in command


def test_the_remote_build_is_pip_s() -> None:
    """The fast build asks uv, which takes a line without a hash; no setting turns it on."""
    for path in INFRA.rglob("*"):
        if path.is_file():
            assert "PYTHON_FAST_BUILD_ENABLED" not in path.read_text(encoding="utf-8")
