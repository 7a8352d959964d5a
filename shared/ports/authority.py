"""Permissions: the port that decides what a caller may do."""

from typing import Protocol

from shared.domain.model import Principal
from shared.domain.permissions import Action, Decision


class Authorizer(Protocol):
    """Decide whether a principal may perform an action at a scope."""

    def __call__(self, principal: Principal, action: Action, scope: str) -> Decision:
        """Return a decision with reasons; a check that could not be made is a refusal."""
        ...
