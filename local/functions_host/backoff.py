"""How long a queue listener waits between two looks at an empty queue."""

import random
from collections.abc import Callable
from datetime import timedelta

# Polling a queue is not a secret; the spread only keeps instances apart.
_SPREAD = random.Random()  # noqa: S311

MINIMUM = timedelta(milliseconds=100)
_RANDOMIZATION = 0.2


class RandomizedExponentialBackoff:
    """100 ms after a message, then 100 ms + 2^n x 100 ms +-20 %, up to the maximum.

    As RandomizedExponentialBackoffStrategy does in the storage extension.
    """

    def __init__(
        self,
        maximum: timedelta,
        *,
        minimum: timedelta = MINIMUM,
        uniform: Callable[[float, float], float] = _SPREAD.uniform,
    ) -> None:
        self._maximum = maximum
        self._minimum = min(minimum, maximum)
        self._uniform = uniform
        self._exponent = 0
        self._current = timedelta(0)

    def next_delay(self, *, found_message: bool) -> timedelta:
        """Return the next delay, short again after a message."""
        if found_message:
            self._current, self._exponent = self._minimum, 1
        elif self._current != self._maximum:
            self._current = self._longer()
        return self._current

    def _longer(self) -> timedelta:
        delay = self._minimum
        if self._exponent > 0:
            factor = self._uniform(1 - _RANDOMIZATION, 1 + _RANDOMIZATION)
            delay += factor * 2 ** (self._exponent - 1) * self._minimum
        if delay >= self._maximum:
            return self._maximum
        self._exponent += 1
        return delay
