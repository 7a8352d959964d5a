"""Refusals: their codes, and the codes of single lines. Tests hold both to the code."""

from functions.schemas.base import TEXT, Schema, list_of, object_of, one_of

# Why a call is refused; and what is said of one line of it. Tests hold both to the code.
REFUSAL_CODES = (
    *("InvalidInitiateInput", "InvalidRequestContent", "MissingRequestBody"),
    *("RequestBodyTooLarge", "UnsupportedMediaType"),
    *("InvalidPath", "InvalidSkipToken", "InvalidQueryParameter", "InvalidQuery", "InvalidScope"),
    *("InvalidPrecondition", "PreconditionFailed"),
    *("InvalidRequestId", "RepeatedRequestDiffers", "RepeatabilityWindowPassed"),
    *("PolicyTooLarge", "RowTooLarge", "RequestNotWithinPolicy", "TooManyExtensions"),
    *("AuthenticationFailed", "AuthorizationFailed", "ApproverNotAllowed"),
    *("PolicyNotFound", "RequestNotFound", "PortRequestNotFound", "NotFound"),
    *("Conflict", "NotOpen", "NotAnExtension", "ExtensionPending", "NotAwaitingApproval"),
    *("AlreadyDecided", "ApprovalTimedOut", "TooManyRequests", "InternalServerError"),
    "ServiceUnavailable",
)
REASON_CODES = (
    *("VirtualMachineNotInPolicy", "PortNotInPolicy", "DuplicatePort", "DuplicateVirtualMachine"),
    *("InvalidSubscription", "InvalidDuration", "DurationTooShort", "DurationTooLong"),
    *("TotalDurationTooLong", "ProtocolNotInPolicy"),
    *(
        "SourceNotAllowed",
        "SourceNotOwnAddress",
        "SourceNotBastion",
        "SourceTooWide",
        "SourcesTooWide",
    ),
    *("JustificationRequired", "JustificationPattern", "NotHeld"),
    *("BastionNotFound", "BastionAmbiguous", "BastionNotReadable", "PortNotThroughBastion"),
    *("CannotBeOpened", "CannotBeProtected"),
)
_LINE = object_of(
    {
        "code": one_of(*REASON_CODES, "InvalidInitiateInput", "InvalidRequestContent"),
        "message": TEXT,
    },
    {"target": TEXT},
)
_ERROR = object_of(
    {
        "error": object_of(
            {"code": one_of(*REFUSAL_CODES), "message": TEXT}, {"details": list_of(_LINE)}
        )
    }
)

SCHEMAS: dict[str, Schema] = {"ErrorResponse": _ERROR}
