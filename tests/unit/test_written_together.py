"""What an opening and a close write together: what fails about one is left, and comes again."""

from shared.domain.model import Status
from shared.firewalls.nsg.model import Access
from shared.ports import OutsideError, Row
from shared.use_cases.firewalls.known_requests import KnownRequests
from shared.use_cases.requests import open as opening
from tests.world import DB, NSG_SUBNET, World


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
