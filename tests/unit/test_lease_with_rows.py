"""A lease is taken by the transaction that writes the grants of its firewall, where it is free."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.ids import row_key
from shared.domain.model import Status
from shared.domain.times import format_sortable
from shared.firewalls.nsg.model import Access, Snapshot
from shared.ports import OutsideError, Row, Verb, Write
from shared.use_cases.firewalls import leases
from shared.use_cases.firewalls.converge import Outcome, converge_on_message
from shared.use_cases.firewalls.sync_grants import GrantSync
from shared.use_cases.grants import grant_of
from shared.use_cases.requests import granting
from shared.use_cases.requests import open as opening
from tests.world import DB, NSG_SUBNET, WEB, World

LEASE = (row_key(NSG_SUBNET), "lease")
Transactions = list[list[tuple[Verb, str]]]


@pytest.fixture
def world() -> World:
    """Make a world with two protected VMs."""
    world = World()
    world.protect(WEB, DB)
    return world


def transactions(world: World) -> Transactions:
    """Return a list that takes up the verb and the type of row of all later transactions."""
    written: Transactions = []
    transact = world.tables.firewalls.transact

    def noting(writes: Sequence[Write]) -> list[str]:
        written.append([(each.verb, each.row.key.partition("|")[0]) for each in writes])
        return transact(writes)

    world.tables.firewalls.transact = noting  # type: ignore[method-assign]
    return written


def is_held(world: World, firewall: str) -> bool:
    """Tell whether the lease of a firewall has not ended."""
    until = str(world.tables.firewalls.rows[(row_key(firewall), "lease")].values["until"])
    return until > format_sortable(world.clock())


@pytest.mark.parametrize("verb", [Verb.REPLACE, Verb.INSERT])
def test_an_opening_inserts_its_grant_and_takes_the_lease_together(
    world: World, verb: Verb
) -> None:
    """One transaction does both, and the first lease of a firewall is inserted by it."""
    if verb is Verb.INSERT:
        del world.tables.firewalls.rows[LEASE]
    written = transactions(world)
    request = world.ask(DB)
    assert world.status(request.id) is Status.INITIATED
    assert written[0] == [(Verb.INSERT, "grant"), (verb, "lease")]
    assert not is_held(world, NSG_SUBNET)


def test_a_held_lease_is_not_taken_with_a_grant(world: World) -> None:
    """The grant is inserted alone, and the other holder opens it when it looks again."""
    now = world.clock()
    lease = world.services.rows.take_lease(NSG_SUBNET, "other", now, now + timedelta(seconds=30))
    assert lease is not None
    written = transactions(world)
    request = world.ask(DB)
    assert not written
    assert world.status(request.id) is Status.INITIATING
    assert world.tables.firewalls.rows[LEASE].values["owner"] == "other"
    assert len(world.services.rows.read(NSG_SUBNET).grants) == 1


def test_a_grant_that_cannot_be_inserted_gives_the_lease_back(world: World) -> None:
    """Its message comes back soon, and must not wait for the lease of a worker that gave up."""
    request = world.ask(DB, work=False)
    insert = world.tables.firewalls.insert

    def fail_for_grants(row: Row) -> str:
        if row.key.startswith("grant|"):
            raise OutsideError("no answer")
        return insert(row)

    world.tables.firewalls.insert = fail_for_grants  # type: ignore[method-assign]
    with pytest.raises(OutsideError):
        opening.open_access(world.services, request.id)
    assert not is_held(world, NSG_SUBNET)
    with pytest.raises(OutsideError):
        world.services.rows.insert_grant(_grant(world, request.id))
    del world.tables.firewalls.insert
    opening.open_access(world.services, request.id)
    assert world.status(request.id) is Status.INITIATED


def _grant(world: World, request_id: str) -> Any:
    (port,) = world.request(request_id).ports
    assert port.fronts is not None
    return grant_of(world.request(request_id), port, port.fronts[0])


def test_a_key_that_is_taken_before_the_transaction_has_the_rows_read_again(world: World) -> None:
    """The lease is taken alone then, and the opening is judged by the rows as they are now."""
    request = world.ask(DB, work=False)
    transact = world.tables.firewalls.transact

    def take_the_key(writes: Sequence[Write]) -> list[str]:
        del world.tables.firewalls.transact
        world.tables.firewalls.insert(writes[0].row)
        return transact(writes)

    world.tables.firewalls.transact = take_the_key  # type: ignore[method-assign]
    opening.open_access(world.services, request.id)
    assert world.status(request.id) is Status.INITIATED
    assert len(world.services.rows.read(NSG_SUBNET).grants) == 1
    assert not is_held(world, NSG_SUBNET)


def test_leases_of_more_firewalls_than_are_converged_at_once_are_taken_in_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is held while its firewall waits, as a close would wait for it."""
    monkeypatch.setattr(granting, "_AT_ONCE", 1)
    written = transactions(world)
    request = world.ask(WEB)
    assert world.status(request.id) is Status.INITIATED
    assert [(Verb.INSERT, "grant"), (Verb.REPLACE, "lease")] not in written


