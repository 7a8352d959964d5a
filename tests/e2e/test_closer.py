"""The independent closer where nothing of the app is left: no host, no table."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.data.tables import TableServiceClient

from local.arm.client import ArmClient
from local.stack import Stack
from shared.adapters.tables import NAMES as TABLES
from tests.conftest import SETTLE_SECONDS
from tests.e2e.playing import APP_RG, SUBSCRIPTION, Azure, Play, Rules, Site
from tests.logic_apps.cloud import GRACE, INTERVAL, closer, send
from tests.logic_apps.engine import Clock, Run

SCOPES = ((f"/subscriptions/{SUBSCRIPTION}",), (APP_RG,))
SHORT, LONG = timedelta(minutes=5), timedelta(hours=3)
SHORTLY, LONGER = (22, 23), (24,)
# The simulator stays on the real clock: this is longer than a write needs to settle there.
SETTLED = 2 * SETTLE_SECONDS


class Abandoned:
    """A stack whose host has stopped and whose tables are gone, with ports open."""

    def __init__(self, stack: Stack) -> None:
        self.play = Play(stack, Azure(stack.arm))
        self.sites = [self.play.azure.build(on_subnet=True) for _ in range(2)]
        self.foreign = self._foreign()
        for site in self.sites:
            self.play.admin.put_policy(site.policy_id, site.listed(*SHORTLY, *LONGER))
        self.opened = datetime.now(UTC)
        for site in self.sites:
            for port in SHORTLY:
                self._open(site, port, SHORT)
            for port in LONGER:
                self._open(site, port, LONG)
        self.denies = self._denies()
        stack.stop_host()
        tables = TableServiceClient.from_connection_string(stack.storage)
        for name in TABLES:
            tables.delete_table(name)
        self._arm = ArmClient(stack.arm)
        self._clock = Clock()

    def _open(self, site: Site, port: int, length: timedelta) -> None:
        duration = f"PT{int(length.total_seconds())}S"
        ports = site.asked(port=port, duration=duration)
        self.play.alice.wait(self.play.alice.initiate(site.policy_id, ports), "Initiated")

    def _foreign(self) -> dict[str, Rules]:
        azure = self.play.azure
        return {nsg: azure.foreign(nsg) for site in self.sites for nsg in site.nsgs}

    def run(self, since_opening: timedelta, scopes: tuple[str, ...]) -> Run:
        """Run the closer at a moment after the opening."""
        self._clock.now = max(self._clock.now, since_opening.total_seconds())
        engine = closer(
            self._arm.url,
            lambda call: send(self._arm, call),
            scopes=scopes,
            mark="local1",
            clock=self._clock,
            start=self.opened,
        )
        return engine.run()

    def open_ports(self) -> set[int]:
        """Return the ports that are open on any VM now."""
        allowed = self.play.azure.allowed
        return {p for p in (*SHORTLY, *LONGER) for site in self.sites if allowed(site.vm, p)}

    def nothing_else_has_changed(self) -> bool:
        """Tell whether the rules of others, and our denies, are what they were."""
        return self._foreign() == self.foreign and self._denies() == self.denies

    def _denies(self) -> dict[str, Rules]:
        azure = self.play.azure
        return {nsg: azure.ours(nsg, "Deny") for site in self.sites for nsg in site.nsgs}


@pytest.mark.parametrize("scopes", SCOPES, ids=["subscription", "resource group"])
def test_what_is_open_past_its_end_closes_without_the_app(
    package: Path, tmp_path: Path, scopes: tuple[str, ...]
) -> None:
    """The closer alone removes every expired allow within the grace and two intervals.

    Foreign rules, our denies and what has not expired are as they were before.
    """
    with Stack(app=package, directory=tmp_path, settle=SETTLE_SECONDS) as stack:
        left = Abandoned(stack)
        assert left.open_ports() == {*SHORTLY, *LONGER}

        for count in range(5):
            run = left.run(count * INTERVAL, scopes)
            if count * INTERVAL < SHORT + GRACE:
                assert run.status == "Succeeded"
                assert left.open_ports() == {*SHORTLY, *LONGER}
            time.sleep(SETTLED)
        left.run(SHORT + GRACE + INTERVAL, scopes)
        time.sleep(SETTLED)

        assert left.open_ports() == set(LONGER)
        assert left.nothing_else_has_changed()
