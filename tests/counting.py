"""Count what the app calls: tables, queues and ARM, and the longest chain of calls that wait."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from shared.ports import Item, Result
from tests.faults.simulated import SimulatedWorld

_TABLE = frozenset(
    {"get", "query", "scan", "insert", "replace", "upsert", "delete", "remove", "transact"}
)
_QUEUES = frozenset({"send_request", "send_firewall", "send_policy", "send_notice", "requested"})


class Calls:
    """The calls of one piece of work; `chain` is how many of them wait for each other."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.chain = 0

    def note(self, call: str) -> None:
        """Count one call, which follows all calls before it in its branch."""
        self.log.append(call)
        self.chain += 1

    def start(self) -> None:
        """Count from nothing."""
        self.log, self.chain = [], 0

    def of(self, *parts: str) -> int:
        """Count the calls of some parts; the part is the text before the colon."""
        return sum(each.partition(":")[0] in parts for each in self.log)

    @property
    def parts(self) -> Counter[str]:
        """Count the calls of each part."""
        return Counter(each.partition(":")[0] for each in self.log)

    def side_by_side(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Run pieces of work one after the other; the chain grows by the longest of them."""
        start = longest = self.chain
        results = []
        for item in items:
            self.chain = start
            results.append(work(item))
            longest = max(longest, self.chain)
        self.chain = longest
        return results


class Counted:
    """Passes every call of a part on, and counts those of some methods."""

    def __init__(self, part: object, calls: Calls, name: str, methods: frozenset[str]) -> None:
        self._part, self._calls, self._name, self._methods = part, calls, name, methods

    def __getattr__(self, name: str) -> Any:
        """Return a method that is counted, or whatever else the part has."""
        found = getattr(self._part, name)
        if name not in self._methods:
            return found

        def call(*args: Any, **named: Any) -> Any:
            self._calls.note(f"{self._name}: {name} {_subject(args)}")
            return found(*args, **named)

        return call


def _subject(args: tuple[Any, ...]) -> str:
    first = args[0] if args else ""
    if hasattr(first, "key"):
        return f"{first.partition} {first.key}"
    return " ".join(map(str, args))[:150]


class CountedTables:
    """The tables, each of them counted under its name."""

    def __init__(self, tables: object, calls: Calls) -> None:
        for name in ("policies", "requests", "firewalls", "due", "activity"):
            setattr(self, name, Counted(getattr(tables, name), calls, name, _TABLE))


TABLES = ("policies", "requests", "firewalls", "due", "activity")


class CountedWorld(SimulatedWorld):
    """A world over the ARM simulator whose calls are counted."""

    def __init__(self, settle: float = 2.0) -> None:
        super().__init__()
        self.set(settle=settle)
        self.calls = Calls()
        self.rewire(
            tables=CountedTables(self.tables, self.calls),
            queues=Counted(self.queues, self.calls, "queue", _QUEUES),
            workers=self.calls.side_by_side,
        )
        self._seen = 0

    def start_counting(self) -> None:
        """Count from nothing."""
        self.calls.start()
        self._seen = len(self.arm.ask("log")["calls"])

    def arm_calls(self) -> list[str]:
        """Return our calls of ARM since counting started."""
        made = self.arm.ask("log")["calls"][self._seen :]
        return [
            f"{c['method']} {c['path'].partition('/providers/')[2]}"
            for c in made
            if c["caller"] == "network"
        ]

    @property
    def reads(self) -> int:
        """Return how many reads of ARM were made."""
        return sum(each.startswith("GET ") for each in self.arm_calls())

    @property
    def chain_with_arm(self) -> int:
        """Return how many calls wait for each other at most, as if each call of ARM did."""
        return self.calls.chain + len(self.arm_calls())

    @property
    def arm_writes(self) -> int:
        """Return how many writes to ARM were made."""
        return sum(not each.startswith("GET ") for each in self.arm_calls())

    @property
    def table_calls(self) -> int:
        """Return how many calls of tables were made."""
        return self.calls.of(*TABLES)
