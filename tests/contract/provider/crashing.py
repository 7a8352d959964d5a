"""A worker that is killed before one of its calls."""


class KilledError(BaseException):
    """The worker was killed."""


class Crashing:
    """Counts calls, and kills the worker before the one that is named."""

    def __init__(self) -> None:
        self.left = 0

    def before_call(self, *_: object) -> None:
        """Count one call."""
        if self.left:
            self.left -= 1
            if not self.left:
                raise KilledError
