"""The section on bursts and expiries: the app beside both rivals."""

from collections.abc import Iterator

from bench.numbers import told
from bench.place import Json
from bench.plot import Pair, bars

_TITLE = "ARM writes sent, and seconds to the last"
_ROWS = (
    ("burst-200-1", "open", "200 requests, one NSG"),
    ("burst-700-10", "open", "700 requests, 10 NSGs"),
    ("own-150", "open", "150 requests, an NSG each"),
    ("close-700-1", "close", "700 expiries, one NSG"),
    ("close-700-1-neighbour", "close", "700 expiries, another writer"),
    ("close-700-10", "close", "700 expiries, 10 NSGs"),
    ("own-150", "close", "150 expiries, an NSG each"),
    ("own-700", "close", "700 expiries, an NSG each"),
)
_HEAD = """## Bursts and expiries

`python -m bench bursts`; one row: `--case burst-200-1`. The app runs first. Each rival then gets the
same requests at the moments at which the app had accepted them, on a simulator of its own. A ratio
below 1: the app is sooner, or writes less. `bursts` runs the 700 requests over 10 NSGs three times;
the row is the run in the middle. *Another writer* changes the NSG every few seconds. What is sooner
by seconds depends on how busy the machine is with taking in the requests; the load is told below.
The functions have processes of their own, as Flex Consumption scales them; in rows measured before
2026-11-28 all share one process.

| | writes | fair rival | ratio | last one, s | fair rival | ratio | reads | fair rival |
|---|---:|---:|---:|---:|---:|---:|---:|---:|"""


def write_bursts(figures: Json) -> str:
    """Write the section and its plot."""
    lines = [_HEAD]
    for case, what, label in _cases(figures["bursts"]):
        lines.append(_line(case, case.get("fair"), what, label + _missing(case, what)))
    lines += ["", f"![{_TITLE}](bursts.svg)", "", *_three_runs(figures["bursts"])]
    return "\n".join([*lines, *_when(figures["bursts"]), *_obvious(figures)])


def plot_bursts(bursts: Json) -> str:
    """Draw the app's bars beside the fair rival's."""
    pairs = []
    for case, what, label in _cases(bursts):
        if fair := case.get("fair"):
            writes, seconds = case[f"{what}_sent"], case[f"{what}_seconds"]
            pairs.append(Pair(f"{label}: writes", max(writes, 1), fair[f"{what}_sent"], ""))
            pairs.append(Pair("seconds", max(seconds, 0.1), fair[f"{what}_seconds"], "s"))
    return bars(_TITLE, pairs)


_README_CASES = {
    "burst-200-1": ("open", "200 requests on one group"),
    "burst-700-10": ("open", "700 requests over ten groups"),
    "close-700-1": ("close", "700 expiries on one group"),
}


def readme_line(bursts: Json) -> str:
    """Return what README.md says of the bursts."""
    cases = _README_CASES.items()
    measured = {name: case for name, case in cases if bursts.get(name, {}).get("fair")}
    return "; ".join(_compared(bursts[name], *case) for name, case in measured.items())


def _compared(case: Json, what: str, label: str) -> str:
    fair = case["fair"]
    writes = ratio(case[f"{what}_sent"], fair[f"{what}_sent"])
    seconds = ratio(case[f"{what}_seconds"], fair[f"{what}_seconds"])
    return f"{label}: {writes} times the writes, {seconds} times the seconds to the last"


def _cases(bursts: Json) -> Iterator[tuple[Json, str, str]]:
    return ((bursts[name], what, label) for name, what, label in _ROWS if name in bursts)


def _missing(case: Json, what: str) -> str:
    left = case["grants"] - case["opened" if what == "open" else "closed"]
    return f" ({left} not in time)" if left else ""


def _line(case: Json, fair: Json | None, what: str, label: str) -> str:
    writes, seconds, reads = (
        case.get(f"{what}_{name}", 0) for name in ("sent", "seconds", "reads")
    )
    if not fair:
        return f"| {label} | {writes} | | | {told(seconds)} | | | {reads or ''} | |"
    theirs, took, read = (fair[f"{what}_{name}"] for name in ("sent", "seconds", "reads"))
    return (
        f"| {label} | {writes} | {theirs} | {ratio(writes, theirs)} | {told(seconds)} | "
        f"{told(took)} | {ratio(seconds, took)} | {reads:,} | {read:,} |"
    )


def ratio(ours: float, theirs: float) -> str:
    """Write how many times the rival's figure ours is."""
    return f"{ours / max(theirs, 0.001):.2f}"


def _three_runs(bursts: Json) -> list[str]:
    if "burst-700-10" not in bursts:
        return []
    runs = bursts["burst-700-10"]["runs"]
    told_runs = "; ".join(
        f"{told(run['open_seconds'])} and {told(run['fair_seconds'])} s, "
        f"{run['open_sent']} and {run['fair_sent']} writes"
        for run in runs
    )
    made = f"{len(runs)} run{'s' if len(runs) > 1 else ''} of 700 requests over 10 NSGs"
    return [f"{made}, app and fair rival: {told_runs}.", ""]


def _when(bursts: Json) -> list[str]:
    """Say when each case was measured, and under which load."""
    lines = ["| case | at | load before |", "|---|---|---:|"]
    lines += [
        f"| `{name}` | {case['at']} | {case['load_before']} |"
        for name, case in bursts.items()
        if not name.startswith("_")
    ]
    return [*lines, ""]


def _obvious(figures: Json) -> list[str]:
    lines = [
        "### The obvious implementation",
        "",
        "`python -m bench obvious`; the row *as they arrived* belongs to `bursts`. All other rows get",
        "every request at once. It is spared every check, every read of a VM, and the row of a request.",
        "",
        "| | grants | opened in, s | writes sent | closed in, s | writes sent | lost |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    runs = {n: run for n, run in figures["obvious"].items() if not n.startswith("_")}
    arrived = figures["bursts"].get("own-150", {}).get("obvious")
    if arrived:
        runs["150 groups, 24 at a time, as they arrived"] = arrived
    lines += [
        f"| {name} | {run['grants']} | {told(run['open_seconds'])} | {run['open_sent']} | "
        f"{told(run['close_seconds'])} | {run['close_sent']} | {run['lost']} |"
        for name, run in runs.items()
    ]
    return [*lines, ""]
