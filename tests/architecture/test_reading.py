"""The files that the documents send a reader to exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLE_CHANGES = 10
LARGE_CHANGES = {"another cloud", "another firewall"}
MOST_FILES = 3
READING_ORDER = 8


def test_contributing_names_existing_files_for_ten_changes() -> None:
    """Each of the ten sample changes names files that exist, three at most but for the last two."""
    section = _section("CONTRIBUTING.md", "## Ten sample changes")
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| a")]
    named = {row[1].strip(): re.findall(r"`([^`]+)`", row[2]) for row in rows}

    assert len(named) == SAMPLE_CHANGES
    assert all(named.values())
    assert [path for paths in named.values() for path in paths if not (ROOT / path).exists()] == []
    small = [len(paths) for change, paths in named.items() if change not in LARGE_CHANGES]
    assert len(small) == SAMPLE_CHANGES - len(LARGE_CHANGES)
    assert max(small) <= MOST_FILES


def test_the_reading_order_has_eight_product_files() -> None:
    """docs/architecture.md sends a stranger through eight files of the product, and all exist."""
    section = _section("docs/architecture.md", "## Where to start reading")
    paths = re.findall(r"^\d+\. \[([^\]]+)\]", section, re.MULTILINE)

    assert len(set(paths)) == len(paths) == READING_ORDER
    assert [path for path in paths if not (ROOT / path).is_file()] == []


def _section(document: str, heading: str) -> str:
    text = (ROOT / document).read_text(encoding="utf-8")
    return text.split(f"{heading}\n")[1].split("\n## ")[0]
