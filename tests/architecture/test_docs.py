import os
import re
from collections.abc import Iterator
from pathlib import Path

import pathspec
import pytest

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


def test_no_file_names_a_place_on_somebody_s_machine() -> None:
    """What is in the repository works in any folder of any machine."""
    texts = [path for path in FILES if path.suffix in TEXT]

    assert [path for path in texts if MACHINE_PATH.search(_read(path))] == []


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
