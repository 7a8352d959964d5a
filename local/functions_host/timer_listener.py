"""Run a timer function on its schedule."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from local.functions_host.schedule import (
    Schedule,
    ScheduleStatus,
    is_past_due,
    status_after,
    status_at_start,
    wait,
)

log = logging.getLogger("functions_host.timer")


class StatusFile:
    """Where the status of one timer is kept; Azure keeps it in a blob."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> ScheduleStatus | None:
        """Return the kept status, None where there is none that can be read."""
        try:
            return ScheduleStatus.from_json(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError):
            return None

    def write(self, status: ScheduleStatus) -> None:
        """Keep the status; a kill in between leaves the former one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(status.to_json()), encoding="utf-8")
        fresh.replace(self._path)


@dataclass(frozen=True)
class Timer:
    """The settings of a timer trigger."""

    schedule: Schedule
    run_on_startup: bool = False
    use_monitor: bool = True


class TimerListener:
    """The host's TimerListener for one function: runs never overlap, none is lost or doubled."""

    def __init__(
        self,
        timer: Timer,
        status_file: StatusFile,
        execute: Callable[[str], Awaitable[bool]],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._timer = timer
        self._schedule = timer.schedule
        self._execute = execute
        self._now = now
        self._sleep = sleep
        self._is_stopping = False
        self._running = asyncio.Lock()
        monitored = timer.use_monitor and timer.schedule.is_monitored(now())
        self._file = status_file if monitored else None
        self._status = status_at_start(
            self._schedule, self._file.read() if self._file else None, self._now()
        )
        self._keep()

    async def run(self) -> None:
        """Run on schedule until cancelled."""
        past_due = self._file is not None and is_past_due(self._status, self._now())
        if past_due or self._timer.run_on_startup:
            await self._invoke(past_due=past_due, on_schedule=False)
        while not self._is_stopping:
            await self._sleep(wait(self._status, self._now()).total_seconds())
            await self._invoke(past_due=False, on_schedule=True)

    async def stop(self) -> None:
        """Begin no more runs and finish the one at hand."""
        self._is_stopping = True
        async with self._running:
            pass

    def payload(self, *, past_due: bool = False) -> str:
        """Return what the function gets."""
        status = self._status.to_json() if self._file else None
        return json.dumps(
            {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
        )

    async def _invoke(self, *, past_due: bool, on_schedule: bool) -> None:
        async with self._running:
            if self._is_stopping:
                return
            began = self._now()
            # A failed run is logged by who ran it, and counts as a run: no retry.
            await self._execute(self.payload(past_due=past_due))
            self._status = status_after(
                self._schedule, self._status, began, on_schedule=on_schedule
            )
            self._keep()

    def _keep(self) -> None:
        if self._file is not None:
            self._file.write(self._status)
