"""Failures of outside systems that more than one port raises."""


class OutsideError(Exception):
    """An outside system failed or did not answer. It proves nothing, least of all absence."""


class NotReadableError(OutsideError):
    """The cloud does not let this app read something."""


class GoneError(OutsideError):
    """The cloud says that what was to be listed does not exist."""


class ThrottledError(OutsideError):
    """A quota is used up; `retry_after` is in seconds. Asking earlier is not processed."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
