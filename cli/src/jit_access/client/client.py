"""The client: one method for each operation of the API."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypedDict, TypeVar, Unpack

from jit_access.client import bodies, models
from jit_access.client.json_models import Body, Json, Model, write_instant
from jit_access.client.operations import (
    API_VERSION,
    CLOUD_VERSION,
    IF_MATCH,
    IF_NONE_MATCH,
    OPERATIONS,
)
from jit_access.client.transport import Answer, Limits, Repeat, Token, Transport

_POLICY_ID = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)/providers/"
    r"Microsoft\.Security/locations/(?P<location>[^/]+)/jitNetworkAccessPolicies/(?P<name>[^/]+)",
    re.IGNORECASE,
)
POLL_SECONDS = 2.0

AnyModel = TypeVar("AnyModel", bound=Model)
Item_co = TypeVar("Item_co", covariant=True)


class Page(Protocol[Item_co]):
    """A page of a list."""

    @property
    def value(self) -> tuple[Item_co, ...]:
        """Return the items of this page."""
        ...

    @property
    def next_link(self) -> str | None:
        """Return the address of the next page."""
        ...


@dataclass(frozen=True)
class Accepted(Generic[AnyModel]):
    """A request that was accepted, and where to ask for its state."""

    value: AnyModel
    location: str
    retry_after: float


@dataclass(frozen=True)
class Polled:
    """The state of a request, and when to ask again; None: it is decided."""

    request: models.RequestStatus
    retry_after: float | None


class ActivityFilters(TypedDict, total=False):
    """Filters for a list of audit events."""

    since: datetime | None
    until: datetime | None
    person: str
    virtual_machine: str
    operation: str
    top: int


class RequestFilters(TypedDict, total=False):
    """Filters for a list of requests."""

    policy: str
    mine: bool
    awaiting_me: bool
    status: str
    vm: str
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True)
class Conditions:
    """The condition on the policy that a write replaces: an etag or `*`, or that there is none."""

    if_match: str = ""
    must_not_exist: bool = False

    def headers(self) -> dict[str, str]:
        """Return the headers that carry them."""
        absent = "*" if self.must_not_exist else ""
        return _given(**{IF_MATCH: self.if_match, IF_NONE_MATCH: absent})


class JitClient:
    """Calls one JIT service. `token` returns an access token and is called for each attempt."""

    def __init__(
        self, url: str, token: Token, *, limits: Limits | None = None, user_agent: str = ""
    ) -> None:
        self._transport = Transport(url, token, limits=limits, user_agent=user_agent)
        self.url = self._transport.url

    def close(self) -> None:
        """Close its connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Policies

    def list_policies(self, subscription: str) -> models.PolicyList:
        """List the policies of a subscription."""
        return self._list_policies("list_policies", subscription=subscription)

    def list_policies_of_location(self, subscription: str, location: str) -> models.PolicyList:
        """List the policies of a subscription in one location."""
        parts = {"subscription": subscription, "location": location}
        return self._list_policies("list_policies_of_location", **parts)

    def list_policies_of_group(self, subscription: str, group: str) -> models.PolicyList:
        """List the policies of a resource group."""
        parts = {"subscription": subscription, "group": group}
        return self._list_policies("list_policies_of_group", **parts)

    def list_policies_of_group_and_location(
        self, subscription: str, group: str, location: str
    ) -> models.PolicyList:
        """List the policies of a resource group in one location."""
        parts = {"subscription": subscription, "group": group, "location": location}
        return self._list_policies("list_policies_of_group_and_location", **parts)

    def _list_policies(self, name: str, **parts: str) -> models.PolicyList:
        answer = self._call(name, parts, _VERSION)
        return models.PolicyList.from_json(answer.json())

    def get_policy(self, policy_id: str) -> models.Policy:
        """Read a policy and its newest requests."""
        answer = self._call("get_policy", policy_parts(policy_id), _VERSION)
        return models.Policy.from_json(answer.json())

    def put_policy(
        self, policy_id: str, body: bodies.NewPolicy | Json, conditions: Conditions | None = None
    ) -> models.Policy:
        """Write a policy; it replaces the whole list of VMs."""
        parts, sent = policy_parts(policy_id), (conditions or Conditions()).headers()
        answer = self._call("put_policy", parts, _VERSION, body, conditions=sent)
        return models.Policy.from_json(answer.json())

    def dry_run_policy(self, policy_id: str, body: bodies.NewPolicy | Json) -> models.PolicyDryRun:
        """Return what writing a policy would lead to; nothing is written."""
        answer = self._call("put_policy", policy_parts(policy_id), _VERSION | _DRY_RUN, body)
        return models.PolicyDryRun.from_json(answer.json())

    def delete_policy(self, policy_id: str, conditions: Conditions | None = None) -> bool:
        """Delete a policy; False: there was none."""
        parts, sent = policy_parts(policy_id), (conditions or Conditions()).headers()
        answer = self._call("delete_policy", parts, _VERSION, conditions=sent)
        return answer.status == 200  # noqa: PLR2004 - HTTP

    # Requests

    def request_access(
        self, policy_id: str, body: bodies.NewRequest | Json, repeat: Repeat | None = None
    ) -> Accepted[models.Request]:
        """Request access at Microsoft's path; raises OutsidePolicyError with each line."""
        parts = policy_parts(policy_id)
        answer = self._call("request_access", parts, _VERSION, body, repeat)
        return _accepted(answer, models.Request)

    def dry_run_access(
        self, policy_id: str, body: bodies.NewRequest | Json
    ) -> models.RequestDryRun:
        """Return what a request at Microsoft's path would lead to; nothing is written."""
        query = _VERSION | _DRY_RUN
        answer = self._call("request_access", policy_parts(policy_id), query, body)
        return models.RequestDryRun.from_json(answer.json())

    def request_access_short(
        self, body: bodies.NewShortRequest | Json, repeat: Repeat | None = None
    ) -> Accepted[models.RequestStatus]:
        """Request access to a VM; the service finds its policy."""
        answer = self._call("request_access_short", body=body, repeat=repeat)
        return _accepted(answer, models.RequestStatus)

    def dry_run_access_short(self, body: bodies.NewShortRequest | Json) -> models.RequestDryRun:
        """Return what a request would lead to; nothing is written."""
        answer = self._call("request_access_short", query=_DRY_RUN, body=body)
        return models.RequestDryRun.from_json(answer.json())

    def list_requests(self, **filters: Unpack[RequestFilters]) -> models.RequestList:
        """List requests, newest first: all that the caller may read, else the caller's own."""
        answer = self._call("list_requests", query=_request_query(filters))
        return models.RequestList.from_json(answer.json())

    def get_request(self, request_id: str) -> models.RequestStatus:
        """Return the state of a request."""
        return self.poll(OPERATIONS["get_request"].path_for(id=request_id)).request

    def poll(self, location: str) -> Polled:
        """Return the state of a request at the Location of an answer."""
        answer = self._transport.send(OPERATIONS["get_request"], location)
        is_undecided = answer.status == 202  # noqa: PLR2004 - HTTP
        wait = (answer.retry_after or POLL_SECONDS) if is_undecided else None
        return Polled(models.RequestStatus.from_json(answer.json()), wait)

    def approve_request(
        self, request_id: str, body: bodies.NewDecision | Json | None = None
    ) -> models.RequestStatus:
        """Approve a request."""
        return self._decide("approve_request", request_id, body or bodies.NewDecision())

    def deny_request(
        self, request_id: str, body: bodies.NewDecision | Json | None = None
    ) -> models.RequestStatus:
        """Deny a request; one denial is enough."""
        return self._decide("deny_request", request_id, body or bodies.NewDecision())

    def revoke_request(
        self, request_id: str, body: bodies.NewDecision | Json | None = None
    ) -> models.RequestStatus:
        """Revoke a request before its end."""
        return self._decide("revoke_request", request_id, body or bodies.NewDecision())

    def extend_request(self, request_id: str, body: bodies.NewEnd | Json) -> models.RequestStatus:
        """Give an open request a later end. A lost answer is not retried."""
        return self._decide("extend_request", request_id, body)

    def _decide(self, name: str, request_id: str, body: Body | Json) -> models.RequestStatus:
        answer = self._call(name, {"id": request_id}, body=body)
        return models.RequestStatus.from_json(answer.json())

    def revoke_all(self, body: bodies.RevokeAll | Json) -> models.RequestList:
        """Revoke everything on a VM, or everything of a requestor."""
        return models.RequestList.from_json(self._call("revoke_all", body=body).json())

    # Reports

    def get_me(self, *, scope: str = "") -> models.Me:
        """Return the caller as the service sees it: address, actions held and limits."""
        return models.Me.from_json(self._call("get_me", query=_given(scope=scope)).json())

    def list_machines(self, *, scope: str = "") -> models.MachineList:
        """List the VMs in scope with the state of their protection."""
        answer = self._call("list_machines", query=_given(scope=scope))
        return models.MachineList.from_json(answer.json())

    def get_activity(self, **filters: Unpack[ActivityFilters]) -> models.ActivityList:
        """List audit events, oldest first; of the last day without a time."""
        answer = self._call("get_activity", query=_activity_query(filters))
        return models.ActivityList.from_json(answer.json())

    def activity_csv(self, **filters: Unpack[ActivityFilters]) -> Iterator[str]:
        """Yield the audit events as CSV, page by page, with one heading."""
        query = {**_activity_query(filters), "format": "csv"}
        heading = ""
        while True:
            answer = self._call("get_activity", query=query)
            text = answer.content.decode()
            yield text.removeprefix(heading)
            heading = text[: text.index("\n") + 1]
            following = answer.headers.get("x-next-skip-token", "")
            if not following:
                return
            query = {**query, "skipToken": following}

    def get_health(self) -> models.Health:
        """Return the verdict on the app's health; no token is sent."""
        return models.Health.from_json(self._call("get_health").json())

    def get_cloud_metadata(self) -> models.CloudMetadata:
        """Return where to sign in for the app and for which audience; no token is sent."""
        answer = self._call("get_cloud_metadata", query={"api-version": CLOUD_VERSION})
        return models.CloudMetadata.from_json(answer.json())

    def get_openapi(self) -> Json:
        """Return the description of the API."""
        document: Json = self._call("get_openapi").json()
        return document

    # All of them

    def every(self, page: Page[Item_co]) -> Iterator[Item_co]:
        """Yield the items of a page and of all that follow it."""
        for each in self.pages(page):
            yield from each.value

    def pages(self, page: Page[Item_co]) -> Iterator[Page[Item_co]]:
        """Yield a page and all that follow it, each read when it is asked for."""
        model: Any = type(page)
        yield page
        while page.next_link:
            page = model.from_json(self._transport.send(_LISTS[model], page.next_link).json())
            yield page

    def _call(
        self,
        name: str,
        parts: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Body | Json | None = None,
        repeat: Repeat | None = None,
        conditions: Mapping[str, str] | None = None,
    ) -> Answer:
        operation = OPERATIONS[name]
        content = body.to_json() if isinstance(body, Body) else body
        path = operation.path_for(**(parts or {}))
        return self._transport.send(operation, path, query, content, repeat, conditions)


