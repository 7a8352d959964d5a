"""The pages that quote the bench hold the figures of bench/figures.json, and no others."""

import json
from pathlib import Path

from bench.place import Json
from bench.report import results
from bench.report_bursts import readme_line
from bench.targets import Targets

ROOT = Path(__file__).parents[2]
FIGURES: Json = json.loads((ROOT / "bench" / "figures.json").read_text(encoding="utf-8"))


def read(name: str) -> str:
    """Return the text of a page of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_results_are_written_from_the_stored_figures() -> None:
    """RESULTS.md is the text that `python -m bench --report` writes from the stored figures."""
    assert read("bench/RESULTS.md") == results(FIGURES)


def test_the_readme_quotes_the_stored_figures() -> None:
    """README.md holds the ratios against the fair rival that the stored figures give."""
    assert readme_line(FIGURES["bursts"]) in read("README.md")
    assert "`python -m bench bursts`" in read("README.md")


def test_a_target_that_is_missed_is_called_missed() -> None:
    """A last open later than the bound allows, or a write too many, is reported as missed."""
    fair = {"open_seconds": 10.0, "open_sent": 4}
    burst = {"opened": 200, "grants": 200, "open_taken": 4, "fair": fair}

    def verdicts(seconds: float, sent: int) -> list[bool]:
        run = {**burst, "open_seconds": seconds, "open_sent": sent}
        judged = Targets({"bursts": {"burst-200-1": run}}).judged()
        return [target.met for target in judged if "fair" in target.text]

    assert verdicts(10.0, 4) == [True, True]
    assert verdicts(10.1, 4) == [False, True]
    assert verdicts(10.0, 5) == [True, False]
