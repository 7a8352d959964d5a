"""The functions host is killed with SIGKILL, started again, and everything ends right.

A message that a killed host had taken stays hidden for ten minutes. So whatever it was doing is
taken up by the due rows and the sweep, which is run by hand here instead of each minute.

Where the host is killed is made certain by a read of a group that hangs: before the write, or
after it, when the rules have changed and no row says so yet.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableClient, TableServiceClient
from azure.storage.queue import QueueClient

from shared.adapters.queues import FIREWALLS, POLICIES, REQUESTS
from shared.adapters.tables import AzureTable
from shared.domain.ids import key_of, name_of, row_key
from shared.domain.model import AccessRequest, Front, PortRequest, Status
from shared.domain.times import format_sortable
from shared.store.audit import ActivityRows
from shared.store.due import DueRows
from shared.store.requests import RequestRows
from tests.e2e.playing import Json, Play, Rules, Site, until
from tests.fakes import MemoryTelemetry

MINUTE = timedelta(minutes=1)
# The app's own name for what it does to networks; the tests look on under another one.
APP = "^network$"


class Kills:
    """Counts where the host was killed, and tells it at the end of the run."""

    def __init__(self) -> None:
        self.points: list[str] = []
        self.times = 0

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the count."""
        told = f"kill points tried: {len(self.points)} by {self.times} SIGKILLs"
        terminalreporter.write_line(told)


@pytest.fixture(scope="module")
def kills(request: pytest.FixtureRequest) -> Kills:
    """Count over all tests of this file."""
    counted = Kills()
    request.config.pluginmanager.register(counted)
    return counted


# --- where the host is killed ------------------------------------------------------------------


def hang(resource_id: str, *, after: int = 0) -> Json:
    """Make one read by the app hang, after so many that do not."""
    fault = {"kind": "latency", "seconds": 20, "method": "GET", "caller": APP}
    return {**fault, "path": f"/{name_of(resource_id)}$", "skip": after}


def before_the_write(nsg: str) -> list[Json]:
    """Stop when the group is about to be read: nothing is written yet."""
    return [hang(nsg)]


def before_the_proof(nsg: str) -> list[Json]:
    """Stop between the write of the group, which was answered, and the row that follows."""
    return [hang(nsg, after=1)]


def after_a_lost_answer(nsg: str) -> list[Json]:
    """Stop between the write of the group, whose answer was lost, and the row that follows."""
    lost = {"kind": "dropAfter", "method": "PUT|DELETE", "caller": APP}
    return [{**lost, "path": f"/{name_of(nsg)}(/|$)"}, hang(nsg, after=1)]


WRITTEN = (before_the_proof, after_a_lost_answer)
POINTS = (before_the_write, *WRITTEN)


def stops(sites: Iterable[Site]) -> list[Json]:
    """Stop the work on the first sites, each at a point of its own.

    One read of a group comes before its write: in opening the one that looks for another VM with
    the same address behind it.
    """
    pairs = zip(POINTS, sites, strict=False)
    return [fault for point, site in pairs for fault in point(site.nic_nsg)]


def named(doing: str) -> list[str]:
    """Name what the points stop."""
    return [f"{doing}, {point.__name__}" for point in POINTS]


# --- the stage ---------------------------------------------------------------------------------


