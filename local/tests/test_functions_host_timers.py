"""Timer triggers run as the platform's do, on a clock of the test's own."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.functions_host.schedule import Schedule, ScheduleError, ScheduleStatus
from local.functions_host.timer_listener import StatusFile, Timer, TimerListener
from local.tests.platform_app.harness import running_platform

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Clock:
    """A clock that stands still but for sleeps and runs."""

    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        """Return the time."""
        return self.at

    async def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.at += timedelta(seconds=seconds)
        await asyncio.sleep(0)


class Run:
    """A timer function that takes as long as told and stops the listener after enough runs."""

    def __init__(self, clock: Clock, *durations: timedelta) -> None:
        self.calls: list[tuple[datetime, dict[str, Any]]] = []
        self._clock = clock
        self._durations = durations

    @property
    def times(self) -> list[datetime]:
        """Return when the runs began."""
        return [at for at, _ in self.calls]

    @property
    def past_due(self) -> list[bool]:
        """Return what IsPastDue was."""
        return [payload["IsPastDue"] for _, payload in self.calls]

    async def __call__(self, payload: str) -> bool:
        """Run once."""
        if len(self.calls) == len(self._durations):
            raise asyncio.CancelledError
        self.calls.append((self._clock.at, json.loads(payload)))
        self._clock.at += self._durations[len(self.calls) - 1]
        return False


def _play(
    run: Run, clock: Clock, file: Path, expression: str = "0 * * * * *", **timer: bool
) -> None:
    listener = TimerListener(
        Timer(Schedule(expression), **timer),
        StatusFile(file),
        run,
        now=clock.now,
        sleep=clock.sleep,
    )
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(listener.run())


def test_timer_runs_on_its_schedule(tmp_path: Path) -> None:
    """A run begins at each occurrence, not past due; failed runs count as runs."""
    clock = Clock(NOON + timedelta(seconds=20))
    run = Run(clock, *[timedelta(seconds=5)] * 3)
    _play(run, clock, tmp_path / "timer.json")
    assert run.times == [NOON + MINUTE, NOON + 2 * MINUTE, NOON + 3 * MINUTE]
    assert run.past_due == [False, False, False]


def test_long_run_is_followed_by_exactly_one_catch_up(tmp_path: Path) -> None:
    """After a run over several occurrences one run begins at once, then the schedule goes on."""
    clock = Clock(NOON)
    run = Run(clock, 3.5 * MINUTE, timedelta(seconds=5), timedelta(seconds=5))
    _play(run, clock, tmp_path / "timer.json")
    first = NOON + MINUTE
    assert run.times == [first, first + 3.5 * MINUTE, NOON + 5 * MINUTE]
    # Past due is asked only when a listener starts.
    assert run.past_due == [False, False, False]


def test_tick_that_comes_early_is_not_doubled(tmp_path: Path) -> None:
    """A sleep that ends a moment too soon does not lead to a second run on time."""
    clock = Clock(NOON)

    async def hasty(seconds: float) -> None:
        await Clock.sleep(clock, seconds - 0.004)

    clock.sleep = hasty  # type: ignore[method-assign]
    run = Run(clock, *[timedelta(0)] * 3)
    _play(run, clock, tmp_path / "timer.json")
    early = timedelta(milliseconds=4)
    assert run.times == [
        NOON + MINUTE - early,
        NOON + 2 * MINUTE - early,
        NOON + 3 * MINUTE - early,
    ]


def test_missed_occurrence_is_past_due_at_start(tmp_path: Path) -> None:
    """A host that was away over an occurrence runs once at once, past due, then on schedule."""
    file = tmp_path / "timer.json"
    clock = Clock(NOON)
    _play(Run(clock, timedelta(0)), clock, file)
    clock.at = NOON + 10.5 * MINUTE
    run = Run(clock, timedelta(0), timedelta(0))
    _play(run, clock, file)
    assert run.times == [NOON + 10.5 * MINUTE, NOON + 11 * MINUTE]
    assert run.past_due == [True, False]


def test_first_start_is_not_past_due(tmp_path: Path) -> None:
    """Without a kept status nothing was missed; the next occurrence is written down."""
    file = tmp_path / "timer.json"
    clock = Clock(NOON + timedelta(seconds=20))
    run = Run(clock, timedelta(0))
    _play(run, clock, file)
    assert run.past_due == [False]
    _, payload = run.calls[0]
    assert payload["ScheduleStatus"]["Last"].startswith("0001-01-01T00:00:00")
    assert payload["ScheduleStatus"]["Next"] == (NOON + MINUTE).isoformat()


def test_changed_schedule_is_not_past_due(tmp_path: Path) -> None:
    """An occurrence that only the new schedule has was never due."""
    file = tmp_path / "timer.json"
    StatusFile(file).write(ScheduleStatus(NOON, NOON + timedelta(hours=1), NOON))
    clock = Clock(NOON + 10.5 * MINUTE)
    run = Run(clock, timedelta(0))
    _play(run, clock, file)
    assert run.times == [NOON + 11 * MINUTE]
    assert run.past_due == [False]


def test_status_is_not_kept_below_a_minute(tmp_path: Path) -> None:
    """A schedule more frequent than once a minute has no kept status and is never past due."""
    file = tmp_path / "timer.json"
    clock = Clock(NOON)
    run = Run(clock, timedelta(0))
    _play(run, clock, file, "*/30 * * * * *")
    assert run.calls[0][1]["ScheduleStatus"] is None
    assert not file.exists()


def test_run_on_startup_runs_at_once(tmp_path: Path) -> None:
    """RunOnStartup means one run at every start, not past due."""
    clock = Clock(NOON)
    run = Run(clock, timedelta(0), timedelta(0))
    _play(run, clock, tmp_path / "timer.json", run_on_startup=True)
    assert run.times == [NOON, NOON + MINUTE]
    assert run.past_due == [False, False]


def test_damaged_status_is_no_status(tmp_path: Path) -> None:
    """A status that cannot be read is started afresh."""
    file = tmp_path / "timer.json"
    file.write_text("{", encoding="utf-8")
    assert StatusFile(file).read() is None


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 * * * * *", NOON + MINUTE),
        ("*/10 * * * * *", NOON + timedelta(seconds=10)),
        ("*/15 * * * *", NOON + 15 * MINUTE),
        ("0 30 9-17 * * 1-5", datetime(2026, 11, 23, 9, 30, tzinfo=UTC)),
        # Both day of month and weekday must fit: the first Friday the 13th after.
        ("0 0 0 13 * 5", datetime(2027, 8, 13, tzinfo=UTC)),
    ],
)
def test_schedules(expression: str, expected: datetime) -> None:
    """Six fields or five are read as NCRONTAB, in UTC."""
    assert Schedule(expression).next_after(NOON) == expected


@pytest.mark.parametrize("expression", ["", "* * *", "61 * * * * *", "0 0 0 L * *", "00:01:00"])
def test_what_is_no_schedule(expression: str) -> None:
    """A schedule that is not NCRONTAB is refused."""
    with pytest.raises(ScheduleError):
        Schedule(expression)


def test_ticks_of_a_running_host_never_overlap() -> None:
    """A function slower than its schedule runs again and again, one run at a time."""
    with running_platform() as platform:
        begins = platform.wait_for("every_second begins", count=3)
        ends = platform.wait_for("every_second ends", count=2)
        platform.call("POST", "/admin/functions/yearly", body=b'{"input": ""}', headers=_JSON)
        *_, yearly = platform.wait_for("yearly")
    assert not any(seen["past_due"] for seen in begins)
    assert all(end["at"] <= begin["at"] for end, begin in zip(ends, begins[1:], strict=False))
    assert yearly["past_due"] is False
    assert time.time() - yearly["at"] < 30


_JSON = {"Content-Type": "application/json"}
