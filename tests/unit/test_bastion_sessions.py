"""Bastion's live sessions after a close: which are disconnected, which are left, and what is told."""

from dataclasses import replace

import pytest

from shared.domain.audit import Operation
from shared.domain.bastion_sessions import MatchedSessions, match_sessions
from shared.domain.model import AccessRequest, Principal, Status
from shared.ports import OutsideError, Row
from shared.use_cases.requests import decide as approval
from tests.bastion_closes import (
    HOST_ID,
    MemorySessions,
    ask,
    noted,
    prepare,
    recorded,
    run,
    session,
)
from tests.world import ALICE, BOB, DB, WEB, World

_ENDED, _KEPT = Operation.SESSION_DISCONNECTED, Operation.SESSIONS_KEPT
_APP = Principal("tenant", "robot-id", "robot@contoso.example", is_app=True)
_NAMELESS = Principal("tenant", "alice-id", "Alice")


def world() -> World:
    """Return a world whose closes through Bastion are noted."""
    made = World()
    prepare(made)
    return made


def closed(app: World, *ports: int) -> AccessRequest:
    """Open access through Bastion and let it end."""
    request = ask(app, *ports)
    app.pass_time(11)
    assert app.status(request.id) is Status.REVOKED
    return request


@pytest.mark.parametrize(
    ("requestor", "sessions", "found"),
    [
        (ALICE, (session("s1"),), MatchedSessions(("s1",))),
        (ALICE, (session("s1", user="Alice@CONTOSO.example", vm=WEB.upper()),), MatchedSessions(("s1",))),
        (ALICE, (session("s1", user=BOB.name), session("s2", vm=DB)), MatchedSessions()),
        (ALICE, (session("s1"), session("s2", user="azureuser")), MatchedSessions(("s1",), 1)),
        (ALICE, (session("s1", user=""),), MatchedSessions(uncertain=1)),
        (ALICE, (session("", user=ALICE.name),), MatchedSessions(uncertain=1)),
        (ALICE, (), MatchedSessions()),
        (_APP, (session("s1", user=_APP.name),), MatchedSessions(uncertain=1)),
        (_NAMELESS, (session("s1", user="Alice"),), MatchedSessions(uncertain=1)),
        (replace(ALICE, name=""), (session("s1", user=""),), MatchedSessions(uncertain=1)),
    ],
)  # fmt: skip
def test_only_a_session_under_the_requestor_s_account_name_on_that_vm_is_theirs(
    requestor: Principal, sessions: tuple[object, ...], found: MatchedSessions
) -> None:
    """Another VM or person is left out; a name that several people may use is not certain."""
    assert match_sessions(sessions, WEB, requestor) == found  # type: ignore[arg-type]


def test_after_a_close_the_requestor_s_sessions_on_the_vm_are_disconnected() -> None:
    """The host is asked for theirs alone, and what it lists no longer is recorded once."""
    app = world()
    request = closed(app)
    host = MemorySessions(session("s1"), session("s2", user=BOB.name), session("s3", vm=DB))
    assert run(app, host, times=3) == 0

    assert host.asked == [("s1",)]
    assert [each.id for each in host.live] == ["s2", "s3"]
    (event,) = recorded(app, _ENDED)
    assert (event.request_id, event.vm_id, event.port) == (request.id, WEB, 22)
    assert event.reason == "session s1 of own"
    assert (event.principal, event.policy_id) == (ALICE.key, request.policy_id)
    assert recorded(app, _KEPT) == []
    assert app.telemetry.named("jit.bastion.sessions.disconnected")[0]["sessions"] == 1
    assert noted(app) == 0


def test_a_revoked_access_s_sessions_are_disconnected_too() -> None:
    """An early end counts as any other close."""
    app = world()
    request = ask(app)
    app.clock.advance(60)
    approval.revoke(app.services, request.id, approval.Caller(ALICE))
    app.work()
    host = MemorySessions(session("s1"))
    run(app, host)
    assert host.asked == [("s1",)]