class Stage:
    """Sites, a host that is killed and comes back, and what the rows say meanwhile."""

    def __init__(self, play: Play, kills: Kills) -> None:
        self.play = play
        self.azure = play.azure
        self._kills = kills
        self._foreign: dict[str, Rules] = {}
        tables = TableServiceClient.from_connection_string(play.stack.storage)
        self._firewalls: TableClient = tables.get_table_client("firewalls")
        self._due = DueRows(AzureTable(tables.get_table_client("due")), MemoryTelemetry())
        self._requests = RequestRows(AzureTable(tables.get_table_client("requests")))
        self._activity = ActivityRows(AzureTable(tables.get_table_client("activity")))

    def sites(self, count: int, *, on_subnet: bool = False, protected: bool = True) -> list[Site]:
        """Put VMs there, and note what strangers have in their groups."""
        sites = [self.azure.build(on_subnet=on_subnet) for _ in range(count)]
        for site in sites:
            self._foreign |= {nsg: self.azure.foreign(nsg) for nsg in site.nsgs}
        if protected:
            for site in sites:
                self.put_policy(site)
            for site in sites:
                self.play.admin.wait_for_policy(site.policy_id)
        return sites

    def put_policy(self, site: Site) -> None:
        """PUT the policy of a site, and wait for nothing but the answer."""
        body = {"kind": "Basic", "properties": {"virtualMachines": site.listed(22)}}
        assert self.play.admin.call("PUT", site.policy_id, body).status == 200

    def ask(self, site: Site, duration: str) -> str:
        """Ask for a port, and wait for nothing but the answer."""
        return self.play.alice.initiate(site.policy_id, site.asked(duration=duration))

    def revoke(self, location: str) -> None:
        """Revoke a request, and wait for nothing but the answer."""
        path = f"/api/requests/{name_of(location)}/revoke"
        assert self.play.alice.call("POST", path, {}).status == 200

    def opened(self, sites: Iterable[Site], duration: str) -> list[str]:
        """Ask for ports and wait until all are open at once."""
        locations = [self.ask(site, duration) for site in sites]
        for location in locations:
            self.play.alice.wait(location, "Initiated")
        soon = datetime.now(UTC) + timedelta(seconds=1)
        assert all(soon < end for end in map(self.end, locations)), "the machine is too slow"
        return locations

    def kill(self, *points: str) -> None:
        """Kill the host once everything on order has struck: each read that hangs hangs."""
        until(lambda: not self.azure.ask("faults")["faults"], f"it has come to {points}")
        self.play.stack.kill_host()
        self.azure.order()
        self._kills.points += points
        self._kills.times += 1

    def come_back(self, *sites: Site, watched: Iterable[str] = ()) -> None:
        """Start the host as if minutes had passed, with every message lost, and sweep once.

        The lease of a killed worker ends after two minutes, and the due row of a request or a
        policy is one minute away. No test waits that long: the lease is ended, and the due row,
        which must be there, is moved to now.
        """
        for nsg in (nsg for site in sites for nsg in site.nsgs):
            self._end_lease(nsg)
        for subject in watched:
            self._make_due(subject)
        self.lose_messages()
        self.play.stack.start_host()
        self.play.stack.invoke("sweep_expired")

    def lose_messages(self) -> None:
        """Empty the queues: at best a message comes back ten minutes after a kill."""
        for name in (REQUESTS, FIREWALLS, POLICIES):
            with QueueClient.from_connection_string(self.play.stack.storage, name) as queue:
                queue.clear_messages()

    def request(self, location: str) -> AccessRequest:
        """Read the row of a request, whether or not the host runs."""
        held = self._requests.get(name_of(location))
        assert held is not None
        return held.request

    def port(self, location: str) -> PortRequest:
        """Read the one port of a request."""
        (port,) = self.request(location).ports
        return port

    def fronts(self, location: str) -> tuple[Front, ...]:
        """Read what is proven of each group."""
        return self.port(location).fronts or ()

    def end(self, location: str) -> datetime:
        """Read when an access ends."""
        end = self.port(location).end_at
        assert end is not None
        return end

    def wait_until_past(self, locations: Iterable[str]) -> None:
        """Wait until accesses are past their end."""
        end = max(map(self.end, locations))
        until(lambda: datetime.now(UTC) > end, "the end has passed")

    def check_stopped(self, sites: Iterable[Site], *, opening: bool) -> None:
        """Hold the groups to where the work on each stopped: the write is done, or is not."""
        for point, site in zip(POINTS, sites, strict=False):
            present = opening is (point in WRITTEN)
            # Whatever was written may still have to settle.
            self._wait_for_rules(site, allows=int(present))
            assert self.azure.allowed(site.vm) is present

    def _wait_for_rules(self, site: Site, *, allows: int) -> None:
        def stand() -> bool:
            found = self.azure.rules(site.nic_nsg).values()
            settled = all(rule["provisioningState"] == "Succeeded" for rule in found)
            return settled and len(self.azure.ours(site.nic_nsg, "Allow")) == allows

        until(stand, f"{allows} rules of ours allow something")

    def check_open(self, site: Site, location: str) -> None:
        """Hold an access to what was asked for: open, told as open, by one rule in each group."""
        self.play.alice.wait(location, "Initiated")
        assert self.azure.allowed(site.vm)
        self._check_groups(site, allows=1)

    def check_closed(self, site: Site, location: str, reason: str = "Expired") -> None:
        """Hold an access to its end: nothing open, told as such, and each event told once."""
        told = self.play.alice.wait(location, "Revoked")
        (port,) = told["virtualMachines"][0]["ports"]
        assert port["statusReason"] == reason
        assert not self.azure.allowed(site.vm)
        self._check_groups(site, allows=0)
        # The row is written first, and what it says is told right after.
        closed = {("closed", key_of(nsg)) for nsg in site.nsgs}
        until(lambda: closed <= set(self._events(location)), "each group's close is on record")
        events = self._events(location)
        assert len(set(events)) == len(events)
        assert {event for event in events if event[0] == "closed"} == closed

    def check_protected(self, site: Site) -> None:
        """Hold a policy to its denies, and to nothing else."""
        self.play.admin.wait_for_policy(site.policy_id)
        self._check_groups(site, allows=0)

    def _check_groups(self, site: Site, *, allows: int) -> None:
        for nsg in site.nsgs:
            assert len(self.azure.ours(nsg, "Allow")) == allows
            assert len(self.azure.ours(nsg, "Deny")) == 1
            assert self.azure.foreign(nsg) == self._foreign[nsg]

    def _events(self, location: str) -> list[tuple[str, str]]:
        now = datetime.now(UTC)
        days = [self._activity.on(day) for day in (now, now - timedelta(days=1))]
        events = [
            event for day in days for _, event in day if event.request_id == name_of(location)
        ]
        return [(event.operation, key_of(event.firewall_id)) for event in events]

    def _end_lease(self, nsg: str) -> None:
        try:
            lease = self._firewalls.get_entity(row_key(nsg), "lease")
        except ResourceNotFoundError:
            return
        lease["until"] = format_sortable(datetime(2020, 1, 1, tzinfo=UTC))
        self._firewalls.upsert_entity(lease)

    def _make_due(self, subject: str) -> None:
        now = datetime.now(UTC)
        soon = [
            due
            for due in self._due.until(now + MINUTE)
            if due.kind != "firewall" and key_of(due.subject) == key_of(subject)
        ]
        assert soon, f"nothing would have led back to {subject}"
        for due in soon:
            self._due.add(now - MINUTE, due.kind, due.subject, since=due.since)
            self._due.remove(due)


