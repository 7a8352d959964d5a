"""The filters of the list of requests, read from the query."""

from datetime import datetime

import azure.functions as func

from functions.query import query_of, token_of
from shared.domain.errors import InvalidInputError
from shared.domain.ids import VM_TYPE, is_resource, key_of
from shared.domain.model import Status
from shared.domain.times import parse_instant
from shared.use_cases.requests.listing import RequestFilter

_TRUTH = {"": False, "false": False, "true": True}


def filter_of(req: func.HttpRequest) -> RequestFilter:
    """Read which requests a caller wants; raises InvalidInputError for a filter that is not read."""
    return RequestFilter(
        mine=_flag(req, "mine"),
        awaiting=_awaiting(req),
        status=_status(req),
        vm_id=_vm(req),
        policy=key_of(query_of(req, "policy")),
        since=_instant(req, "from"),
        until=_instant(req, "to"),
        after=token_of(req),
    )


def _flag(req: func.HttpRequest, name: str) -> bool:
    given = query_of(req, name).casefold()
    if given not in _TRUTH:
        raise _malformed(f"{name} must be true or false")
    return _TRUTH[given]


def _awaiting(req: func.HttpRequest) -> bool:
    given = query_of(req, "awaiting").casefold()
    if given not in {"", "me"}:
        raise _malformed("awaiting must be 'me'")
    return bool(given)


def _status(req: func.HttpRequest) -> Status | None:
    given = query_of(req, "status")
    if not given:
        return None
    found = next((each for each in Status if each.value.casefold() == given.casefold()), None)
    if found is None:
        raise _malformed(f"status must be one of {', '.join(each.value for each in Status)}")
    return found


def _vm(req: func.HttpRequest) -> str:
    given = query_of(req, "vm").removesuffix("/")
    if given and not is_resource(given, VM_TYPE):
        raise _malformed("vm must be the id of a virtual machine")
    return key_of(given)


def _instant(req: func.HttpRequest, name: str) -> datetime | None:
    given = query_of(req, name)
    try:
        return parse_instant(given) if given else None
    except ValueError as error:
        raise _malformed(f"{name}: {error}") from None


def _malformed(message: str) -> InvalidInputError:
    return InvalidInputError(message, code="InvalidQueryParameter")
