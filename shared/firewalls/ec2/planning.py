"""Collect the changes of a plan, and the refusals that stand in their way. Pure."""

from collections.abc import Iterable, Mapping

from shared.domain.desired import AGREES, PENDING, Change, Finding, impossible


class Changes:
    """The changes of one plan. One that was refused is left out, and its keys are blamed."""

    def __init__(self, refused: Mapping[str, str]) -> None:
        self._refused = refused
        self._changes: list[Change] = []
        self.blamed: dict[str, str] = {}

    def add(self, change: Change) -> bool:
        """Add a change; return whether it may still be tried."""
        if change.id in self._refused:
            self.blame(change.serves, self._refused[change.id])
            return False
        self._changes.append(change)
        return True

    def is_refused(self, change: Change) -> bool:
        """Tell whether a change was refused before."""
        return change.id in self._refused

    def blame(self, keys: Iterable[str], reason: str) -> None:
        """Note why some intents cannot be met; the first reason stands."""
        for key in keys:
            self.blamed.setdefault(key, reason)

    def verdict(self, key: str, *, agrees: bool) -> Finding:
        """Return a finding: agreement counts before any refusal."""
        if agrees:
            return AGREES
        return impossible(self.blamed[key]) if key in self.blamed else PENDING

    def ordered(self) -> tuple[Change, ...]:
        """Return the changes, those that close first."""
        return tuple(sorted(self._changes, key=lambda change: change.opens))
