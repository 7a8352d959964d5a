"""Which audit events notify people and systems, and under which type."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from shared.domain.audit import Operation
from shared.domain.model import CloseReason


class EventType(StrEnum):
    """A type of notification. Subscribers filter by it, so a type is never renamed."""

    REQUESTED = "jit.requested"
    APPROVAL_NEEDED = "jit.approvalNeeded"
    APPROVED = "jit.approved"
    DENIED = "jit.denied"
    OPENED = "jit.opened"
    CLOSED = "jit.closed"
    FAILED = "jit.failed"
    REVOKED = "jit.revoked"
    BREAK_GLASS = "jit.breakGlass"
    POLICY_CHANGED = "jit.policyChanged"
    CLOSING_SOON = "jit.closingSoon"
    EXPOSED = "jit.exposed"
    AUDIT_ANCHORED = "jit.auditAnchored"


@dataclass(frozen=True)
class Notification:
    """An event, past or soon to come, for a subscriber. A repeat carries the same id."""

    id: str
    type: EventType
    at: datetime
    subject: str
    data: Mapping[str, str | int | float]


TYPES: Mapping[Operation, EventType | None] = MappingProxyType(
    {
        Operation.REQUESTED: EventType.REQUESTED,
        Operation.BREAK_GLASS: EventType.BREAK_GLASS,
        Operation.APPROVED: EventType.APPROVED,
        Operation.DENIED: EventType.DENIED,
        Operation.OPENED: EventType.OPENED,
        Operation.EXTENSION_REQUESTED: EventType.APPROVAL_NEEDED,
        Operation.EXTENSION_TIMED_OUT: None,
        Operation.EXTENDED: None,
        Operation.EXTENSION_REFUSED: None,
        Operation.REVOKED: EventType.REVOKED,
        Operation.CLOSED: EventType.CLOSED,
        Operation.ENDED: None,
        Operation.SESSION_DISCONNECTED: None,
        Operation.SESSIONS_KEPT: None,
        Operation.REPAIRED: None,
        Operation.REFUSED: None,
        Operation.POLICY_CREATED: EventType.POLICY_CHANGED,
        Operation.POLICY_CHANGED: EventType.POLICY_CHANGED,
        Operation.POLICY_DELETED: EventType.POLICY_CHANGED,
        Operation.UNREADABLE: None,
    }
)

# The reason of a close decides its type where it is one of these.
_TYPES_BY_REASON: Mapping[tuple[Operation, str], EventType] = {
    (Operation.CLOSED, CloseReason.FAILED.value): EventType.FAILED,
    (Operation.ENDED, CloseReason.FAILED.value): EventType.FAILED,
    (Operation.ENDED, CloseReason.DENIED.value): EventType.DENIED,
}


def types_of(operation: str, reason: str, *, approvals_needed: int = 0) -> tuple[EventType, ...]:
    """Return the types of the notifications of an audit event.

    A request that waits for approval is requested, and approval is needed.
    """
    event_type = type_of(operation, reason)
    if event_type is EventType.REQUESTED and approvals_needed:
        return event_type, EventType.APPROVAL_NEEDED
    return (event_type,) if event_type else ()


def type_of(operation: str, reason: str) -> EventType | None:
    """Return the type of the notification of an audit event. Return None if there is none.

    The reason of a close begins with its close reason. An operation of a newer version is unknown
    here, and has none.
    """
    try:
        known = Operation(operation)
    except ValueError:
        return None
    return _TYPES_BY_REASON.get((known, reason.partition(":")[0]), TYPES[known])
