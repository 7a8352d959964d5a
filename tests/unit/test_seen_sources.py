"""A grant stores the sources that were requested, and those that its firewall sees in their place."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.grants import superseded
from shared.domain.model import Attachment, FirewallRows, Grant, Status
from shared.domain.policy import Asked, AskedPort
from shared.firewalls.nsg.model import Access
from shared.store.codec import encode, unpack
from shared.store.room import _bare_front
from shared.use_cases.reports.dry_run import DryRun, dry_run_request
from shared.use_cases.requests.submit import PolicyRequest
from tests.fakes import START
from tests.samples import MINUTE, grant
from tests.versions import before
from tests.world import ALICE, NSG_NIC, NSG_SUBNET, SOURCE, WEB, World

ADDRESS = ("10.0.0.4",)
SHOWN = ("10.0.1.0/26",)
EDGE = Attachment(NSG_SUBNET, ADDRESS, stage=0, shows_public_as=SHOWN)
INNER = Attachment(NSG_NIC, ADDRESS, stage=2)


def world_behind(*path: Attachment) -> World:
    """Return a world whose VM stands behind some firewalls, protected."""
    world = World()
    world.machines.add(WEB, *path)
    world.protect(WEB)
    return world


def opened(world: World, firewall_id: str) -> list[tuple[str, ...]]:
    """Return the sources of our allow rules on a firewall."""
    return sorted(rule.sources for rule in world.firewall.ours(firewall_id, Access.ALLOW))


def grants(world: World, firewall_id: str) -> tuple[Grant, ...]:
    """Return the grants of a firewall."""
    rows: FirewallRows = world.services.rows.read(firewall_id)
    return rows.grants


def test_each_firewall_opens_for_the_sources_that_it_sees() -> None:
    """The translator opens for the requestor, the firewall behind it for what is shown there."""
    world = world_behind(EDGE, INNER)
    request = world.ask()
    assert world.status(request.id) is Status.INITIATED
    assert opened(world, NSG_SUBNET) == [(SOURCE,)]
    assert opened(world, NSG_NIC) == [SHOWN]
    (outer,), (inner,) = grants(world, NSG_SUBNET), grants(world, NSG_NIC)
    assert (outer.sources, outer.seen_sources, outer.sources_here) == ((SOURCE,), None, (SOURCE,))
    assert (inner.sources, inner.seen_sources, inner.sources_here) == ((SOURCE,), SHOWN, SHOWN)


def test_access_behind_a_translator_closes_at_its_end() -> None:
    """Both rules go, and both grants are sealed with the sources that they were opened for."""
    world = world_behind(EDGE, INNER)
    request = world.ask(minutes=10)
    world.pass_time(12)
    assert world.status(request.id) is Status.REVOKED
    assert opened(world, NSG_SUBNET) == opened(world, NSG_NIC) == []


def test_the_newest_request_replaces_one_for_the_same_requested_sources_only() -> None:
    """Two public sources look the same behind a translator, and both stay open."""
    world = world_behind(EDGE, INNER)
    first = world.ask()
    second = world.ask(source="198.51.100.9")
    world.pass_time(1)
    assert world.status(first.id) is world.status(second.id) is Status.INITIATED
    assert opened(world, NSG_NIC) == [SHOWN, SHOWN]
    third = world.ask()
    world.pass_time(1)
    assert world.status(first.id) is Status.REVOKED
    assert world.status(third.id) is Status.INITIATED
    seen = replace(grant(), seen_sources=SHOWN)
    later = replace(
        seen, request_id="later", sources=("198.51.100.9",), requested_at=START + MINUTE
    )
    assert superseded((seen, later)) == ()


def test_a_translator_that_shows_nothing_known_fails_a_public_source() -> None:
    """The request fails with the translator's name, and no rule is written anywhere."""
    world = world_behind(replace(EDGE, shows_public_as=()), INNER)
    request = world.ask()
    (port,) = request.ports
    assert port.closing is not None
    assert port.status is Status.FAILED
    assert "what 'subnet-nsg' shows in place of 203.0.113.7 is not known" in port.closing.message
    assert opened(world, NSG_SUBNET) == opened(world, NSG_NIC) == []
    private = world.ask(source="10.9.8.7")
    assert world.status(private.id) is Status.INITIATED
    assert opened(world, NSG_NIC) == [("10.9.8.7",)]


