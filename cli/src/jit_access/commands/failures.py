"""Say what went wrong and what to do next, and choose the exit code."""

import os
import traceback

from jit_access.client.codes import advice_for
from jit_access.client.errors import (
    ApiError,
    JitError,
    NotAuthenticatedError,
    NotFoundError,
    NotPermittedError,
    OutsidePolicyError,
    TokenError,
    UnexpectedAnswerError,
    UnreachableError,
    UnsafeAddressError,
)
from jit_access.commands.exits import CommandError, Exit
from jit_access.commands.session import Session

_ADVICE: dict[type[Exception], str] = {
    UnreachableError: "Check the address and the network; `jit doctor` tries each step.",
    UnexpectedAnswerError: "Check the address: `jit config show`.",
    UnsafeAddressError: "Set an https:// address: jit config set url https://...",
    TokenError: "Sign in with `az login`, or set JIT_TOKEN or the profile's token_command.",
}
_EXITS: dict[type[Exception], Exit] = {
    NotAuthenticatedError: Exit.NOT_PERMITTED,
    NotPermittedError: Exit.NOT_PERMITTED,
    NotFoundError: Exit.NOT_FOUND,
    OutsidePolicyError: Exit.OUTSIDE_POLICY,
    TokenError: Exit.NOT_PERMITTED,
    UnsafeAddressError: Exit.USAGE,
}
_USAGE_STATUS = 400
_SOURCE = "allowedSourceAddressPrefix"


def report(error: BaseException, session: Session) -> int:
    """Write an error to stderr and return the exit code."""
    if isinstance(error, KeyboardInterrupt):
        session.interrupted()
        return Exit.INTERRUPTED
    if isinstance(error, CommandError):
        session.complain(error.message, error.advice)
        return error.code
    if isinstance(error, ApiError):
        return _report_refusal(error, session)
    if isinstance(error, JitError):
        session.complain(str(error), _ADVICE.get(type(error), ""))
        return _EXITS.get(type(error), Exit.SERVICE)
    if os.environ.get("JIT_DEBUG"):
        traceback.print_exception(error)
    session.complain(
        f"{type(error).__name__}: {error}", "This is a fault of jit; JIT_DEBUG=1 shows where."
    )
    return Exit.SERVICE


def _report_refusal(error: ApiError, session: Session) -> int:
    head = "not allowed by the policy" if isinstance(error, OutsidePolicyError) else error.message
    details = [] if _repeats(error) else error.details
    lines = [f"  {line.code}: {line.message}" for line in details]
    if error.retry_after:
        lines.append(f"  call again in {error.retry_after:.0f} s")
    if error.status >= 500 and error.request_id:  # noqa: PLR2004 - HTTP
        lines.append(f"  request id {error.request_id}")
    advice = advice_for(error.code, tuple(line.code for line in error.details))
    if any(line.target.endswith(_SOURCE) for line in error.details) and not advice:
        advice = "Name the source address: --source."
    session.complain("\n".join([head, *lines]), advice)
    if type(error) in _EXITS:
        return _EXITS[type(error)]
    return Exit.USAGE if error.status == _USAGE_STATUS else Exit.SERVICE


def _repeats(error: ApiError) -> bool:
    """Tell whether the only line says what the message says."""
    return len(error.details) == 1 and error.details[0].message in error.message
