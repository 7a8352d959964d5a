"""The life of a port request: each step pinned, and all ways through it."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.model import (
    FINAL,
    AccessRequest,
    Attachment,
    CloseReason,
    Closing,
    Extended,
    Front,
    PortRequest,
    Status,
)
from shared.domain.request import (
    begin_opening,
    change_port,
    change_ports,
    close,
    extend,
    extend_all,
    is_open,
    mark_closed,
    mark_open,
)
from tests.fakes import START
from tests.samples import MINUTE
from tests.world import ALICE, DB, NSG_NIC, NSG_SUBNET, POLICY, SOURCE, WEB

TICK = timedelta(microseconds=1)
ATTACHMENTS = (Attachment(NSG_NIC, ("10.0.0.4",)), Attachment(NSG_SUBNET, ("10.0.0.4",)))
ASKED = PortRequest(WEB, 22, "TCP", (SOURCE,), duration=10 * MINUTE)
OPENING = begin_opening(ASKED, ATTACHMENTS, START)
OPEN = mark_open(mark_open(OPENING, NSG_NIC, START), NSG_SUBNET, START)
CLOSING = close(OPEN, CloseReason.REVOKED, START + MINUTE)
ENDED = mark_closed(mark_closed(CLOSING, NSG_NIC, START), NSG_SUBNET, START)
NOT_WAITING = [status for status in Status if status is not Status.INITIATING]


def request(*ports: PortRequest) -> AccessRequest:
    """Make a request of some port requests."""
    return AccessRequest("id1", POLICY, ALICE, START, ports)


# --- opening


def test_the_clock_of_a_duration_starts_when_opening_begins() -> None:
    """The end is fixed then, and the firewalls with the VM's addresses behind each."""
    later = START + 3 * MINUTE
    begun = begin_opening(ASKED, ATTACHMENTS, later)
    assert begun.end_at == later + 10 * MINUTE
    assert begun.fronts == (Front(NSG_NIC, ("10.0.0.4",)), Front(NSG_SUBNET, ("10.0.0.4",)))
    assert begun.status is Status.INITIATING


def test_an_end_that_was_asked_for_stays() -> None:
    """An end is an end, however long the request waited."""
    end_at = START + 7 * MINUTE
    asked = replace(ASKED, duration=None, end_at=end_at)
    assert begin_opening(asked, ATTACHMENTS, START + MINUTE).end_at == end_at


def test_a_redelivery_uses_what_stands_there() -> None:
    """Neither the end nor the firewalls change once they are fixed."""
    assert begin_opening(OPENING, (), START + MINUTE) == OPENING
    nowhere = replace(ASKED, fronts=())
    assert begin_opening(nowhere, ATTACHMENTS, START) == nowhere


@pytest.mark.parametrize("status", NOT_WAITING)
def test_only_what_waits_to_be_opened_is_opened(status: Status) -> None:
    """A port that awaits approval, is open or has ended does not begin to open."""
    port = replace(ASKED, status=status)
    assert begin_opening(port, ATTACHMENTS, START) == port


def test_what_is_to_be_closed_does_not_begin() -> None:
    """A close that was decided first stands."""
    port = replace(ASKED, closing=Closing(CloseReason.REVOKED, START))
    assert begin_opening(port, ATTACHMENTS, START) == port


def test_the_last_firewall_seen_open_makes_it_initiated() -> None:
    """One of two is not enough, and each keeps the instant at which it was first seen."""
    first = mark_open(OPENING, NSG_NIC.upper(), START)
    assert first.fronts is not None
    assert [front.opened_at for front in first.fronts] == [START, None]
    assert (first.status, first.opened_at) == (Status.INITIATING, None)
    again = mark_open(first, NSG_NIC, START + MINUTE)
    assert again == first
    both = mark_open(first, NSG_SUBNET, START + MINUTE)
    assert both.fronts is not None
    assert [front.opened_at for front in both.fronts] == [START, START + MINUTE]
    assert (both.status, both.opened_at) == (Status.INITIATED, START + MINUTE)
    assert mark_open(both, NSG_NIC, START + 2 * MINUTE) == both


def test_a_firewall_that_is_not_in_front_of_it_changes_nothing() -> None:
    """A mark counts for the firewall it names alone."""
    assert mark_open(OPENING, "elsewhere", START) == OPENING
    assert mark_closed(CLOSING, "elsewhere", START) == CLOSING


def test_what_is_ending_is_not_marked_open() -> None:
    """From a close on, the port request can only end."""
    assert mark_open(CLOSING, NSG_NIC, START) == CLOSING
    assert mark_open(ENDED, NSG_NIC, START) == ENDED
    halfway = close(OPENING, CloseReason.REVOKED, START)
    assert mark_open(halfway, NSG_NIC, START) == halfway


# --- closing


