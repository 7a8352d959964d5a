"""Requests in words."""

from datetime import UTC, datetime
from typing import Any

from jit_access.client.models import RequestStatus
from jit_access.commands.exits import Exit
from jit_access.commands.output import Columns, printable
from jit_access.commands.times import clock, length
from jit_access.commands.vms import name_of

OUTCOMES: dict[str, Exit] = {
    "Initiated": Exit.DONE,
    "PendingApproval": Exit.WAITING,
    "Initiating": Exit.WAITING,
    "Denied": Exit.DENIED,
    "Failed": Exit.FAILED,
    "Revoked": Exit.FAILED,
}


def now() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


def places(request: RequestStatus) -> str:
    """Return the VMs and ports of a request: app-1:22,3389."""
    return " ".join(
        f"{name_of(vm.id)}:{','.join(str(port.number) for port in vm.ports)}"
        for vm in request.virtual_machines
    )


def sources(request: RequestStatus) -> str:
    """Return the source addresses of a request."""
    return ",".join(dict.fromkeys(each for _, port in request.ports for each in port.sources))


def state(request: RequestStatus) -> str:
    """Return the state of a request in one line."""
    if request.status == "Initiated":
        return _open(request)
    if request.status == "PendingApproval":
        return _pending(request)
    if request.status == "Initiating":
        return "opening ..."
    return _over(request)


def _open(request: RequestStatus) -> str:
    text = f"open from {sources(request)}"
    if request.end:
        left = length(request.end - now())
        text = f"open until {clock(request.end, now())} ({left}) from {sources(request)}"
    awaited = request.approval
    if awaited and awaited.end_time_utc and awaited.agreed < awaited.needed:
        text += f"; a later end, {clock(awaited.end_time_utc, now())}, waits for approval"
    return text


def _pending(request: RequestStatus) -> str:
    awaited = request.approval
    if awaited is None:
        return "waits for approval"
    until = clock(awaited.deadline, now())
    return (
        f"waits for {awaited.needed - awaited.agreed} of {awaited.needed} approvals, until {until}"
    )


def _over(request: RequestStatus) -> str:
    errors = [port.error for _, port in request.ports if port.error]
    if request.status == "Denied":
        return f"denied{_denied_by(request)}"
    if errors:
        return f"failed: {errors[0].message}"
    reasons = {port.status_reason for _, port in request.ports}
    words = {
        "Expired": "expired",
        "UserManuallyRevoked": "ended early",
        "NewerRequestInitiated": "replaced by a newer request",
    }
    summary = ", ".join(words.get(each, each) for each in sorted(reasons))
    at = f" at {clock(request.closed_at, now())}" if request.closed_at else ""
    return f"closed{at}: {summary}"


def _denied_by(request: RequestStatus) -> str:
    for decision in request.approval.decisions if request.approval else ():
        if not decision.approved:
            why = f": {decision.comment}" if decision.comment else ""
            return f" by {decision.approver}{why}"
    errors = [port.error.message for _, port in request.ports if port.error]
    return f": {errors[0]}" if errors else ""


def details(request: RequestStatus) -> str:
    """Return everything about a request."""
    lines = {
        "request": request.id,
        "": f"{places(request)}  {state(request)}",
        "requestor": request.requestor,
        "reason": request.justification or "",
        "requested": clock(request.start_time_utc, now()),
        "opened": clock(request.opened_at, now()) if request.opened_at else "",
        "closed": clock(request.closed_at, now()) if request.closed_at else "",
        "break-glass": "yes" if request.break_glass else "",
        "relayed by": request.relayed_by or "",
        "policy": request.policy_id,
    }
    found = [f"{name:<12}{printable(value)}" for name, value in lines.items() if value]
    if request.approval:
        found += [f"{'to approve':<12}{printable(line)}" for line in request.approval.summary]
    for decision in request.approval.decisions if request.approval else ():
        verb = "approved" if decision.approved else "denied"
        summary = f"{verb} {clock(decision.at, now())} by {decision.approver} {decision.comment}"
        found.append(f"{'':<12}{printable(summary.rstrip())}")
    return "\n".join(found)


def _typed(read: Any) -> Any:
    return lambda row: read(RequestStatus.from_json(row))


COLUMNS: Columns = {
    "ID": _typed(lambda request: request.id),
    "VM": _typed(places),
    "STATUS": _typed(lambda request: request.status),
    "STATE": _typed(state),
    "REQUESTOR": _typed(lambda request: request.requestor),
    "REASON": _typed(lambda request: request.justification or ""),
}
