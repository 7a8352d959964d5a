"""The targets, each met or missed by the figures at hand."""

from dataclasses import dataclass
from typing import Any

from bench.numbers import told
from bench.place import Json

_MOST_BURST, _MOST_RIVAL, _MOST_EACH = 5, 3, 1.1
_TEN_PERCENT = 0.1
_ACCEPTED_MS, _LATE_SECONDS = 50, 3
_HELP_RATIO = 1.5
# A burst, and how many times the fair rival's seconds and writes ours may take.
_FAIR = (
    ("burst-200-1", "200 requests, one NSG", 1.0, 1.0),
    ("burst-700-10", "700 requests, 10 NSGs", 1.25, 0.5),
)
_MOST_READS, _MOST_SECONDS = 150, 90
_HTTP_LIMIT = 230


@dataclass(frozen=True)
class Target:
    """A target, its measurement, and whether the measurement meets it."""

    text: str
    found: str
    met: bool


@dataclass(frozen=True)
class Targets:
    """The targets that the figures can speak to."""

    figures: Json

    def table(self) -> str:
        """Write them as a table."""
        lines = ["## Targets", "", "| target | found | |", "|---|---|---|"]
        for each in self.judged():
            verdict = "met" if each.met else "**missed**"
            lines.append(f"| {each.text} | {each.found} | {verdict} |")
        return "\n".join([*lines, ""])

    def judged(self) -> list[Target]:
        """Judge every target that was measured."""
        bursts: Json = self.figures.get("bursts", {})
        judged = [
            _writes("700 expiries on one group, quiet: one write", bursts.get("close-700-1"), 1),
            _writes(
                "700 expiries on one group, a neighbour writing: at most three writes",
                bursts.get("close-700-1-neighbour"),
                _MOST_RIVAL,
            ),
            _burst(bursts.get("burst-200-1")),
            _many(bursts.get("close-700-10")),
            *_against_fair(bursts),
            *_against_obvious(bursts.get("own-150")),
            _rows(self.figures.get("sweeping")),
            _reconciled(self.figures.get("reconcile")),
            _listed(self.figures.get("machines")),
            _late(self.figures.get("lateness")),
            _accepted(self.figures.get("accepting")),
            _lean(self.figures.get("starting")),
            _help(self.figures.get("commands")),
        ]
        return [each for each in judged if each is not None]


def _writes(text: str, case: Json | None, most: float) -> Target | None:
    if case is None:
        return None
    found = f"{case['close_sent']} sent, {case['close_taken']} taken, {case['closed']} closed"
    return Target(text, found, case["close_sent"] <= most and case["closed"] == case["grants"])


def _burst(case: Json | None) -> Target | None:
    if case is None:
        return None
    text = "a burst of 200 requests on one group: at most five writes"
    found = f"{case['open_sent']} sent, {case['open_taken']} taken, {case['opened']} open"
    met = case["open_sent"] <= _MOST_BURST and case["opened"] == case["grants"]
    return Target(text, found, met)


def _many(case: Json | None) -> Target | None:
    if case is None:
        return None
    each = case["close_sent"] / case["groups"]
    met = each <= _MOST_EACH and case["closed"] == case["grants"]
    text = "700 expiries over 10 groups: at most 1.1 writes for each group"
    return Target(text, f"{told(each)}, {case['closed']} closed", met)


def _against_fair(bursts: Json) -> list[Target]:
    """Judge the bursts against the fair rival."""
    judged = []
    for name, label, slower, more in _FAIR:
        case = bursts.get(name)
        if case is None:
            continue
        ours, fair = case["open_seconds"], case["fair"]["open_seconds"]
        text = f"{label}: last open at most {slower:g} times as late as the fair rival's"
        found = f"{told(ours)} and {told(fair)} s, {ours / fair:.2f} times"
        all_open = case["opened"] == case["grants"]
        judged.append(Target(text, found, all_open and ours <= slower * fair))
        ours, fair = case["open_sent"], case["fair"]["open_sent"]
        text = f"{label}: at most {more:g} times the fair rival's writes"
        judged.append(Target(text, f"{ours} and {fair}", all_open and ours <= more * fair))
    return judged


def _against_obvious(case: Json | None) -> list[Target]:
    if case is None:
        return []
    judged = []
    for what, state in (("open", "opened"), ("close", "closed")):
        ours, theirs = case[f"{what}_seconds"], case["obvious"][f"{what}_seconds"]
        text = f"150 VMs, an NSG each: last {state} no later than the obvious implementation's"
        met = case[state] == case["grants"] and ours <= theirs
        judged.append(Target(text, f"{told(ours)} and {told(theirs)} s", met))
    return judged


def _reconciled(found: Json | None) -> Target | None:
    if found is None:
        return None
    text = f"reconcile of {found['vms']:,} VMs, {found['nsgs']:,} NSGs: 150 ARM reads, 90 s"
    met = found["reads"] <= _MOST_READS and found["seconds"] < _MOST_SECONDS
    return Target(text, f"{found['reads']} reads, {told(found['seconds'])} s", met)


def _listed(found: Json | None) -> Target | None:
    if found is None:
        return None
    text = f"`GET /api/machines` of {found['vms']:,} VMs answers within the HTTP limit of 230 s"
    met = found["first_seconds"] < _HTTP_LIMIT and found["listed"] == found["vms"]
    return Target(text, f"{told(found['first_seconds'])} s, {found['listed']:,} listed", met)


def _rows(found: Json | None) -> Target | None:
    if found is None:
        return None
    few, many = found["100-memory"]["rows"], found["100000-memory"]["rows"]
    met = abs(many - few) <= _TEN_PERCENT * few
    text = "rows a sweep reads with 100,000 grants open: within 10 % of those with 100"
    return Target(text, f"{many:,} and {few:,}", met)


def _late(found: Json | None) -> Target | None:
    if found is None:
        return None
    most = _LATE_SECONDS + found["settle"]
    text = f"99 % of grants close within {_LATE_SECONDS} s and the ARM write ({most:g} s here)"
    met = found["p99"] <= most and found["closed"] == found["grants"]
    return Target(text, f"{told(found['p99'])} s", met)


def _accepted(found: Json | None) -> Target | None:
    if found is None:
        return None
    p50 = found["p50"] * 1000
    text = f"`initiate` accepted in under {_ACCEPTED_MS} ms at the median"
    return Target(text, f"{told(p50)} ms", p50 < _ACCEPTED_MS)


def _lean(found: Json | None) -> Target | None:
    if found is None:
        return None
    loaded: list[Any] = found["http"]["management"]
    text = "a request is taken in without any Azure management SDK"
    return Target(text, f"{len(loaded)} of its modules loaded", not loaded)


def _help(found: Json | None) -> Target | None:
    if found is None:
        return None
    text = f"`jit --help` starts within {_HELP_RATIO} times a bare click program"
    return Target(text, f"{found['ratio']:.2f} times", found["ratio"] <= _HELP_RATIO)