def test_nothing_is_noted_while_the_setting_is_off_or_the_source_is_an_address() -> None:
    """Only a close of an access that was open through Bastion leads to a look at its sessions."""
    app = world()
    app.services = replace(app.services, disconnect_bastion_sessions=False)
    closed(app)
    assert noted(app) == 0
    app.services = replace(app.services, disconnect_bastion_sessions=True)
    ask(app, source="203.0.113.7")
    app.pass_time(11)
    assert noted(app) == 0


def test_an_access_that_never_opened_is_not_noted() -> None:
    """A request that is revoked before a firewall was seen open had no session."""
    app = world()
    request = ask(app)
    port = app.request(request.id).ports[0]
    app.services.requests.change(
        request.id,
        lambda held: replace(
            held,
            ports=(replace(port, fronts=tuple(replace(f, opened_at=None) for f in port.fronts or ())),),
        ),
    )  # fmt: skip
    approval.revoke(app.services, request.id, approval.Caller(ALICE))
    app.work()
    assert app.status(request.id) is Status.REVOKED
    assert noted(app) == 0


def test_a_note_that_cannot_be_written_delays_no_close() -> None:
    """The close is proven and recorded all the same, and the failure is reported."""
    app = world()
    request = ask(app)
    insert = app.tables.due.insert

    def refuse(row: Row) -> str:
        if row.partition == "bastion-closes":
            raise OutsideError("no table")
        return insert(row)

    app.tables.due.insert = refuse  # type: ignore[method-assign]
    app.pass_time(11)
    assert app.status(request.id) is Status.REVOKED
    assert recorded(app, Operation.CLOSED)[0].lateness_seconds == 0.0
    told = app.telemetry.named("jit.bastion.sessions.unnoted")
    assert {each["request"] for each in told} == {request.id}


def test_a_session_without_a_certain_owner_is_left_and_said_so() -> None:
    """A login name of the VM may be several people's: nothing is disconnected."""
    app = world()
    closed(app)
    host = MemorySessions(session("s1", user="azureuser"), session("s2", user=""))
    assert run(app, host) == 1

    assert host.asked == []
    (event,) = recorded(app, _KEPT)
    assert event.reason == "own: sessions whose user name does not name one person: 2"
    assert app.telemetry.named("jit.bastion.sessions.kept")[0]["host"] == HOST_ID
    assert noted(app) == 0


def test_a_requestor_with_other_access_through_the_host_keeps_the_sessions() -> None:
    """A session may be the other access's: its own close disconnects it."""
    app = world()
    ask(app, 22, minutes=10)
    ask(app, 3389, minutes=30)
    app.pass_time(11)
    host = MemorySessions(session("s1"))
    assert run(app, host) == 1
    assert host.asked == []
    assert "other access" in recorded(app, _KEPT)[0].reason

    app.pass_time(20)
    run(app, host)
    assert host.asked == [("s1",)]


def test_access_of_another_person_host_or_vm_keeps_no_session() -> None:
    """Only the requestor's own access to that VM through that host counts."""
    app = world()
    ask(app, 3389, who=BOB, minutes=60)
    ask(app, 22, vm=DB, minutes=60)
    ask(app, 3389, source="203.0.113.7", minutes=60)
    closed(app, 22)
    host = MemorySessions(session("s1"))
    run(app, host)
    assert host.asked == [("s1",)]


def test_a_request_that_is_listed_and_gone_is_no_access() -> None:
    """The list of live requests may name one whose row is purged."""
    app = world()
    closed(app, 22)
    live = ask(app, 3389, minutes=60)
    app.services.tables.requests.delete(app.tables.requests.get(*live.id.split("-", 1)))  # type: ignore[arg-type]
    host = MemorySessions(session("s1"))
    run(app, host)
    assert host.asked == [("s1",)]


