"""The record: refusals, decisions and who carried them; read by page, as JSON and CSV."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.activity_answers import neutral
from local.issuer import object_id
from shared.ports import Row
from shared.store.audit import AuditEvent
from tests.functions.authority_app import Authority, GuardedApp, governed, known
from tests.functions.test_authority_table import BODY, OWNER, SHORT
from tests.functions.web_app import ADDRESS, Answer
from tests.world import POLICY, SOURCE, WEB

INITIATE = f"{POLICY}/initiate"


@pytest.fixture
def app(guard: Authority) -> GuardedApp:
    """Serve a world whose policy asks for approval, at the time it really is."""
    world = governed(approvers_needed=1)
    world.clock.now = datetime.now(UTC)
    return GuardedApp(world, guard)


def activity(app: GuardedApp, **query: str) -> list[dict[str, Any]]:
    """Read the activity as a permitted caller."""
    told = "&".join(f"{name}={value}" for name, value in query.items())
    answer = app.call("GET", f"/api/activity?{told}", who=app.guard.person("reader"))
    assert answer.status == 200, answer.text
    found: list[dict[str, Any]] = answer.json["value"]
    return found


def refused(app: GuardedApp) -> dict[str, Any]:
    """Return the one refusal on record."""
    (found,) = activity(app, operation="refused")
    return found


def test_a_refusal_is_on_record(app: GuardedApp, guard: Authority) -> None:
    """The record has caller, action, resource, address and reason, once, under the answered id."""
    answer = app.call("POST", INITIATE, BODY, who=guard.person("norole"))
    found = refused(app)
    assert found.pop("time").startswith(f"{app.world.clock():%Y-%m-%dT%H:%M}")
    reason = found.pop("reason")
    assert found == {
        "operation": "refused",
        "principal": known("norole").key,
        "principalName": "norole@contoso.example",
        "virtualMachine": WEB,
        "policyId": POLICY,
        "sourceAddress": ADDRESS,
    }
    assert reason.startswith("request_access: AuthorizationFailed: The client")
    assert "initiate/action" in reason
    rows = str(app.world.tables.activity.rows)
    assert f"refused|{answer.headers['x-ms-request-id']}" in rows


def test_a_line_of_the_policy_that_was_broken_is_on_record(
    app: GuardedApp, guard: Authority
) -> None:
    """Which line refused it."""
    long = {**SHORT, "duration": "PT20H", "justification": "x"}
    answer = app.call("POST", "/api/requests", long, who=guard.person("least"))
    assert answer.status == 400
    assert "DurationTooLong: the longest access to port 22 is PT3H" in refused(app)["reason"]


def test_a_refused_decision_names_its_request(app: GuardedApp, guard: Authority) -> None:
    """The requestor who tried to approve is on record beside what they asked for."""
    alice = guard.person("alice", "Jit.Request", "Jit.Approve")
    asked = app.call("POST", "/api/requests", SHORT, who=alice).json["id"]
    assert app.call("POST", f"/api/requests/{asked}/approve", {}, who=alice).status == 403
    found = refused(app)
    assert (found["requestId"], found["principal"]) == (asked, known("alice").key)
    assert "requestors cannot approve their own requests" in found["reason"]


def test_a_refused_relay_is_on_record_with_both(app: GuardedApp, guard: Authority) -> None:
    """The person, and the app that carried the message; an app that may not carry stands alone."""
    norole = {"objectId": known("norole").object_id, "name": "norole@contoso.example"}
    bot = guard.bot("relay", "Jit.Relay")
    app.call("POST", INITIATE, {**BODY, "onBehalfOf": norole}, who=bot)
    found = refused(app)
    assert found["principal"] == known("norole").key
    assert found["relayedBy"].endswith(object_id("relay"))
    other = GuardedApp(governed(), guard)
    other.world.clock.now = datetime.now(UTC)
    other.call("POST", INITIATE, {**BODY, "onBehalfOf": OWNER}, who=guard.person("mallory"))
    found = refused(other)
    assert (found["principal"], "relayedBy" in found) == (known("mallory").key, False)
    assert "relay/action" in found["reason"]


def test_what_an_unknown_caller_tried_is_not_on_record(app: GuardedApp) -> None:
    """Strangers cannot fill the record."""
    app.call("POST", INITIATE, BODY)
    app.call("GET", "/api/activity")
    assert activity(app, operation="refused") == []


def test_a_record_that_cannot_be_written_refuses_all_the_same(
    app: GuardedApp, guard: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer does not depend on it."""

    def broken(row: Row) -> str:
        raise OSError(row.key)

    monkeypatch.setattr(app.world.tables.activity, "insert", broken)
    assert app.call("POST", INITIATE, BODY, who=guard.person("norole")).status == 403
    assert app.world.telemetry.named("jit.refusal.unrecorded")


