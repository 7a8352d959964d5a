"""How much one caller can take: calls, refusals on record, ports open and waiting."""

import json
from dataclasses import replace

from tests.functions.authority_app import Authority, GuardedApp, governed
from tests.functions.test_authority_table import BODY, SHORT
from tests.functions.web_app import Answer
from tests.world import POLICY

INITIATE = f"{POLICY}/initiate"


def test_calls_are_bounded_per_caller(guard: Authority) -> None:
    """The caller after the last gets 429 and when to come again; another caller gets in."""
    app = GuardedApp(governed(), guard, calls_per_minute=10)
    flooder, other = guard.person("flooder-1"), guard.person("calm", "Jit.Read")
    answers = [app.call("GET", POLICY, who=flooder) for _ in range(12)]
    assert [answer.status for answer in answers] == [403] * 10 + [429] * 2
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 61
    assert answers[-1].error["code"] == "TooManyRequests"
    assert app.call("GET", POLICY, who=other).status == 200


def test_what_is_put_on_record_is_bounded_with_the_calls(guard: Authority) -> None:
    """A flood of refusals is recorded as often as calls are let through, and no more."""
    app = GuardedApp(governed(), guard, calls_per_minute=10)
    for _ in range(40):
        app.call("GET", POLICY, who=guard.person("flooder-2"))
    told = [row for row in app.world.tables.activity.rows.values() if "refused" in str(row.values)]
    assert len(told) == 10


def test_open_and_waiting_ports_are_bounded_per_caller(guard: Authority) -> None:
    """One caller fills neither the priorities nor the approvers' day; ended ones count no more."""
    world = governed(approvers_needed=1)
    app = GuardedApp(world, guard)
    app.services = replace(app.services, most_live_ports=2)
    alice = guard.person("alice", "Jit.Request")
    first, second, third = (app.call("POST", "/api/requests", SHORT, who=alice) for _ in range(3))
    assert [first.status, second.status, third.status] == [202, 202, 429]
    assert int(third.headers["Retry-After"]) > 0
    assert "2" in third.error["message"]
    bob = guard.person("bob", "Jit.Request")
    assert app.call("POST", "/api/requests", SHORT, who=bob).status == 202
    path = f"/api/requests/{first.json['id']}/revoke"
    assert app.call("POST", path, {}, who=alice).status == 200
    assert app.call("POST", "/api/requests", SHORT, who=alice).status == 202


def test_open_ports_are_bounded_per_firewall(app: GuardedApp, guard: Authority) -> None:
    """All callers together leave room for protecting and closing; what has ended counts no more."""
    app.services = replace(app.services, most_grants=2)
    asked = []
    for name in ("alice", "bob"):
        who = guard.person(name, "Jit.Request")
        answer = app.call("POST", "/api/requests", SHORT, who=who)
        assert answer.status == 202
        app.world.work()
        asked.append((who, answer.json["id"]))
    carol = guard.person("carol", "Jit.Request")
    refused = app.call("POST", "/api/requests", SHORT, who=carol)
    assert (refused.status, int(refused.headers["Retry-After"]) > 0) == (429, True)
    assert "temporary rules" in refused.error["message"]
    who, request_id = asked[0]
    assert app.call("POST", f"/api/requests/{request_id}/revoke", {}, who=who).status == 200
    assert app.call("POST", "/api/requests", SHORT, who=carol).status == 202


def _told(answer: Answer) -> str:
    return f"{answer.text}{dict(answer.headers)}"


def test_no_refusal_shows_what_is_inside(app: GuardedApp, guard: Authority) -> None:
    """Neither stack traces nor addresses of ours."""
    for who in ({}, guard.person("norole"), guard.person("alice", "Jit.Request")):
        for body in ("{", "[]", '{"virtualMachines": 7}', json.dumps(BODY)):
            told = _told(app.call("POST", INITIATE, body, who=who))
            assert "Traceback" not in told
            assert "127.0.0.1" not in told
