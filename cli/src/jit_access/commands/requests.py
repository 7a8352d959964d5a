"""Find requests."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from jit_access.client.models import RequestStatus
from jit_access.client.operations import OPERATIONS
from jit_access.commands.opening import is_mine
from jit_access.commands.session import Session
from jit_access.commands.texts import now

_LISTED = timedelta(days=30)  # what is older is found by `jit activity`


@dataclass(frozen=True)
class Filter:
    """Which requests are wanted."""

    mine: bool = False
    pending: bool = False
    is_open: bool = False
    vm_id: str = ""


def requests_that(session: Session, wanted: Filter) -> Iterator[RequestStatus]:
    """Yield the requests that pass the filter, newest first."""
    page = session.client.list_requests(
        mine=wanted.mine, vm=wanted.vm_id, status=_status(wanted), since=now() - _LISTED
    )
    for request in session.client.every(page):
        states = {
            *({"PendingApproval"} if wanted.pending else set()),
            *({"Initiated"} if wanted.is_open else set()),
        }
        vms = {vm.id.lower() for vm in request.virtual_machines}
        if states and request.status not in states:
            continue
        if wanted.vm_id and wanted.vm_id.lower() not in vms:
            continue
        if not wanted.mine or is_mine(session, request):
            yield request


def _status(wanted: Filter) -> str:
    """Return the one status that is wanted; empty: several are."""
    if wanted.pending == wanted.is_open:
        return ""
    return "PendingApproval" if wanted.pending else "Initiated"


def location_of(request_id: str) -> str:
    """Return the path of a request's state."""
    return OPERATIONS["get_request"].path_for(id=request_id)