def test_by_what_right_is_on_record(app: GuardedApp, guard: Authority) -> None:
    """The role that allowed it when it was asked, of the app or of Azure."""
    for who, told in (
        (guard.person("alice", "Jit.Request"), "app role Jit.Request"),
        (guard.person("owner"), "role 'Owner' at /subscriptions/"),
    ):
        asked = app.call("POST", "/api/requests", SHORT, who=who).json["id"]
        (found,) = [f for f in activity(app, operation="requested") if f["requestId"] == asked]
        assert found["authorizedBy"].startswith(told)


def test_both_identities_of_each_step_are_on_record(app: GuardedApp, guard: Authority) -> None:
    """Asking, agreeing and ending: the person who did it, and whichever app carried it."""
    front, back = guard.bot("front-door", "Jit.Relay"), guard.bot("workflow", "Jit.Relay")
    least = {"objectId": known("least").object_id, "name": "least@contoso.example"}
    asked = app.call("POST", "/api/requests", {**SHORT, "onBehalfOf": least}, who=front).json["id"]
    path = f"/api/requests/{asked}"
    assert app.call("POST", f"{path}/approve", {"onBehalfOf": OWNER}, who=back).status == 200
    assert (
        app.call("POST", f"{path}/revoke", {"comment": "over"}, who=guard.person("least")).status
        == 200
    )
    found = {f["operation"]: f for f in activity(app) if f.get("requestId") == asked}
    keys = {name: (f["principal"], f.get("relayedBy", "")) for name, f in found.items()}
    bots = [known(name).key for name in ("front-door", "workflow")]
    assert keys == {
        "requested": (known("least").key, bots[0]),
        "approved": (known("owner").key, bots[1]),
        "revoked": (known("least").key, ""),
        "ended": (known("least").key, ""),
    }


def test_break_glass_is_loud(app: GuardedApp, guard: Authority) -> None:
    """It opens without approval, with a reason, under a name of its own in record and log."""
    glass = guard.person("glass", "Jit.BreakGlass")
    without = {name: value for name, value in BODY.items() if name != "justification"}
    silent = app.call("POST", INITIATE, {**without, "breakGlass": True}, who=glass)
    assert (silent.status, "needs a reason" in silent.error["message"]) == (400, True)
    blank = app.call(
        "POST", INITIATE, {**BODY, "justification": " ", "breakGlass": True}, who=glass
    )
    assert blank.status == 400
    assert app.call("POST", INITIATE, {**BODY, "breakGlass": True}, who=glass).status == 202
    (found,) = activity(app, operation="breakGlass")
    assert (found["reason"], found["principal"]) == ("because", known("glass").key)
    assert len(app.world.telemetry.named("jit.breakglass.used")) == 1
    (request,) = app.services.requests.newest(POLICY, 10)
    assert (request.break_glass, request.approval) == (True, None)


# --- reading -------------------------------------------------------------------------------------


def seed(app: GuardedApp, *events: AuditEvent) -> None:
    """Put events on record."""
    for event in events:
        app.services.activity.record(event)


