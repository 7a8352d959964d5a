"""Votes on a request: the people who may vote, and the effect of a vote."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.approval import ask_extension, check_vote, pending, time_out, vote
from shared.domain.errors import ConflictError
from shared.domain.model import (
    AccessRequest,
    Approval,
    Attachment,
    CloseReason,
    Closing,
    Extended,
    Extension,
    PortRequest,
    Principal,
    Status,
    Vote,
)
from shared.domain.permissions import Decision
from shared.domain.request import begin_opening
from tests.fakes import START
from tests.samples import MINUTE
from tests.world import ALICE, BOB, DB, NSG_NIC, POLICY, SOURCE, WEB

TICK = timedelta(microseconds=1)
CAROL = Principal("tenant", "carol-id", "carol@contoso.example")
DEADLINE = START + 60 * MINUTE
PENDING = PortRequest(
    WEB, 22, "TCP", (SOURCE,), duration=10 * MINUTE, status=Status.PENDING_APPROVAL
)
OPENING = begin_opening(
    replace(PENDING, status=Status.INITIATING), (Attachment(NSG_NIC, ("10.0.0.4",)),), START
)
ENDED = replace(
    PENDING, vm_id=DB, status=Status.REVOKED, closing=Closing(CloseReason.REVOKED, START)
)
LONGER = START + 40 * MINUTE


def waiting(
    needed: int = 1, *votes: Vote, ports: tuple[PortRequest, ...] = (PENDING,)
) -> AccessRequest:
    """Make a request of Alice's that waits for approval."""
    approval = Approval(needed, DEADLINE, votes)
    return AccessRequest("id1", POLICY, ALICE, START, ports, approval=approval)


def extending(needed: int = 1, *votes: Vote) -> AccessRequest:
    """Make an open request of Alice's that waits for a longer end."""
    extension = Extension(LONGER, Approval(needed, DEADLINE, votes), START)
    return replace(waiting(ports=(OPENING, ENDED)), extension=extension)


def yes(who: Principal, comment: str = "") -> Vote:
    """Make a person's approval."""
    return Vote(who, True, START, comment)


def no(who: Principal, comment: str = "") -> Vote:
    """Make a person's refusal."""
    return Vote(who, False, START, comment)


def test_what_waits_for_people() -> None:
    """A port that awaits approval, or a longer end that does; the opening is decided first."""
    assert pending(waiting(ports=(OPENING, ENDED))) is None
    assert pending(waiting(3)) == Approval(3, DEADLINE)
    assert pending(extending(2)) == Approval(2, DEADLINE)
    assert pending(waiting(ports=(OPENING,))) is None
    both = replace(extending(2), ports=(OPENING, PENDING))
    assert pending(both) == Approval(1, DEADLINE)
    assert pending(replace(extending(2), ports=(ENDED, ENDED))) is None


def test_no_requestor_decides_on_their_own_access() -> None:
    """Neither the requestor, nor who passed it on, nor any app; everybody else may be asked."""
    assert check_vote(waiting(), BOB).allowed
    assert check_vote(waiting(), ALICE).reasons == ("requestors cannot approve their own requests",)
    again = replace(ALICE, tenant="TENANT", object_id="ALICE-ID", name="another name")
    assert not check_vote(waiting(), again).allowed
    relayed = replace(waiting(), relayed_by=BOB)
    assert check_vote(relayed, BOB).reasons == ("who passed the request on cannot approve it",)
    assert check_vote(relayed, CAROL).allowed
    app = replace(BOB, is_app=True)
    assert check_vote(waiting(), app).reasons == (
        "an app cannot approve; it can relay a named person's decision",
    )
    assert not check_vote(waiting(), ALICE).allowed
    assert not check_vote(relayed, BOB).allowed
    assert not check_vote(waiting(), app).allowed


