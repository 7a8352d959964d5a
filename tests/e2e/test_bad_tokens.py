"""Callers without a valid token get nothing, and no log keeps their token."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from local.hostile_tokens import HOSTILE, hostile_tokens
from tests.e2e.playing import POLICIES, SOURCE, SUBSCRIPTION, Answer, Caller, Json, Play, until

POLICY = f"{POLICIES}/absent"
SECURITY = "providers/Microsoft.Security"
BODY: Json = {"virtualMachines": []}
ROUTES = [
    ("PUT", POLICY),
    ("GET", POLICY),
    ("DELETE", POLICY),
    ("POST", f"{POLICY}/initiate"),
    ("GET", f"/subscriptions/{SUBSCRIPTION}/{SECURITY}/jitNetworkAccessPolicies"),
    (
        "GET",
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/app-rg/{SECURITY}/jitNetworkAccessPolicies",
    ),
    ("POST", "/api/requests"),
    ("GET", "/api/requests/0123456789abcdef01234567-0000000000000aaaaaaaa"),
]


def check_refused(answer: Answer) -> None:
    """Hold an answer to what a client needs to know in order to come back with a token."""
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    error = answer.json["error"]
    assert error["code"]
    assert error["message"]


def logs(play: Play) -> str:
    """Return everything that any part of the stack has written down."""
    folder = Path(play.stack.host_log).parent
    texts = [each for each in folder.rglob("*") if each.is_file()]
    assert play.stack.host_log in texts
    return "\n".join(each.read_text(encoding="utf-8", errors="replace") for each in texts)


def secrets(tokens: Iterable[str]) -> set[str]:
    """Return the parts of tokens by which a reader could use or rebuild them."""
    return {part for token in tokens for part in token.split(".")[1:] if len(part) > 20}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Basic YWxpY2U6c2VjcmV0", "nonsense"]
)
def test_no_token_is_refused_everywhere(
    play: Play, method: str, path: str, authorization: str | None
) -> None:
    """Every route asks who calls before anything else, and says how to answer that."""
    given = {} if authorization is None else {"Authorization": authorization}
    check_refused(Caller(play.stack.api).call(method, path, BODY, headers=given))


@pytest.mark.parametrize("forgery", HOSTILE)
def test_a_hostile_token_is_refused(play: Play, forgery: str) -> None:
    """Expired, of others, unsigned, signed with the public key, of an unknown key: each is 401."""
    token = hostile_tokens(play.stack.token_issuer)[forgery]
    for method, path in (
        ("PUT", POLICY),
        ("POST", f"{POLICY}/initiate"),
        ("POST", "/api/requests"),
    ):
        check_refused(play.bearer(token).call(method, path, BODY))
    assert play.admin.call("GET", POLICY).status == 404


def test_a_token_that_ends_is_refused_from_then_on(play: Play) -> None:
    """An expired token is accepted no longer than clocks may differ."""
    over = play.stack.token("alice", ["Jit.Admin"], lifetime=timedelta(seconds=-61))
    check_refused(play.bearer(over).call("GET", POLICY))
    within = play.stack.token("alice", ["Jit.Admin"], lifetime=timedelta(seconds=-30))
    assert play.bearer(within).call("GET", POLICY).status == 404


def test_no_token_is_in_any_log(play: Play) -> None:
    """Neither good tokens nor bad ones, whether the call went well, was refused or failed."""
    site = play.protected()
    hostile = hostile_tokens(play.stack.token_issuer).values()
    people = [play.admin, play.alice, play.person("mallory")]
    for token in hostile:
        check_refused(play.bearer(token).call("POST", "/api/requests", BODY))
        check_refused(play.bearer(token).call("GET", f"{POLICY}?token={SOURCE}"))
    for person in people:
        person.call("PUT", POLICY, b"not JSON")
        person.call("GET", "/api/nothing")
        person.call("POST", f"{site.policy_id}/initiate", {"virtualMachines": site.asked()})
    location = people[1].initiate(site.policy_id, site.asked(duration="PT5M"))
    people[1].wait(location, "Initiated")

    marker = site.vm.rpartition("/")[2]
    until(lambda: marker in logs(play), "the log speaks of the VM")
    text = logs(play)
    assert secrets(hostile)
    leaked = secrets([*hostile, *(person.token for person in people)])
    assert not [part[:12] for part in leaked if part in text]
    assert "eyJ" not in text