def event(number: int, **more: Any) -> AuditEvent:
    """Make an event of some minutes ago."""
    values = {"operation": "opened", "principal": "tenant/alice", "principal_name": "alice", **more}
    at = values.pop("at", datetime.now(UTC) - timedelta(minutes=number))
    return AuditEvent(f"event-{number}", at, **values)


def empty(guard: Authority) -> GuardedApp:
    """Serve a world where nothing has happened."""
    app = GuardedApp(governed(), guard)
    app.world.tables.activity.rows.clear()
    app.world.clock.now = datetime.now(UTC)
    return app


def test_filters_choose(guard: Authority) -> None:
    """Time, person by id or name or as the one acted for, VM in any case, operation."""
    app = empty(guard)
    seed(
        app,
        event(1, vm_id=WEB),
        event(2, operation="closed", principal="tenant/bob", principal_name="Bob@x"),
        event(3, on_behalf_of="tenant/carol"),
        event(300),
        event(4, at=datetime.now(UTC) - timedelta(days=3)),
    )
    long_ago = f"{datetime.now(UTC) - timedelta(days=9):%Y-%m-%dT%H:%M:%SZ}"
    hour = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    counts = [
        ({}, 4),
        ({"from": long_ago}, 5),
        ({"from": hour}, 3),
        ({"from": long_ago, "to": hour}, 2),
        ({"person": "BOB@X"}, 1),
        ({"person": "tenant/bob"}, 1),
        ({"person": "bob"}, 1),
        ({"person": "carol"}, 1),
        ({"virtualMachine": WEB.upper()}, 1),
        ({"operation": "closed"}, 1),
        ({"operation": "closed", "person": "alice"}, 0),
    ]
    assert [(query, len(activity(app, **query))) for query, _ in counts] == counts


def test_pages_are_complete(guard: Authority) -> None:
    """Each event once and in order, over the links, across days, whatever the page's size."""
    app = empty(guard)
    begin = datetime.now(UTC) - timedelta(days=2)
    seed(app, *(event(number, at=begin + timedelta(minutes=20 * number)) for number in range(100)))
    since = f"{begin:%Y-%m-%dT%H:%M:%SZ}"
    for top in (1, 7, 50, 100, 1000):
        found: list[str] = []
        link = f"/api/activity?from={since}&top={top}&person=alice"
        while link:
            page = app.call("GET", link, who=guard.person("reader")).json
            assert len(page["value"]) <= top
            found += [each["time"] for each in page["value"]]
            link = page.get("nextLink", "")
        assert len(found) == len(set(found)) == 100
        assert found == sorted(found)