def test_a_host_that_fails_is_asked_a_few_times_and_then_given_up() -> None:
    """The tries are counted; what is given up is recorded, and the row goes."""
    app = world()
    closed(app)
    host = MemorySessions(session("s1"))
    host.error = OutsideError("403 AuthorizationFailed")
    assert run(app, host, times=6) == 1
    assert host.lists == 5
    assert len(app.telemetry.named("jit.bastion.sessions.failed")) == 5
    assert "given up" in recorded(app, _KEPT)[0].reason
    assert noted(app) == 0


def test_a_session_that_survives_is_never_recorded_as_disconnected() -> None:
    """A session that the host still lists has not ended, whatever its answer."""
    app = world()
    closed(app)
    host = MemorySessions(session("s1"), session("s2"))
    host.immortal = {"s2"}
    run(app, host, times=6)
    assert host.asked == [("s1", "s2"), *[("s2",)] * 4]
    assert [event.reason for event in recorded(app, _ENDED)] == ["session s1 of own"]
    assert "given up" in recorded(app, _KEPT)[0].reason


def test_a_close_is_given_up_after_a_quarter_of_an_hour() -> None:
    """After an outage of the timer no old close is acted upon."""
    app = world()
    closed(app)
    app.clock.advance(15 * 60)
    host = MemorySessions(session("s1"))
    assert run(app, host) == 1
    assert (host.lists, host.asked) == (0, [])
    assert "given up" in recorded(app, _KEPT)[0].reason


def test_a_run_ends_when_its_time_is_over_and_failed_closes_come_last() -> None:
    """One slow host takes one run's time at most, and the others have their turn in the next."""
    app = world()
    closed(app, 22, 3389)
    host = MemorySessions()
    answer = host.list

    def slow(host_id: str) -> object:
        app.clock.advance(31)
        answer(host_id)
        raise OutsideError("too slow")

    host.list = slow  # type: ignore[method-assign,assignment]
    run(app, host)
    assert host.lists == 1
    looks = [close.looks for close in app.services.bastion_closes.first(10)]
    assert looks == [0, 1]


def test_a_row_that_cannot_be_decoded_is_reported_and_dropped() -> None:
    """The other closes go on."""
    app = world()
    closed(app)
    app.tables.due.upsert(Row("bastion-closes", "0", {"doc": "{"}))
    host = MemorySessions(session("s1"))
    run(app, host)
    assert host.asked == [("s1",)]
    assert app.telemetry.named("jit.row.unreadable")[0]["row"] == "0"
    assert noted(app) == 1


def test_a_request_that_was_purged_needs_no_look() -> None:
    """Without its request it is not known whose sessions they are."""
    app = world()
    request = closed(app)
    app.services.tables.requests.delete(app.tables.requests.get(*request.id.split("-", 1)))  # type: ignore[arg-type]
    host = MemorySessions(session("s1"))
    assert run(app, host) == 1
    assert (host.lists, noted(app)) == (0, 0)


def test_a_table_that_is_away_is_reported_and_raises_nothing() -> None:
    """The timer fails without an error; its next run looks again."""
    app = world()
    closed(app)
    query = app.tables.due.query

    def refuse(*_given: object, **_named: object) -> list[Row]:
        raise OutsideError("no table")

    app.tables.due.query = refuse  # type: ignore[method-assign]
    host = MemorySessions(session("s1"))
    assert run(app, host) == 0
    assert app.telemetry.named("jit.bastion.sessions.failed")
    app.tables.due.query = query  # type: ignore[method-assign]
    run(app, host)
    assert host.asked == [("s1",)]


def test_two_runs_at_once_do_not_ask_twice() -> None:
    """The run that writes second finds the row changed and leaves the close to the first."""
    app = world()
    closed(app)
    host, other = MemorySessions(session("s1")), MemorySessions(session("s1"))
    answer = host.list

    def be_overtaken(host_id: str) -> object:
        run(app, other)
        return answer(host_id)

    host.list = be_overtaken  # type: ignore[method-assign,assignment]
    assert run(app, host) == 0
    assert (other.asked, host.asked) == ([("s1",)], [])
    assert app.telemetry.named("jit.bastion.sessions.failed") == []
