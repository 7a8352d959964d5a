"""Exit codes, and the error that carries one."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes."""

    DONE = 0  # open, or done
    SERVICE = 1  # the service failed or does not answer
    USAGE = 2  # the command line, a file or the configuration is wrong
    NOT_FOUND = 3  # no such VM, request or policy, or several of that name
    NOT_PERMITTED = 4  # not signed in, or not permitted
    WAITING = 5  # still undecided when the time to wait was over
    DENIED = 6  # denied, or not approved in time
    FAILED = 7  # could not be opened, or is closed
    EXPOSED = 8  # a VM is exposed, or an open port does not answer
    OUTSIDE_POLICY = 9  # the policy does not allow it
    BROKEN = 10  # the exported audit record is not what it must be
    INTERRUPTED = 130  # Ctrl-C


class CommandError(Exception):
    """A command cannot go on: why, what to do next, and the exit code."""

    def __init__(self, message: str, advice: str = "", code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.code = code