def test_a_filter_that_fits_little_does_not_read_for_ever(
    guard: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many rows a page ends, empty if need be, and its link goes on from there."""
    monkeypatch.setattr("shared.use_cases.reports.activity._CHUNK", 10)
    monkeypatch.setattr("shared.use_cases.reports.activity._MOST_READ", 30)
    app = empty(guard)
    seed(
        app,
        *(event(number) for number in range(100)),
        event(100, operation="rare", at=datetime.now(UTC)),
    )
    link, pages, found = "/api/activity?operation=rare", 0, 0
    while link:
        app.world.tables.activity.rows_read = 0
        page = app.call("GET", link, who=guard.person("reader")).json
        assert app.world.tables.activity.rows_read <= 40
        found += len(page["value"])
        pages += 1
        link = page.get("nextLink", "")
    assert (found, pages > 2) == (1, True)


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "0001-01-01/x",
        "9999-12-31/x",
        "2026-13-45/x",
        "0001-01-01",
        "/",
        "-1/x",
        "%00",
        "%27%20or%201",
    ],
)
def test_a_made_up_token_reads_no_more_than_was_asked_for(guard: Authority, token: str) -> None:
    """It leads neither to the year one nor to an error of ours."""
    app = empty(guard)
    seed(app, event(1))
    app.world.tables.activity.rows_read = 0
    answer = app.call("GET", f"/api/activity?skipToken={token}", who=guard.person("reader"))
    assert answer.status == 200
    assert app.world.tables.activity.rows_read <= 4


@pytest.mark.parametrize(
    "query",
    ["top=0", "top=1001", "top=-1", "top=x", "top=1e3", "from=yesterday", "to=x", "from=2026-01-01",
     "from=2020-01-01T00:00:00Z", "from=2026-01-01T00:00:00", "top=" + "9" * 5000],
)  # fmt: skip
def test_a_query_that_cannot_be_read_is_refused(guard: Authority, query: str) -> None:
    """With what would be right."""
    answer = empty(guard).call("GET", f"/api/activity?{query}", who=guard.person("reader"))
    assert (answer.status, answer.error["code"]) == (400, "InvalidQuery")


def test_the_end_of_the_calendar_is_no_error(guard: Authority) -> None:
    """Nothing has happened there."""
    last = "from=9999-12-30T00:00:00Z&to=9999-12-31T23:59:59Z"
    answer = empty(guard).call("GET", f"/api/activity?{last}", who=guard.person("reader"))
    assert (answer.status, answer.json) == (200, {"value": []})


def test_an_unreadable_row_hides_no_other(guard: Authority) -> None:
    """It is told as unreadable, and the page goes on."""
    app = empty(guard)
    seed(app, event(1), event(2))
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    app.world.tables.activity.insert(Row(today, "0000|x", {"doc": "{"}))
    found = activity(app, **{"from": f"{today}T00:00:00Z"})
    assert "unreadable" in [each["operation"] for each in found]
    assert len(found) >= 2


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "' =1"),
        ("\r\n=1", "'  =1"),
        (" =1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("\u2028=1", "' =1"),
        ("a=1", "a=1"),
        ("a\nb\x00c", "a b c"),
        ("", ""),
        (-0.5, -0.5),
        (22, 22),
        (None, None),
    ],
)
def test_a_cell_is_text(value: Any, cell: Any) -> None:
    """A spreadsheet runs none; control characters are gone; numbers stay numbers."""
    assert neutral(value) == cell


def _cells(answer: Answer) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_csv_says_the_same(guard: Authority) -> None:
    """Every cell is quoted, so that no separator of any country ends one; the page goes on."""
    app = empty(guard)
    nasty = '=cmd|"/c calc"!A1;=2,"\n=3'
    seed(app, event(2, reason=nasty), event(1, port=22, lateness_seconds=1.5))
    answer = app.call("GET", "/api/activity?format=csv&top=1", who=guard.person("reader"))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="activity.csv"'
    (row,) = _cells(answer)
    assert row["reason"].startswith("'=cmd")
    assert "\n" not in row["reason"]
    assert all(cell.startswith('"') for cell in answer.text.splitlines())
    token = answer.headers["x-next-skip-token"]
    more = app.call(
        "GET", f"/api/activity?format=csv&top=1&skipToken={token}", who=guard.person("reader")
    )
    (row,) = _cells(more)
    assert (row["port"], row["latenessSeconds"], row["principal"]) == ("22", "1.5", "tenant/alice")


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nFORGED", "\u202eevil", "\x1b[31m", "\u2028x", "a\x00b"]
)
def test_control_characters_reach_no_log_and_no_rule(
    app: GuardedApp, guard: Authority, text: str
) -> None:
    """Not in a justification, nor in a comment; a line break alone is kept apart from the log."""
    alice = guard.person("alice", "Jit.Request")
    body = {**BODY, "justification": text}
    answer = app.call("POST", INITIATE, body, who=alice)
    assert answer.status in {202, 400}
    app.world.work()
    for nsg in app.world.firewall.groups:
        for rule in app.world.firewall.ours(nsg):
            assert rule.description.isprintable()
            assert SOURCE not in rule.description
