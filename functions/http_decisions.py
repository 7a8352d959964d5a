"""Decisions on a request: approve, deny, revoke, extend; and revoke all."""

from http import HTTPStatus

import azure.functions as func
from pydantic import Field, model_validator

from functions.answers import status_answer
from functions.operations import REQUEST_STATUS, Operation, declare, json_answer
from functions.people import ObjectId, PersonWire, speaking_for
from functions.web import answer, caller
from functions.wire import Duration, InstantText, Justification, VmId, Wire, read_body
from shared.bootstrap import app
from shared.domain.model import AccessRequest, Principal
from shared.domain.times import parse_instant
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests.view import Viewer

bp = func.Blueprint()


class DecisionWire(Wire):
    """An approval, a denial or a revocation, with what its maker says."""

    comment: Justification = ""
    on_behalf_of: PersonWire | None = None
    virtual_machine: VmId | None = Field(None, description="revoke only the ports of this VM")


class ExtendWire(Wire):
    """A later end."""

    end_time_utc: InstantText | None = None
    duration: Duration | None = None
    on_behalf_of: PersonWire | None = None

    @model_validator(mode="after")
    def _one_end(self) -> "ExtendWire":
        if (self.end_time_utc is None) == (self.duration is None):
            raise ValueError("Only one of fields 'EndTimeUtc' and 'Duration' can be set.")
        return self


class RevokeAllWire(Wire):
    """Revoke all: every request on a VM, or of a requestor."""

    virtual_machine: VmId | None = None
    requestor_object_id: ObjectId | None = None
    comment: Justification = ""
    on_behalf_of: PersonWire | None = None

    @model_validator(mode="after")
    def _one_target(self) -> "RevokeAllWire":
        if (self.virtual_machine is None) == (self.requestor_object_id is None):
            raise ValueError("name either 'virtualMachine' or 'requestorObjectId'")
        return self


def _decision(verb: str, summary: str, body: type[Wire] = DecisionWire) -> Operation:
    return Operation(
        "post",
        f"/api/requests/{{id}}/{verb}",
        f"{verb}_request",
        summary,
        REQUEST_STATUS,
        ("id",),
        body=body,
        body_required=body is not DecisionWire,
        tag="Requests",
    )


@declare(
    bp,
    _decision("approve", "Approve a request"),
)
def approve_request(req: func.HttpRequest) -> func.HttpResponse:
    """Agree that a request may open."""
    return _decide(req, approved=True)


@declare(
    bp,
    _decision("deny", "Deny a request"),
)
def deny_request(req: func.HttpRequest) -> func.HttpResponse:
    """Refuse a request; one refusal is enough."""
    return _decide(req, approved=False)


def _decide(req: func.HttpRequest, *, approved: bool) -> func.HttpResponse:
    principal, body, who = _read(req)
    request = approval.decide(
        app().services, req.route_params["id"], who, approved=approved, comment=body.comment
    )
    return _status(principal, request)


@declare(
    bp,
    _decision("revoke", "Close a request before its end"),
)
def revoke_request(req: func.HttpRequest) -> func.HttpResponse:
    """Close a request before its end."""
    principal, body, who = _read(req)
    request = approval.revoke(
        app().services,
        req.route_params["id"],
        who,
        vm_id=body.virtual_machine or "",
        reason=body.comment,
    )
    return _status(principal, request)


@declare(
    bp,
    _decision("extend", "Give an open request a later end", ExtendWire),
)
def extend_request(req: func.HttpRequest) -> func.HttpResponse:
    """Give an open request a later end, in place."""
    principal = caller(req)
    body = read_body(ExtendWire, req.get_body(), headers=req.headers)
    request = approval.extend_access(
        app().services,
        req.route_params["id"],
        speaking_for(principal, body.on_behalf_of),
        end_at=parse_instant(body.end_time_utc) if body.end_time_utc else None,
        duration=body.duration,
    )
    return _status(principal, request)


@declare(
    bp,
    Operation(
        "post",
        "/api/revoke",
        "revoke_all",
        "Close everything on a VM, or of a person",
        {200: json_answer("The requests that were closed.", "RequestList")},
        body=RevokeAllWire,
        tag="Requests",
    ),
)
def revoke_all(req: func.HttpRequest) -> func.HttpResponse:
    """Revoke every request on a VM, or of a requestor."""
    principal = caller(req)
    body = read_body(RevokeAllWire, req.get_body(), headers=req.headers)
    who = speaking_for(principal, body.on_behalf_of)
    requestor = f"{who.person.tenant}/{body.requestor_object_id}".lower()
    revoked = approval.revoke_all(
        app().services,
        who,
        vm_id=body.virtual_machine or "",
        requestor=requestor if body.requestor_object_id else "",
        reason=body.comment,
    )
    viewer = Viewer(app().services, principal)
    value = [status_answer(viewer.view(request)) for request in revoked]
    return answer(HTTPStatus.OK, {"value": value})


def _read(req: func.HttpRequest) -> tuple[Principal, DecisionWire, approval.Caller]:
    principal = caller(req)
    raw = req.get_body()
    # Without a body nothing is said, whatever encoding is declared.
    body = read_body(DecisionWire, raw or b"{}", headers=req.headers if raw else None)
    return principal, body, speaking_for(principal, body.on_behalf_of)


def _status(principal: Principal, request: AccessRequest) -> func.HttpResponse:
    view = Viewer(app().services, principal).view(request)
    return answer(HTTPStatus.OK, status_answer(view))
