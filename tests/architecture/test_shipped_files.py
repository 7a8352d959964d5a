import pathspec
import pytest

from tests.package import ROOT, shipped

TOP = {"LICENSE", "function_app.py", "functions", "shared", "host.json", "requirements.txt", "web"}
# What each line of .gitignore keeps out of the repository, and what a deployment must not carry.
LEFT_BEHIND = [
    ".venv/bin/python",
    ".venv-3.12/bin/python",
    "node_modules/azurite/package.json",
    ".stack/stack.json",
    "local.settings.json",
    "functions/__pycache__/web.cpython-313.pyc",
    "shared/domain/model/requests.pyc",
    ".mypy_cache/CACHEDIR.TAG",
    ".ruff_cache/CACHEDIR.TAG",
    ".pytest_cache/README.md",
    ".hypothesis/examples/0",
    ".import_linter_cache/CACHEDIR.TAG",
    ".coverage.host.1",
    ".package/app.zip",
    ".azure/jit-live-abcd1234/.env",
    ".live/abcd1234.json",
    "htmlcov/index.html",
    "docs/images/all/machines-dark.png",
]


def test_what_is_deployed_is_the_app_and_nothing_else() -> None:
    """The files that .funcignore lets through are the app's code and licence, host.json and the pins."""
    code = [*ROOT.glob("functions/**/*.py"), *ROOT.glob("shared/**/*.py")]
    code += [path for path in ROOT.glob("web/**/*") if path.is_file()]
    expected = {"LICENSE", "function_app.py", "host.json", "requirements.txt"}
    expected |= {path.relative_to(ROOT).as_posix() for path in code}

    found = shipped()

    assert found == expected
    assert {path.partition("/")[0] for path in found} == TOP


@pytest.mark.parametrize("path", LEFT_BEHIND)
def test_what_a_developer_leaves_behind_is_not_deployed(path: str) -> None:
    """Caches, environments, secrets and reports lie in the work tree and stay there."""
    assert _rules(".funcignore").match_file(path)


def test_every_line_of_gitignore_has_its_example() -> None:
    """The list above is complete: each pattern of .gitignore matches one of its paths."""
    patterns = (ROOT / ".gitignore").read_text(encoding="utf-8").split()

    unmatched = [
        pattern
        for pattern in patterns
        if not any(pathspec.GitIgnoreSpec.from_lines([pattern]).match_files(LEFT_BEHIND))
    ]

    assert unmatched == []


def _rules(name: str) -> pathspec.GitIgnoreSpec:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return pathspec.GitIgnoreSpec.from_lines(lines)
