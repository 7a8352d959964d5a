"""Product files stay short enough to be read in one sitting."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT = 400


def test_no_product_file_has_more_than_400_lines() -> None:
    """A file of the product has at most 400 lines."""
    folders = [ROOT / "functions", ROOT / "shared", ROOT / "cli" / "src"]
    files = [path for folder in folders for path in folder.rglob("*.py")]

    assert files
    assert [str(path.relative_to(ROOT)) for path in files if _length(path) > LIMIT] == []


def _length(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())