def test_a_firewall_that_the_app_only_reads_fails_the_request() -> None:
    """A stage without a firewall that the app may open keeps the address closed."""
    world = world_behind(replace(EDGE, opens=False, closes=False), INNER)
    request = world.ask()
    (port,) = request.ports
    assert port.closing is not None
    assert "a firewall in front of 10.0.0.4 cannot be opened" in port.closing.message
    assert world.services.rows.read(NSG_SUBNET) == FirewallRows()
    assert world.policy().state.value == "Succeeded"


def dry_run(world: World, source: str = SOURCE) -> DryRun:
    """Try a request for port 22 of web without changing anything."""
    asked = Asked(
        (AskedPort("ports[0]", WEB, 22, (source,), duration=timedelta(hours=1)),), "", source
    )
    return dry_run_request(world.services, PolicyRequest(world.policy(), asked, ALICE))


@pytest.mark.parametrize("edge", [replace(EDGE, opens=False, closes=False), EDGE])
def test_a_dry_run_tells_what_the_firewalls_on_the_path_would_refuse(edge: Attachment) -> None:
    """A dry run gives the reason for which the request itself fails, and would write nothing."""
    world = world_behind(replace(edge, shows_public_as=()), INNER)
    result = dry_run(world)
    (closed,) = world.ask().ports
    assert closed.closing is not None
    assert [each.message for each in result.problems] == [f"web: {closed.closing.message}"]
    assert result.changes == ()
    assert not world.services.rows.read(NSG_SUBNET).grants


def test_a_dry_run_over_two_stages_tells_of_no_problem_where_both_open() -> None:
    """Where each firewall opens, a dry run shows a rule on each and no problem."""
    result = dry_run(world_behind(replace(EDGE, shows_public_as=SHOWN), INNER))
    assert result.problems == ()
    assert len(result.changes) == 2


def test_access_stays_when_a_firewall_that_is_only_read_is_put_in_front() -> None:
    """Only a firewall that has to be opened as well ends the access."""
    world = world_behind(INNER)
    request = world.ask(minutes=60)
    world.machines.add(WEB, replace(EDGE, opens=False, closes=False), INNER)
    world.protect(WEB)
    assert world.status(request.id) is Status.INITIATED
    world.machines.add(WEB, replace(EDGE, shows_public_as=None), INNER)
    world.protect(WEB)
    assert world.request(request.id).ports[0].closing


@pytest.mark.parametrize("seen", [None, (), SHOWN])
def test_rows_with_and_without_seen_sources_are_read(seen: tuple[str, ...] | None) -> None:
    """A row of the version before has none; an empty list is not the same as none."""
    stored = replace(grant(), seen_sources=seen)
    values = encode(stored)
    assert ("seen_sources" in values) == (seen is not None)
    assert unpack(Grant, {"doc": json.dumps(values)}) == stored


def test_the_version_before_reads_grants_with_seen_sources() -> None:
    """After a rollback the grant is read, with the requested sources, and closes at its end."""
    world = world_behind(EDGE, INNER)
    world.ask()
    rows = [(key, row) for key, row in world.tables.firewalls.rows.items() if "grant" in row.key]
    assert rows
    for (partition, key), row in rows:
        held = before.read("firewalls", partition, key, dict(row.values))
        assert getattr(held, "sources", None) == (SOURCE,)
    for (partition, key), row in world.tables.requests.rows.items():
        before.read("requests", partition, key, dict(row.values))


def test_a_request_that_must_give_way_keeps_one_seen_source() -> None:
    """A port that is closing keeps what its close is proven by; no seen source stays none."""
    world = world_behind(EDGE, INNER)
    outer, inner = world.ask(who=ALICE).ports[0].fronts or ()
    assert _bare_front(outer).seen_sources is None
    many = _bare_front(replace(inner, seen_sources=("10.0.1.0/26", "10.0.2.0/26")))
    assert (many.addresses, many.seen_sources) == ((), ("10.0.1.0/26",))
