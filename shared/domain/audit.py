"""Audit events: one name for each operation."""

from enum import StrEnum


class Operation(StrEnum):
    """An operation that an audit event records."""

    REQUESTED = "requested"
    BREAK_GLASS = "breakGlass"
    APPROVED = "approved"
    DENIED = "denied"
    OPENED = "opened"
    EXTENSION_REQUESTED = "extensionRequested"
    EXTENSION_TIMED_OUT = "extensionTimedOut"
    EXTENDED = "extended"
    EXTENSION_REFUSED = "extensionRefused"
    REVOKED = "revoked"
    CLOSED = "closed"
    ENDED = "ended"
    SESSION_DISCONNECTED = "sessionDisconnected"
    SESSIONS_KEPT = "sessionsKept"
    REPAIRED = "repaired"
    REFUSED = "refused"
    POLICY_CREATED = "policyCreated"
    POLICY_CHANGED = "policyChanged"
    POLICY_DELETED = "policyDeleted"
    UNREADABLE = "unreadable"
