"""The results as a page: targets, tables, plots, each figure with the command that gave it."""

from pathlib import Path

from bench.numbers import told
from bench.place import Json
from bench.plot import Pair, bars, shares
from bench.targets import Targets

_HERE = Path(__file__).parent
_INTRO = """# What it costs

Measured by `make bench` (`python -m bench`): the app on its local stack, against **the obvious
implementation** ([baseline/obvious.py](baseline/obvious.py)): one rule PUT for each grant, waiting
on the SDK's poller; one DELETE for each expiry; a sweep that filters the table of grants. Both sides
meet the same ARM simulator with the real quotas on, one write at a time for each network security
group, and a write that takes {settle:g} s to settle. Ratios are from one run on one machine; the
seconds are that machine's ({cores} cores, which the app, storage, the simulator and the callers
share), the counts are not.

**Projected** means: measured at a smaller size (below), multiplied up. A `sent` write counts
whether it was taken or refused.
"""


def write(figures: Json) -> None:
    """Write RESULTS.md and the plots from the figures at hand."""
    sections = []
    targets = Targets(figures)
    if "crowd" in figures and "obvious" in figures:
        sections.append(_crowd(figures))
    if "sweeping" in figures:
        sections.append(_sweeping(figures["sweeping"]))
    if "lateness" in figures:
        sections.append(_lateness(figures["lateness"]))
    if "accepting" in figures:
        sections.append(_accepting(figures["accepting"]))
    if "starting" in figures:
        sections.append(_starting(figures["starting"]))
    if "commands" in figures:
        sections.append(_commands(figures["commands"]))
    ran = [part["_ran"] for part in figures.values()]
    settle = figures.get("lateness", {}).get("settle", 2.0)
    intro = _INTRO.format(settle=settle, cores=ran[0]["cores"] if ran else "?")
    text = "\n".join([intro, targets.table(), *sections, _when(figures)])
    (_HERE / "RESULTS.md").write_text(text, encoding="utf-8")
    print(f"wrote {_HERE / 'RESULTS.md'}")


def projected(obvious: Json, case: Json, what: str) -> tuple[float, float]:
    """Project the obvious side's seconds and writes to the size of a case."""
    if case["groups"] == 1:
        # The better of its two ways on one group.
        runs = [obvious["one group, 24 at a time"], obvious["one group, one at a time"]]
    else:
        runs = [obvious["10 groups, 24 at a time"]]
    each = [
        (run[f"{what}_seconds"] / run["grants"], run[f"{what}_sent"] / run["grants"])
        for run in runs
    ]
    seconds, writes = min(each)
    return seconds * case["grants"], writes * case["grants"]


_ROWS = (
    ("burst-200-1", "open", "200 requests at once, one group"),
    ("burst-700-10", "open", "700 requests at once, 10 groups"),
    ("close-700-1", "close", "700 expiries at once, one group"),
    ("close-700-1-neighbour", "close", "the same, while a neighbour writes to the group"),
    ("burst-700-10", "close", "700 expiries at once, 10 groups"),
)


