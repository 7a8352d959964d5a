"""The results as a page: targets, tables, plots, each figure with the command that gave it."""

from pathlib import Path

from bench.numbers import told
from bench.place import Json
from bench.plot import shares
from bench.report_bursts import plot_bursts, readme_line, write_bursts
from bench.report_operations import write_operations
from bench.report_scale import write_scale
from bench.targets import Targets

_HERE = Path(__file__).parent
_INTRO = """# What it costs

Measured by `make bench` (`python -m bench`): the app on its local stack, against two rivals.
**The fair rival** ([baseline/fair.py](baseline/fair.py)) has one writer for each network security
group (NSG) and puts all that is queued into one guarded write; it reads each VM once. **The obvious
implementation** ([baseline/obvious.py](baseline/obvious.py)) writes one rule for each grant, waits
on the SDK's poller, and deletes one rule for each expiry, with 24 workers. All sides meet the same
ARM simulator with the real quotas on, one write at a time for each NSG, and a write that takes
{settle:g} s to settle. Ratios are from one run on one machine; the seconds are that machine's
({cores} cores, which the app, storage, the simulator and the callers share), the counts are not.

Neither rival checks permission, keeps a record, or closes anything after a crash. A write is counted
as sent whether it was taken or refused.
"""


def write(figures: Json) -> None:
    """Write RESULTS.md and the plots from the figures at hand."""
    (_HERE / "RESULTS.md").write_text(results(figures), encoding="utf-8")
    if "bursts" in figures:
        (_HERE / "bursts.svg").write_text(plot_bursts(figures["bursts"]), encoding="utf-8")
    if "lateness" in figures:
        (_HERE / "lateness.svg").write_text(_plot_lateness(figures["lateness"]), encoding="utf-8")
    print(f"wrote {_HERE / 'RESULTS.md'}")
    if "bursts" in figures:
        print(f"README.md has to say: {readme_line(figures['bursts'])}")


def results(figures: Json) -> str:
    """Return the text of RESULTS.md."""
    sections = []
    targets = Targets(figures)
    if "bursts" in figures and "obvious" in figures:
        sections.append(write_bursts(figures))
    if "reconcile" in figures or "machines" in figures:
        sections.append(write_scale(figures))
    if "operations" in figures:
        sections.append(write_operations(figures["operations"]))
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
    return "\n".join([intro, targets.table(), *sections, _when(figures)])


def _sweeping(found: Json) -> str:
    lines = [
        "## A sweep with 100 grants due",
        "",
        "`python -m bench sweeping`. On 10 groups, each with ten grants due and ten that stay open;",
        "all others are open on other groups. *Full*: the same hundred due on 10 groups that hold",
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


def _plot_lateness(found: Json) -> str:
    limit = 3 + found["settle"]
    title = f"{found['closed']} grants that end one after another: closed within"
    return shares(title, found["seconds"], limit)


def _lateness(found: Json) -> str:
    return "\n".join(
        [
            "## How late a grant closes",
            "",
            f"`python -m bench lateness`. {found['grants']} grants on 10 groups, two ending each second,",
            "as the app's own records tell it: from the end that was promised to the read that showed",
            f"the rule gone, the ARM write of {found['settle']:g} s included.",
            "",
            "| closed | p50, s | p99, s | longest, s |",
            "|---:|---:|---:|---:|",
            f"| {found['closed']} | {told(found['p50'])} | {told(found['p99'])} | {told(found['max'])} |",
            "",
            "![Share of grants closed within so many seconds](lateness.svg)",
            "",
        ]
    )


def _accepting(found: Json) -> str:
    singly = (found["in_turn"], found["p50"], found["p99"])
    many = (found["many"], found["many_p50"], found["many_p99"])
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
        (f"{found['at_once']} at once", many, told(found["per_second"])),
    ):
        lines.append(f"| {label} | {calls} | {told(p50 * 1000)} | {told(p99 * 1000)} | {rate} |")
    return "\n".join([*lines, ""])


_STARTS = {
    "bare": "Python alone",
    "app": "`import function_app`",
    "http": "the first `initiate`, from nothing",
    "worker": "the first `open_access`, from nothing",
    "app, no bytecode": "`import function_app`, no bytecode",
    "http, no bytecode": "the first `initiate`, no bytecode",
    "worker, no bytecode": "the first `open_access`, no bytecode",
    "obvious": "the obvious app's imports, for every function",
}


def _starting(found: Json) -> str:
    lines = [
        "## Starting",
        "",
        "`python -m bench starting`. A fresh interpreter each time, the median of up to five. *No",
        "bytecode*: only the standard library is compiled, as where a package holds sources alone. The",
        "deployed package is built with its bytecode, and the build checks that.",
        "",
        "| | s | processor time, s | memory, MiB | modules | management SDK |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, label in _STARTS.items():
        if name not in found:
            continue
        run = found[name]
        held = "loaded" if run["management"] else "no"
        cpu = f"{run['cpu_seconds']:.2f}" if "cpu_seconds" in run else ""
        lines.append(
            f"| {label} | {run['seconds']:.2f} | {cpu} | {told(run['rss_mib'])} | {run['modules']} | {held} |"
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
