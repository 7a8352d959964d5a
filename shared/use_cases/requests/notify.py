"""Tell the approval workflow of requests that wait for people. Nothing waits for the telling."""

from collections.abc import Callable
from typing import Any, Protocol

from shared.domain.approval import pending
from shared.domain.machine_ids import parse_machine_id
from shared.domain.summary import summarize
from shared.domain.times import format_instant
from shared.use_cases.parts import HasRequests, HasTelemetry

Post = Callable[[dict[str, Any]], None]


class NotifyParts(HasRequests, HasTelemetry, Protocol):
    """The parts for notifying of a request."""


def notify(services: NotifyParts, post: Post | None, request_id: str) -> None:
    """Post one event; raises what the post raises, so that the queue tries again.

    The event carries no address to call back: the workflow knows the app it answers to.
    """
    held = services.requests.get(request_id)
    approval = pending(held.request) if held else None
    if post is None or held is None or approval is None:
        return  # no approver to notify, or it was decided meanwhile
    request = held.request
    post(
        {
            "event": "approvalRequested",
            "requestId": request.id,
            "policyId": request.policy_id,
            "requestor": request.requestor.name,
            "requestorObjectId": request.requestor.object_id,
            "justification": request.justification or "",
            "breakGlass": request.break_glass,
            "summary": list(summarize(request)),
            "isExtension": request.extension is not None,
            "extensionUntil": (
                format_instant(request.extension.end_at) if request.extension else ""
            ),
            "approvalsNeeded": approval.needed,
            "deadline": format_instant(approval.deadline),
            "ports": [
                {
                    "virtualMachine": port.vm_id,
                    "resourceGroup": parse_machine_id(port.vm_id).group,
                    "number": port.port,
                    "protocol": port.protocol,
                    "sources": list(port.sources),
                    "until": format_instant(port.end_at) if port.end_at else "",
                    "minutes": int(port.duration.total_seconds() // 60) if port.duration else 0,
                }
                for port in request.ports
            ],
        }
    )
    services.telemetry.event("jit.approval.notified", request=request.id)