_VERSION = {"api-version": API_VERSION}
_DRY_RUN = {"dryRun": "true"}
_LISTS = {
    models.PolicyList: OPERATIONS["list_policies"],
    models.RequestList: OPERATIONS["list_requests"],
    models.MachineList: OPERATIONS["list_machines"],
    models.ActivityList: OPERATIONS["get_activity"],
}


def policy_parts(policy_id: str) -> dict[str, str]:
    """Return the parts of a policy's id; raises ValueError for another text."""
    found = _POLICY_ID.fullmatch(policy_id)
    if found is None:
        raise ValueError(f"'{policy_id}' is not the id of a JIT policy")
    return found.groupdict()


def _given(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _request_query(filters: RequestFilters) -> dict[str, str]:
    since, until = filters.get("since"), filters.get("until")
    return _given(
        **{"from": write_instant(since) if since else ""},
        to=write_instant(until) if until else "",
        policy=filters.get("policy", ""),
        mine="true" if filters.get("mine") else "",
        awaiting="me" if filters.get("awaiting_me") else "",
        status=filters.get("status", ""),
        vm=filters.get("vm", ""),
    )


def _activity_query(filters: ActivityFilters) -> dict[str, str]:
    since, until = filters.get("since"), filters.get("until")
    return _given(
        **{"from": write_instant(since) if since else ""},
        to=write_instant(until) if until else "",
        person=filters.get("person", ""),
        virtualMachine=filters.get("virtual_machine", ""),
        operation=filters.get("operation", ""),
        top=str(filters.get("top") or ""),
    )


def _accepted(answer: Answer, model: type[AnyModel]) -> Accepted[AnyModel]:
    return Accepted(
        model.from_json(answer.json()),
        answer.headers.get("Location", ""),
        answer.retry_after or POLL_SECONDS,
    )
