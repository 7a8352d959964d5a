"""The quantities behind docs/cost.md: what the app asks of storage and ARM, counted."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from shared.use_cases.reconcile import reconcile
from tests.fakes import MemoryTable
from tests.infra.bicep import ROOT
from tests.world import World

OPERATIONS = ("get", "query", "scan", "insert", "replace", "upsert", "delete")
ROW = re.compile(r"^\| (?P<what>[^|]+) \| (?P<count>\d+) \|", re.MULTILINE)


class Meter:
    """Counts calls to tables and queues: each is one transaction on the bill."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for name in OPERATIONS:
            patch.setattr(MemoryTable, name, self._counted(getattr(MemoryTable, name)))

    def _counted(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.count += 1
            return operation(*arguments, **named)

        return call

    def during(self, work: Callable[[], object]) -> int:
        """Return how many transactions some work took."""
        before = self.count
        work()
        return self.count - before


def _documented() -> dict[str, int]:
    text = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    return {match["what"].strip(): int(match["count"]) for match in ROW.finditer(text)}


def _measured(patch: pytest.MonkeyPatch) -> dict[str, int]:
    meter = Meter(patch)
    world = World()
    world.protect()
    world.pass_time(30)
    idle = meter.during(world.sweep)
    compared = meter.during(lambda: reconcile(world.services))
    before = meter.count
    world.ask(minutes=5)
    world.pass_time(30)
    sweeps = 31 * idle
    return {
        "a sweep with nothing due": idle,
        "a reconcile, two VMs under one policy": compared,
        "an access to one port behind two groups": meter.count - before - sweeps,
    }


def test_the_document_s_quantities_are_the_app_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """A documented count is never below what the app does, nor far above it."""
    measured = _measured(monkeypatch)
    documented = _documented()

    assert {name: documented.get(name, 0) for name in measured} == {
        name: pytest.approx(count * 1.25, rel=0.25) for name, count in measured.items()
    }
