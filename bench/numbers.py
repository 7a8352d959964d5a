"""Quantiles, and numbers as a person reads them."""

from collections.abc import Iterable


def quantile(values: Iterable[float], q: float) -> float:
    """Return the value that a share q of all does not exceed."""
    found = sorted(values)
    return found[min(len(found) - 1, int(len(found) * q))]


def told(value: float) -> str:
    """Write a number with as many digits as mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}"
