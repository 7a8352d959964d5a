"""The client on the wire: what it sends, when it sends it again, and which errors it raises."""

from datetime import UTC, datetime
from typing import Any

import pytest

from jit_access.client import (
    ApiError,
    JitClient,
    Limits,
    NewEnd,
    NewPolicy,
    NewShortRequest,
    Repeat,
    WaitTimeoutError,
    wait_for_request,
)
from jit_access.client.bodies import NewConditions, NewPolicyProperties, NewPolicyVm
from jit_access.client.client import Conditions
from jit_access.client.errors import (
    ConflictError,
    InvalidRequestError,
    NotAuthenticatedError,
    NotFoundError,
    NotPermittedError,
    OutsidePolicyError,
    ServiceError,
    TooManyRequestsError,
    UnexpectedAnswerError,
    UnreachableError,
    UnsafeAddressError,
)
from jit_access.client.operations import REPEAT_ID
from tests.cli.scripted import Scripted, Service, serving

VM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/app-1"
POLICY = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Security/locations/l"
    "/jitNetworkAccessPolicies/default"
)
QUICK = Limits(retries=2, backoff_seconds=0.01, read_seconds=5)
SHORT = NewShortRequest(virtual_machine=VM, ports=(22,), duration="PT1H")
UNAVAILABLE = Scripted(503, {"error": {"code": "ServiceUnavailable", "message": "later"}})


def request(status: str = "Initiated", **more: Any) -> dict[str, Any]:
    """Return a request as the service answers it."""
    port = {
        "number": 22,
        "status": status,
        "statusReason": "UserRequested",
        "allowedSourceAddressPrefix": "203.0.113.7",
        "endTimeUtc": "2026-11-22T15:00:00.1234567Z",
        "firewalls": [],
    }
    return {
        "id": "r-1",
        "status": status,
        "policyId": POLICY,
        "virtualMachines": [{"id": VM, "ports": [port]}],
        "startTimeUtc": "2026-11-22T14:00:00Z",
        "requestor": "alice@contoso.example",
        "requestorObjectId": "o-1",
        "can": [],
        "latestEndTimeUtc": None,
        "openedAt": None,
        "closedAt": None,
        **more,
    }


def calling(service: Service, limits: Limits = QUICK) -> JitClient:
    """Return a client of a service."""
    return JitClient(service.url, lambda: "token-1", limits=limits, user_agent="test/1")


def accepted(service: Service) -> Scripted:
    """Return the answer to a request that was accepted."""
    location = f"{service.url}/api/requests/r-1"
    return Scripted(202, request("Initiating"), {"Location": location, "Retry-After": "7"})


def test_a_call_carries_the_token_and_names_the_client() -> None:
    """Authorization, Accept and User-Agent are sent; the User-Agent begins with the caller's."""
    with serving(Scripted(200, {"value": []})) as service, calling(service) as client:
        client.list_requests(policy="default")

    sent = service.seen[0]
    assert (sent.method, sent.path) == ("GET", "/api/requests?policy=default")
    assert sent.headers["authorization"] == "Bearer token-1"
    assert sent.headers["accept"] == "application/json"
    assert sent.headers["user-agent"].startswith("test/1 jit-access/")


def test_filters_and_conditions_are_sent_by_their_names() -> None:
    """Filters of requests go into the query, conditions of a write into its headers."""
    since = datetime(2026, 11, 22, 14, tzinfo=UTC)
    answers = [Scripted(200, {"value": []}), Scripted(204), Scripted(204)]
    with serving(*answers) as service, calling(service) as client:
        client.list_requests(mine=True, awaiting_me=True, status="Initiated", vm="v", since=since)
        client.delete_policy(POLICY, Conditions(if_match='"0A"'))
        client.delete_policy(POLICY, Conditions(must_not_exist=True))

    asked, matching, absent = service.seen
    assert asked.path == (
        "/api/requests?from=2026-11-22T14%3A00%3A00Z&mine=true&awaiting=me&status=Initiated&vm=v"
    )
    assert (matching.headers["if-match"], "if-none-match" in matching.headers) == ('"0A"', False)
    assert (absent.headers["if-none-match"], "if-match" in absent.headers) == ("*", False)


def test_health_is_read_without_a_token_and_503_is_its_answer() -> None:
    """The verdict is an answer on 503 too; it is neither an error nor retried."""
    with serving(Scripted(503, {"status": "Unhealthy"})) as service, calling(service) as client:
        assert client.get_health().status == "Unhealthy"

    assert len(service.seen) == 1
    assert "authorization" not in service.seen[0].headers


def test_a_request_is_retried_under_one_repeat_id() -> None:
    """A POST that requests access is sent again after a failure, with the same repeat id."""
    with serving(UNAVAILABLE, Scripted(0), UNAVAILABLE) as service, calling(service) as client:
        service.answers[-1] = accepted(service)
        answer = client.request_access_short(SHORT)

    assert (answer.value.id, answer.retry_after) == ("r-1", 7.0)
    assert answer.location.endswith("/api/requests/r-1")
    assert len({each.headers[REPEAT_ID.lower()] for each in service.seen}) == 1
    assert [each.body for each in service.seen] == [SHORT.to_json()] * 3


