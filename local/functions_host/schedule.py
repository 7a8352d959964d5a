"""When a timer function runs: NCRONTAB schedules and their kept status."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cronsim import CronSim, CronSimError

_FIELDS = (5, 6)
# cronsim knows them, NCrontab does not.
_FOREIGN = re.compile(r"#|\bLW?\b|\dL\b", re.IGNORECASE)
_MONITORED_FROM = timedelta(minutes=1)
_LOOK_AHEAD = 60
_NEVER = "0001-01-01T00:00:00+00:00"


class ScheduleError(Exception):
    """Not an NCRONTAB expression."""


class Schedule:
    """An NCRONTAB expression: {second minute hour day month weekday}, in UTC."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        if len(expression.split()) not in _FIELDS or _FOREIGN.search(expression):
            raise ScheduleError(f"'{expression}' is not an NCRONTAB expression")
        try:
            self.next_after(datetime.now(UTC))
        except (CronSimError, StopIteration) as error:
            raise ScheduleError(f"'{expression}' is not an NCRONTAB expression") from error

    def next_after(self, moment: datetime) -> datetime:
        """Return the first occurrence after the moment."""
        occurrences = CronSim(self._expression, moment)
        # NCrontab wants day of month and day of week both; Debian's cron, either.
        occurrences.day_and = True
        return next(occurrences)

    def is_monitored(self, now: datetime) -> bool:
        """Tell whether the status is kept: not for schedules more frequent than a minute."""
        moment = self.next_after(now)
        for _ in range(_LOOK_AHEAD):
            following = self.next_after(moment)
            if following - moment < _MONITORED_FROM:
                return False
            moment = following
        return True


@dataclass(frozen=True)
class ScheduleStatus:
    """When a timer last ran and will next run."""

    last: datetime | None
    next: datetime
    last_updated: datetime

    def to_json(self) -> dict[str, str]:
        """Return the status as the host stores it and hands it to functions."""
        return {
            "Last": self.last.isoformat() if self.last else _NEVER,
            "Next": self.next.isoformat(),
            "LastUpdated": self.last_updated.isoformat(),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "ScheduleStatus":
        """Return a stored status."""
        last = None if stored["Last"] == _NEVER else datetime.fromisoformat(stored["Last"])
        return cls(
            last,
            datetime.fromisoformat(stored["Next"]),
            datetime.fromisoformat(stored["LastUpdated"]),
        )


def status_at_start(
    schedule: Schedule, stored: ScheduleStatus | None, now: datetime
) -> ScheduleStatus:
    """Return the status to start with (ScheduleMonitor.CheckPastDueAsync)."""
    if stored is None:
        return ScheduleStatus(None, schedule.next_after(now), now)
    expected = schedule.next_after(stored.last or stored.last_updated)
    if stored.next == expected:
        return stored
    # The schedule changed since; an occurrence of the new one in the past was never due.
    if now > expected:
        return ScheduleStatus(None, schedule.next_after(now), now)
    return replace(stored, last=None, next=expected)


def is_past_due(status: ScheduleStatus, now: datetime) -> bool:
    """Tell whether an occurrence was missed; asked only when a listener starts."""
    return now > status.next


def status_after(
    schedule: Schedule, status: ScheduleStatus, invoked_at: datetime, *, on_schedule: bool
) -> ScheduleStatus:
    """Return the status after a run that began at that time (TimerListener.InvokeJobFunction).

    `next` counts from the run's beginning: after a run longer than the interval it lies in the
    past, which gives exactly one immediate catch-up, however many occurrences were missed.
    """
    # A tick that comes a moment too early must not lead to a second one on time.
    began = max(invoked_at, status.next) if on_schedule else invoked_at
    return ScheduleStatus(began, schedule.next_after(began), began)


def wait(status: ScheduleStatus, now: datetime) -> timedelta:
    """Return how long to wait for the next run."""
    return max(status.next - now, timedelta(0))