def test_the_first_reason_stands() -> None:
    """A second close changes neither reason nor time."""
    closing = close(
        OPEN, CloseReason.REVOKED, START, message="enough", by="alice", relayed_by="bot"
    )
    assert closing.closing == Closing(CloseReason.REVOKED, START, "enough", "alice", "bot")
    assert closing.status is Status.INITIATED
    assert close(closing, CloseReason.FAILED, START + MINUTE) == closing
    assert close(ENDED, CloseReason.FAILED, START + MINUTE) == ENDED


@pytest.mark.parametrize("status", sorted(FINAL))
def test_what_has_ended_is_not_closed_again(status: Status) -> None:
    """Nothing more happens to what is final."""
    ended = replace(ASKED, status=status)
    assert close(ended, CloseReason.REVOKED, START) == ended
    assert mark_closed(replace(ended, closing=Closing(CloseReason.REVOKED, START)), "x", START) == (
        replace(ended, closing=Closing(CloseReason.REVOKED, START))
    )


@pytest.mark.parametrize(
    ("now", "expired"),
    [(START + 10 * MINUTE - TICK, False), (START + 10 * MINUTE, True), (START + MINUTE, False)],
)
def test_it_expires_only_once_its_end_has_passed(now: datetime, expired: bool) -> None:
    """An extension that came first wins over an expiry that was read before."""
    assert bool(close(OPEN, CloseReason.EXPIRED, now).closing) == expired
    longer = replace(OPEN, end_at=START + 20 * MINUTE)
    assert close(longer, CloseReason.EXPIRED, now) == longer


def test_what_has_no_end_cannot_expire() -> None:
    """A duration whose clock has not started has not run out."""
    assert close(ASKED, CloseReason.EXPIRED, START + timedelta(days=9)) == ASKED


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (CloseReason.REVOKED, Status.REVOKED),
        (CloseReason.NEWER, Status.REVOKED),
        (CloseReason.FAILED, Status.FAILED),
        (CloseReason.DENIED, Status.DENIED),
    ],
)
@pytest.mark.parametrize("port", [ASKED, replace(ASKED, fronts=())])
def test_where_nothing_was_opened_a_close_is_final_at_once(
    port: PortRequest, reason: CloseReason, status: Status
) -> None:
    """There is nothing to prove, so the status follows from the reason."""
    ended = close(port, reason, START)
    assert (ended.status, ended.closed_at) == (status, START)
    assert ended.closing == Closing(reason, START)
    assert ended.is_final


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (CloseReason.EXPIRED, Status.REVOKED),
        (CloseReason.REVOKED, Status.REVOKED),
        (CloseReason.NEWER, Status.REVOKED),
        (CloseReason.FAILED, Status.FAILED),
        (CloseReason.DENIED, Status.DENIED),
    ],
)
def test_the_last_firewall_seen_closed_ends_it(reason: CloseReason, status: Status) -> None:
    """One of two is not enough; each keeps the instant at which it was first seen gone."""
    now = START + 10 * MINUTE
    closing = close(OPEN, reason, now)
    first = mark_closed(closing, NSG_SUBNET.upper(), now)
    assert first.fronts is not None
    assert [front.closed_at for front in first.fronts] == [None, now]
    assert (first.status, first.closed_at) == (Status.INITIATED, None)
    assert mark_closed(first, NSG_SUBNET, now + MINUTE) == first
    ended = mark_closed(first, NSG_NIC, now + MINUTE)
    assert ended.fronts is not None
    assert [front.closed_at for front in ended.fronts] == [now + MINUTE, now]
    assert (ended.status, ended.closed_at) == (status, now + MINUTE)
    assert mark_closed(ended, NSG_NIC, now + 2 * MINUTE) == ended


def test_what_is_not_closing_is_not_marked_closed() -> None:
    """A rule that is missing while it is wanted is drift, not an end."""
    assert mark_closed(OPEN, NSG_NIC, START) == OPEN
    assert mark_closed(OPENING, NSG_NIC, START) == OPENING


# --- extending


def test_an_end_is_only_moved_further_away() -> None:
    """A longer end replaces the end and its text; an equal or earlier one changes nothing."""
    assert OPEN.end_at is not None
    texted = replace(OPEN, end_text="2026-11-22T14:10:00Z")
    longer = extend(texted, OPEN.end_at + TICK, START)
    assert longer == replace(OPEN, end_at=OPEN.end_at + TICK)
    assert extend(texted, OPEN.end_at, START) == texted
    assert extend(texted, OPEN.end_at - TICK, START) == texted