def test_a_decision_is_passed_on_by_a_caller_without_an_interest() -> None:
    """Neither the requestor nor a person who carried the request; an app may carry both ways."""
    bot = Principal("tenant", "bot-id", "bot", is_app=True)
    told = ("who asked cannot pass the decision on",)
    assert check_vote(waiting(), BOB, CAROL) == check_vote(waiting(), BOB, bot) == Decision(True)
    assert check_vote(waiting(), BOB, ALICE) == Decision(False, told)
    assert check_vote(replace(waiting(), relayed_by=CAROL), BOB, CAROL) == Decision(False, told)
    assert check_vote(replace(waiting(), relayed_by=bot), BOB, bot).allowed
    assert check_vote(replace(waiting(), relayed_by=CAROL), BOB, bot).allowed
    # An app that asks for itself has an interest like anybody else.
    assert not check_vote(replace(waiting(), requestor=bot), BOB, bot).allowed


def test_one_longer_end_waits_at_a_time() -> None:
    """The same end may be asked for again; another one would inherit the first one's votes."""
    opened = waiting(ports=(OPENING, ENDED))
    asked = Extension(LONGER, Approval(1, DEADLINE), START)
    waits = ask_extension(opened, asked)
    assert waits == replace(opened, extension=asked)
    assert ask_extension(waits, replace(asked, asked_at=START + MINUTE)) == waits
    with pytest.raises(ConflictError, match="Another end already waits") as raised:
        ask_extension(waits, replace(asked, end_at=LONGER + TICK))
    assert raised.value.code == "ExtensionPending"


def test_an_undecided_longer_end_makes_way() -> None:
    """Once its time has passed another may be asked for, and the first is kept as decided."""
    first = Extension(LONGER, Approval(1, START + MINUTE), START)
    waits = ask_extension(waiting(ports=(OPENING,)), first)
    second = Extension(LONGER + TICK, Approval(1, DEADLINE), START + MINUTE)
    assert ask_extension(waits, second) == replace(waits, extension=second, decided=(first,))


@pytest.mark.parametrize("port", [ENDED, PENDING])
def test_what_is_not_open_is_not_extended(port: PortRequest) -> None:
    """Neither what has ended nor what still waits; nor from the instant of its end on."""
    with pytest.raises(ConflictError, match="ask anew") as raised:
        ask_extension(waiting(ports=(port,)), Extension(LONGER, Approval(1, DEADLINE), START))
    assert raised.value.code == "NotOpen"
    late = Extension(LONGER, Approval(1, DEADLINE), START + 10 * MINUTE)
    with pytest.raises(ConflictError, match="ask anew"):
        ask_extension(waiting(ports=(OPENING,)), late)
    in_time = replace(late, asked_at=late.asked_at - TICK)
    assert ask_extension(waiting(ports=(OPENING,)), in_time).extension == in_time


def test_the_repeat_of_a_decision_is_about_the_last_one() -> None:
    """After a longer end was decided, what an approver said of the opening is no repeat."""
    opened = vote(waiting(), yes(CAROL), START)
    asked = Extension(LONGER, Approval(1, DEADLINE), START)
    extended = vote(replace(opened, ports=(OPENING,), extension=asked), yes(BOB), START)
    assert vote(extended, yes(BOB), START) == extended
    with pytest.raises(ConflictError, match="Nothing waits"):
        vote(extended, yes(CAROL), START)


def test_enough_approvals_let_it_open() -> None:
    """The last that is needed starts the opening; the votes are kept."""
    first = vote(waiting(2), yes(BOB), START)
    assert first.ports[0].status is Status.PENDING_APPROVAL
    assert first.approval == Approval(2, DEADLINE, (yes(BOB),))
    second = vote(first, yes(CAROL), START)
    assert second.ports == (replace(PENDING, status=Status.INITIATING),)
    assert second.approval == Approval(2, DEADLINE, (yes(BOB), yes(CAROL)))


