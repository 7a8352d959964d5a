"""Times as people write and read them."""

import re
from datetime import UTC, datetime, timedelta

from jit_access.commands.exits import CommandError

_SHORT = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+)s)?", re.IGNORECASE)
_ISO = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", re.IGNORECASE)
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def parse_length(text: str) -> timedelta:
    """Return a length such as 30m, 1h30m, 2d or PT1H."""
    found = _SHORT.fullmatch(text) or _ISO.fullmatch(text)
    days, hours, minutes, seconds = (
        int(part or 0) for part in (found.groups() if found else "0000")
    )
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not length:
        raise CommandError(f"'{text}' is not a length of time", "Write 30m, 1h, 1h30m or PT1H.")
    return length


def iso_length(length: timedelta) -> str:
    """Return a length as the API reads it."""
    return f"PT{int(length.total_seconds())}S"


def parse_end(text: str, now: datetime) -> datetime:
    """Return an instant: 15:40 today or tomorrow in local time, or an ISO time with its offset."""
    clock = _CLOCK.fullmatch(text)
    if clock:
        local = now.astimezone()
        at = local.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
        return at if at > local else at + timedelta(days=1)
    return _parse_iso(text)


def parse_past(text: str, now: datetime) -> datetime:
    """Return an instant in the past: 3h or 2d ago, a date, or an ISO time."""
    if _SHORT.fullmatch(text):
        return now - parse_length(text)
    return _parse_iso(text)


def _parse_iso(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        advice = "Write 15:40, 2026-11-22T15:40, or 2026-11-22T15:40:00Z."
        raise CommandError(f"'{text}' is not a time", advice) from None
    return at.astimezone(UTC)


def clock(at: datetime, now: datetime) -> str:
    """Return an instant in local time, with the day if it is another one."""
    local = at.astimezone()
    same_day = local.date() == now.astimezone().date()
    return f"{local:%H:%M}" if same_day else f"{local:%Y-%m-%d %H:%M}"


def length(span: timedelta) -> str:
    """Return a length in its two largest units: 1 h 20 min, 45 s."""
    seconds = max(0, round(span.total_seconds()))
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds} s"
    minutes = round(seconds / 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [
        f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if count
    ]
    return " ".join(parts[:2])
