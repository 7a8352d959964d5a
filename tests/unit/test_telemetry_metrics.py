"""Figures: each event that carries one feeds its instrument, and nothing else does."""

from collections.abc import Mapping
from typing import Any

import opentelemetry.metrics
import pytest

from shared.adapters.metrics import Metrics
from shared.adapters.telemetry import MEASURED, LogTelemetry


class Instrument:
    """Keeps what it is fed."""

    def __init__(self, name: str, fed: list[tuple[str, float]], firewall_types: list[str]) -> None:
        self.name = name
        self.fed = fed
        self.firewall_types = firewall_types

    def take(self, value: float, attributes: Mapping[str, str] | None = None) -> None:
        """Keep a value, and what it is told apart by."""
        self.fed.append((self.name, value))
        self.firewall_types += [attributes["kind"]] if attributes else []

    record = set = add = take


class Meter:
    """Makes instruments that share one list."""

    def __init__(self) -> None:
        self.fed: list[tuple[str, float]] = []
        self.firewall_types: list[str] = []

    def make(self, name: str, **told: str) -> Instrument:
        """Make an instrument."""
        assert told["description"]
        return Instrument(name, self.fed, self.firewall_types)

    create_histogram = create_gauge = create_counter = make


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    """Stand in for the library's meter."""
    made = Meter()
    monkeypatch.setattr(opentelemetry.metrics, "get_meter", {"jit": made}.get)
    return made


@pytest.mark.parametrize(
    ("event", "attributes", "fed"),
    [
        ("jit.rule.closed", {"lateness_seconds": 1.5}, [("jit.expiry.lag", 1.5)]),
        ("jit.rule.closed", {"lateness_seconds": None}, []),
        ("jit.rule.closed", {}, []),
        ("jit.rule.opened", {"lateness_seconds": 1.5}, []),
        ("jit.sweep.completed", {"overdue": 0, "due": 9}, [("jit.overdue", 0)]),
        ("jit.sweep.completed", {"overdue": 3}, [("jit.overdue", 3)]),
        ("jit.reconcile.completed", {"grants": 7, "failed": 1}, [("jit.grants.active", 7)]),
        ("jit.firewall.written", {"put": 5, "removed": 1}, [("jit.arm.writes", 1)]),
        ("jit.access.requested", {"ports": 3}, []),
    ],
)
def test_an_event_feeds_its_instrument(
    meter: Meter, event: str, attributes: dict[str, Any], fed: list[tuple[str, float]]
) -> None:
    """By the attribute of its name; an attribute that is missing feeds nothing."""
    LogTelemetry(Metrics().measure).event(event, **attributes)
    assert meter.fed == fed


def test_lateness_is_told_apart_by_the_type_of_firewall(meter: Meter) -> None:
    """A close of minutes on one type does not hide among closes of seconds on another."""
    telemetry = LogTelemetry(Metrics().measure)
    for firewall_type in ("Azure Firewall", "network security group"):
        telemetry.event("jit.rule.closed", lateness_seconds=1.0, kind=firewall_type)
    assert meter.firewall_types == ["Azure Firewall", "network security group"]


def test_what_is_measured_and_what_is_fed_agree(meter: Meter) -> None:
    """No event is handed on for nothing, and none that has a figure is kept back."""
    del meter
    assert set(Metrics()._feeds) == MEASURED


def test_only_what_is_measured_loads_the_library() -> None:
    """The HTTP path never pays for it: the exporter asks for a figure later."""
    asked: list[str] = []
    telemetry = LogTelemetry(lambda name, _attributes: asked.append(name))
    for name in ("jit.access.requested", "jit.permission.refused", "jit.access.refused"):
        telemetry.event(name)
    assert asked == []
    telemetry.event("jit.sweep.completed", overdue=0)
    assert asked == ["jit.sweep.completed"]


def test_without_an_exporter_nothing_happens() -> None:
    """The interface alone does nothing, and fails at nothing."""
    real = Metrics()
    for name in MEASURED:
        real.measure(name, {"overdue": 1, "grants": 1, "lateness_seconds": 0.5})
