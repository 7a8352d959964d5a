"""The rows that an opening and a close write together: one that fails is tried again."""

from datetime import timedelta

from shared.domain.model import Status
from shared.domain.policy import Asked, AskedPort
from shared.firewalls.nsg.model import Access
from shared.ports import OutsideError, Row, RowChangedError
from shared.use_cases.firewalls.known_requests import KnownRequests
from shared.use_cases.requests import open as opening
from shared.use_cases.requests.decide import Caller, extend_access
from shared.use_cases.requests.submit import PolicyRequest, request_access
from tests.world import ALICE, DB, NSG_SUBNET, SOURCE, World


def away(*_given: object, **_named: object) -> None:
    """Fail as a table that does not answer."""
    raise OutsideError("no answer")


def test_a_grant_whose_place_is_taken_meanwhile_is_judged_by_rows_that_are_read_again() -> None:
    """A sealed row that came between the read of the rows and the insert opens nothing."""
    world = World()
    world.protect(DB)
    request = world.ask(DB, work=False)
    insert = world.tables.firewalls.insert

    def take_the_place(row: Row) -> str:
        if row.key.startswith("grant|"):
            del world.tables.firewalls.insert
            insert(row)
        return insert(row)

    world.tables.firewalls.insert = take_the_place  # type: ignore[method-assign]
    opening.open_access(world.services, request.id)
    assert world.status(request.id) is Status.INITIATED
    assert len(world.services.rows.read(NSG_SUBNET).grants) == 1


def test_a_close_whose_lists_fail_is_confirmed_by_the_next_look() -> None:
    """The rule is gone and the request has ended; its mark waits until the lists are given back."""
    world = World()
    world.protect(DB)
    request = world.ask(DB, minutes=5)
    world.tables.requests.remove = away  # type: ignore[method-assign]
    world.pass_time(6)
    assert world.status(request.id) is Status.REVOKED
    assert not world.firewall.ours(NSG_SUBNET, Access.ALLOW)
    assert [grant.proven for grant in world.services.rows.read(NSG_SUBNET).grants] == [False]
    del world.tables.requests.remove
    world.pass_time(2)
    assert [grant.proven for grant in world.services.rows.read(NSG_SUBNET).grants] == [True]
    assert world.services.requests.live(requestor=request.requestor.key) == []


def test_a_request_that_cannot_be_read_is_told_apart_from_one_that_is_gone() -> None:
    """Each has an answer of its own, and neither is changed."""
    world = World()
    world.protect(DB)
    request = world.ask(DB)
    known = KnownRequests(world.services)
    gone = request.id[:-1] + ("0" if request.id[-1] != "0" else "1")
    assert known.change_all({gone: lambda held: held}) == {gone: None}
    world.tables.requests.get = away  # type: ignore[method-assign]
    [answer] = known.change_all({request.id: lambda held: held}).values()
    assert isinstance(answer, OutsideError)


def test_a_request_that_goes_before_its_change_is_told_as_gone() -> None:
    """Nothing is written where the row of a request is gone."""
    world = World()
    assert KnownRequests(world.services).change("20261122-0-0", lambda held: held) is None


def test_a_request_that_cannot_be_written_is_confirmed_by_the_next_look() -> None:
    """Its grant stays unproven, and is reported; once the table answers, the close is recorded."""
    world = World()
    world.protect(DB)
    request = world.ask(DB, minutes=5)
    replace, written = world.tables.requests.replace, []

    def fail_after_the_reason(row: Row) -> str:
        written.append(row)
        if len(written) > 1:
            away()
        return replace(row)

    world.tables.requests.replace = fail_after_the_reason  # type: ignore[method-assign]
    world.pass_time(6)
    assert not world.firewall.ours(NSG_SUBNET, Access.ALLOW)
    assert [grant.proven for grant in world.services.rows.read(NSG_SUBNET).grants] == [False]
    assert world.telemetry.faults
    del world.tables.requests.replace
    world.pass_time(2)
    assert world.status(request.id) is Status.REVOKED


def test_a_record_that_fails_leaves_the_mark_to_the_next_look() -> None:
    """A close is marked as proven only once its audit event is recorded."""
    world = World()
    world.protect(DB)
    request = world.ask(DB, minutes=5)
    world.tables.activity.insert = away  # type: ignore[assignment, method-assign]
    world.pass_time(6)
    assert not world.firewall.ours(NSG_SUBNET, Access.ALLOW)
    assert [grant.proven for grant in world.services.rows.read(NSG_SUBNET).grants] == [False]
    del world.tables.activity.insert
    world.pass_time(2)
    assert [grant.proven for grant in world.services.rows.read(NSG_SUBNET).grants] == [True]
    assert world.status(request.id) is Status.REVOKED


def test_a_later_end_that_another_worker_copies_at_the_same_time_is_kept() -> None:
    """The grant is read again as the other worker has written it, and the access goes on."""
    world = World()
    world.protect(DB)
    request = world.ask(DB, minutes=5)
    replace, grants = world.tables.firewalls.replace, []

    def be_second(row: Row) -> str:
        is_grant = row.key.startswith("grant|")
        if is_grant:
            grants.append(row)
        if not is_grant or len(grants) > 2:
            return replace(row)
        if len(grants) == 2:
            replace(row)
        raise RowChangedError(row.key)

    world.tables.firewalls.replace = be_second  # type: ignore[method-assign]
    extend_access(world.services, request.id, Caller(ALICE), duration=timedelta(minutes=30))
    world.clock.advance(301)
    world.run("firewall", NSG_SUBNET)
    del world.tables.firewalls.replace
    assert len(grants) >= 2
    [grant] = world.services.rows.read(NSG_SUBNET).grants
    assert grant.expires_at == world.request(request.id).ports[0].end_at
    world.pass_time(2)
    assert world.firewall.ours(NSG_SUBNET, Access.ALLOW)
    world.pass_time(30)
    assert not world.firewall.ours(NSG_SUBNET, Access.ALLOW)


def test_a_protection_that_cannot_be_marked_is_confirmed_by_the_next_look() -> None:
    """Its deny is written, and its row says so once the table answers."""
    world = World()
    world.protect(DB)
    replace = world.tables.firewalls.replace

    def fail_for_protections(row: Row) -> str:
        if row.key.startswith("protection|"):
            away()
        return replace(row)

    world.tables.firewalls.replace = fail_for_protections  # type: ignore[method-assign]
    world.protect(DB, ports=(22,))
    assert [each.proven for each in world.services.rows.read(NSG_SUBNET).protections] == [False]
    del world.tables.firewalls.replace
    world.pass_time(16)
    assert [each.proven for each in world.services.rows.read(NSG_SUBNET).protections] == [True]
    assert world.firewall.ours(NSG_SUBNET, Access.DENY)


def test_a_port_that_ends_later_stays_open_when_another_of_its_request_ends() -> None:
    """The reason is written for the port that has ended, and for no other."""
    world = World()
    world.protect(DB)
    asked = tuple(
        AskedPort("ports", DB, port, (SOURCE,), duration=timedelta(minutes=minutes))
        for port, minutes in ((22, 5), (3389, 30))
    )
    new = PolicyRequest(world.policy(), Asked(asked, "because", SOURCE), ALICE)
    request = request_access(world.services, new)
    world.work()
    world.pass_time(6)
    statuses = [port.status for port in world.request(request.id).ports]
    assert statuses == [Status.REVOKED, Status.INITIATED]
    assert len(world.firewall.ours(NSG_SUBNET, Access.ALLOW)) == 1