def test_an_unknown_firewall_has_no_lease_to_take(world: World) -> None:
    """The converge of that firewall reports it."""
    assert leases.free(world.services, "/subscriptions/s/unknown", None) is None


def test_a_single_close_seals_its_grant_and_takes_the_lease_together(world: World) -> None:
    """The reason is in the request before, and the firewall is read after both."""
    request = world.ask(DB, minutes=5)
    written = transactions(world)
    world.clock.advance(301)
    world.run("firewall", NSG_SUBNET)
    assert written == [[(Verb.REPLACE, "grant"), (Verb.REPLACE, "lease")]] * 2
    assert world.status(request.id) is Status.REVOKED
    assert not is_held(world, NSG_SUBNET)


def test_closes_that_end_together_take_the_lease_first(world: World) -> None:
    """Of the many messages that come for them, one leads to writes."""
    for port in (22, 3389):
        world.ask(DB, port, minutes=5)
    written = transactions(world)
    world.clock.advance(301)
    world.run("firewall", NSG_SUBNET)
    assert written[0] == [(Verb.REPLACE, "grant")] * 2
    assert not world.firewall.ours(NSG_SUBNET, Access.ALLOW)


def test_a_close_whose_sealing_fails_goes_on_under_the_lease(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported, and the converge does what it would have done."""
    request = world.ask(DB, minutes=5)

    def fail(*_given: object) -> None:
        raise OutsideError("no answer")

    monkeypatch.setattr(GrantSync, "expire_with_lease", fail)
    world.clock.advance(301)
    world.run("firewall", NSG_SUBNET)
    assert world.status(request.id) is Status.REVOKED
    assert any(name == "jit.expire.failed" for name, _ in world.telemetry.faults)


def test_a_second_message_for_an_end_reads_no_firewall(world: World) -> None:
    """The rows show a close that was proven a moment ago, and that read saw the whole firewall."""
    world.ask(DB, minutes=5)
    sent_at = world.clock()
    world.clock.advance(301)
    world.run("firewall", NSG_SUBNET, sent_at)
    reads: list[str] = []
    read = world.firewall.read

    def noting(firewall_id: str) -> Snapshot:
        reads.append(firewall_id)
        return read(firewall_id)

    world.firewall.read = noting  # type: ignore[method-assign]
    assert converge_on_message(world.services, NSG_SUBNET, sent_at) is Outcome.DONE
    assert reads == []
    world.clock.advance(11)
    assert converge_on_message(world.services, NSG_SUBNET, sent_at) is Outcome.DONE
    assert reads == [NSG_SUBNET]


def test_a_message_that_was_sent_after_a_close_reads_the_firewall(world: World) -> None:
    """Reconcile may have found drift since the read that proved the close."""
    world.ask(DB, minutes=5)
    world.clock.advance(301)
    world.run("firewall", NSG_SUBNET)
    world.firewall.groups[NSG_SUBNET.lower()].clear()
    world.clock.advance(1)
    converge_on_message(world.services, NSG_SUBNET, world.clock())
    assert world.firewall.ours(NSG_SUBNET)


def test_a_message_after_a_close_still_opens_what_came_since(world: World) -> None:
    """A grant that no read has proven is looked at, however lately the firewall was read."""
    world.ask(DB, minutes=5)
    world.clock.advance(301)
    world.run("firewall", NSG_SUBNET)
    request = world.ask(DB, 3389)
    assert world.status(request.id) is Status.INITIATED
    assert world.firewall.ours(NSG_SUBNET, Access.ALLOW)
