"""End requests and see them closed."""

from collections.abc import Iterable

from jit_access.client import NewDecision, wait_for_request
from jit_access.client.models import RequestStatus
from jit_access.commands.requests import location_of
from jit_access.commands.session import Session

_POLL_SECONDS = 2.0


def end_requests(
    session: Session, ids: Iterable[str], reason: str = "", *, wait: bool = True
) -> list[RequestStatus]:
    """Revoke each request first, then wait until each is proven closed."""
    body = NewDecision(comment=reason)
    revoked = [session.client.revoke_request(request_id, body) for request_id in ids]
    return [_closed(session, request) for request in revoked] if wait else revoked


def _closed(session: Session, request: RequestStatus) -> RequestStatus:
    session.progress(f"closing {request.id} ...")
    found = wait_for_request(
        session.client,
        location_of(request.id),
        is_done=_is_closed,
        longest_pause_seconds=_POLL_SECONDS,
    )
    session.say(f"{found.id}: closed")
    return found


def _is_closed(request: RequestStatus) -> bool:
    """Tell whether it has ended and, where it was open, every firewall was seen without it."""
    has_ended = request.status in {"Revoked", "Denied", "Failed"}
    return has_ended and (request.opened_at is None or request.closed_at is not None)
