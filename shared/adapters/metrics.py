"""Figures through OpenTelemetry's interface: they go nowhere until an exporter is set up.

They are taken from the events, so that a figure and its event cannot disagree.
"""

from collections.abc import Callable, Mapping

from opentelemetry import metrics

from shared.ports import Value

Attributes = Mapping[str, Value | None]


class Metrics:
    """The app's instruments, each fed by one attribute of an event."""

    def __init__(self) -> None:
        meter = metrics.get_meter("jit")
        lag = meter.create_histogram(
            "jit.expiry.lag", unit="s", description="From an end to the rule seen gone"
        )
        overdue = meter.create_gauge(
            "jit.overdue", description="Firewalls that still hold something past its end"
        )
        active = meter.create_gauge("jit.grants.active", description="Rules that stand open")
        writes = meter.create_counter("jit.arm.writes", description="Writes to firewalls")
        self._feeds: Mapping[str, Callable[[Attributes], None]] = {
            "jit.rule.closed": lambda attributes: _fed(
                lambda lateness: lag.record(lateness, {"kind": str(attributes.get("kind") or "")}),
                attributes.get("lateness_seconds"),
            ),
            "jit.sweep.completed": lambda attributes: _fed(overdue.set, attributes.get("overdue")),
            "jit.reconcile.completed": lambda attributes: _fed(
                active.set, attributes.get("grants")
            ),
            "jit.firewall.written": lambda _: writes.add(1),
        }

    def measure(self, name: str, attributes: Attributes) -> None:
        """Take the figure of an event, if it has one."""
        feed = self._feeds.get(name)
        if feed is not None:
            feed(attributes)


def _fed(instrument: Callable[[float], None], value: Value | None) -> None:
    if isinstance(value, int | float):
        instrument(value)