def _crowd(figures: Json) -> str:
    lines = [
        "## Bursts and expiries",
        "",
        "`python -m bench crowd obvious`",
        "",
        "| | ARM writes sent (taken) | obvious, projected | ratio | last one, s | obvious, projected | ratio |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    pairs = []
    for name, what, label in _ROWS:
        case = figures["crowd"].get(name)
        if case is None:
            continue
        seconds, writes = projected(figures["obvious"], case, what)
        sent, took = case[f"{what}_sent"], case[f"{what}_seconds"]
        missing = case["grants"] - case["opened" if what == "open" else "closed"]
        note = f" ({missing} not in time)" if missing else ""
        lines.append(
            f"| {label}{note} | {sent} ({case[f'{what}_taken']}) | {told(writes)} | "
            f"{told(writes / max(sent, 1))} | {told(took)} | {told(seconds)} | "
            f"{told(seconds / max(took, 0.001))} |"
        )
        pairs += [Pair(f"{label}: writes", max(sent, 1), writes, "", projected=True)]
        pairs += [Pair("time to the last", max(took, 0.1), seconds, "s", projected=True)]
    cases = (case for name, case in figures["crowd"].items() if not name.startswith("_"))
    if any(case["opened"] < case["grants"] for case in cases):
        lines += [
            "",
            "Where not all were open in time, the closing is counted from a moment after the end: a group",
            "that was quicker is missed.",
        ]
    (_HERE / "crowd.svg").write_text(
        bars("ARM writes, and time to the last vm_port", pairs), encoding="utf-8"
    )
    lines += ["", "![ARM writes, and time to the last vm_port](crowd.svg)", "", _measured(figures)]
    return "\n".join(lines)


def _measured(figures: Json) -> str:
    lines = [
        "The obvious implementation as it was measured; the projection takes the quicker of its two",
        "ways on one group. It is spared every check, every read of a VM, and the row of a request.",
        "",
        "| | grants | opened in, s | writes sent | closed in, s | writes sent | lost |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, run in figures["obvious"].items():
        if not name.startswith("_"):
            lines.append(
                f"| {name} | {run['grants']} | {told(run['open_seconds'])} | {run['open_sent']} | "
                f"{told(run['close_seconds'])} | {run['close_sent']} | {run['lost']} |"
            )
    return "\n".join([*lines, ""])


def _sweeping(found: Json) -> str:
    lines = [
        "## A sweep with 100 grants due",
        "",
        "`python -m bench sweeping`. On 10 groups, each with ten grants due and ten that stay open;",
        "all others are open on other groups. *Crowded*: the same hundred due on 10 groups that hold",
        "700 open grants each, which are read with them: a firewall's rows are one partition. The app's",
        "time includes closing them, with writes that settle at once.",
        "",
        "| open grants | rows kept in | rows read | table calls | to find what is due, s | whole sweep, s |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    for name, run in found.items():
        if name.startswith("_"):
            continue
        where = "obvious: Azurite" if "calls" not in run else name.partition("-")[2]
        calls = f"{run['calls']:,}" if "calls" in run else ""
        finding, whole = (
            told(run[what]) if what in run else "" for what in ("find_seconds", "seconds")
        )
        lines.append(
            f"| {run['live']:,} | {where} | {run['rows']:,} | {calls} | {finding} | {whole} |"
        )
    lines += [
        "",
        "Rows of the obvious side are those that the store has to look through: a table has no index",
        "but its keys. *memory* is a sorted table in this process ([tables.py](tables.py)) with the real",
        "firewall adapter; the largest size is kept there alone, because Azurite looks through every",
        "row of a table for every query, so that its seconds say nothing of Azure. For",
        "the same reason the obvious side's 100,000 are counted and not timed.",
        "",
    ]
    return "\n".join(lines)


def _lateness(found: Json) -> str:
    limit = 3 + found["settle"]
    title = f"{found['closed']} vm_ports that end one after another: closed within"
    (_HERE / "lateness.svg").write_text(shares(title, found["seconds"], limit), encoding="utf-8")
    return "\n".join(
        [
            "## How late a vm_port closes",
            "",
            f"`python -m bench lateness`. {found['grants']} grants on 10 groups, two ending each second,",
            "as the app's own records tell it: from the end that was promised to the read that showed",
            f"the rule gone, the ARM write of {found['settle']:g} s included.",
            "",
            "| closed | p50, s | p99, s | longest, s |",
            "|---:|---:|---:|---:|",
            f"| {found['closed']} | {told(found['p50'])} | {told(found['p99'])} | {told(found['max'])} |",
            "",
            "![Share of vm_ports closed within so many seconds](lateness.svg)",
            "",
        ]
    )


def _accepting(found: Json) -> str:
    singly = (found["in_turn"], found["p50"], found["p99"])
    crowd = (found["crowd"], found["crowd_p50"], found["crowd_p99"])
    lines = [
        "## Taking in a request",
        "",
        "`python -m bench accepting`. `POST .../initiate` on the local stack, queue and timer functions",
        "off: in Azure they have instances of their own.",
        "",
        "| | calls | p50, ms | p99, ms | a second |",
        "|---|---:|---:|---:|---:|",
    ]
    for label, (calls, p50, p99), rate in (
        ("one after another", singly, ""),
        (f"{found['at_once']} at once", crowd, told(found["per_second"])),
    ):
        lines.append(f"| {label} | {calls} | {told(p50 * 1000)} | {told(p99 * 1000)} | {rate} |")
    return "\n".join([*lines, ""])


_STARTS = {
    "bare": "Python alone",
    "app": "`import function_app`",
    "http": "the first `initiate`, from nothing",
    "worker": "the first `open_access`, from nothing",
    "obvious": "the obvious app's imports, for every function",
}


def _starting(found: Json) -> str:
    lines = [
        "## Starting",
        "",
        "`python -m bench starting`. A fresh interpreter each time, the median of five.",
        "",
        "| | s | memory, MiB | modules | management SDK |",
        "|---|---:|---:|---:|---|",
    ]
    for name, label in _STARTS.items():
        run = found[name]
        held = "loaded" if run["management"] else "no"
        lines.append(
            f"| {label} | {run['seconds']:.2f} | {told(run['rss_mib'])} | {run['modules']} | {held} |"
        )
    warm = found["http"]
    lines += [
        "",
        f"A warm `initiate` takes {told(warm['warm_cpu_seconds'] * 1000)} ms of processor time in the",
        f"app and {told(warm['warm_seconds'] * 1000)} ms in all.",
        "",
    ]
    return "\n".join(lines)


def _commands(found: Json) -> str:
    jit, bare = found["jit"] * 1000, found["bare"] * 1000
    lines = [
        "## The command line",
        "",
        "`python -m bench commands`. Processor time of a start with `--help`, the median of 20:",
        f"`jit` {jit:.0f} ms, a click program of 20 commands {bare:.0f} ms.",
        "",
    ]
    return "\n".join(lines)


def _when(figures: Json) -> str:
    lines = [
        "## When",
        "",
        "| part | at | took, s | load before | Python |",
        "|---|---|---:|---:|---|",
    ]
    for name, part in figures.items():
        ran = part["_ran"]
        lines.append(
            f"| {name} | {ran['at']} | {ran['seconds']} | {ran['load_before']} | {ran['python']} |"
        )
    lines += [
        "",
        "A load that comes near the number of cores before a part means that its seconds are too long.",
        "",
    ]
    return "\n".join(lines)
