"""The estate kept for reports decides nothing that opens or closes a port."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The report, what it shows beside it, its route, and the composition root that makes its parts.
READERS = {
    "shared/use_cases/reports/machines.py",
    "shared/use_cases/reports/bastions.py",
    "functions/http_reports.py",
    "shared/bootstrap.py",
}
NAMES = re.compile(r"reports\.(?:estates|machines)\b|\bEstates\(|\.estates\b")


def test_only_the_machines_report_uses_a_kept_estate() -> None:
    """No use case that opens, closes, decides or tries reads a kept estate."""
    using = {
        str(path.relative_to(ROOT))
        for folder in ("functions", "shared")
        for path in (ROOT / folder).rglob("*.py")
        if NAMES.search(path.read_text(encoding="utf-8"))
    }
    answers = {"functions/report_answers.py"}  # writes what the report found
    assert using - answers == READERS
