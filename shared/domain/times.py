"""Instants and durations as text: ISO 8601, UTC, and nothing looser."""

import re
from datetime import UTC, datetime, timedelta

_DURATION = re.compile(
    r"P(?=\d|T\d)(?:(?P<days>\d{1,4})D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d{1,5})H)?(?:(?P<minutes>\d{1,6})M)?(?:(?P<seconds>\d{1,8})S)?)?"
)
_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})", re.ASCII
)


def parse_duration(text: str) -> timedelta:
    """Read an ISO 8601 duration of days and smaller units.

    Months and years are refused: their length is not fixed. Raises ValueError.
    """
    match = _DURATION.fullmatch(text) if text.isascii() else None
    if match is None:
        raise ValueError(f"{text[:40]!r} is not an ISO 8601 duration such as PT3H or PT30M")
    return timedelta(**{unit: int(count) for unit, count in match.groupdict("0").items()})


def format_duration(duration: timedelta) -> str:
    """Write a duration as Defender does: PT3H, PT30M, P1D."""
    seconds = int(duration.total_seconds())
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    clock = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if n)
    date = f"{days}D" if days else ""
    return f"P{date}{'T' + clock if clock else ''}" if date or clock else "PT0S"


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant that names its offset; raises ValueError.

    Fractions beyond microseconds are cut: the real service writes seven digits.
    """
    if not _INSTANT.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a UTC instant such as 2026-11-22T15:00:00Z")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} lies outside the calendar") from None


def format_instant(at: datetime) -> str:
    """Write an instant to the second, as rule descriptions carry it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_ticks(at: datetime) -> str:
    """Write an instant with seven fractional digits, as the real JIT service does."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def format_sortable(at: datetime) -> str:
    """Write an instant so that text order is time order (milliseconds)."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