@pytest.fixture
def stage(play: Play, kills: Kills) -> Stage:
    """Give a running host, also where a test that failed has left it dead."""
    if play.stack.failed_part():
        play.stack.start_host()
    return Stage(play, kills)


# --- the scenes --------------------------------------------------------------------------------


def test_killed_right_after_its_answer(stage: Stage) -> None:
    """A request, a revocation and a policy that were answered are carried out, come what may."""
    (put,) = stage.sites(1, protected=False)
    asked, revoked = stage.sites(2)
    (held,) = stage.opened([revoked], "PT1H")
    stage.put_policy(put)
    stage.revoke(held)
    location = stage.ask(asked, "PT1H")
    stage.kill("after the policy's 200", "after the revocation's 200", "after the 202")
    stage.come_back(put, revoked, asked, watched=[put.policy_id, name_of(location)])
    stage.check_protected(put)
    stage.check_closed(revoked, held, "UserManuallyRevoked")
    stage.check_open(asked, location)


def test_killed_while_opening(stage: Stage) -> None:
    """A half-made opening is opened, once, and closed again; only what is open is Initiated."""
    sites = [*stage.sites(len(POINTS)), *stage.sites(1, on_subnet=True)]
    stage.azure.order(*stops(sites), hang(sites[-1].subnet_nsg, after=1))
    locations = [stage.ask(site, "PT1H") for site in sites]
    until(lambda: any(each.opened_at for each in stage.fronts(locations[-1])), "half of it is open")
    stage.kill(*named("opening"), "opening, one group of two proven")
    stage.check_stopped(sites, opening=True)
    assert all(stage.port(location).status is Status.INITIATING for location in locations)
    stage.come_back(*sites, watched=map(name_of, locations))
    for site, location in zip(sites, locations, strict=True):
        stage.check_open(site, location)
        stage.revoke(location)
    for site, location in zip(sites, locations, strict=True):
        stage.check_closed(site, location, "UserManuallyRevoked")


