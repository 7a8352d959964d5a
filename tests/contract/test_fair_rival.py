"""The fair rival of the bench does what its page says: else a ratio against it means nothing."""

from datetime import timedelta

from bench.baseline.measure import QUICK_SETTLE, run_fair
from bench.place import Place


def test_the_fair_rival_opens_and_closes_all_in_few_writes() -> None:
    """Requests at one moment are opened in a few whole writes, and closed in one."""
    place = Place("fair", 1, 3, 4)

    found = run_fair(place, [0.0] * 12, QUICK_SETTLE, hasty=False)

    assert (found["opened"], found["closed"]) == (12, 12)
    assert found["open_sent"] <= 6
    assert found["close_sent"] <= 2
    assert timedelta(seconds=found["open_seconds"]) > timedelta(0)
