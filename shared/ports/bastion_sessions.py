"""Live sessions of Bastion hosts: the port that they are listed and disconnected through."""

from collections.abc import Sequence
from typing import Protocol

from shared.domain.bastion_sessions import BastionSession


class BastionSessions(Protocol):
    """The live sessions of Bastion hosts. Both calls raise OutsideError and end within a time."""

    def list(self, host_id: str) -> Sequence[BastionSession]:
        """Return every live session of a host."""
        ...

    def disconnect(self, host_id: str, session_ids: Sequence[str]) -> None:
        """Ask a host to disconnect some sessions. Only a list proves that they have ended."""
        ...