def test_killed_while_opening_what_ends_before_it_is_back(stage: Stage) -> None:
    """A rule that no row calls open is closed by one sweep."""
    sites = stage.sites(len(POINTS))
    stage.azure.order(*stops(sites))
    locations = [stage.ask(site, "PT3S") for site in sites]
    stage.kill(*named("opening for seconds"))
    stage.check_stopped(sites, opening=True)
    # The first was stopped before it had an end: it is opened now, for as long as was asked.
    stage.wait_until_past(locations[1:])
    stage.come_back(*sites, watched=[name_of(locations[0])])
    for site, location in zip(sites, locations, strict=True):
        stage.check_closed(site, location)


def test_killed_while_closing(stage: Stage) -> None:
    """A half-made close is finished by one sweep, and recorded once."""
    sites = [*stage.sites(len(POINTS)), *stage.sites(1, on_subnet=True)]
    locations = stage.opened(sites, "PT8S")
    stage.azure.order(*stops(sites), hang(sites[-1].subnet_nsg))
    until(lambda: any(each.closed_at for each in stage.fronts(locations[-1])), "half is closed")
    stage.kill(*named("closing"), "closing, one group of two proven")
    stage.check_stopped(sites, opening=False)
    assert not any(stage.request(location).is_final for location in locations)
    stage.come_back(*sites)
    for site, location in zip(sites, locations, strict=True):
        stage.check_closed(site, location)


def test_killed_while_a_policy_is_applied(stage: Stage) -> None:
    """A policy that was half applied is applied, and nothing of anybody else's is touched."""
    sites = stage.sites(len(POINTS) + 1, protected=False)
    stage.azure.order(*stops(sites), hang(sites[-1].vm))
    for site in sites:
        stage.put_policy(site)
    stage.kill(*named("applying"), "applying, while a VM is read")
    for point, site in zip(POINTS, sites, strict=False):
        assert bool(stage.azure.ours(site.nic_nsg, "Deny")) is (point in WRITTEN)
    stage.come_back(*sites, watched=[site.policy_id for site in sites])
    for site in sites:
        stage.check_protected(site)


def test_killed_in_the_middle_of_a_sweep(stage: Stage) -> None:
    """The next sweep closes what was left, and what was closed already is not told twice."""
    sites = stage.sites(len(POINTS) + 1)
    locations = stage.opened(sites, "PT6S")
    stage.kill("with everything open")
    stage.wait_until_past(locations)
    assert all(stage.azure.allowed(site.vm) for site in sites)
    stage.azure.order(*stops(sites))
    stage.come_back(*sites)
    until(lambda: stage.request(locations[-1]).is_final, "one of them is closed")
    stage.kill(*named("sweeping"))
    stage.check_stopped(sites, opening=False)
    assert not any(stage.request(location).is_final for location in locations[:-1])
    stage.come_back(*sites)
    for site, location in zip(sites, locations, strict=True):
        stage.check_closed(site, location)


def test_killed_and_left_to_itself(stage: Stage) -> None:
    """With nothing moved or lost, a minute after a request the sweep takes it up as it stands."""
    (site,) = stage.sites(1)
    stage.azure.order(hang(site.vm))
    location = stage.ask(site, "PT1H")
    stage.kill("opening, while the VM is read")
    assert stage.port(location).fronts is None
    stage.play.stack.start_host()
    due = stage.request(location).requested_at + MINUTE
    until(lambda: datetime.now(UTC) > due, "a minute has passed", seconds=65)
    stage.play.stack.invoke("sweep_expired")
    stage.check_open(site, location)
