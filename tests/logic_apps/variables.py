"""Variables of a run: typed, of the whole run, and at risk where a loop runs side by side."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.logic_apps.expressions import ExpressionError
from tests.logic_apps.parts import Json, WorkflowError, check_type


class Variables:
    """Holds the variables, and plays the worst that iterations side by side do to them."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._types: dict[str, str] = {}
        self._side_by_side = 0

    def read(self, name: str) -> Any:
        """Return a variable's value."""
        if name not in self.values:
            raise WorkflowError(f"variable {name} was never initialized")
        return self.values[name]

    def initialize(self, name: str, type_name: str, held: Any) -> None:
        """Make a variable; a name is made once."""
        if name in self.values:
            raise WorkflowError(f"variable {name} is initialized twice")
        self._types[name] = type_name.lower()
        self._assign(name, held)

    def set(self, name: str, held: Any, inputs: Json) -> None:
        """Replace a value; not by a part of itself, and not in iterations side by side."""
        self.read(name)
        if f"variables('{name}')" in json.dumps(inputs):
            raise WorkflowError(f"variable {name} cannot be set from itself")
        if self._side_by_side:
            raise WorkflowError(f"variable {name} is set by iterations side by side")
        self._assign(name, held)

    def append(self, name: str, held: Any) -> None:
        """Append to an array variable."""
        if self._types.get(name) != "array":
            raise WorkflowError(f"{name} is no array variable")
        self.values[name] = [*self.values[name], held]

    @contextmanager
    def side_by_side(self) -> Iterator["Race"]:
        """Run the iterations of a loop side by side."""
        race = Race(self)
        self._side_by_side += 1
        try:
            yield race
        finally:
            self._side_by_side -= 1
            self.values = race.settled()

    def _assign(self, name: str, held: Any) -> None:
        if not check_type(held, self._types[name]):
            raise ExpressionError(f"variable {name} takes {self._types[name]}, not {held!r}")
        self.values[name] = held


class Race:
    """Iterations that all begin with the same values: of those that write, the last one wins.

    The documents only say that the outcome cannot be predicted. This is the worst of it: what one
    iteration appended, another has overwritten.
    """

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self._before = copy.deepcopy(variables.values)
        self._won: dict[str, Any] = {}

    @contextmanager
    def iteration(self) -> Iterator[None]:
        """Run one iteration on values of its own."""
        self._variables.values = copy.deepcopy(self._before)
        try:
            yield
        finally:
            changed = self._variables.values.items()
            self._won |= {name: held for name, held in changed if held != self._before.get(name)}

    def settled(self) -> dict[str, Any]:
        """Return the values after the loop."""
        return {**self._before, **self._won}
