"""Structured log events with stable names. Values are cleaned: a log line is one line."""

import json
import logging
import re
from collections.abc import Callable, Mapping

from shared.ports import Value

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LONGEST = 2048
# The events that carry a figure (shared.adapters.metrics). None is of the HTTP path, which so
# never loads the library.
MEASURED = frozenset(
    {"jit.rule.closed", "jit.sweep.completed", "jit.reconcile.completed", "jit.firewall.written"}
)
# They log each call, or each token, at Information; the host ships and bills whatever it gets.
CHATTY_LIBRARIES = (
    *("azure.core", "azure.data", "azure.identity", "azure.mgmt", "azure.storage"),
    *("boto3", "botocore", "msal", "msal_extensions", "opentelemetry", "requests", "urllib3"),
)
Measure = Callable[[str, Mapping[str, Value | None]], None]


class LogTelemetry:
    """Writes events to the log, one JSON object each; the Functions host ships them."""

    def __init__(self, measure: Measure | None = None) -> None:
        self._log = logging.getLogger("jit")
        self._measure = measure

    def event(self, name: str, **attributes: Value | None) -> None:
        """Log an event, and take its figure."""
        self._log.info("%s", _line(name, attributes))
        if self._measure is not None and name in MEASURED:
            self._measure(name, attributes)

    def fault(self, name: str, error: BaseException, **attributes: Value | None) -> None:
        """Log something that failed; the error's text, never what was sent."""
        notes = getattr(error, "__notes__", ())
        told = "; ".join((f"{type(error).__name__}: {error}", *notes))
        self._log.error("%s", _line(name, {**attributes, "error": told}))


def quiet_libraries() -> None:
    """Keep libraries' messages below Warning out of the log; calling it again changes nothing."""
    for name in CHATTY_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def _line(name: str, attributes: dict[str, Value | None]) -> str:
    cleaned = {key: clean(value) for key, value in attributes.items() if value not in {None, ""}}
    return json.dumps({"event": name, **cleaned}, ensure_ascii=True)


def clean(value: Value | None) -> Value | None:
    """Replace what would break or disguise a line, and bound its length."""
    return _CONTROL.sub("?", value)[:_LONGEST] if isinstance(value, str) else value
