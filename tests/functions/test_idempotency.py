"""A call sent again: which headers name it, for how long, and what is a new call."""

from datetime import timedelta
from typing import Any

import pytest

from tests.functions.web_app import AS_ADMIN, AS_ALICE, AS_BOB, Answer, WebApp, asking, policy_body
from tests.world import POLICY, WEB

INITIATE = f"{POLICY}/initiate"
CORRELATION = "x-ms-client-request-id"
NAMED = "Repeatability-Request-ID"
FIRST_SENT = "Repeatability-First-Sent"
SHORT = {
    "virtualMachine": WEB,
    "ports": [22],
    "duration": "PT1H",
    "allowedSourceAddressPrefix": "203.0.113.7",
}
FORMS = pytest.mark.parametrize(("path", "body"), [(INITIATE, asking()), ("/api/requests", SHORT)])


@pytest.fixture(autouse=True)
def _policy(web: WebApp) -> None:
    protect(web)


def protect(web: WebApp, **conditions: Any) -> None:
    """PUT a policy over the test VMs and let it be applied."""
    body = policy_body()
    if conditions:
        body["properties"]["conditions"] = conditions
    web.call("PUT", POLICY, body, who=AS_ADMIN)
    web.world.work()


def post(web: WebApp, path: str, body: Any, **headers: str) -> Answer:
    """Ask for access under some headers; underscores stand for hyphens."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.call("POST", path, body, who=AS_ALICE, headers=sent)


def location(answer: Answer) -> str:
    """Return where the request of an accepted call is found."""
    assert answer.status == 202, answer.text
    return answer.headers["Location"]


def revoke(web: WebApp, answer: Answer) -> None:
    """Close the request of an accepted call, and let it be closed."""
    assert web.call("POST", f"{location(answer)}/revoke", who=AS_ALICE).status == 200
    web.world.work()


def expire(web: WebApp, _: Answer) -> None:
    """Let the request end by itself."""
    web.world.pass_time(61)


def expire_unswept(web: WebApp, _: Answer) -> None:
    """Let the end pass while no sweep runs."""
    web.world.clock.advance(3601)


def fail(web: WebApp, answer: Answer) -> None:
    """Let the opening of the request fail for good."""
    web.world.unpermitted.add("tenant/alice-id")
    web.world.work()
    web.world.unpermitted.clear()
    assert web.call("GET", location(answer), who=AS_ALICE).json["status"] == "Failed"


@pytest.mark.parametrize("ended", [revoke, expire, expire_unswept])
@FORMS
def test_a_session_id_never_answers_with_a_request_that_has_ended(
    web: WebApp, path: str, body: Any, ended: Any
) -> None:
    """A caller whose tool sends one correlation id for a whole session gets access again."""
    first = post(web, path, body, x_ms_client_request_id="tool-session-1")
    web.world.work()
    ended(web, first)
    again = post(web, path, body, x_ms_client_request_id="tool-session-1")
    assert location(again) != location(first)
    web.world.work()
    assert web.call("GET", location(again), who=AS_ALICE).json["status"] == "Initiated"


@FORMS
def test_a_session_id_never_answers_with_a_request_that_failed(
    web: WebApp, path: str, body: Any
) -> None:
    """A request that could not be opened is asked for anew."""
    first = post(web, path, body, x_ms_client_request_id="tool-session-1")
    fail(web, first)
    again = post(web, path, body, x_ms_client_request_id="tool-session-1")
    assert location(again) != location(first)


def test_a_session_id_never_answers_with_a_request_whose_approval_timed_out(web: WebApp) -> None:
    """A request whose deadline for approval has passed is no longer waiting, swept or not."""
    protect(web, approversNeeded=1, approvalTimeout="PT1M")
    first = post(web, INITIATE, asking(), x_ms_client_request_id="s")
    retried = post(web, INITIATE, asking(), x_ms_client_request_id="s")
    web.world.clock.advance(60)
    again = post(web, INITIATE, asking(), x_ms_client_request_id="s")
    assert location(retried) == location(first) != location(again)


def test_a_session_id_never_answers_with_a_request_that_has_ended_in_part(web: WebApp) -> None:
    """Where one of two ports was closed, the same body opens both again."""
    body = asking()
    body["virtualMachines"].append(
        {**asking()["virtualMachines"][0], "id": WEB.replace("/web", "/db")}
    )
    first = post(web, INITIATE, body, x_ms_client_request_id="s")
    web.world.work()
    closed = web.call("POST", f"{location(first)}/revoke", {"virtualMachine": WEB}, who=AS_ALICE)
    assert closed.status == 200
    again = post(web, INITIATE, body, x_ms_client_request_id="s")
    assert location(again) != location(first)


@pytest.mark.parametrize("worked", [False, True])
@FORMS
def test_an_sdk_retry_opens_nothing_twice(
    web: WebApp, path: str, body: Any, *, worked: bool
) -> None:
    """The same id and body within minutes lead to the request that waits or is open."""
    first = post(web, path, body, x_ms_client_request_id="call-1")
    if worked:
        web.world.work()
    web.world.clock.advance(299)
    assert location(post(web, path, body, x_ms_client_request_id="call-1")) == location(first)
    web.world.clock.advance(1)
    assert location(post(web, path, body, x_ms_client_request_id="call-1")) != location(first)


@pytest.mark.parametrize(
    "other",
    [asking(duration="PT30M"), asking(port=3389), asking(allowedSourceAddressPrefix="203.0.113.8"),
     asking() | {"justification": "INC1"}],
)  # fmt: skip
def test_a_correlation_id_on_another_body_is_another_call(web: WebApp, other: Any) -> None:
    """A process that sends one id with everything it asks for is never refused for it."""
    first = post(web, INITIATE, asking(), x_ms_client_request_id="process-7")
    second = post(web, INITIATE, other, x_ms_client_request_id="process-7")
    retried = post(web, INITIATE, asking(), x_ms_client_request_id="process-7")
    assert location(first) == location(retried) != location(second)


def test_a_correlation_id_from_another_address_is_another_call(web: WebApp) -> None:
    """A caller who names no source and has moved opens the new address."""
    body = asking(allowedSourceAddressPrefix=None)
    first = post(web, INITIATE, body, x_ms_client_request_id="s")
    moved = post(web, INITIATE, body, x_ms_client_request_id="s", X_Forwarded_For="198.51.100.9:1")
    assert location(first) != location(moved)
    [vm] = moved.json["virtualMachines"]
    assert vm["ports"][0]["allowedSourceAddressPrefix"] == "198.51.100.9"


def test_a_correlation_id_belongs_to_its_caller(web: WebApp) -> None:
    """Another caller with the same id and body gets a request of their own."""
    sent = {CORRELATION: "s"}
    first = web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent)
    second = web.call("POST", INITIATE, asking(), who=AS_BOB, headers=sent)
    assert location(first) != location(second)


@pytest.mark.parametrize(
    "text",
    ["x" * 129, "y" * 20_000, "tab\there", "null\x00", "a, b", "é", "财务", "\ud800", "{}", " ",
     "00000000-0000-0000-0000-000000000000"],
)  # fmt: skip
def test_any_correlation_id_is_taken(web: WebApp, text: str) -> None:
    """A correlation id is never refused, whatever it says, and still recognises a retry."""
    answers = [web.call("POST", INITIATE, asking(), who=AS_ALICE, headers={CORRELATION: text})
               for _ in range(2)]  # fmt: skip
    assert len({location(each) for each in answers}) == 1
    assert "Repeatability-Result" not in answers[0].headers


def test_the_name_of_a_call_goes_before_its_correlation_id(web: WebApp) -> None:
    """An SDK sends its correlation id with every call; two named calls stay two calls."""
    sent = {"x_ms_client_request_id": "s"}
    first = post(web, INITIATE, asking(), Repeatability_Request_ID="one", **sent)
    second = post(web, INITIATE, asking(), Repeatability_Request_ID="two", **sent)
    assert location(first) != location(second)


@pytest.mark.parametrize("ended", [revoke, expire])
def test_a_named_call_keeps_its_answer_for_a_day(web: WebApp, ended: Any) -> None:
    """The same call, sent again, is never made twice, even after its request has ended."""
    first = post(web, INITIATE, asking(), Repeatability_Request_ID="one")
    web.world.work()
    ended(web, first)
    assert location(post(web, INITIATE, asking(), Repeatability_Request_ID="one")) == location(
        first
    )


def test_a_named_call_with_another_body_says_so(web: WebApp) -> None:
    """The refusal names the id and carries the standard's verdict."""
    post(web, INITIATE, asking(), Repeatability_Request_ID="one")
    refused = post(web, INITIATE, asking(port=3389), Repeatability_Request_ID="one")
    assert (refused.status, refused.error["code"]) == (400, "RepeatedRequestDiffers")
    assert "'one'" in refused.error["message"]
    assert refused.headers["Repeatability-Result"] == "rejected"