def test_the_same_person_counts_once() -> None:
    """A repeat changes nothing, whether it still waits or was decided."""
    first = vote(waiting(2), yes(BOB), START)
    assert vote(first, yes(BOB, "again"), START) == first
    opened = vote(waiting(), yes(BOB), START)
    assert vote(opened, yes(BOB, "again"), START) == opened
    assert Approval(2, DEADLINE, (yes(BOB), yes(BOB))).agreed == 1
    assert not Approval(2, DEADLINE, (yes(BOB), yes(BOB))).is_met
    assert Approval(2, DEADLINE, (yes(BOB), yes(CAROL))).is_met
    assert not Approval(1, DEADLINE, (yes(BOB), no(CAROL))).is_met


def test_one_refusal_ends_it() -> None:
    """Refusing wins over agreeing; the comment is told, and what else is open stays."""
    asked = replace(waiting(2, yes(CAROL)), ports=(PENDING, OPENING))
    ended = vote(asked, no(BOB, "not today"), START + MINUTE)
    assert [port.status for port in ended.ports] == [Status.DENIED, Status.INITIATING]
    assert ended.ports[0].closing == Closing(
        CloseReason.DENIED, START + MINUTE, "not today (by bob@contoso.example)"
    )
    assert ended.ports[1] == OPENING
    silent = vote(waiting(), no(BOB), START).ports[0].closing
    assert silent is not None
    assert silent.message == "denied (by bob@contoso.example)"


def test_a_decision_cannot_be_taken_back() -> None:
    """An approver cannot change a vote, before the decision or after it."""
    first = vote(waiting(2), yes(BOB), START)
    with pytest.raises(ConflictError, match="already decided otherwise") as raised:
        vote(first, no(BOB), START)
    assert raised.value.code == "AlreadyDecided"
    for decided, later in ((yes(BOB), no(BOB)), (no(BOB), yes(BOB)), (yes(BOB), yes(CAROL))):
        with pytest.raises(ConflictError, match="Nothing waits") as raised:
            vote(vote(waiting(), decided, START), later, START)
        assert raised.value.code == "NotAwaitingApproval"
    with pytest.raises(ConflictError, match="Nothing waits"):
        vote(replace(waiting(ports=(OPENING,)), approval=None), yes(BOB), START)


def test_a_decision_comes_in_time_or_not_at_all() -> None:
    """The instant of the deadline is too late for it, and not for timing out."""
    assert vote(waiting(), yes(BOB), DEADLINE - TICK).ports[0].status is Status.INITIATING
    with pytest.raises(ConflictError, match="time to decide has passed") as raised:
        vote(waiting(), yes(BOB), DEADLINE)
    assert raised.value.code == "ApprovalTimedOut"
    assert time_out(waiting(), DEADLINE - TICK) == waiting()
    ended = time_out(waiting(), DEADLINE).ports[0]
    assert ended.status is Status.DENIED
    assert ended.closing == Closing(CloseReason.DENIED, DEADLINE, "no approver decided in time")


def test_what_was_decided_does_not_time_out() -> None:
    """Whichever write comes first stands."""
    opened = vote(waiting(), yes(BOB), START)
    assert time_out(opened, DEADLINE) == opened


def test_enough_approvals_give_the_longer_end() -> None:
    """Votes are kept until there are enough; then every open port request lasts longer."""
    first = vote(extending(2), yes(BOB), START)
    assert first.extension == Extension(LONGER, Approval(2, DEADLINE, (yes(BOB),)), START)
    assert first.ports == (OPENING, ENDED)
    second = vote(first, yes(CAROL), START + MINUTE)
    assert second.extension is None
    assert second.ports == (replace(OPENING, end_at=LONGER), ENDED)
    assert second.extended == (Extended(LONGER, START + MINUTE),)


def test_a_refused_or_undecided_extension_leaves_the_end_as_it_was() -> None:
    """The access goes on to its first end."""
    for after in (
        vote(extending(2, yes(CAROL)), no(BOB), START),
        time_out(extending(), DEADLINE),
    ):
        assert after.extension is None
        assert after.ports == (OPENING, ENDED)
        assert after.extended == ()
    assert time_out(extending(), DEADLINE - TICK) == extending()


