"""Instants and durations as text."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.times import (
    format_duration,
    format_instant,
    format_sortable,
    format_ticks,
    parse_duration,
    parse_instant,
)

INSTANTS = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("PT3H", timedelta(hours=3)),
        ("PT30M", timedelta(minutes=30)),
        ("PT5S", timedelta(seconds=5)),
        ("P1D", timedelta(days=1)),
        ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("PT0S", timedelta(0)),
        ("P0D", timedelta(0)),
        ("PT1H4S", timedelta(hours=1, seconds=4)),
        ("PT90M", timedelta(minutes=90)),
        ("P9999D", timedelta(days=9999)),
        ("PT99999H", timedelta(hours=99_999)),
        ("PT999999M", timedelta(minutes=999_999)),
        ("PT99999999S", timedelta(seconds=99_999_999)),
    ],
)
def test_a_duration_is_read(text: str, length: timedelta) -> None:
    """Days, hours, minutes and seconds are read, to the last digit that is allowed."""
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    "text",
    [
        *("", "P", "PT", "P1DT", "T1H", "1H", "3 hours", "PT3", "P3", "P3H", "PT3D", "p1d", "pt3h"),
        *("P1M", "P1Y", "P1W", "PT1.5H", "PT1,5H", "-PT1H", "+PT1H", "PT-1H", "P-1D", " PT1H"),
        *("PT1H ", "PT1H\n", "PT3M2H", "PT1H1H", "P1D1D", "PT1H2", "P1D2H", "PT٣H"),
        *("P10000D", "PT100000H", "PT1000000M", "PT100000000S", "null", "10800"),
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Months, years, fractions, signs, other digits and everything loose are a ValueError."""
    with pytest.raises(ValueError, match="is not an ISO 8601 duration such as PT3H or PT30M"):
        parse_duration(text)


def test_a_refusal_shows_the_first_forty_characters() -> None:
    """However long the text, the message stays short."""
    with pytest.raises(ValueError, match=f"^'{'x' * 40}' is not"):
        parse_duration("x" * 5000)
    with pytest.raises(ValueError, match=f"^'{'x' * 40}' is not"):
        parse_instant("x" * 5000)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(hours=3), "PT3H"),
        (timedelta(minutes=30), "PT30M"),
        (timedelta(seconds=1), "PT1S"),
        (timedelta(seconds=59), "PT59S"),
        (timedelta(seconds=60), "PT1M"),
        (timedelta(seconds=3599), "PT59M59S"),
        (timedelta(seconds=3600), "PT1H"),
        (timedelta(seconds=86_399), "PT23H59M59S"),
        (timedelta(days=1), "P1D"),
        (timedelta(days=1, hours=1), "P1DT1H"),
        (timedelta(days=1, seconds=1), "P1DT1S"),
        (timedelta(0), "PT0S"),
        (timedelta(milliseconds=999), "PT0S"),
    ],
)
def test_a_duration_is_written_as_defender_does(length: timedelta, text: str) -> None:
    """The largest units come first and empty ones are left out; fractions are cut."""
    assert format_duration(length) == text


