"""The words that the API answers, as types; tests hold them to openapi.json."""

from typing import Literal

Status = Literal["PendingApproval", "Initiating", "Initiated", "Revoked", "Denied", "Failed"]
StatusReason = Literal[
    "UserRequested",
    "Expired",
    "UserManuallyRevoked",
    "NewerRequestInitiated",
    "Failed",
    "Denied",
]
Protocol = Literal["TCP", "UDP", "*"]
PolicyState = Literal["Updating", "Succeeded", "Failed", "Deleting"]
Category = Literal["Configured", "Not configured", "Unsupported", "Exposed", "Unknown"]
RecommendationState = Literal["Healthy", "Unhealthy", "NotApplicable"]
HealthState = Literal["Healthy", "Degraded", "Unhealthy"]
ActivityOperation = Literal[
    "requested",
    "breakGlass",
    "approved",
    "denied",
    "opened",
    "extensionRequested",
    "extensionRefused",
    "extensionTimedOut",
    "extended",
    "revoked",
    "closed",
    "ended",
    "sessionDisconnected",
    "sessionsKept",
    "repaired",
    "refused",
    "policyCreated",
    "policyChanged",
    "policyDeleted",
    "unreadable",
]
ExtensionApproval = Literal["asOpening", "never"]
CloseBy = Literal["begin", "end"]
Ability = Literal["approve", "deny", "revoke", "extend"]
FirewallState = Literal["Opening", "Open", "Closing", "Closed"]
