"""The reads and writes of a reconcile of many machines."""

import pytest

from shared.use_cases.timers.reconcile import reconcile
from tests.estates import Counted, estate
from tests.world import World

LIST_PAGES = 112  # ARM's pages for 5,000 VMs and 1,000 groups, as measured with the simulator


def test_five_thousand_machines_take_their_lists_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing that did not change is read, and the rows are read page by page."""
    world = World()
    estate(world, policies=10, vms=5000, nsgs=1000)
    counted = Counted(world, monkeypatch)
    assert reconcile(world.services) == 0
    assert world.services.inventory.reads == 1  # type: ignore[attr-defined]
    assert LIST_PAGES + counted.calls["arm"] <= 150
    assert counted.calls["arm"] == 0
    assert counted.calls["tables"] <= 40
    assert world.firewall.writes == {}