@given(st.integers(0, 9999 * 86_400))
def test_a_duration_survives_being_written(seconds: int) -> None:
    """A written duration is read as the same length."""
    length = timedelta(seconds=seconds)
    assert parse_duration(format_duration(length)) == length


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-22T15:00:00Z", datetime(2026, 11, 22, 15, tzinfo=UTC)),
        ("2026-11-22T15:00Z", datetime(2026, 11, 22, 15, tzinfo=UTC)),
        ("2026-11-22T15:00:00+00:00", datetime(2026, 11, 22, 15, tzinfo=UTC)),
        ("2026-11-22T16:30:00+01:30", datetime(2026, 11, 22, 15, tzinfo=UTC)),
        ("2026-11-22T10:00:00-05:00", datetime(2026, 11, 22, 15, tzinfo=UTC)),
        ("2026-11-22T15:00:00.5Z", datetime(2026, 11, 22, 15, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-11-22T15:00:00.1234567Z", datetime(2026, 11, 22, 15, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-11-22T15:00:00.123456789Z", datetime(2026, 11, 22, 15, 0, 0, 123_456, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_an_instant_is_read_as_utc(text: str, at: datetime) -> None:
    """Any offset is turned into UTC; fractions beyond microseconds are cut."""
    read = parse_instant(text)
    assert read == at
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2026-11-22", "2026-11-22T15:00:00", "2026-11-22 15:00:00Z"),
        *("2026-11-22T15Z", "2026-11-22T15:00:00.Z", "2026-11-22T15:00:00.1234567890Z"),
        *("20261122T150000Z", "2026-W47-7T15:00:00Z", "2026-11-22t15:00:00Z"),
        *("2026-11-22T15:00:00z", "2026-11-22T15:00:00+0100", "2026-11-22T15:00:00+01"),
        *(" 2026-11-22T15:00:00Z", "2026-11-22T15:00:00Z\n", "2026-11-22T15:00:00Z Z"),
        *("٢٠٢٦-11-22T15:00:00Z", "2026-11-22T15:00,5Z", "-2026-11-22T15:00:00Z"),
    ],
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    """An instant names its date, time and offset in one way only."""
    with pytest.raises(ValueError, match="is not a UTC instant such as 2026-11-22T15:00:00Z"):
        parse_instant(text)


@pytest.mark.parametrize(
    "text",
    [
        *("2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z"),
        *("2026-11-31T00:00:00Z", "2026-11-22T25:00:00Z", "2026-11-22T15:60:00Z"),
        *("2026-11-22T15:00:60Z", "2026-11-22T15:00:00+24:00", "0000-01-01T00:00:00Z"),
    ],
)
def test_an_instant_that_does_not_exist_is_refused(text: str) -> None:
    """A day that no calendar has, an hour or an offset that no clock has."""
    with pytest.raises(ValueError, match=r".+"):
        parse_instant(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"])
def test_an_instant_that_has_no_utc_is_refused(text: str) -> None:
    """Its offset leads out of the calendar: that is a ValueError like any other."""
    with pytest.raises(ValueError, match=f"'{re.escape(text)}' lies outside the calendar"):
        parse_instant(text)


@given(st.text())
def test_no_text_breaks_the_readers(text: str) -> None:
    """Any text gives a value or a ValueError."""
    for read in (parse_duration, parse_instant):
        try:
            read(text)
        except ValueError:
            continue


@given(st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", fullmatch=True))
def test_no_well_shaped_instant_breaks_the_reader(text: str) -> None:
    """A date that fits the pattern, sane or not, is an instant or a ValueError."""
    try:
        assert parse_instant(text).tzinfo is UTC
    except ValueError:
        return


def test_instants_are_written_in_three_ways() -> None:
    """To the second for people, with seven digits as Defender does, sortable for keys."""
    at = datetime(2026, 1, 2, 3, 4, 5, 6789, tzinfo=timezone(timedelta(hours=1)))
    assert format_instant(at) == "2026-01-02T02:04:05Z"
    assert format_ticks(at) == "2026-01-02T02:04:05.0067890Z"
    assert format_sortable(at) == "2026-01-02T02:04:05.006Z"
    assert format_sortable(at.replace(microsecond=999_999)) == "2026-01-02T02:04:05.999Z"


@given(INSTANTS)
def test_an_instant_survives_being_written(at: datetime) -> None:
    """Each form is read back as the same instant, as precisely as it is written."""
    assert parse_instant(format_ticks(at)) == at
    assert parse_instant(format_instant(at)) == at.replace(microsecond=0)
    assert at - parse_instant(format_sortable(at)) < timedelta(milliseconds=1)


@given(INSTANTS, INSTANTS)
def test_text_order_is_time_order(one: datetime, other: datetime) -> None:
    """Keys made of instants sort as the instants do."""
    first, second = sorted((one, other))
    assert format_sortable(first) <= format_sortable(second)
