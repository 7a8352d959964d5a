"""The operations of activity and health."""

import csv
import io
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import azure.functions as func

from functions.activity_answers import COLUMNS, activity_line, neutral
from functions.numbers import whole_number
from functions.operations import Answer, Operation, declare, json_answer
from functions.web import JSON, absolute, answer, caller, text_answer
from shared.bootstrap import app
from shared.domain.errors import (
    InvalidInputError,
    NotAuthenticatedError,
    NotPermittedError,
    UnavailableError,
)
from shared.domain.ids import key_of
from shared.domain.permissions import Action
from shared.domain.times import format_ticks, parse_instant
from shared.use_cases.reports.activity import Asked, Page, enforce_figures, read_activity
from shared.use_cases.timers.health import KindLateness

bp = func.Blueprint()
_A_DAY = timedelta(days=1)
_LONGEST = timedelta(days=92)
_MOST = 1000


@declare(
    bp,
    Operation(
        "get",
        "/api/activity",
        "get_activity",
        "Say who did what",
        {200: Answer("What happened.", {JSON: "ActivityList", "text/csv": ""})},
        ("from", "to", "person", "virtualMachine", "operation", "top", "format", "activityToken"),
        description=(
            f"With `{Action.READ_ACTIVITY}` at every scope of the app, everybody's; without it, "
            "what the caller did, and what was done for the caller."
        ),
        tag="Reports",
    ),
)
def get_activity(req: func.HttpRequest) -> func.HttpResponse:
    """Return audit events, in pages, as JSON or CSV; without the permission, the caller's own."""
    principal = caller(req)
    page = read_activity(app().services, principal, _asked(req))
    if req.params.get("format", "json") == "csv":
        return _csv(page)
    body: dict[str, Any] = {"value": [activity_line(event) for event in page.events]}
    if page.next:
        body["nextLink"] = absolute(req, f"/api/activity?{_query(req, page.next)}")
    return answer(HTTPStatus.OK, body)


def _asked(req: func.HttpRequest) -> Asked:
    now = app().services.clock()
    try:
        top = int(str(whole_number(req.params.get("top", "200"))))
        since = _instant(req, "from", now - _A_DAY)
        until = min(_instant(req, "to", now + _A_DAY), now + _A_DAY)
    except ValueError as error:
        raise InvalidInputError(f"the query: {error}", code="InvalidQuery") from None
    if not 1 <= top <= _MOST or until - since > _LONGEST:
        raise InvalidInputError(
            "the query: 'top' goes from 1 to 1000, and 'from' to 'to' over 92 days at most",
            code="InvalidQuery",
        )
    return Asked(
        since=since,
        until=until,
        person=req.params.get("person", "").lower(),
        vm_id=key_of(req.params.get("virtualMachine", "")),
        operation=req.params.get("operation", ""),
        after=req.params.get("skipToken", ""),
        top=top,
    )


def _instant(req: func.HttpRequest, name: str, otherwise: datetime) -> datetime:
    text = req.params.get(name)
    return parse_instant(text) if text else otherwise


def _query(req: func.HttpRequest, token: str) -> str:
    from urllib.parse import urlencode  # noqa: PLC0415 - only a second page needs it

    return urlencode({**req.params, "skipToken": token})


def _csv(page: Page) -> func.HttpResponse:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    for event in page.events:
        writer.writerow({name: neutral(value) for name, value in activity_line(event).items()})
    headers = {"Content-Disposition": 'attachment; filename="activity.csv"'}
    if page.next:
        headers["x-next-skip-token"] = page.next
    return text_answer(HTTPStatus.OK, text.getvalue(), "text/csv", headers)


@declare(
    bp,
    Operation(
        "get",
        "/api/health",
        "get_health",
        "Say whether the app closes what it opened",
        {200: json_answer("It does.", "Health"), 503: json_answer("It may not.", "Health")},
        needs_token=False,
        tag="Reports",
    ),
)
def get_health(req: func.HttpRequest) -> func.HttpResponse:
    """Say whether the app closes what it opened: 200, or 503 where it may not.

    The verdict needs no permission, so that a test from outside needs no secret. The figures are
    for those who may read the activity.
    """
    health = app().health()
    verdict = "Unhealthy" if health.problems else "Degraded" if health.warnings else "Healthy"
    body: dict[str, Any] = {"status": verdict}
    if _may_see_figures(req):
        late = health.lateness
        body |= {
            "problems": list(health.problems),
            "warnings": list(health.warnings),
            "lastSweep": format_ticks(health.last_sweep_at) if health.last_sweep_at else None,
            "overdue": health.overdue,
            "poisonMessages": health.poisoned,
            "ifMatchProbe": {
                "state": health.probe,
                "at": format_ticks(health.probed_at) if health.probed_at else None,
            },
            "closeLatenessSeconds": {
                "count": late.count, "p50": late.p50, "p99": late.p99, "max": late.max,
            },
            "closeLatenessByKind": [
                _lateness_of(label, found) for label, found in health.lateness_by_kind.items()
            ],
        }  # fmt: skip
    bad = verdict == "Unhealthy"
    return answer(HTTPStatus.SERVICE_UNAVAILABLE if bad else HTTPStatus.OK, body)


def _lateness_of(label: str, found: KindLateness) -> dict[str, Any]:
    late = found.measured
    return {
        "kind": label,
        "allowed": found.allowed.total_seconds(),
        "count": late.count,
        "p50": late.p50,
        "p99": late.p99,
        "max": late.max,
    }


def _may_see_figures(req: func.HttpRequest) -> bool:
    if not req.headers.get("Authorization"):
        return False
    try:
        enforce_figures(app().services, caller(req))
    except (NotAuthenticatedError, NotPermittedError, UnavailableError):
        return False
    return True
