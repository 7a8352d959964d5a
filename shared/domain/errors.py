"""The few errors the domain knows; `functions.web` maps each to a status and an ARM code."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """Say one thing that is wrong, where, and what would be right."""

    code: str
    message: str
    target: str = ""


class JitError(Exception):
    """Something a caller can be told about."""

    code = "InternalServerError"

    def __init__(self, message: str, *, code: str = "", details: tuple[Reason, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.details = details


class InvalidInputError(JitError):
    """The input cannot be understood or is not allowed by its shape."""

    code = "InvalidRequestContent"


class NotAuthenticatedError(JitError):
    """The caller's identity could not be verified."""

    code = "AuthenticationFailed"


class NotPermittedError(JitError):
    """The caller is known, and may not do this here."""

    code = "AuthorizationFailed"


class OutsidePolicyError(JitError):
    """The request is well formed, and the policy does not cover it."""

    code = "RequestNotWithinPolicy"


class NotFoundError(JitError):
    """The named resource does not exist."""

    code = "NotFound"


class ConflictError(JitError):
    """The call contradicts the state it would change."""

    code = "Conflict"


class PreconditionFailedError(JitError):
    """The resource to change is no longer as the caller has read it."""

    code = "PreconditionFailed"


class RepeatTooLateError(JitError):
    """A repeatable call was first sent so long ago that its answer may have been purged."""

    code = "RepeatabilityWindowPassed"


class UnsupportedMediaTypeError(JitError):
    """The body declares an encoding that is not read here."""

    code = "UnsupportedMediaType"


class TooManyRequestsError(JitError):
    """A bound was reached; `retry_after` is in seconds."""

    code = "TooManyRequests"

    def __init__(
        self, message: str, *, retry_after: int, code: str = "", details: tuple[Reason, ...] = ()
    ) -> None:
        super().__init__(message, code=code, details=details)
        self.retry_after = retry_after


class UnavailableError(JitError):
    """An outside system did not answer as it should; trying again may help."""

    code = "ServiceUnavailable"