def test_a_call_that_is_sent_again_later_names_its_first_time() -> None:
    """A caller who kept the id sends it again with the time of the first call."""
    repeat = Repeat("kept", datetime(2026, 11, 22, 14, tzinfo=UTC))
    with serving(Scripted(0)) as service, calling(service) as client:
        service.answers[0] = accepted(service)
        client.request_access_short(SHORT, repeat)

    sent = service.seen[0].headers
    assert sent["repeatability-request-id"] == "kept"
    assert sent["repeatability-first-sent"] == "Sun, 22 Nov 2026 14:00:00 GMT"


def test_two_requests_have_two_repeat_ids() -> None:
    """Each call of the method is a new request."""
    with serving(Scripted(0)) as service, calling(service) as client:
        service.answers[0] = accepted(service)
        client.request_access_short(SHORT)
        client.request_access_short(SHORT)

    assert len({each.headers[REPEAT_ID.lower()] for each in service.seen}) == 2


@pytest.mark.parametrize("answer", [UNAVAILABLE, Scripted(0)])
def test_an_extension_is_never_sent_twice(answer: Scripted) -> None:
    """A call that is not idempotent fails at the first lost or failed answer."""
    with (
        serving(answer) as service,
        calling(service) as client,
        pytest.raises((ServiceError, UnreachableError)),
    ):
        client.extend_request("r-1", NewEnd(duration="PT1H"))

    assert len(service.seen) == 1


def test_a_throttled_call_is_sent_again_after_its_time() -> None:
    """429 means that nothing was done: any call is repeated after Retry-After."""
    throttled = Scripted(429, {"error": {"code": "TooManyRequests", "message": "slow"}})
    with serving(throttled, Scripted(200, request())) as service, calling(service) as client:
        assert client.extend_request("r-1", NewEnd(duration="PT1H")).id == "r-1"

    assert len(service.seen) == 2


def test_a_long_retry_after_is_reported_at_once() -> None:
    """The client does not sleep longer than it may; the error carries the time."""
    body = {"error": {"code": "TooManyRequests", "message": "slow"}}
    with (
        serving(Scripted(429, body, {"Retry-After": "45"})) as service,
        calling(service) as client,
        pytest.raises(TooManyRequestsError) as raised,
    ):
        client.list_requests()

    assert raised.value.retry_after == 45.0
    assert len(service.seen) == 1


@pytest.mark.parametrize(
    ("status", "code", "error_type"),
    [
        (400, "InvalidRequestContent", InvalidRequestError),
        (400, "RequestNotWithinPolicy", OutsidePolicyError),
        (401, "AuthenticationFailed", NotAuthenticatedError),
        (403, "AuthorizationFailed", NotPermittedError),
        (404, "RequestNotFound", NotFoundError),
        (409, "NotOpen", ConflictError),
        (500, "InternalServerError", ServiceError),
    ],
)
def test_a_refusal_is_an_error_with_all_its_parts(
    status: int, code: str, error_type: type[ApiError]
) -> None:
    """Status, code, message, lines and request id are on the error."""
    line = {"code": "SourceNotAllowed", "message": "too wide", "target": "ports[0]"}
    body = {"error": {"code": code, "message": "no", "details": [line]}}
    answer = Scripted(status, body, {"x-ms-request-id": "q-1"})
    with (
        serving(answer) as service,
        calling(service) as client,
        pytest.raises(error_type) as raised,
    ):
        client.get_request("r-1")

    error = raised.value
    assert type(error) is error_type
    assert (error.status, error.code, error.message) == (status, code, "no")
    assert (error.request_id, error.details[0].target) == ("q-1", "ports[0]")


def test_an_error_of_a_proxy_is_told_from_the_services() -> None:
    """An error page without the envelope says that the service did not write it."""
    with (
        serving(Scripted(403, b"<html>Forbidden</html>")) as service,
        calling(service) as client,
        pytest.raises(NotPermittedError, match="a proxy or the platform"),
    ):
        client.list_requests()


@pytest.mark.parametrize(
    "body", [b"<html>hello</html>", [], {"id": 5}, {**request(), "openedAt": "soon"}]
)
def test_another_service_at_the_address_is_noticed(body: Any) -> None:
    """An answer that does not fit the description is an error of its own, never a default."""
    with (
        serving(Scripted(200, body)) as service,
        calling(service) as client,
        pytest.raises(UnexpectedAnswerError),
    ):
        client.get_request("r-1")


