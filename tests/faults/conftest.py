"""Say at the end how many fault points were tried."""

from collections.abc import Callable

import pytest

_tried: dict[str, int] = {}


@pytest.fixture
def fault_points() -> Callable[[str, int], None]:
    """Return what notes how many points of a scene were broken."""
    return _tried.__setitem__


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the count."""
    if _tried:
        points = sum(_tried.values())
        terminalreporter.write_line(f"fault points tried: {points} in {len(_tried)} scenes")