@pytest.mark.parametrize(
    ("port", "now", "opened"),
    [
        (OPEN, START, True),
        (OPENING, START, True),
        (OPEN, START + 10 * MINUTE - TICK, True),
        (OPEN, START + 10 * MINUTE, False),
        (OPEN, START + 10 * MINUTE + TICK, False),
        (ASKED, START, False),
        (replace(OPEN, fronts=()), START, False),
        (replace(OPEN, end_at=None), START, False),
        (CLOSING, START, False),
        (ENDED, START, False),
        *((replace(OPEN, status=status), START, False) for status in sorted(FINAL)),
        (replace(OPEN, status=Status.PENDING_APPROVAL), START, False),
    ],
)
def test_only_what_is_open_can_be_extended(port: PortRequest, now: datetime, opened: bool) -> None:
    """Opening or open, with firewalls and an end that has not passed, and not ending."""
    assert is_open(port, now) is opened
    longer = extend(port, START + timedelta(hours=5), now)
    assert (longer != port) == opened
    assert longer.status is port.status


def test_extending_a_request_keeps_a_note_of_it() -> None:
    """Each port request that is open gets the later end; where none is, there is no note."""
    end_at = START + 30 * MINUTE
    both = request(OPEN, ENDED)
    longer = extend_all(both, end_at, START + MINUTE)
    assert [port.end_at for port in longer.ports] == [end_at, ENDED.end_at]
    assert longer.extended == (Extended(end_at, START + MINUTE),)
    twice = extend_all(longer, end_at + MINUTE, START + 2 * MINUTE)
    assert twice.extended == (*longer.extended, Extended(end_at + MINUTE, START + 2 * MINUTE))
    assert extend_all(longer, end_at, START + 2 * MINUTE) == longer
    relayed = extend_all(both, end_at, START, "bot")
    assert relayed.extended == (Extended(end_at, START, "bot"),)
    assert extend_all(request(ENDED), end_at, START) == request(ENDED)


# --- one port request among several


def test_a_change_of_one_port_request_leaves_the_others() -> None:
    """VM and port have to agree, letter case apart."""
    others = (replace(ASKED, port=3389), replace(ASKED, vm_id=DB))
    both = request(ASKED, *others)
    changed = change_port(both, WEB.upper(), 22, lambda port: replace(port, protocol="UDP"))
    assert changed.ports == (replace(ASKED, protocol="UDP"), *others)
    assert change_port(both, WEB, 443, lambda port: replace(port, protocol="UDP")) == both


def test_a_change_of_all_port_requests_is_for_each() -> None:
    """The order stays, and so does all else about the request."""
    both = request(ASKED, replace(ASKED, port=3389))
    changed = change_ports(both, lambda port: replace(port, protocol="UDP"))
    assert [(port.port, port.protocol) for port in changed.ports] == [(22, "UDP"), (3389, "UDP")]
    assert replace(changed, ports=both.ports) == both


# --- all ways through


STEPS = st.one_of(
    st.just(("begin",)),
    st.tuples(st.just("close"), st.sampled_from(CloseReason)),
    st.tuples(st.just("opened"), st.sampled_from((NSG_NIC, NSG_SUBNET))),
    st.tuples(st.just("closed"), st.sampled_from((NSG_NIC, NSG_SUBNET))),
    st.tuples(st.just("extend"), st.integers(1, 40)),
)


def step(port: PortRequest, what: tuple[object, ...], now: datetime) -> PortRequest:
    """Take one step of a port request's life."""
    match what:
        case ("begin",):
            return begin_opening(port, ATTACHMENTS, now)
        case ("close", CloseReason() as reason):
            return close(port, reason, now)
        case ("opened", str() as firewall):
            return mark_open(port, firewall, now) if port.fronts else port
        case ("closed", str() as firewall):
            return mark_closed(port, firewall, now)
        case ("extend", int() as minutes):
            return extend(port, now + minutes * MINUTE, now)
    raise AssertionError(what)


@given(st.lists(st.tuples(STEPS, st.integers(0, 8)), max_size=25))
def test_no_way_through_life_leads_back(steps: list[tuple[tuple[object, ...], int]]) -> None:
    """In any order, with any repeats: a fate once decided stays, and every repeat is harmless."""
    port, now = ASKED, START
    for what, minutes in steps:
        now += minutes * MINUTE
        before, port = port, step(port, what, now)
        assert step(port, what, now) == port
        if before.is_final:
            assert port == before
        if before.closing:
            assert port.closing == before.closing
            assert port.end_at == before.end_at
        if before.fronts is not None:
            assert port.fronts is not None
            assert before.end_at is not None
            assert port.end_at is not None
            assert port.end_at >= before.end_at
            for was, front in zip(before.fronts, port.fronts, strict=True):
                assert was.opened_at in {None, front.opened_at}
                assert was.closed_at in {None, front.closed_at}
        if port.is_final:
            assert port.closing is not None
            assert all(front.closed_at for front in port.fronts or ())
        if port.status is Status.INITIATED:
            assert all(front.opened_at for front in port.fronts or ())
        if port.closing and port.closing.reason is CloseReason.EXPIRED:
            assert port.end_at is not None
            assert port.closing.at >= port.end_at
