"""Structured log events: one line each, cleaned, with stable names."""

import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.telemetry import (
    CHATTY_LIBRARIES,
    MEASURED,
    LogTelemetry,
    clean,
    quiet_libraries,
)
from shared.bootstrap import App
from shared.settings import Settings

LONGEST = 2048
# What breaks a line, or makes one look like another.
DISGUISES = (
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *("\u2028", "\u2029", "\u202a", "\u202e", "\u2066", "\u2069"),
)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Catch what is logged."""
    caplog.set_level(logging.INFO, logger="jit")
    return caplog


def test_an_event_is_one_json_object(log: pytest.LogCaptureFixture) -> None:
    """Its name first, then its attributes; numbers stay numbers, and what is empty is left out."""
    LogTelemetry().event(
        "jit.rule.opened", vm="web", port=22, late=0.5, none=None, empty="", zero=0, no=False
    )
    record = log.records[0]
    assert (record.name, record.levelno) == ("jit", logging.INFO)
    assert record.getMessage() == (
        '{"event": "jit.rule.opened", "vm": "web", "port": 22, "late": 0.5, "zero": 0, "no": false}'
    )


def test_a_fault_is_an_error_with_its_text(log: pytest.LogCaptureFixture) -> None:
    """An error is logged with its type, text and notes, without traceback and locals."""
    error = ValueError("told\nforged line")
    error.add_note("which row")
    error.add_note("which table")
    LogTelemetry().fault("jit.sweep.failed", error, firewall="nsg")
    record = log.records[0]
    assert (record.levelno, record.exc_info) == (logging.ERROR, None)
    assert json.loads(record.getMessage()) == {
        "event": "jit.sweep.failed",
        "firewall": "nsg",
        "error": "ValueError: told?forged line; which row; which table",
    }


def test_an_error_without_notes_is_told_alone(log: pytest.LogCaptureFixture) -> None:
    """Nothing is added to what the error says."""
    LogTelemetry().fault("x", RuntimeError("told"))
    assert json.loads(log.records[0].getMessage())["error"] == "RuntimeError: told"


def test_an_event_with_a_figure_is_measured(log: pytest.LogCaptureFixture) -> None:
    """Of those alone the attributes are handed on, and every event is logged all the same."""
    taken: list[tuple[str, object]] = []
    telemetry = LogTelemetry(lambda name, attributes: taken.append((name, attributes)))
    for name in sorted({*MEASURED, "jit.request.unknown"}):
        telemetry.event(name, late=1.5)
    assert taken == [(name, {"late": 1.5}) for name in sorted(MEASURED)]
    assert len(log.records) == len(MEASURED) + 1


def test_percent_signs_are_text(log: pytest.LogCaptureFixture) -> None:
    """A caller's text is never a format."""
    LogTelemetry().event("x", text="100 %s %(name)s {0}")
    assert json.loads(log.records[0].getMessage())["text"] == "100 %s %(name)s {0}"


@pytest.mark.parametrize("disguise", DISGUISES)
def test_what_breaks_or_disguises_a_line_is_replaced(disguise: str) -> None:
    """Control characters, line separators and changes of direction become a question mark."""
    assert clean(f"a{disguise}b") == "a?b"


@pytest.mark.parametrize("plain", [" ", "~", "\xa0", "é", "\u2027", "\u202f", "\u2065", "😀"])
def test_ordinary_characters_stay(plain: str) -> None:
    """The neighbours of what is replaced are left alone."""
    assert clean(plain) == plain


def test_a_long_text_is_cut() -> None:
    """A line stays within bounds, whatever is sent."""
    assert clean("x" * LONGEST) == "x" * LONGEST
    assert clean("x" * (LONGEST + 1)) == "x" * LONGEST


@pytest.mark.parametrize("value", [None, 0, 7, 0.5, True])
def test_what_is_no_text_stays_as_it_is(value: float | None) -> None:
    """Only text can disguise anything."""
    assert clean(value) is value


@given(st.text(max_size=60), st.text(max_size=3000))
def test_every_event_is_one_line_of_plain_ascii(vm: str, text: str) -> None:
    """Any text leaves one object on one line of the log."""
    handler = _Kept()
    logger = logging.getLogger("jit")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        LogTelemetry().event("x", vm=vm, text=text)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    line = handler.lines[0]
    assert line.isascii()
    assert line.isprintable()
    attributes = json.loads(line)
    assert attributes["event"] == "x"
    assert len(attributes.get("text", "")) <= LONGEST


class _Kept(logging.Handler):
    """Keeps the lines that are logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def loud_libraries() -> Iterator[None]:
    """Let every library log at Information, as the worker does; put the levels back afterwards."""
    loggers = [logging.getLogger(name) for name in CHATTY_LIBRARIES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.mark.usefixtures("loud_libraries")
@pytest.mark.parametrize(
    "name",
    [
        "azure.core.pipeline.policies.http_logging_policy",
        "azure.identity._credentials.managed_identity",
        "azure.data.tables",
        "azure.storage.queue",
        "msal.application",
        "urllib3.connectionpool",
    ],
)
def test_libraries_log_nothing_below_warning(name: str) -> None:
    """A library's log of each call is dropped in the app; its warnings are kept."""
    for _ in range(2):
        quiet_libraries()
        logger = logging.getLogger(name)
        assert not logger.isEnabledFor(logging.INFO)
        assert logger.isEnabledFor(logging.WARNING)


@pytest.mark.usefixtures("loud_libraries")
def test_the_app_quiets_the_libraries() -> None:
    """An app that is made has quiet libraries, whatever host runs it."""
    settings = Settings.model_validate(
        {
            "deployment_id": "test1",
            "tenant_id": "00000000-0000-0000-0000-000000000000",
            "audience": ("api://jit",),
            "scopes": ("/subscriptions/00000000-0000-0000-0000-000000000000",),
        }
    )
    App(settings)
    assert not any(logging.getLogger(name).isEnabledFor(logging.INFO) for name in CHATTY_LIBRARIES)


def test_the_app_s_own_events_are_not_quieted() -> None:
    """The app's logger keeps the level of the root logger, which the worker sets."""
    quiet_libraries()
    assert logging.getLogger("jit").level == logging.NOTSET
