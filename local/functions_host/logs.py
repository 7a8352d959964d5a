"""The log, as the real host takes it from its worker.

A record that the app writes is the host's business only together with the invocation that it was
written in. The worker learns which one from the context of the writing thread. A thread of the
app's own has none unless the context was handed on, and the host drops what belongs to no running
invocation (azure-functions-python-worker issues 1358 and 1860).
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from azure_functions_runtime import invocation_id_cv

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
# What this process writes of itself: shown without an invocation.
_OWN = ("functions_host", "asyncio")
# Parts of this process that tell of every request and every binding.
_OWN_CHATTY = ("azure.functions", "uvicorn")
_HOST_CATEGORY = "Host.General"
# LogLevel of .NET; what is above every level is never shown.
_LEVELS = {
    "trace": logging.NOTSET + 1,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}


class LogLevels:
    """The section `logging.logLevel` of host.json: the longest prefix of a category decides."""

    def __init__(self, section: Mapping[str, str]) -> None:
        self._levels = {
            name.lower(): _LEVELS.get(str(level).lower(), logging.INFO)
            for name, level in section.items()
        }

    def of(self, category: str) -> int:
        """Return the lowest level that is shown of a category."""
        name = category.lower()
        while name:
            if name in self._levels:
                return self._levels[name]
            name = name.rpartition(".")[0]
        return self._levels.get("default", logging.INFO)


class Invocations:
    """The invocations that run now, by id."""

    def __init__(self) -> None:
        self._functions: dict[str, str] = {}

    @contextmanager
    def running(self, invocation_id: str, function: str) -> Iterator[None]:
        """Note an invocation while it runs."""
        self._functions[invocation_id] = function
        try:
            yield
        finally:
            del self._functions[invocation_id]

    def function(self, invocation_id: str | None) -> str | None:
        """Return the function that an invocation runs, None if none with this id runs."""
        return self._functions.get(invocation_id or "")


class WorkerRecords(logging.Filter):
    """Let a record through if the real host would show it."""

    def __init__(self, invocations: Invocations, levels: LogLevels) -> None:
        super().__init__()
        self._invocations = invocations
        self._levels = levels

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is shown; called in the thread that wrote it."""
        if _is_part_of(record.name, _OWN_CHATTY):
            return record.levelno >= logging.WARNING
        category = self._category(record)
        return category is not None and record.levelno >= self._levels.of(category)

    def _category(self, record: logging.LogRecord) -> str | None:
        """Return the record's category, None if it belongs to nothing that runs."""
        if _is_part_of(record.name, _OWN):
            return str(getattr(record, "category", _HOST_CATEGORY))
        function = self._invocations.function(invocation_id_cv.get())
        return None if function is None else f"Function.{function}.User"


def log_to(handler: logging.Handler, records: WorkerRecords) -> None:
    """Send every record that the real host would show to a handler.

    The worker sets the root logger to Information: what a library writes at that level is shown
    unless the app quiets the library.
    """
    handler.setFormatter(logging.Formatter(_FORMAT))
    handler.addFilter(records)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def _is_part_of(name: str, loggers: tuple[str, ...]) -> bool:
    return any(name == logger or name.startswith(f"{logger}.") for logger in loggers)
