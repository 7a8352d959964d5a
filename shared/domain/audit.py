"""What the record of activity knows: one word for each kind of fact."""

from enum import StrEnum


class Operation(StrEnum):
    """A kind of fact, as the activity names it."""

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
    REPAIRED = "repaired"
    REFUSED = "refused"
    POLICY_CREATED = "policyCreated"
    POLICY_CHANGED = "policyChanged"
    POLICY_DELETED = "policyDeleted"
    UNREADABLE = "unreadable"
