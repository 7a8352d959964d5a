"""Append-only files: the port that audit events are exported through."""

from typing import Protocol


class PositionError(Exception):
    """A file does not end where it was to be appended to, or takes no more."""


class AuditBlobs(Protocol):
    """Append-only files. A failed answer raises OutsideError, and then nothing is known."""

    def create(self, name: str) -> None:
        """Create an empty file; one that exists stays as it is."""
        ...

    def append(self, name: str, offset: int, content: bytes) -> None:
        """Append to a file that is `offset` bytes long; raises PositionError."""
        ...

    def read(self, name: str, start: int, length: int) -> bytes:
        """Read bytes of a file, fewer where it ends before; none where it does not exist."""
        ...