def test_an_answer_keeps_fields_that_the_client_does_not_know() -> None:
    """A newer service's field is in `raw`; known fields are typed."""
    with (
        serving(Scripted(200, request(mappedPort=50022))) as service,
        calling(service) as client,
    ):
        found = client.get_request("r-1")

    assert found.raw["mappedPort"] == 50022
    assert found.end == datetime(2026, 11, 22, 15, 0, 0, 123456, UTC)
    assert found.ports[0][1].sources == ("203.0.113.7",)


def test_no_answer_is_an_error_that_names_the_address() -> None:
    """A refused connection tells the address and the system's reason."""
    with serving(Scripted(200, {})) as service:
        pass
    with calling(service) as client, pytest.raises(UnreachableError) as raised:
        client.list_requests()

    assert str(raised.value) == f"no answer from {service.url}: Connection refused"


def test_a_slow_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for an answer is bounded."""
    monkeypatch.setattr(Service, "take", lambda *_: __import__("time").sleep(1) or Scripted(0))
    limits = Limits(retries=0, read_seconds=0.05)
    with (
        serving(Scripted(0)) as service,
        calling(service, limits) as client,
        pytest.raises(UnreachableError, match="timed out"),
    ):
        client.list_requests()


@pytest.mark.parametrize(
    "url", ["http://jit.example", "ftp://127.0.0.1", "jit.example", "http://127.0.0.1.example"]
)
def test_a_token_never_goes_over_an_open_line(url: str) -> None:
    """http:// is refused but for this machine."""
    with pytest.raises(UnsafeAddressError):
        JitClient(url, lambda: "token-1")


def test_a_token_never_goes_to_another_host() -> None:
    """A next page or a Location elsewhere is refused; that host is not called."""
    with serving(Scripted(200, {"value": []})) as other:
        page = {"value": [], "nextLink": f"{other.url}/api/requests?$skipToken=x"}
        with serving(Scripted(200, page)) as service, calling(service) as client:
            with pytest.raises(UnsafeAddressError):
                list(client.every(client.list_requests()))
            with pytest.raises(UnsafeAddressError):
                client.poll(f"{other.url}/api/requests/r-1")

    assert other.seen == []


def test_a_list_is_followed_to_its_end() -> None:
    """Every page is read, by the link that the page before gave."""
    with serving(Scripted(200), Scripted(200, {"value": [request()]})) as service:
        link = f"{service.url}/api/requests?$skipToken=abc"
        service.answers[0] = Scripted(200, {"value": [request(id="r-0")], "nextLink": link})
        with calling(service) as client:
            found = [each.id for each in client.every(client.list_requests())]

    assert found == ["r-0", "r-1"]
    assert service.seen[1].path == "/api/requests?$skipToken=abc"


def test_a_name_in_a_path_is_escaped() -> None:
    """An id cannot reach another route."""
    with serving(Scripted(200, request())) as service, calling(service) as client:
        client.get_request("../policies?x=1")

    assert service.seen[0].path == "/api/requests/..%2Fpolicies%3Fx%3D1"


def test_waiting_polls_as_the_answers_ask() -> None:
    """Each pause is the answer's Retry-After, and each state is shown."""
    states = [
        Scripted(202, request("PendingApproval"), {"Retry-After": "5"}),
        Scripted(202, request("Initiating"), {"Retry-After": "2"}),
        Scripted(200, request("Initiated")),
    ]
    pauses: list[float] = []
    seen: list[str] = []
    with serving(*states) as service, calling(service) as client:
        found = wait_for_request(
            client,
            "/api/requests/r-1",
            on_poll=lambda request: seen.append(request.status),
            sleep=pauses.append,
        )

    assert found.status == "Initiated"
    assert seen == ["PendingApproval", "Initiating", "Initiated"]
    assert pauses == [5.0, 2.0]


def test_waiting_ends_at_its_time() -> None:
    """The error has the last state, and the pauses fill the time exactly."""
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    answer = Scripted(202, request("PendingApproval"), {"Retry-After": "5"})
    with (
        serving(answer) as service,
        calling(service) as client,
        pytest.raises(WaitTimeoutError) as raised,
    ):
        wait_for_request(
            client, "/api/requests/r-1", timeout_seconds=12, clock=lambda: now[0], sleep=sleep
        )

    assert raised.value.request.status == "PendingApproval"
    assert now == [112.0]


def test_a_body_sends_what_was_set() -> None:
    """Defaults are left out; empty conditions are sent, since they remove those that stand."""
    kept = NewPolicyProperties(virtual_machines=(NewPolicyVm(id=VM),))
    removed = NewPolicyProperties(virtual_machines=(), conditions=NewConditions())

    assert NewPolicy(properties=kept).to_json() == {"properties": {"virtualMachines": [{"id": VM}]}}
    assert NewPolicy(properties=removed).to_json() == {
        "properties": {"virtualMachines": [], "conditions": {}}
    }
    end = NewEnd(end_time_utc=datetime(2026, 11, 22, 15, tzinfo=UTC))
    assert end.to_json() == {"endTimeUtc": "2026-11-22T15:00:00Z"}
