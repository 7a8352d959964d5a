"""The headers by which a call says that it may be, or is, sent again.

The first two are the standard's (OASIS Repeatable Requests 1.0, as Azure's API guidelines use
it). The third is ARM's correlation id; every Azure SDK sends it and keeps it when it retries.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import azure.functions as func

from shared.bootstrap import app
from shared.domain.errors import InvalidInputError, RepeatTooLateError
from shared.domain.ids import digest
from shared.domain.model import Principal
from shared.use_cases.requests.idempotency import KEY_RETENTION, Repeat

REQUEST_ID = "Repeatability-Request-ID"
_FIRST_SENT = "Repeatability-First-Sent"
_CORRELATION = "x-ms-client-request-id"
_LONGEST = 128
_CLOCK_SKEW = timedelta(minutes=5)
# A client's clock may run ahead: what is refused as too old has certainly been purged later.
_TRACKED = KEY_RETENTION - _CLOCK_SKEW


def idempotency_key(
    req: func.HttpRequest, principal: Principal, said: str, sources: Sequence[Sequence[str]]
) -> Repeat | None:
    """Read the key that the caller gave this call. Return None where it has none.

    Raises InvalidInputError for a malformed id or time, and RepeatTooLateError for a call
    first sent so long ago that its answer may have been purged.
    """
    _check_first_sent(req)
    named = req.headers.get(REQUEST_ID, "")
    if named:
        if len(named) > _LONGEST or not named.isprintable():
            raise _malformed(f"{REQUEST_ID} must be at most {_LONGEST} printable characters")
        return Repeat(principal.key, named, digest(said))
    correlation = req.headers.get(_CORRELATION, "")
    if not correlation:
        return None
    # Any text is taken: it is hashed. A caller who left the source out and has moved to another
    # address asks for something else, so the addresses to open belong to what was said.
    opened = [source for each in sources for source in each]
    return Repeat(principal.key, ascii(correlation), digest(said, *opened), is_correlation=True)


def _check_first_sent(req: func.HttpRequest) -> None:
    text = req.headers.get(_FIRST_SENT, "")
    if not text:
        return
    if not req.headers.get(REQUEST_ID):
        raise _malformed(f"{_FIRST_SENT} needs a {REQUEST_ID} beside it")
    first_sent = _http_date(text)
    now = app().services.clock()
    if first_sent > now + _CLOCK_SKEW:
        raise _malformed(f"{_FIRST_SENT} lies in the future; check the clock of the client")
    if first_sent < now - _TRACKED:
        raise RepeatTooLateError(
            f"{_FIRST_SENT} is more than {_TRACKED} ago: whether this call was made before is no "
            "longer known. Look at the requests, and send a new call under an id of its own."
        )


def _http_date(text: str) -> datetime:
    """Read an IMF-fixdate; raises InvalidInputError."""
    try:
        return datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        raise _malformed(
            f"{_FIRST_SENT} must be an HTTP date such as 'Sun, 22 Nov 2026 14:00:00 GMT'"
        ) from None


def _malformed(message: str) -> InvalidInputError:
    return InvalidInputError(message, code="InvalidRequestId")