def test_the_opening_is_decided_before_a_longer_end() -> None:
    """While one port request still waits, a vote is about that, and so is the time-out."""
    both = replace(extending(), ports=(OPENING, PENDING))
    voted = vote(both, yes(BOB), START)
    assert voted.ports == (OPENING, replace(PENDING, status=Status.INITIATING))
    assert voted.extension == both.extension
    assert [port.status for port in time_out(both, DEADLINE).ports] == [
        Status.INITIATING,
        Status.DENIED,
    ]


def test_a_request_without_an_approval_never_opens() -> None:
    """A row that waits and says for what no longer is left as it is."""
    torn = replace(waiting(), approval=None)
    assert time_out(torn, DEADLINE) == torn
    with pytest.raises(ConflictError, match="Nothing waits"):
        vote(torn, yes(BOB), START)


def test_who_asked_carries_no_decision() -> None:
    """Not in another's name; an app may carry both sides, a person only one."""
    app = replace(CAROL, is_app=True)
    told = ("who asked cannot pass the decision on",)
    assert check_vote(waiting(), BOB, ALICE).reasons == told
    assert not check_vote(waiting(), BOB, ALICE).allowed
    assert check_vote(waiting(), BOB, app).allowed
    assert check_vote(waiting(), BOB, CAROL).allowed
    assert check_vote(replace(waiting(), relayed_by=app), BOB, app).allowed
    assert check_vote(replace(waiting(), relayed_by=CAROL), BOB, CAROL).reasons == told
    assert check_vote(replace(waiting(), requestor=app), BOB, app).reasons == told


def test_a_longer_end_is_asked_for_once() -> None:
    """The same again changes nothing, another has to wait; one that was missed makes room."""
    opening = replace(waiting(ports=(OPENING,)), approval=None)
    asked = Extension(START + 8 * MINUTE, Approval(1, DEADLINE), START)
    held = ask_extension(opening, asked)
    assert held.extension == asked
    assert ask_extension(held, replace(asked, asked_at=START + TICK)) == held
    other = replace(asked, end_at=START + 9 * MINUTE)
    with pytest.raises(ConflictError, match="already waits") as raised:
        ask_extension(held, other)
    assert raised.value.code == "ExtensionPending"
    soon = replace(held, extension=replace(asked, approval=Approval(1, START + MINUTE)))
    later = replace(other, asked_at=START + MINUTE)
    replaced = ask_extension(soon, later)
    assert (replaced.extension, replaced.decided) == (later, (soon.extension,))
    with pytest.raises(ConflictError, match="Nothing of this request is open") as raised:
        ask_extension(waiting(), asked)
    assert raised.value.code == "NotOpen"


def test_who_decided_on_a_longer_end_is_kept() -> None:
    """Whether it was given, refused or missed; a repeat of the last decision changes nothing."""
    given = vote(extending(), yes(BOB, "fine"), START)
    assert given.decided[0].approval.votes == (yes(BOB, "fine"),)
    assert vote(given, yes(BOB), START) == given
    refused = vote(extending(), no(BOB, "why"), START)
    assert (refused.decided[0].approval.votes, refused.extended) == ((no(BOB, "why"),), ())
    missed = time_out(extending(2, yes(BOB)), DEADLINE)
    assert missed.decided[0].approval.votes == (yes(BOB),)
    with pytest.raises(ConflictError, match="Nothing waits"):
        vote(missed, yes(CAROL), DEADLINE)


def test_what_has_ended_waits_for_no_approver() -> None:
    """A longer end that was asked for is no more decided on, nor does it time out."""
    over = replace(extending(), ports=(ENDED,))
    assert pending(over) is None
    assert time_out(over, DEADLINE) == over
    with pytest.raises(ConflictError, match="Nothing waits"):
        vote(over, yes(BOB), START)