def http_date(web: WebApp, **ago: float) -> str:
    """Write the time some while ago as an HTTP date."""
    return (web.world.clock() - timedelta(**ago)).strftime("%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize("ago", [{"minutes": -5}, {}, {"hours": 1}, {"hours": 23, "minutes": 55}])
def test_a_call_first_sent_within_the_day_is_taken(web: WebApp, ago: dict[str, float]) -> None:
    """The time a call was first sent may lie within the retention of keys, or a little ahead."""
    sent = {NAMED: "one", FIRST_SENT: http_date(web, **ago)}
    taken = web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent)
    assert location(taken)
    assert taken.headers["Repeatability-Result"] == "accepted"


@pytest.mark.parametrize("ago", [{"hours": 23, "minutes": 55, "seconds": 1}, {"days": 400}])
def test_a_call_first_sent_too_long_ago_is_refused(web: WebApp, ago: dict[str, float]) -> None:
    """A call older than the retention of keys gets 412, as the guideline says."""
    sent = {NAMED: "one", FIRST_SENT: http_date(web, **ago)}
    refused = web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent)
    assert (refused.status, refused.error["code"]) == (412, "RepeatabilityWindowPassed")
    assert refused.headers["Repeatability-Result"] == "rejected"
    assert not web.world.queues.waiting


@pytest.mark.parametrize(
    "text",
    ["yesterday", "2026-11-22T14:00:00Z", "Sun, 22 Nov 2026 14:00:00 +0000", "1795356000",
     "Sun, 31 Feb 2026 14:00:00 GMT", "Sun, 22 Nov 2026 14:05:01 GMT"],
)  # fmt: skip
def test_a_time_that_is_none_is_refused(web: WebApp, text: str) -> None:
    """Anything but an HTTP date, and a time in the future, is 400 and says what is needed."""
    sent = {NAMED: "one", FIRST_SENT: text}
    refused = web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent)
    assert (refused.status, refused.error["code"]) == (400, "InvalidRequestId")
    assert FIRST_SENT in refused.error["message"]


def test_a_time_without_an_id_is_refused(web: WebApp) -> None:
    """The time of first sending names no call; a correlation id does not stand in for the name."""
    sent = {CORRELATION: "s", FIRST_SENT: http_date(web)}
    refused = web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent)
    assert (refused.status, refused.error["code"]) == (400, "InvalidRequestId")
