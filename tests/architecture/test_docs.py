import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pathspec
import pytest

from functions.schemas.errors import REASON_CODES, REFUSAL_CODES
from shared.domain.audit import Operation

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)
MACHINE_PATH = re.compile(r"/(?:work|root|home|Users)/[\w.]")
TEXT = {".py", ".md", ".json", ".toml", ".txt", ".in", ".sh", ".yaml", ".yml", ".bicep", ""}


def _files() -> Iterator[Path]:
    """Find everything that belongs to the repository."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    ignored = pathspec.GitIgnoreSpec.from_lines([*lines, ".git"])
    for folder, folders, files in os.walk(ROOT):
        here = Path(folder).relative_to(ROOT)
        folders[:] = [f for f in folders if not ignored.match_file(f"{(here / f).as_posix()}/")]
        paths = (here / name for name in files)
        yield from (path for path in paths if not ignored.match_file(path.as_posix()))


FILES = sorted(_files())
DOCUMENTS = [path for path in FILES if path.suffix == ".md"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_between_documents_resolve(document: Path) -> None:
    """A link to a file leads to a file, and one to a heading leads to a heading."""
    text = FENCE.sub("", _read(document))
    targets = [match["target"] for match in LINK.finditer(text)]

    broken = [t for t in targets if "://" not in t and not _resolves(document, t)]

    assert broken == []


def test_no_file_names_a_path_of_one_machine() -> None:
    """The repository works in any folder of any machine."""
    texts = [path for path in FILES if path.suffix in TEXT]

    assert [path for path in texts if MACHINE_PATH.search(_read(path))] == []


def test_the_document_names_every_code_of_a_refusal() -> None:
    """Each error code of the code stands in the OpenAPI document and in docs/api.md."""
    refusals = _given("JitError") | _in_tables("Refusals", 1, of=3)

    assert refusals == _given("JitError") == set(REFUSAL_CODES)


def test_the_document_names_every_code_of_a_reason() -> None:
    """The same of each line in the details."""
    reasons = _given("Reason") | _in_tables("Refusals", 0, of=2)

    assert reasons == _given("Reason") == set(REASON_CODES)


def test_the_document_names_every_operation() -> None:
    """docs/api.md describes every operation of the activity, and no other."""
    assert _in_tables("Activity", 0, of=2) == {"operation", *Operation}


def test_events_are_named_by_their_operation() -> None:
    """No event is recorded under a word of its own, which the documents would not have."""
    spelled = [
        (path.name, node.lineno)
        for path, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword)
        and node.arg == "operation"
        and isinstance(node.value, ast.Constant)
    ]

    assert spelled == []


def _trees() -> Iterator[tuple[Path, ast.Module]]:
    for folder in ("functions", "shared"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def _given(call_name: str) -> set[str]:
    """Find every code in the code: those of reasons, or those of errors."""
    found = set()
    for _, tree in _trees():
        for node in ast.walk(tree):
            value = _reason_code(node) if call_name == "Reason" else _error_code(node)
            if isinstance(value, ast.Constant) and value.value:
                found.add(str(value.value))
    return found


def _reason_code(node: ast.AST) -> ast.expr | None:
    """Return the first argument of a Reason."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Reason" and node.args:
        return node.args[0]
    return None


def _error_code(node: ast.AST) -> ast.expr | None:
    """Return a `code` that is passed on, a class's own, or a constant that is passed on later."""
    if isinstance(node, ast.keyword) and node.arg == "code":
        return node.value
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in {"code", "_INVALID"}:
        return node.value
    return None


def _in_tables(section: str, column: int, *, of: int) -> set[str]:
    """Find the words set as code in one column of a section's tables of so many columns."""
    text = _read(Path("docs/api.md")).partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    cells = [row[column] for row in rows if len(row) == of]
    return {word for cell in cells for word in re.findall(r"`(\w+)`", cell)}


def _resolves(document: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    found = (ROOT / document).parent / path if path else ROOT / document
    if not found.exists():
        return False
    return not anchor or anchor in _anchors(found.read_text(encoding="utf-8"))


def _anchors(text: str) -> set[str]:
    """Make the anchors of a document's headings, as GitHub does."""
    headings = (match["text"].lower() for match in HEADING.finditer(FENCE.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def _read(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")
