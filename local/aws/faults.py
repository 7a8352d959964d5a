"""Faults on order: what AWS does on a bad day."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from local.aws.errors import AwsError, throttled, unauthorized

ALWAYS = -1
# Faults that do not answer: they change how the call is carried out.
MANNERS = ("dropBefore", "dropAfter", "staleRead", "lateWrite", "latency")
_READS = "Describe.*"
_WRITES = "(?!Describe|Get|Assume).*"


def _server_error(_: str) -> AwsError:
    return AwsError("InternalError", "An internal error has occurred", 500)


ERRORS: Mapping[str, Callable[[str], AwsError]] = {
    "throttle": lambda _: throttled(),
    "refuse": unauthorized,
    "serverError": _server_error,
}
_DEFAULT_ACTIONS = {"staleRead": _READS, "lateWrite": _WRITES, "refuse": _WRITES}


@dataclass
class Fault:
    """One fault: which actions it strikes, how often, after how many."""

    kind: str
    action: str
    times: int
    skip: int
    seconds: float

    def strikes(self, action: str) -> bool:
        """Tell whether a call of this action is struck, and count it."""
        if self.times == 0 or re.fullmatch(self.action, action) is None:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times != ALWAYS:
            self.times -= 1
        return True

    def shown(self) -> dict[str, Any]:
        """Return the fault as the control API shows it."""
        times = None if self.times == ALWAYS else self.times
        return {
            "kind": self.kind,
            "action": self.action,
            "times": times,
            "skip": self.skip,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Strike:
    """The effect of the faults on one call."""

    faults: tuple[str, ...] = ()
    error: AwsError | None = None
    seconds: Mapping[str, float] | None = None

    def lag(self, fault_type: str) -> float:
        """Return the seconds of a fault that struck; 0: it did not."""
        return (self.seconds or {}).get(fault_type, 0.0)


class Faults:
    """The faults on order."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def order(self, wanted: Iterable[Mapping[str, Any]]) -> None:
        """Replace the faults; ValueError tells what is wrong with one."""
        self._faults = [read_fault(each) for each in wanted]

    def shown(self) -> list[dict[str, Any]]:
        """Return what is still on order."""
        return [fault.shown() for fault in self._faults if fault.times != 0]

    def strike(self, action: str) -> Strike:
        """Return what befalls a call: every manner that is meant, and the first error."""
        faults: list[str] = []
        seconds: dict[str, float] = {}
        for fault in self._faults:
            if not fault.strikes(action):
                continue
            faults.append(fault.kind)
            if fault.kind in ERRORS:
                return Strike(tuple(faults), ERRORS[fault.kind](action), seconds)
            seconds[fault.kind] = fault.seconds
        return Strike(tuple(faults), None, seconds)


def read_fault(given: Mapping[str, Any]) -> Fault:
    """Read one fault as the control API takes it."""
    fault_type = str(given.get("kind"))
    if fault_type not in (*MANNERS, *ERRORS):
        raise ValueError(
            f"'kind' {fault_type!r} is none of {', '.join(sorted((*MANNERS, *ERRORS)))}"
        )
    times = given.get("times", 1)
    fault = Fault(
        kind=fault_type,
        action=given.get("action") or _DEFAULT_ACTIONS.get(fault_type, ".*"),
        times=ALWAYS if times is None else int(times),
        skip=int(given.get("skip", 0)),
        seconds=float(given.get("seconds", 5.0)),
    )
    re.compile(fault.action)
    return fault
