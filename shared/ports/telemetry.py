"""Telemetry: the port for structured events and faults."""

from typing import Protocol

from shared.ports.tables import Value


class Telemetry(Protocol):
    """One structured event per state change, by a stable name; never a token."""

    def event(self, name: str, **attributes: Value | None) -> None:
        """Log an event."""
        ...

    def fault(self, name: str, error: BaseException, **attributes: Value | None) -> None:
        """Log something that failed and will be tried again or looked at."""
        ...
