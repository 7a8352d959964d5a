"""Errors that a call can raise. The service's errors have status, code, message, details."""

from dataclasses import dataclass


class JitError(Exception):
    """Any error that the client raises."""


class UnreachableError(JitError):
    """The service gave no answer: no connection, a timeout, a name that is not known."""


class UnexpectedAnswerError(JitError):
    """The answer is not one of this API: another service answers at the address."""


class UnsafeAddressError(JitError):
    """The token would go to another host, or over a connection that is not encrypted."""


class TokenError(JitError):
    """No access token can be had."""


@dataclass(frozen=True)
class Detail:
    """One line of a refusal: a code, a message, and the place in the body."""

    code: str
    message: str
    target: str = ""


class ApiError(JitError):
    """The service refused a call or failed."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str,
        details: tuple[Detail, ...] = (),
        request_id: str = "",
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.details = details
        self.request_id = request_id
        self.retry_after = retry_after


class InvalidRequestError(ApiError):
    """400: what was sent is not understood."""


class OutsidePolicyError(InvalidRequestError):
    """400: the policy does not allow what was requested; `details` has each line."""


class NotAuthenticatedError(ApiError):
    """401: no token, or one that the service does not accept."""


class NotPermittedError(ApiError):
    """403: the caller lacks an action at a scope; the message names both."""


class NotFoundError(ApiError):
    """404: there is no such request, policy or route."""


class ConflictError(ApiError):
    """409: it contradicts the present state."""


class TooManyRequestsError(ApiError):
    """429: too many calls or ports; `retry_after` says when to call again."""


class ServiceError(ApiError):
    """5xx: the service or one that it depends on failed."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequestError,
    401: NotAuthenticatedError,
    403: NotPermittedError,
    404: NotFoundError,
    409: ConflictError,
    429: TooManyRequestsError,
}
_BY_CODE: dict[str, type[ApiError]] = {"RequestNotWithinPolicy": OutsidePolicyError}


def error_class_of(status: int, code: str) -> type[ApiError]:
    """Return the class of an error by its code, else by its status."""
    fallback = ServiceError if status >= 500 else ApiError  # noqa: PLR2004 - HTTP
    return _BY_CODE.get(code) or _BY_STATUS.get(status, fallback)
